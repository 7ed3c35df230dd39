// A real OpenID Connect provider: `node oidc_provider.mjs PORT REDIRECT_URI ...`. Takes any name and password, asks for
// consent, and insists on PKCE with S256.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.env.POCKETWIRE_NPM, "index.js"));
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));

const [port, ...redirects] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "pocketwire",
      client_secret: "a-secret-of-the-provider-and-pocketbase",
      redirect_uris: redirects,
      response_types: ["code"],
      grant_types: ["authorization_code"],
      token_endpoint_auth_method: "client_secret_basic",
    },
  ],
  pkce: { required: () => true },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: id, email: `${id}@example.com`, email_verified: true }),
  }),
  cookies: { keys: ["of no importance here"] },
});

provider.listen(Number(port), "127.0.0.1");
