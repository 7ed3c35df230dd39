// What clients of pb-nats are told to do, with the same two packages. Prints one JSON object.
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.POCKETWIRE_NPM, "index.js"));
const PocketBase = require("pocketbase").default ?? require("pocketbase");
const { connect, credsAuthenticator } = require("nats");

const [flow, argument] = process.argv.slice(2);
const given = JSON.parse(argument);
const PATIENCE_MS = 15_000;

async function until(what, ask) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await ask();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`no ${what}`);
    await new Promise((resume) => setTimeout(resume, 25));
  }
}

async function ownCreds(who) {
  const pb = new PocketBase(who.url);
  if (who.collection === "nats_users") {
    await pb.collection("nats_users").authWithPassword(who.email, who.password);
    return (await pb.collection("nats_users").getOne(pb.authStore.model.id, { fields: "creds_file" })).creds_file;
  }
  await pb.collection("users").authWithPassword(who.email, who.password);
  const linked = pb.filter("user = {:id}", { id: pb.authStore.model.id });
  return (await pb.collection("nats_users").getFirstListItem(linked, { fields: "creds_file" })).creds_file;
}

async function connected(creds) {
  const nc = await connect({
    servers: [given.nats],
    authenticator: credsAuthenticator(new TextEncoder().encode(creds)),
    reconnect: false,
    timeout: 5000,
  });
  const refusals = [];
  (async () => {
    for await (const status of nc.status()) refusals.push(JSON.stringify(status));
  })();
  return { nc, refusals };
}

function isRefused(creds) {
  return connected(creds).then(({ nc }) => nc.close().then(() => false), () => true);
}

async function heard(subscription, count) {
  const found = [];
  for await (const message of subscription) {
    found.push(message.string());
    if (found.length === count) break;
  }
  return found;
}

async function uses(who) {
  const { nc, refusals } = await connected(await ownCreds(who));
  const hearing = heard(nc.subscribe("sensors.>"), 1);
  await nc.flush();
  await nc.publish("sensors.temperature", JSON.stringify({ temp: 23.5 }));
  await nc.publish("alerts.high_temp", JSON.stringify({ location: "server_room" }));
  const seen = await hearing;
  const allowed = refusals.length;
  await nc.publish("secret.plans", "");
  nc.subscribe("secret.>", { callback: () => {} });
  await nc.flush();
  await until("refusals", () => refusals.length >= 2);
  await nc.close();
  return { seen, allowed, refusals };
}

async function apart({ here, there }) {
  const [one, other] = [await connected(await ownCreds(here)), await connected(await ownCreds(there))];
  const [first, second] = [heard(one.nc.subscribe("sensors.>"), 1), heard(other.nc.subscribe("sensors.>"), 1)];
  await Promise.all([one.nc.flush(), other.nc.flush()]);
  await one.nc.publish("sensors.temperature", "of one");
  await one.nc.flush();
  await other.nc.publish("sensors.temperature", "of the other");
  const told = { one: await first, other: await second };
  await Promise.all([one.nc.close(), other.nc.close()]);
  return told;
}

async function admin() {
  const pb = new PocketBase(given.pocketbase);
  await pb.collection("_superusers").authWithPassword(given.email, given.password);
  const settled = (collection, id, holds) =>
    until(`${collection} ${id}`, async () => {
      const row = await pb.collection(collection).getOne(id, { requestKey: null });
      return row.sync_status === "synced" && holds(row) ? row : null;
    });
  return { pb, settled };
}

async function rotates() {
  const { pb, settled } = await admin();
  const before = await settled("nats_users", given.user, (row) => row.creds_file);
  const { nc } = await connected(before.creds_file);
  const closed = nc.closed().then(() => true);
  await pb.collection("nats_accounts").update(given.account, { rotate_keys: true });
  const cut = await closed;
  const after = await settled("nats_users", given.user, (row) => row.creds_file !== before.creds_file);
  const account = await settled("nats_accounts", given.account, (row) => !row.rotate_keys);
  return {
    cut,
    old_refused: await isRefused(before.creds_file),
    new_refused: await isRefused(after.creds_file),
    same_key: before.public_key === after.public_key,
    account_public_key: account.public_key,
    rotate_keys: account.rotate_keys,
  };
}

async function regenerates() {
  const { pb, settled } = await admin();
  const before = await settled("nats_users", given.user, (row) => row.creds_file);
  await pb.collection("nats_users").update(given.user, { regenerate: true });
  const after = await settled("nats_users", given.user, (row) => row.creds_file !== before.creds_file);
  return {
    same_key: before.public_key === after.public_key,
    regenerate: after.regenerate,
    old_refused: await isRefused(before.creds_file),
    new_refused: await isRefused(after.creds_file),
  };
}

// A flush that the server's hanging up overtakes may never settle.
async function stands(nc) {
  return Promise.race([nc.flush().then(() => !nc.isClosed(), () => false), nc.closed().then(() => false)]);
}

function sent(nc, subject, size) {
  try {
    nc.publish(subject, new Uint8Array(size));
  } catch (error) {
    if (!["MAX_PAYLOAD_EXCEEDED", "CONNECTION_CLOSED"].includes(error.code)) throw error;
  }
}

async function tries(creds) {
  const open = [];
  for (let number = 0; number < 3; number++) {
    const one = await connected(creds).catch(() => null);
    if (one && (await stands(one.nc))) open.push(one.nc);
  }
  const told = { connections: open.length, subscriptions: 0, delivered: 0 };
  if (open.length) {
    const [listener, sender] = [open[0], open[open.length - 1]];
    const callback = (_, message) => message && (message.data.length ? told.delivered++ : told.subscriptions++);
    for (let number = 0; number < 3 && (await stands(listener)); number++) {
      listener.subscribe(`sensors.${number}`, { callback });
    }
    for (let number = 0; number < 3 && (await stands(sender)); number++) sent(sender, `sensors.${number}`, 0);
    sent(sender, "sensors.0", 100);
    await stands(sender);
    await stands(listener);
  }
  await Promise.all(open.map((nc) => Promise.race([nc.close(), nc.closed()])));
  return told;
}

async function limits() {
  const { pb, settled } = await admin();
  const told = {};
  for (const [name, changed] of Object.entries(given.limits)) {
    const before = await settled("nats_accounts", given.account, () => true);
    await pb.collection("nats_accounts").update(given.account, changed);
    await settled("nats_accounts", given.account, (row) => row.jwt !== before.jwt);
    const { creds_file } = await settled("nats_users", given.user, (row) => row.creds_file);
    told[name] = await tries(creds_file);
  }
  return told;
}

const flows = { uses: () => uses(given.who), apart: () => apart(given), rotates, regenerates, limits };
console.log(JSON.stringify(await flows[flow]()));
process.exit(0);
