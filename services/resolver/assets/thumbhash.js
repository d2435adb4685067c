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
export function thumbHashToImageData(hash) {
  const bytes = Uint8Array.from(atob(hash), (letter) => letter.charCodeAt(0));
  if (bytes.length < 5) throw new Error("a ThumbHash has at least 5 bytes");
  const colours = bytes[0] | (bytes[1] << 8) | (bytes[2] << 16);
  const shape = bytes[3] | (bytes[4] << 8);
  const hasAlpha = colours >> 23 === 1;
  const isLandscape = shape >> 15 === 1;
  const long = hasAlpha ? 5 : 7;
  const short = Math.max(3, shape & 7);
  const [columns, rows] = isLandscape ? [long, short] : [short, long];

  const nibbles = nibblesOf(bytes.subarray(hasAlpha ? 6 : 5));
  const lightness = channel(nibbles, columns, rows, (colours & 63) / 63, ((colours >> 18) & 31) / 31);
  const yellow = channel(nibbles, 3, 3, ((colours >> 6) & 63) / 31.5 - 1, (((shape >> 3) & 63) / 63) * 1.25);
  const red = channel(nibbles, 3, 3, ((colours >> 12) & 63) / 31.5 - 1, (((shape >> 9) & 63) / 63) * 1.25);
  const opacity = hasAlpha ? channel(nibbles, 5, 5, (bytes[5] & 15) / 15, (bytes[5] >> 4) / 15) : () => 1;

  const ratio = columns / rows;
  const image = new ImageData(Math.round(ratio > 1 ? 32 : 32 * ratio), Math.round(ratio > 1 ? 32 / ratio : 32));
  for (let y = 0, at = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++, at += 4) {
      const [across, down] = [(x + 0.5) / image.width, (y + 0.5) / image.height];
      const [l, p, q] = [lightness(across, down), yellow(across, down), red(across, down)];
      const b = l - (2 / 3) * p;
      const r = (3 * l - b + q) / 2;
      // The array clamps to 0…255 and rounds.
      image.data.set([r, r - q, b, opacity(across, down)].map((value) => value * 255), at);
    }
  }
  return image;
}

/** Yield the halves of bytes, the lower half first. @param {Uint8Array} bytes */
function* nibblesOf(bytes) {
  for (const byte of bytes) yield* [byte & 15, byte >> 4];
}

/**
 * Take a channel's coefficients from the nibbles. Return a function from a place (0…1 across and down) to its value.
 * @param {Iterator<number>} nibbles
 * @param {number} columns
 * @param {number} rows
 * @param {number} average
 * @param {number} scale
 * @returns {(across: number, down: number) => number}
 */
function channel(nibbles, columns, rows, average, scale) {
  /** @type {[number, number, number][]} */
  const waves = [];
  for (let row = 0; row < rows; row++) {
    for (let column = row ? 0 : 1; column * rows < columns * (rows - row); column++) {
      waves.push([column, row, ((nibbles.next().value ?? 7.5) / 7.5 - 1) * scale]);
    }
  }
  return (across, down) =>
    waves.reduce(
      (sum, [column, row, strength]) =>
        sum + 2 * strength * Math.cos(Math.PI * column * across) * Math.cos(Math.PI * row * down),
      average,
    );
}
