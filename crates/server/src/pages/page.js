// Sign in, see what waits for a person, answer it. Nothing happens without a click. What comes from agents is made visible
// where it would hide something, and reaches the page through textContent alone.
"use strict";

const main = document.getElementById("main");
const who = document.getElementById("who");
const out = document.getElementById("out");
const signedIn = [...document.querySelectorAll("header .place"), out];
const SENTENCES = {
  call: "exactly this, once",
  operation: "this operation of this resource, for the rest of this task",
};
// Controls, formats, separators and what is no character: as escapes, like `accredit request show` prints them.
const HIDING = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0]|\\(?=u\{)/gu;

function inert(text) {
  return String(text).replace(HIDING, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
}

function say(text) {
  document.getElementById("said").textContent = text;
}

function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

function button(text, act) {
  const made = element("button", text);
  made.type = "button";
  made.addEventListener("click", async () => {
    made.disabled = true;
    say("");
    try {
      await act();
    } catch (failure) {
      say(failure.message);
    } finally {
      made.disabled = false;
    }
  });
  return made;
}

// The header tells the server that this page asks: no form and no other site can send it.
async function call(method, path, body) {
  const headers = { "Accredit-Page": "1" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin",
    cache: "no-store",
    redirect: "error",
  });
  const read = answer.status === 204 ? null : await answer.json();
  if (answer.ok) return read;
  const failure = new Error(`${read.title}: ${read.detail}. ${read.next_step ?? ""}`);
  failure.status = answer.status;
  throw failure;
}

// Bytes as they travel in JSON: base64url without padding.
function toBytes(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
}

function toText(bytes) {
  const plain = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return plain.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const known = (asked) => asked.passkeys.map((id) => ({ type: "public-key", id: toBytes(id) }));

// A passkey of whoever is signed in, used for what the challenge stands for.
async function usePasskey(asked) {
  if (!asked.passkeys.length) throw new Error("You have no passkey here. Register one first: Passkeys, at the top.");
  const { rawId, response } = await navigator.credentials.get({
    publicKey: {
      challenge: toBytes(asked.challenge),
      rpId: asked.host,
      allowCredentials: known(asked),
      userVerification: "required",
    },
  });
  return {
    id: toText(rawId),
    client_data: toText(response.clientDataJSON),
    authenticator_data: toText(response.authenticatorData),
    signature: toText(response.signature),
  };
}

// A new passkey on a device of theirs: ES256 or EdDSA, with no statement of which make the device is.
async function makePasskey(asked) {
  const { response } = await navigator.credentials.create({
    publicKey: {
      challenge: toBytes(asked.challenge),
      rp: { id: asked.host, name: "Accredit" },
      user: { id: toBytes(asked.handle), name: asked.operator, displayName: asked.operator },
      pubKeyCredParams: [-7, -8].map((alg) => ({ type: "public-key", alg })),
      excludeCredentials: known(asked),
      authenticatorSelection: { residentKey: "discouraged", userVerification: "required" },
      attestation: "none",
    },
  });
  return {
    client_data: toText(response.clientDataJSON),
    authenticator_data: toText(response.getAuthenticatorData()),
  };
}

function moment(text) {
  return text.replace("T", " ").replace(/\.\d+/, "").replace("Z", "");
}

function until(text) {
  let rest = Math.floor(Date.parse(text) / 1000) - Math.floor(Date.now() / 1000);
  if (rest < 0) return "over";
  const parts = [];
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
    if (rest >= length) parts.push(Math.floor(rest / length) + unit);
    rest %= length;
  }
  return "in " + (parts.slice(0, 2).join(" ") || "0s");
}

// The lines of `accredit request show`, in its words and in its order.
function lines(r) {
  const all = [["request", r.id], ["status", r.status], ["would do", r.summary]];
  const call = r.call;
  if (call) {
    all.push(["effect", `${call.effect} on ${call.resource} (${call.operation}), of ${call.owner}`]);
    if (call.body) {
      const kind = call.body.content_type ?? "";
      all.push(["body", `${call.body.bytes} bytes ${kind}, sha-256 keyed ${call.body.digest}`]);
      const shown = call.body.text ?? "(not text)";
      all.push(["", call.body.cut ? `${shown} … (cut)` : shown]);
    } else {
      all.push(["body", "none"]);
    }
  }
  const start = r.start;
  if (start) {
    all.push(["purpose", start.purpose]);
    for (const grant of start.usable) all.push(["may", grant]);
    for (const grant of start.delegable) all.push(["hand down", grant]);
    all.push(["lives", `${start.ttl_s} s`]);
  }
  const link = (l) => `${l.requested_by ? l.requested_by + " > " : ""}${l.agent} (${l.task}: ${l.purpose})`;
  all.push(["chain", [...r.chain].reverse().map(link).join(" > ")]);
  if (r.so_far) {
    const { uses, refused, on_resource, differs } = r.so_far;
    all.push(["so far", `${uses} uses, ${refused} refused, ${on_resource} of them here`]);
    for (const how of differs ?? []) all.push(["differs", how]);
  }
  const owner = r.kind === "call" ? "the owner of the resource" : "the owner of the agent";
  const approvers = r.terms.approvers.length ? r.terms.approvers.join(", ") : owner;
  all.push(["answered by", `${approvers}, ${r.terms.quorum} of them${r.terms.passkey ? ", with a passkey" : ""}`]);
  for (const yes of r.yes) {
    const why = yes.reason ? `: ${yes.reason}` : "";
    all.push(["yes", `${yes.by} ${moment(yes.at)}${yes.passkey ? " by passkey" : ""} (${SENTENCES[yes.scope]})${why}`]);
  }
  if (r.denied_by) all.push(["no", r.denied_by + (r.reason ? `: ${r.reason}` : "")]);
  if (r.scope && r.granted_until) all.push(["granted", `${SENTENCES[r.scope]}, until ${moment(r.granted_until)}`]);
  if (r.decision) all.push(["used by", r.decision]);
  all.push(["policies", r.policies.join(" ")], ["undo", r.undo ?? "not known"], ["digest", r.digest]);
  all.push(["asked", `${r.count}×, first ${moment(r.raised_at)}`]);
  if (r.status === "pending") {
    all.push(["expires", `${moment(r.expires_at)} (${until(r.expires_at)})`], ["unanswered", r.if_unanswered]);
  }
  return all;
}

function showSignIn(code) {
  main.replaceChildren(element("h1", "Sign in"));
  if (!code) {
    const { openid } = main.dataset;
    if (openid) main.append(...byProvider(openid));
    const link = "Make a link on the server's machine (accredit login --link) and open it here.";
    main.append(element("p", openid ? "Or: " + link : link));
    return;
  }
  const signIn = button("Sign in", async () => {
    // The code burns, so it need not stay in the address.
    history.replaceState(null, "", "/");
    await call("POST", "/v1/sessions/browser", { link_code: code });
    await show();
  });
  signIn.id = "sign-in";
  main.append(element("p", "This link signs you in once."), signIn);
}

// Through the OpenID provider, in the first of their roles or in another one.
function byProvider(host) {
  const label = element("label", "As ");
  const roles = element("select");
  roles.id = "role";
  for (const role of ["whatever I am first", "admin", "owner", "approver", "auditor"]) roles.append(element("option", role));
  label.append(roles);
  const go = button(`Sign in with ${host}`, async () => {
    const role = roles.selectedIndex ? { role: roles.value } : {};
    location.assign((await call("POST", "/v1/sessions/openid/begin", role)).address);
  });
  go.id = "by-provider";
  return [label, go];
}

// Whoever comes back from the provider has gone there from this browser, by a click.
async function comeBack(query) {
  history.replaceState(null, "", "/");
  const said = query.get("error");
  if (said) throw new Error(`The provider did not sign you in: ${inert(query.get("error_description") ?? said)}.`);
  const iss = query.has("iss") ? { iss: query.get("iss") } : {};
  await call("POST", "/v1/sessions/openid", { code: query.get("code") ?? "", state: query.get("state") ?? "", ...iss });
}

async function showTerminal() {
  const { session } = await call("GET", "/v1/whoami");
  const link = await call("POST", "/v1/links", { operator: session.operator, role: session.role });
  const line = element("pre", `accredit login '${location.origin}/#l=${link.code}'`);
  line.id = "login";
  main.replaceChildren(element("h1", "Sign in on a terminal"));
  main.append(element("p", "Once, within ten minutes, as who you are here:"), line);
}

async function showList() {
  const page = await call("GET", "/v1/requests?status=pending&limit=500");
  const list = element("ul");
  for (const request of page.items) {
    const link = element("a", inert(request.summary));
    link.href = "#r=" + encodeURIComponent(request.id);
    const item = element("li");
    item.append(link, element("div", `${inert(request.agent)}, asked ${request.count}×, expires ${until(request.expires_at)}`));
    list.append(item);
  }
  main.replaceChildren(element("h1", "Waiting for a person"));
  main.append(page.items.length ? list : element("p", "Nothing waits for a person."));
  main.append(button("Look again", show));
}

async function showRequest(id) {
  const path = "/v1/requests/" + encodeURIComponent(id);
  const request = await call("GET", path);
  const shown = element("dl");
  for (const [name, text] of lines(request)) shown.append(element("dt", name), element("dd", inert(text)));
  main.replaceChildren(element("h1", "A request"), shown);
  if (request.status !== "pending") return;
  const label = element("label", "Why (for a no: and what to do instead; the agent is told)");
  const reason = element("input");
  reason.id = "reason";
  reason.maxLength = 300;
  label.append(reason);
  const because = () => (reason.value.trim() ? { reason: reason.value.trim() } : {});
  const answered = async (what, body) => {
    const answer = await call("POST", `${path}/${what}`, { ...body, ...because() });
    await show();
    say(`The request is ${answer.status}.`);
  };
  main.append(label);
  for (const scope of request.terms.scopes) {
    // The digest of what is on the page: when something else is asked by now, the answer does not count.
    const exactly = { digest: request.digest, scope };
    const yes = button(`Yes${request.terms.passkey ? ", with a passkey" : ""}: ${SENTENCES[scope]}`, async () => {
      const passkey = request.terms.passkey && (await usePasskey(await call("POST", `${path}/challenge`, exactly)));
      await answered("approve", passkey ? { ...exactly, passkey } : exactly);
    });
    yes.id = "yes-" + scope;
    main.append(yes);
  }
  const no = button("No", () => answered("deny", {}));
  no.id = "no";
  main.append(no);
}

async function showPasskeys() {
  const { passkeys } = await call("GET", "/v1/passkeys");
  const list = element("ul");
  for (const passkey of passkeys) {
    const item = element("li", `${passkey.key}, registered ${moment(passkey.added_at)} `);
    item.append(
      button("Take away", async () => {
        await call("DELETE", "/v1/passkeys/" + encodeURIComponent(passkey.id));
        await show();
      }),
    );
    list.append(item);
  }
  const register = button("Register a passkey", async () => {
    const ask = () => call("POST", "/v1/passkeys/challenge");
    // One that is there vouches for the next.
    const voucher = passkeys.length ? { voucher: await usePasskey(await ask()) } : {};
    await call("POST", "/v1/passkeys", { ...(await makePasskey(await ask())), ...voucher });
    await show();
    say("The passkey is registered.");
  });
  register.id = "register";
  main.replaceChildren(element("h1", "Your passkeys"));
  main.append(passkeys.length ? list : element("p", "None yet."), register);
}

const PLACES = { passkeys: showPasskeys, terminal: showTerminal };

async function show() {
  const [what, value] = location.hash.slice(1).split("=");
  who.textContent = "";
  for (const part of signedIn) part.hidden = true;
  if (what === "l") return showSignIn(decodeURIComponent(value));
  try {
    const { session } = await call("GET", "/v1/whoami");
    who.textContent = `${session.operator} (${session.role})`;
    for (const part of signedIn) part.hidden = false;
    if (what === "r") await showRequest(decodeURIComponent(value));
    else await (PLACES[what] ?? showList)();
  } catch (failure) {
    if (failure.status === 401) return showSignIn();
    main.replaceChildren();
    say(failure.message);
  }
}

out.addEventListener("click", async () => {
  await call("DELETE", "/v1/sessions/current").catch((failure) => say(failure.message));
  await show();
});
window.addEventListener("hashchange", () => {
  say("");
  show();
});

const query = new URLSearchParams(location.search);
const back = query.has("state") ? comeBack(query) : Promise.resolve();
back.catch((failure) => failure).then(async (failure) => {
  await show();
  if (failure) say(failure.message);
});
