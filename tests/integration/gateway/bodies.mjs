// Every way in which the official SDK sends a record, unchanged; prints what came back, without what PocketBase makes up.
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.POCKETWIRE_NPM, "index.js"));
const PocketBase = require("pocketbase").default ?? require("pocketbase");

const [url, collection] = process.argv.slice(2);
const client = new PocketBase(url);
client.autoCancellation(false);
const records = client.collection(collection);

const file = (content, name) => new File([content], name);
const told = [];

function settled({ id, f, ...fields }) {
  return { ...fields, f: (f ?? []).map((name) => name.replace(/(_[a-z0-9]{10})+(?=\.)/, "")) };
}

async function tell(what, ask) {
  try {
    told.push([what, await ask()]);
  } catch (error) {
    told.push([what, error.status, error.response]);
  }
}

function form(...entries) {
  const data = new FormData();
  for (const [name, value] of entries) data.append(name, value);
  return data;
}

await tell("json", async () => settled(await records.create({ title: "a", n: 1.5, b: true, j: { a: [1, null, "x"] }, s: ["a", "b"] })));
await tell("files among fields", async () => {
  const files = [file("one", "one.txt"), file("two", "two.png")];
  return settled(await records.create({ title: "12", n: "5", j: { a: 1 }, s: ["a", "b"], f: files }));
});
await tell("form", async () => {
  const data = form(["title", "007"], ["n", "7"], ["b", "true"], ["s", "a"], ["s", "1"], ["j", '{"k":1}']);
  data.append("f", file("x", 'my "x".txt'));
  data.append("@jsonPayload", '{"e":"a@b.co"}');
  return settled(await records.create(data));
});
await tell("modifiers", async () => {
  const made = await records.create({ n: 1, f: [file("one", "one.txt")] });
  const more = await records.update(made.id, { "n+": 5, "f+": file("two", "two.txt") });
  return [settled(more), settled(await records.update(made.id, { "f-": [more.f[0]] }))];
});
await tell("query beside files", async () =>
  settled(await records.create({ title: "q", f: file("1", "one.txt") }, { fields: "title,f", expand: "x" })),
);
await tell("batch", async () => {
  const batch = client.createBatch();
  const items = batch.collection(collection);
  items.create({ title: "b1", f: file("1", "one.txt"), j: { x: 1 } });
  items.upsert({ id: "q".repeat(15), title: "b2", n: 3 });
  items.create(form(["title", "b3"], ["n", "4"], ["f", file("9", "nine.txt")]), { fields: "title,n,f" });
  items.update("q".repeat(15), { "n+": 1, f: [file("m", "mix.txt")] });
  items.delete("q".repeat(15));
  return (await batch.send()).map(({ status, body }) => [status, body && settled(body)]);
});
await tell("batch that fails", async () => {
  const batch = client.createBatch();
  batch.collection(collection).create({ title: "fine" });
  batch.collection(collection).create({ s: ["unknown"] });
  return batch.send();
});
await tell("too many files", async () =>
  settled(await records.create({ f: Array.from({ length: 6 }, (_, at) => file("x", `abc${at}.txt`)) })),
);

console.log(JSON.stringify(told));
