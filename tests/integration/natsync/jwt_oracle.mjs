// What another implementation, npm @nats-io/jwt, makes of our tokens, and tokens of its own making for us to read.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.POCKETWIRE_NPM, "index.js"));
const jwt = require("@nats-io/jwt");
const { createAccount, createOperator, createUser } = require("@nats-io/nkeys");

const { tokens, creds } = JSON.parse(readFileSync(process.argv[2], "utf8"));

function decoded(token) {
  try {
    return jwt.decode(token);
  } catch (error) {
    return { refused: String(error.message ?? error) };
  }
}

async function made() {
  const [operator, account, signer, scoped, user] = [
    createOperator(),
    createAccount(),
    createAccount(),
    createAccount(),
    createUser(),
  ];
  const scope = jwt.newScopedSigner(scoped, "reader", { pub: { allow: ["a.{{name()}}"], deny: [] } });
  return {
    operator: await jwt.encodeOperator("o", operator, { system_account: account.getPublicKey() }),
    account: await jwt.encodeAccount("a", account, { signing_keys: [signer.getPublicKey(), scope] }, { signer: operator }),
    user: await jwt.encodeUser("u", user, account, { pub: { allow: ["a.>"], deny: [] } }, { signer }),
    activation: await jwt.encodeActivation("g", account, account, "stream", { subject: "a" }, { signer }),
  };
}

async function parsed(text) {
  const { jwt: token, key, aid } = await jwt.parseCreds(new TextEncoder().encode(text));
  return { token, key, account: aid };
}

console.log(JSON.stringify({ decoded: tokens.map(decoded), creds: await parsed(creds), made: await made() }));
