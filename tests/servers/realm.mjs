// npm's oidc-provider with the clients of infra/keycloak, and access tokens with the claims that Keycloak writes.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const entry = join(process.env.POCKETWIRE_NPM, "node_modules/oidc-provider/lib/index.js");
const { default: Provider } = await import(pathToFileURL(entry).href);

const [port, seconds] = process.argv.slice(2).map(Number);
const issuer = `http://127.0.0.1:${port}`;
const RESOURCE = "urn:chathub";

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const key = { ...privateKey.export({ format: "jwk" }), kid: "realm-key", alg: "RS256", use: "sig" };

function client(client_id) {
  return {
    client_id,
    token_endpoint_auth_method: "none",
    application_type: "native",
    redirect_uris: ["http://127.0.0.1/callback"],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
  };
}

function asKeycloakWrites(payload, name) {
  const roles = ["default-roles-chatserver", "offline_access", ...(name === "boss" ? ["admin"] : [])];
  return {
    ...payload,
    aud: [payload.aud, "account"],
    typ: "Bearer",
    azp: payload.client_id,
    sid: `session-of-${name}`,
    acr: "1",
    realm_access: { roles },
    resource_access: { account: { roles: ["manage-account"] } },
    email_verified: false,
    preferred_username: name,
  };
}

const provider = new Provider(issuer, {
  clients: ["ChatClient", "WebClient", "Stranger"].map(client),
  jwks: { keys: [key] },
  cookies: { keys: ["in tests"] },
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id }) }),
  issueRefreshToken: () => true,
  ttl: { AccessToken: seconds, IdToken: seconds, Interaction: 60, Session: 600, Grant: 600, RefreshToken: 600 },
  features: {
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: (_context, _resource, asking) => ({
        scope: "openid offline_access chat",
        audience: asking.clientId === "Stranger" ? "elsewhere" : "chathub",
        accessTokenTTL: seconds,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  formats: {
    customizers: {
      jwt(_context, token, parts) {
        parts.header = { ...parts.header, typ: "JWT" };
        parts.payload = asKeycloakWrites(parts.payload, token.accountId);
      },
    },
  },
});

createServer(provider.callback()).listen(port, "127.0.0.1");
