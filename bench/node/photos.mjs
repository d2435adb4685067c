// Makes variants of photos with Sharp, two photos at a time, and prints photos per second.
// Standard input is JSON: `photos` (URLs, or paths of files), `variants` (name, width, format and quality of each),
// `workers`, and `store` (endpoint, accessKey, secretKey and bucket of an S3 server; null: nothing is stored).
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { Client } from "minio";
import sharp from "sharp";

const given = JSON.parse(readFileSync(0, "utf8"));
sharp.cache(false);
sharp.concurrency(1); // the workers keep every core busy

const options = {
  jpeg: (quality) => ({ quality, progressive: true }),
  webp: (quality) => ({ quality, effort: 2 }),
  avif: (quality) => ({ quality, effort: 2 }),
};

const read = async (photo) => {
  if (!photo.startsWith("http")) return readFile(photo);
  const answer = await fetch(photo);
  if (!answer.ok) throw new Error(`${photo}: ${answer.status}`);
  return Buffer.from(await answer.arrayBuffer());
};

const encode = (original) => {
  const upright = sharp(original).rotate();
  return Promise.all(
    given.variants.map(({ width, format, quality }) =>
      upright.clone().resize({ width, withoutEnlargement: true })[format](options[format](quality)).toBuffer(),
    ),
  );
};

const { store } = given;
const connect = ({ endpoint, accessKey, secretKey }) => {
  const { hostname, port, protocol } = new URL(endpoint);
  return new Client({ endPoint: hostname, port: Number(port), useSSL: protocol === "https:", accessKey, secretKey });
};
const client = store && connect(store);

const put = async (original, encoded) => {
  const folder = createHash("sha256").update(original).digest("hex").slice(0, 16);
  const named = given.variants.map(({ name, format }, at) => [`${name}.${format}`, encoded[at], `image/${format}`]);
  const headers = (type) => ({ "Content-Type": type, "Cache-Control": "public, max-age=31536000, immutable" });
  await Promise.all(
    [["original.jpg", original, "image/jpeg"], ...named].map(([name, body, type]) =>
      client.putObject(store.bucket, `${folder}/${name}`, body, body.length, headers(type)),
    ),
  );
};

const run = async (photos) => {
  const left = [...photos];
  const work = async () => {
    for (let photo = left.pop(); photo; photo = left.pop()) {
      const original = await read(photo);
      const encoded = await encode(original);
      if (store) await put(original, encoded);
    }
  };
  await Promise.all(Array.from({ length: given.workers }, work));
};

if (store && !(await client.bucketExists(store.bucket))) await client.makeBucket(store.bucket);
await run(given.photos.slice(0, 2 * given.workers)); // warms up
const began = performance.now();
await run(given.photos);
console.log((1000 * given.photos.length) / (performance.now() - began));
