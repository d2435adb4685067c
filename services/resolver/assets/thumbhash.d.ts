/** Reads a ThumbHash: some 25 bytes that hold a photo's colours and rough shapes, to show until it is here. */
/**
 * The colours of a ThumbHash, at most 32 pixels a side.
 *
 * The format: https://evanw.github.io/thumbhash/. A header with the average and how strongly each channel varies, then
 * four bits for each coefficient of a discrete cosine transform: lightness, yellow-blue, red-green, opacity.
 * @param {string} hash base64
 * @returns {ImageData}
 * @throws {Error} for what is no ThumbHash
 */
export function thumbHashToImageData(hash: string): ImageData;
