// An OpenID provider for tests. Whoever signs in is who they say, with any password, at acme.test; `mallory` has an address that
// nobody verified. `POST /emit` has it say something to Accredit later, signed with its own key or, if asked, with another.
//
//   node provider.mjs DIRECTORY_OF_PACKAGES PORT ACCREDIT_URL
import { createRequire } from "node:module";
import { createServer } from "node:http";

const [packages, port, accredit] = process.argv.slice(2);
const require = createRequire(`${packages}/`);
const { default: Provider } = require("oidc-provider");
const jose = require("jose");

const issuer = `http://localhost:${port}`;
const pair = await jose.generateKeyPair("RS256", { extractable: true });
const other = await jose.generateKeyPair("RS256", { extractable: true });
const jwk = { ...(await jose.exportJWK(pair.privateKey)), kid: "one", use: "sig", alg: "RS256" };

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "accredit",
      client_secret: "a secret: with % signs",
      redirect_uris: [`${accredit}/`],
      response_types: ["code"],
      grant_types: ["authorization_code"],
      backchannel_logout_uri: `${accredit}/v1/openid/backchannel-logout`,
      post_logout_redirect_uris: [`${accredit}/`],
    },
  ],
  jwks: { keys: [jwk] },
  cookies: { keys: ["for a test"] },
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  features: { backchannelLogout: { enabled: true } },
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id.split("~")[0]}@acme.test`, email_verified: id !== "mallory" }),
  }),
});

async function emit({ path, typ, claims, foreign, age }) {
  const token = await new jose.SignJWT({ jti: crypto.randomUUID(), ...claims })
    .setProtectedHeader({ alg: "RS256", kid: "one", typ })
    .setIssuer(issuer)
    .setAudience("accredit")
    .setIssuedAt(Math.floor(Date.now() / 1000) - (age ?? 0))
    .sign(foreign ? other.privateKey : pair.privateKey);
  const form = path.endsWith("/backchannel-logout");
  const answer = await fetch(`${accredit}${path}`, {
    method: "POST",
    headers: { "Content-Type": form ? "application/x-www-form-urlencoded" : "application/secevent+jwt" },
    body: form ? `logout_token=${token}` : token,
  });
  return answer.status;
}

const serve = provider.callback();
createServer(async (request, response) => {
  if (request.url !== "/emit") return serve(request, response);
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  response.end(String(await emit(JSON.parse(Buffer.concat(chunks).toString()))));
}).listen(Number(port), "localhost", () => console.log("ready"));
