// What an application does with the official SDK. Prints one JSON line a step; any surprise ends it with an error.
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.POCKETWIRE_NPM, "index.js"));
const PocketBase = require("pocketbase").default ?? require("pocketbase");
global.EventSource = require("eventsource").EventSource;

const [url, collection, suffix, password] = process.argv.slice(2);

function print(step, seen) {
  console.log(JSON.stringify({ step, seen }));
}

function insist(condition, message) {
  if (!condition) throw new Error(message);
}

function within(seconds, what, promise) {
  const late = new Promise((_, refuse) => setTimeout(() => refuse(new Error(`no ${what}`)), seconds * 1000).unref());
  return Promise.race([promise, late]);
}

async function signUp(name) {
  const client = new PocketBase(url);
  const email = `${name}-${suffix}@example.com`;
  const user = await client.collection("users").create({ name: `${name}-${suffix}`, email, password, passwordConfirm: password });
  const answer = await client.collection("users").authWithPassword(email, password);
  insist(answer.record.id === user.id, "the login answered with another user");
  return client;
}

const ann = await signUp("ann");
const bob = await signUp("bob");
const claims = JSON.parse(Buffer.from(ann.authStore.token.split(".")[1], "base64url"));
print("sign up and log in", { user: claims.preferred_username, issuer: claims.iss, client: claims.azp });

const refreshed = await ann.collection("users").authRefresh();
insist(ann.authStore.isValid, "the refreshed session is not valid");
print("refresh the session", { user: refreshed.record.id });

const notes = ann.collection(collection);
const made = await notes.create({ title: "first", owner: ann.authStore.record.id });
await notes.update(made.id, { title: "changed" });
const read = await notes.getOne(made.id);
insist(read.title === "changed", "the change was not read back");
const listed = await notes.getList(1, 10, { filter: `id = "${made.id}"` });
insist(listed.totalItems === 1, "the record is not listed");
print("create, change, read and list a record", { id: made.id, title: read.title });

const refused = await bob.collection(collection).update(made.id, { title: "stolen" }).catch((error) => error.status);
insist(refused === 404, `another user's change was answered with ${refused}`);
print("another user may not change it", { status: refused });

// Until the gateway has heard of the new collection its streams are PocketBase's own.
async function subscribeAtTheGateway(client, listener) {
  await client.collection(collection).subscribe("*", listener);
  while (!client.realtime.clientId.startsWith("gw-")) {
    await client.realtime.unsubscribe();
    await new Promise((resolve) => setTimeout(resolve, 100));
    await client.collection(collection).subscribe("*", listener);
  }
}

// When it hears of it, it ends its streams, and the SDK comes again by itself: what is written in between is not heard.
async function heardOf() {
  for (;;) {
    await notes.create({ title: "heard", owner: ann.authStore.record.id });
    const found = await Promise.race([event, new Promise((resolve) => setTimeout(resolve, 3000))]);
    if (found) return found;
  }
}

let arrived;
const event = new Promise((resolve) => (arrived = resolve));
await within(20, "subscription", subscribeAtTheGateway(bob, arrived));
const heard = await within(20, "realtime event", heardOf());
insist(heard.action === "create" && heard.record.title === "heard", "another event arrived");
print("hear of a record in real time", { action: heard.action, title: heard.record.title });
await bob.realtime.unsubscribe();

await notes.delete(made.id);
const gone = await notes.getOne(made.id).catch((error) => error.status);
insist(gone === 404, `a deleted record was answered with ${gone}`);
print("delete a record", { status: gone });
process.exit(0);
