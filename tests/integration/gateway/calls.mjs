// Every call of the official SDK that an application makes, unchanged; prints what came back, one name for each call.
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.POCKETWIRE_NPM, "index.js"));
const { default: PocketBase } = require("pocketbase");
global.EventSource = require("eventsource").EventSource;

const [url, suffix, mailbox, png] = process.argv.slice(2);
const [posts, tags, people, vault] = ["posts", "tags", "people", "vault"].map((name) => `${name}_${suffix}`);
const address = (name) => `${name}-${suffix}@example.com`;
const password = "correct-horse";
const told = [];

/**
 * Each request on a connection of its own, so that every worker gets some, and from an address of its own, for
 * PocketBase delays one that finds nothing again and again. Realtime is bound to one address.
 */
let asked = 0;
const own = (target) => ({ Connection: "close", ...(target.includes("realtime") ? {} : { "X-Forwarded-For": `10.0.${asked >> 8}.${asked++ & 255}` }) });

function client(token) {
  const made = new PocketBase(url);
  made.autoCancellation(false);
  made.beforeSend = (target, options) => ({ url: target, options: { ...options, headers: { ...options.headers, ...own(target) } } });
  if (token) made.authStore.save(token, null);
  return made;
}

const seen = (value) => (value instanceof Blob ? value.size : value);

async function tell(what, ask) {
  try {
    const answer = seen(await ask());
    told.push([what, answer]);
    return answer;
  } catch (error) {
    if (error.status === undefined) throw error;
    const failure = { status: error.status, response: error.response, isAbort: error.isAbort };
    told.push([what, structuredClone(failure)]);
    return failure;
  }
}

function within(seconds, what, promise) {
  const late = new Promise((_, refuse) => setTimeout(() => refuse(new Error(`no ${what}`)), seconds * 1000).unref());
  return Promise.race([promise, late]);
}

async function mailed(pattern) {
  const text = await (await fetch(mailbox)).text();
  return text.match(pattern)[1];
}

function form(...entries) {
  const data = new FormData();
  for (const [name, value] of entries) data.append(name, value);
  return data;
}

const file = (content, name) => new File([content], name);
const picture = () => new File([Buffer.from(png, "base64")], "picture.png", { type: "image/png" });

/** What a store holds after a sign-in, beside the answer. */
const store = ({ authStore }) => ({ valid: authStore.isValid, superuser: authStore.isSuperuser, id: authStore.record?.id, token: authStore.token });

async function signedIn(name) {
  const made = client();
  await made.collection(people).authWithPassword(address(name), password);
  return made;
}

async function accounts() {
  const guest = client();
  const users = guest.collection(people);
  await tell("health", () => guest.health.check());
  await tell("methods", async () => {
    const methods = await users.listAuthMethods();
    for (const provider of methods.oauth2.providers) {
      for (const name of ["state", "codeVerifier", "codeChallenge"]) provider[name] = provider[name].length;
      for (const name of ["authURL", "authUrl"]) provider[name] = new URL(provider[name]).pathname;
    }
    return methods;
  });
  for (const name of ["ann", "bob", "carl"]) {
    const fields = { email: address(name), password, passwordConfirm: password, name };
    await tell("sign up", () => users.create(fields));
  }
  await tell("sign up again", () => users.create({ email: address("ann"), password, passwordConfirm: "other" }));
  await tell("wrong password", () => users.authWithPassword(address("ann"), "wrong"));
  await tell("nobody", () => users.authWithPassword("nobody@example.com", password));
  await tell("nothing", () => users.authWithPassword("", ""));
  await tell("sign in", () => users.authWithPassword(address("ann"), password, { expand: "friends", fields: "token,record.*" }));
  await tell("store", () => store(guest));
  await tell("refresh", () => users.authRefresh());
  await tell("store after refresh", () => store(guest));
  await tell("own record", () => users.getOne(guest.authStore.record.id));
  await tell("own change", () => users.update(guest.authStore.record.id, { name: "Ann", friends: [guest.authStore.record.id] }));
  await tell("refresh with expand", () => users.authRefresh({ expand: "friends" }));
  guest.authStore.clear();
  await tell("refresh of a guest", () => users.authRefresh());
  await tell("records of a guest", () => users.getList());
}

async function codes() {
  const guest = client();
  const users = guest.collection(people);
  await tell("code for nobody", () => users.requestOTP("nobody@example.com"));
  const { otpId } = await tell("code", () => users.requestOTP(address("bob")));
  const code = await mailed(/>(\d{8})</);
  await tell("wrong code", () => users.authWithOTP(otpId, "00000000"));
  await tell("right code", () => users.authWithOTP(otpId, code));
  await tell("same code again", () => users.authWithOTP(otpId, code));
  await tell("password of an address that a code has verified", () => users.authWithPassword(address("bob"), password));
  const two = guest.collection(vault);
  await tell("sign up for two factors", () => two.create({ email: address("vera"), password, passwordConfirm: password }));
  const first = await tell("first factor", () => two.authWithPassword(address("vera"), password));
  await tell("first factor again", () => two.authWithPassword(address("vera"), password, { mfaId: first.response.mfaId }));
  const second = await two.requestOTP(address("vera"));
  const other = await mailed(/>(\d{8})</);
  await tell("second factor", () => two.authWithOTP(second.otpId, other, { mfaId: first.response.mfaId }));
  await tell("store after two factors", () => store(guest));
  await tell("refresh after two factors", () => two.authRefresh());
}

async function providers() {
  const guest = client();
  const users = guest.collection(people);
  const redirect = "http://localhost/done";
  await tell("unknown provider", () => users.authWithOAuth2Code("nope", "code", "v".repeat(43), redirect));
  await tell("provider", () => users.authWithOAuth2Code("oidc", "code", "v".repeat(43), redirect, { name: "Olga" }));
  await tell("store after provider", () => store(guest));
  await tell("provider again", () => users.authWithOAuth2Code("oidc", "code", "v".repeat(43), redirect));
  await tell("provider by way of a window", () =>
    within(10, "redirect", users.authWithOAuth2({
      provider: "oidc",
      urlCallback: async (target) => {
        const asked = new URL(target).searchParams;
        const back = new URL(asked.get("redirect_uri"));
        back.search = new URLSearchParams({ state: asked.get("state"), code: "code" });
        const answer = await fetch(back, { redirect: "manual" });
        told.push(["redirect", answer.status, answer.headers.get("location")]);
      },
    })),
  );
}

async function mails() {
  const carl = await signedIn("carl");
  const users = carl.collection(people);
  await tell("verification of nobody", () => users.requestVerification("nobody@example.com"));
  await tell("verification", () => users.requestVerification(address("carl")));
  const verification = await mailed(/confirm-verification\/([\w.-]+)/);
  await tell("wrong verification", () => users.confirmVerification("a.b.c"));
  await tell("verified", () => users.confirmVerification(verification));
  await tell("record once verified", () => users.getOne(carl.authStore.record.id));
  await tell("other address without a session", () => client().collection(people).requestEmailChange(address("cora")));
  await tell("other address", () => users.requestEmailChange(address("cora")));
  const change = await mailed(/confirm-email-change\/([\w.-]+)/);
  await tell("other address, wrong password", () => users.confirmEmailChange(change, "wrong"));
  await tell("other address confirmed", () => users.confirmEmailChange(change, password));
  await tell("refresh after another address", () => users.authRefresh());
  await tell("sign in at the other address", () => users.authWithPassword(address("cora"), password));
  await tell("reset for nobody", () => users.requestPasswordReset("nobody@example.com"));
  await tell("reset", () => users.requestPasswordReset(address("cora")));
  const reset = await mailed(/confirm-password-reset\/([\w.-]+)/);
  await tell("reset with two words", () => users.confirmPasswordReset(reset, "another-horse", "other-horse"));
  await tell("reset confirmed", () => users.confirmPasswordReset(reset, "another-horse", "another-horse"));
  await tell("refresh after a reset", () => users.authRefresh());
  await tell("old password", () => users.authWithPassword(address("cora"), password));
  await tell("new password", () => users.authWithPassword(address("cora"), "another-horse"));
  await tell("own end", () => users.delete(carl.authStore.record.id));
  await tell("refresh after the end", () => users.authRefresh());
}

async function writes() {
  const ann = await signedIn("ann");
  const records = ann.collection(posts);
  const owner = ann.authStore.record.id;
  const labels = [];
  for (const name of ["red", "blue"]) labels.push((await tell("label", () => ann.collection(tags).create({ name }))).id);
  const made = await tell("json", () => records.create({ title: "a", n: 1.5, b: true, j: { a: [1, null, "x"] }, s: ["a", "b"], owner, tags: labels }));
  await tell("less", () => records.update(made.id, { "n-": 5, "s-": "a", "tags-": labels[0] }));
  await tell("more", () => records.update(made.id, { "n+": 0.5, "s+": "1", "+tags": labels[0] }));
  await tell("files among fields", () => records.create({ title: "12", n: "5", j: { a: 1 }, s: ["a", "b"], f: [file("one", "one.txt"), file("two", "two.png")], owner }));
  await tell("form", async () => {
    const data = form(["title", "007"], ["n", "7"], ["b", "true"], ["s", "a"], ["s", "1"], ["j", '{"k":1}'], ["owner", owner]);
    data.append("f", file("x", 'my "x".txt'));
    data.append("@jsonPayload", '{"e":"a@b.co"}');
    return records.create(data);
  });
  const more = await tell("more files", () => records.update(made.id, { "f+": [file("one", "one.txt"), file("two", "two.txt")] }));
  await tell("fewer files", () => records.update(made.id, { "f-": [more.f[0]] }));
  await tell("query beside files", () => records.create({ title: "q", owner, f: file("1", "one.txt") }, { fields: "title,f", expand: "owner" }));
  await tell("too many files", () => records.create({ owner, f: Array.from({ length: 6 }, (_, at) => file("x", `abc${at}.txt`)) }));
  await tell("unknown choice", () => records.create({ owner, s: ["unknown"] }));
  await tell("another's", () => client().collection(posts).update(made.id, { title: "stolen" }));
  await tell("for another", () => records.create({ title: "x", owner: "nobodynobody000" }));
  await tell("unknown record", () => records.update("nobodynobody000", { title: "x" }));
  await tell("unknown collection", () => ann.collection(`nope_${suffix}`).create({}));
  await tell("delete", () => records.delete((made.id)));
  await tell("delete again", () => records.delete(made.id));
  await tell("batch", async () => {
    const batch = ann.createBatch();
    const items = batch.collection(posts);
    items.create({ title: "b1", owner, f: file("1", "one.txt"), j: { x: 1 } });
    items.upsert({ id: `${suffix}`.padEnd(15, "q"), owner, title: "b2", n: 3 });
    items.create(form(["title", "b3"], ["n", "4"], ["owner", owner], ["f", file("9", "nine.txt")]), { fields: "title,n,f" });
    items.update(`${suffix}`.padEnd(15, "q"), { "n+": 1, f: [file("m", "mix.txt")] });
    items.delete(`${suffix}`.padEnd(15, "q"));
    return batch.send();
  });
  await tell("batch that fails", async () => {
    const batch = ann.createBatch();
    batch.collection(posts).create({ title: "fine", owner });
    batch.collection(posts).create({ s: ["unknown"], owner });
    return batch.send();
  });
  await tell("empty batch", () => ann.createBatch().send());
}

async function reads() {
  const ann = await signedIn("ann");
  for (const who of [ann, client(), client("garbage")]) {
    for (const time of ["first", "again", "once more"]) {
      const records = who.collection(posts);
      const ask = (what, question) => tell(`${what}, ${time}`, question);
      await ask("list", () => records.getList());
      await ask("page", () => records.getList(2, 2, { sort: "-title,id", filter: who.filter("n >= {:n}", { n: 1 }), expand: "owner,tags", fields: "title,expand.owner.name" }));
      await ask("no totals", () => records.getList(1, 3, { skipTotal: true, sort: "title" }));
      await ask("wrong filter", () => records.getList(1, 3, { filter: "nope = 1" }));
      await ask("full list", () => records.getFullList({ batch: 2, sort: "title" }));
      await ask("first item", async () => (await records.getFirstListItem('title = "007"', { expand: "owner" })).title);
      await ask("no first item", () => records.getFirstListItem('title = "none"'));
      const { id } = (await records.getList(1, 1, { sort: "title", requestKey: null })).items[0] ?? { id: "nobodynobody000" };
      await ask("one", () => records.getOne(id, { expand: "owner,tags" }));
      await ask("none", () => records.getOne("nobodynobody000"));
      await ask("nothing", () => records.getOne(""));
      await ask("people", () => who.collection(people).getList(1, 5, { sort: "name" }));
    }
  }
  await tell("unknown collection", () => ann.collection(`nope_${suffix}`).getList());
  await tell("unknown path", () => ann.send("/api/nope", { method: "GET" }));
  await tell("own header", () => ann.collection(posts).getList(1, 1, { headers: { "X-Tenant": "x" }, fields: "title", sort: "title" }));
}

async function files() {
  const ann = await signedIn("ann");
  const made = await ann.collection(posts).create({ title: "files", owner: ann.authStore.record.id, picture: picture(), secret: file("hush", "secret.txt"), f: file("0123456789", "digits.txt") });
  const token = await tell("token for files", () => ann.files.getToken());
  await tell("token for a guest", () => client().files.getToken());
  const get = async (what, name, query, options = {}) => {
    const target = ann.files.getURL(made, name, query);
    told.push([`${what}: url`, target]);
    for (const time of ["first", "again", "once more"]) {
      const answer = await fetch(target, { ...options, headers: { ...options.headers, ...own(target) } });
      const body = Buffer.from(await answer.arrayBuffer()).toString("base64");
      const headers = ["content-type", "content-disposition", "content-range", "content-security-policy", "accept-ranges", "content-length"];
      told.push([`${what}, ${time}`, answer.status, Object.fromEntries(headers.map((header) => [header, answer.headers.get(header)])), body]);
    }
  };
  await get("file", made.f[0]);
  await get("download", made.f[0], { download: true });
  await get("part", made.f[0], {}, { headers: { Range: "bytes=2-4" } });
  await get("head", made.f[0], {}, { method: "HEAD" });
  await get("picture", made.picture);
  await get("thumb", made.picture, { thumb: "1x1" });
  await get("undeclared thumb", made.picture, { thumb: "7x7" });
  await get("secret without a token", made.secret);
  await get("secret", made.secret, { token });
  await get("secret with a wrong token", made.secret, { token: "a.b.c" });
  await get("no such file", "none_0123456789.txt");
  told.push(["no name", ann.files.getURL(made, "")]);
}

async function events() {
  const [ann, guest] = [await signedIn("ann"), client()];
  const records = ann.collection(posts);
  const owner = ann.authStore.record.id;
  const heard = [];
  let wake = () => {};
  const hear = (name) => (event) => {
    heard.push([name, event]);
    wake();
  };
  const hears = async (number) => {
    while (heard.length < number) await within(10, `event ${number} of ${JSON.stringify(heard)}`, new Promise((resolve) => (wake = resolve)));
    const now = heard.splice(0).sort(([one], [other]) => (one < other ? -1 : 1));
    told.push(["heard", now]);
  };
  const made = await records.create({ title: "to be heard", owner });
  await records.subscribe("*", hear("all"), { expand: "owner", fields: "title,expand.owner.name", filter: 'title != "quiet"' });
  const leave = await records.subscribe(made.id, hear("one"), { headers: { "X-Tenant": "x" } });
  await guest.collection(posts).subscribe("*", hear("guest"));
  await guest.collection(tags).subscribe("*", hear("open"));
  const label = await ann.collection(tags).create({ name: "loud" });
  await hears(1);
  await records.update(made.id, { title: "changed" });
  await hears(2);
  await leave();
  await records.update(made.id, { title: "quiet" });
  await records.update(made.id, { title: "again" });
  await hears(1);
  await records.delete(made.id);
  await hears(1);
  await records.unsubscribe();
  await records.create({ title: "unheard", owner });
  await ann.collection(tags).delete(label.id);
  await hears(1);
  told.push(["still connected", ann.realtime.isConnected, guest.realtime.isConnected]);
  await guest.realtime.unsubscribeByPrefix(tags);
  await guest.realtime.unsubscribe();
  told.push(["connected", ann.realtime.isConnected, guest.realtime.isConnected]);
}

async function cancelling() {
  const ann = await signedIn("ann");
  ann.autoCancellation(true);
  const records = ann.collection(posts);
  const outcome = (promise) => promise.then((answer) => answer.page, (error) => ({ status: error.status, isAbort: error.isAbort }));
  told.push(["the same twice", await Promise.all([outcome(records.getList(1, 1)), outcome(records.getList(1, 2))])]);
  told.push(["with keys", await Promise.all([outcome(records.getList(1, 1, { requestKey: "one" })), outcome(records.getList(1, 1, { requestKey: "two" })), outcome(records.getList(1, 1, { requestKey: null }))])]);
  const cancelled = outcome(records.getList(1, 1, { requestKey: "mine" }));
  ann.cancelRequest("mine");
  const all = [outcome(records.getList(1, 1, { requestKey: "a" })), outcome(records.getList(1, 1, { requestKey: "b" }))];
  ann.cancelAllRequests();
  const stop = new AbortController();
  const stopped = outcome(records.getList(1, 1, { requestKey: null, signal: stop.signal }));
  stop.abort();
  told.push(["cancelled", await cancelled, await Promise.all(all), await stopped]);
  await tell("afterwards", () => records.getList(1, 1, { fields: "title", sort: "title" }));
}

async function closed() {
  const ann = await signedIn("ann");
  const status = (promise) => promise.then(() => 200, (error) => error.status);
  console.log(JSON.stringify({
    impersonate: await status(ann.collection(people).impersonate(ann.authStore.record.id, 60)),
    listExternalAuths: await status(ann.collection(people).listExternalAuths(ann.authStore.record.id)),
    superuser: await status(client().collection("_superusers").authWithPassword("nobody@example.com", password)),
    collections: await status(ann.collections.getList()),
    settings: await status(ann.settings.getAll()),
  }));
}

for (const part of [accounts, codes, providers, mails, writes, reads, files, events, cancelling]) await part();
console.log(JSON.stringify(told));
await closed();
process.exit(0);
