// What a page does with tus-js-client, unchanged: an upload that is broken off, found again, and gone on with.
import { createHash, randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.POCKETWIRE_NPM, "index.js"));
const tus = require("tus-js-client");

const [origin, token, owner, size] = process.argv.slice(2);
const file = randomBytes(Number(size));
const metadata = {
  collection: "papers",
  field: "large",
  filename: "a paper.bin",
  filetype: "application/octet-stream",
  fields: JSON.stringify({ owner, title: "by tus" }),
  sha256: createHash("sha256").update(file).digest("hex"),
};
const options = { endpoint: `${origin}/api/files/tus`, headers: { Authorization: token }, metadata, retryDelays: [], chunkSize: 100_000 };

const uploadUrl = await new Promise((resolve, reject) => {
  const upload = new tus.Upload(file, {
    ...options,
    onError: reject,
    onSuccess: () => reject(new Error("it was to be broken off")),
    onChunkComplete: (_chunk, sent) => {
      if (sent > file.length / 3) upload.abort().then(() => resolve(upload.url), reject);
    },
  });
  upload.start();
});

const resumedFrom = await new Promise((resolve, reject) => {
  let from = -1;
  const upload = new tus.Upload(file, {
    ...options,
    uploadUrl,
    onError: reject,
    onProgress: (sent) => (from = from < 0 ? sent : from),
    onSuccess: () => resolve(from),
  });
  upload.start();
});

const record = await (await fetch(uploadUrl, { headers: { Authorization: token } })).json();
const stored = Buffer.from(await (await fetch(`${origin}/api/files/papers/${record.id}/${record.large}`)).arrayBuffer());

const refused = await new Promise((resolve) => {
  const upload = new tus.Upload(file, {
    ...options,
    metadata: { ...metadata, fields: JSON.stringify({ owner: "somebody else" }) },
    onError: (error) => resolve([error.originalResponse.getStatus(), JSON.parse(error.originalResponse.getBody()).message]),
    onSuccess: () => resolve("it was not refused"),
  });
  upload.start();
});

console.log(JSON.stringify({ resumed: resumedFrom > 0, title: record.title, isEqual: stored.equals(file), refused }));
