// The official SDK in headless Chromium: `authWithOAuth2()` opens a window, somebody signs in there, and the window closes
// itself. Prints what the SDK was told, where the window ended, and what the browser complained of there.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.env.POCKETWIRE_NPM, "index.js"));
const imported = async (name) => (await import(pathToFileURL(require.resolve(name)))).default;
const [chromium, puppeteer] = [await imported("@sparticuz/chromium"), await imported("puppeteer-core")];
const sdk = join(process.env.POCKETWIRE_NPM, "node_modules/pocketbase/dist/pocketbase.umd.js");
const [gateway, name] = process.argv.slice(2);

const page = `<!doctype html><script src="/sdk.js"></script><button id="go">go</button><script>
  const client = new PocketBase(${JSON.stringify(gateway)});
  document.getElementById("go").onclick = () => {
    window.told = client.collection("users").authWithOAuth2({ provider: "oidc" });
  };
</script>`;
const site = createServer((request, response) => {
  const isSdk = request.url === "/sdk.js";
  response.setHeader("content-type", isSdk ? "text/javascript" : "text/html");
  response.end(isSdk ? readFileSync(sdk) : page);
});
await new Promise((listening) => site.listen(0, "127.0.0.1", listening));

const browser = await puppeteer.launch({
  args: chromium.args,
  executablePath: await chromium.executablePath(),
  headless: "shell",
});
try {
  const [landed, complaints] = [[], []];
  const opener = await browser.newPage();
  await opener.goto(`http://127.0.0.1:${site.address().port}/`);
  const opened = new Promise((resolve) => opener.once("popup", resolve));
  await opener.click("#go");
  const popup = await opened;
  popup.on("framenavigated", (frame) => frame.url().includes("/auth/oauth2/") && landed.push(frame.url()));
  popup.on("console", (message) => {
    const isOurs = message.location().url?.startsWith(gateway);
    if (message.type() === "error" && isOurs) complaints.push(message.text());
  });
  const closed = new Promise((resolve) => popup.once("close", resolve));
  await popup.waitForSelector("input[name=login]");
  await popup.type("input[name=login]", name);
  await popup.type("input[name=password]", "any");
  await Promise.all([popup.waitForNavigation(), popup.click("button[type=submit]")]);
  await popup.click("button[type=submit]");
  const auth = await opener.evaluate(() => window.told);
  await closed;
  console.log(JSON.stringify({ auth, landed, complaints }));
} finally {
  await browser.close();
  site.close();
}
