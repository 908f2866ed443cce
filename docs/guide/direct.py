"""Start a task and use it without `accredit run`: private_key_jwt, then DPoP for each request.

    pip install cryptography
    python3 direct.py AUTHORITY_URL GATEWAY_URL SPIFFE_ID KEY.pem RESOURCE PATH
"""

import base64, hashlib, json, secrets, sys, time, urllib.request
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(key):
    n = key.public_key().public_numbers()
    return {"crv": "P-256", "kty": "EC", "x": b64(n.x.to_bytes(32, "big")), "y": b64(n.y.to_bytes(32, "big"))}


def sign(key, header, claims):
    text = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "ES256", **header}, claims))
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def proof(key, method, url, token=None):
    """RFC 9449: for one request, to one URL without its query, and bound to the token."""
    claims = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url.split("?")[0], "iat": int(time.time())}
    if token:
        claims["ath"] = b64(hashlib.sha256(token.encode()).digest())
    return sign(key, {"typ": "dpop+jwt", "jwk": jwk(key)}, claims)


def call(method, url, fields, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **fields}, method=method)
    try:
        return urllib.request.urlopen(request).read()
    except urllib.error.HTTPError as refusal:  # a refusal says why and what to do
        return refusal.read()


authority, gateway, agent, key_file, resource, path = sys.argv[1:]
agent_key = serialization.load_pem_private_key(open(key_file, "rb").read(), None)
run_key = ec.generate_private_key(ec.SECP256R1())  # of this run alone: never written down

now = int(time.time())
assertion = sign(
    agent_key,
    {"typ": "client-authentication+jwt"},
    {"iss": agent, "sub": agent, "aud": authority, "iat": now, "exp": now + 60, "jti": secrets.token_urlsafe(16)},
)
started = json.loads(call("POST", f"{authority}/v1/tasks", {"DPoP": proof(run_key, "POST", f"{authority}/v1/tasks")}, {
    "client_assertion": assertion,
    "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    "purpose": "direct use",
    "boundary": [f"{resource}: GET"],
    "ttl_s": 600,
}))
if "token" not in started:
    sys.exit(json.dumps(started, indent=2))
token, task = started["token"]["access_token"], started["task"]["id"]  # five minutes; POST /v1/tasks/ID/token renews

url = f"{gateway}/u/{resource}{path}"
print(call("GET", url, {"Authorization": f"DPoP {token}", "DPoP": proof(run_key, "GET", url, token)}).decode())

url = f"{authority}/v1/tasks/{task}/end"
call("POST", url, {"Authorization": f"DPoP {token}", "DPoP": proof(run_key, "POST", url, token)}, {"outcome": "completed"})
