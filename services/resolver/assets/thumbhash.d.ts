/** Decodes ThumbHashes: some 25 bytes with a photo's colours and rough shapes, to show until the photo is loaded. */
/**
 * Return the picture of a ThumbHash, at most 32 pixels a side.
 *
 * The format: https://evanw.github.io/thumbhash/. A header with the average and how strongly each channel varies, then
 * four bits for each coefficient of a discrete cosine transform: lightness, yellow-blue, red-green, opacity.
 * @param {string} hash base64
 * @returns {ImageData}
 * @throws {Error} if the text is not a ThumbHash
 */
export function thumbHashToImageData(hash: string): ImageData;
