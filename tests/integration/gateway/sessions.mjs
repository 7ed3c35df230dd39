// What applications do with sessions through the official SDK, unchanged. Any surprise ends it with an error.
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.POCKETWIRE_NPM, "index.js"));
const PocketBase = require("pocketbase").default ?? require("pocketbase");

const [here, there, email, password] = process.argv.slice(2);

function insist(condition, message) {
  if (!condition) throw new Error(message);
}

async function statusOf(promise) {
  return promise.then(() => 200, (error) => error.status);
}

function on(url, token) {
  const client = new PocketBase(url);
  client.autoCancellation(false);
  if (token) client.authStore.save(token, null);
  return client;
}

const claims = (client) => JSON.parse(Buffer.from(client.authStore.token.split(".")[1], "base64url"));

const desk = on(here);
const { record } = await desk.collection("users").authWithPassword(email, password);
insist(desk.authStore.isValid, "the session is not valid");
insist(desk.authStore.record.id === record.id && claims(desk).id === record.id, "the session is another user's");
const first = desk.authStore.token;

// a page that asks for several things at once and refreshes meanwhile, on whichever process answers
const tabs = [on(here, first), on(there, first), on(here, first)];
const answers = await Promise.all([
  ...tabs.map((tab) => tab.collection("users").authRefresh()),
  ...tabs.map((tab) => tab.collection("users").getOne(record.id)),
]);
insist(answers.every((answer) => (answer.record ?? answer).id === record.id), "a parallel call failed");
insist(new Set(tabs.map((tab) => claims(tab).gen)).size === 1, "parallel refreshes made several chains");
insist(tabs.every((tab) => tab.authStore.isValid && tab.authStore.token !== first), "a tab kept its old token");

// the account was opened in a session of its own, and the desk has one
const phone = on(there);
await phone.collection("users").authWithPassword(email, password, { headers: { "X-Device-Name": "phone" } });
const listed = (await phone.send("/sessions", {})).items;
insist(listed.length === 3 && listed[0].current && listed[0].device === "phone", "the phone is not listed as this one");

const file = await phone.files.getToken();
insist(typeof file === "string" && file.length > 0, "no token for files");

await phone.send("/sessions", { method: "DELETE", query: { keep: "current" } });
insist((await statusOf(tabs[0].collection("users").authRefresh())) === 401, "the desk is still signed in");
insist((await statusOf(on(here, tabs[0].authStore.token).collection("users").getOne(record.id))) === 404, "no guest");

await phone.collection("users").update(record.id, { password: "another-horse", passwordConfirm: "another-horse", oldPassword: password });
insist((await statusOf(phone.collection("users").authRefresh())) === 401, "the session outlived its password");
await phone.collection("users").authWithPassword(email, "another-horse");
insist((await phone.send("/sessions", {})).items.length === 1, "sessions are left over");

// auto-rolling as the SDK's documentation has it, by afterSend
const rolling = on(there, phone.authStore.token);
rolling.afterSend = (response, data) => {
  const successor = response.headers.get("X-Gateway-Token");
  if (successor) rolling.authStore.save(successor, rolling.authStore.record);
  return data;
};
await rolling.collection("users").getOne(record.id);
insist(rolling.authStore.isValid, "the rolled session is not valid");
console.log("done");
process.exit(0);
