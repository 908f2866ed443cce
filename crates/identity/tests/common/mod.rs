//! Keys, claims and forged texts for the tests; signs with the library directly, not with the code under test.
#![allow(dead_code, reason = "each test file uses its part")]

use accredit_identity::agent::{AgentRegistration, Attestation, KeyOrigin, RegisteredKey};
use accredit_identity::id::{InstanceId, TaskId, TokenId};
use accredit_identity::key::{PublicKey, SigningKey};
use accredit_identity::key_set::{KeyId, KeySet, KeyState, TokenKey};
use accredit_identity::spiffe::SpiffeId;
use accredit_identity::time::Timestamp;
use accredit_identity::token::{self, Expected, Subject, TaskTokenClaims};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://accredit.example";
pub(crate) const AUDIENCE: &str = "https://gateway.accredit.example";
pub(crate) const EXPECTED: Expected<'_> = Expected { issuer: ISSUER, audience: AUDIENCE };
pub(crate) const AGENT: &str = "spiffe://accredit.example/acme/prod/agent/invoice-agent";
/// 2026-11-22T20:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_ms(1_795_377_600_000);
pub(crate) const NOW_S: i64 = NOW.as_ms() / 1_000;

/// The public example key of RFC 7515 appendix A.3.
pub(crate) fn es256() -> SigningKey {
    let (d, x, y) = (
        "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    );
    let before = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
    let mut der = base64::prelude::BASE64_STANDARD.decode(before).expect("the head of a PKCS#8 key");
    der.extend(b64d(d));
    der.extend([0xa1, 0x44, 0x03, 0x42, 0x00, 0x04]);
    der.extend(b64d(x));
    der.extend(b64d(y));
    SigningKey::from_pkcs8(&der).expect("a P-256 key")
}

/// The public example key of RFC 8032 §7.1, test 1.
pub(crate) fn ed25519() -> SigningKey {
    let mut der =
        vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    der.extend(b64d("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"));
    SigningKey::from_pkcs8(&der).expect("an Ed25519 key")
}

pub(crate) fn generated() -> SigningKey {
    SigningKey::generate().expect("randomness")
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn b64d(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// Signs any header and payload text at all.
pub(crate) fn forge(header: impl AsRef<str>, payload: impl AsRef<[u8]>, key: &SigningKey) -> String {
    let signed = format!("{}.{}", b64(header.as_ref()), b64(payload));
    format!("{signed}.{}", b64(raw_signature(signed.as_bytes(), key)))
}

pub(crate) fn raw_signature(message: &[u8], key: &SigningKey) -> Vec<u8> {
    let der = key.to_pkcs8().expect("a key that writes");
    match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der) {
        Ok(pair) => pair.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec(),
        Err(_) => Ed25519KeyPair::from_pkcs8(&der).expect("one of the two").sign(message).as_ref().to_vec(),
    }
}

pub(crate) fn jwk(key: &PublicKey) -> Value {
    serde_json::from_str(&key.to_jwk()).expect("JSON")
}

pub(crate) fn key_set(key: &SigningKey) -> KeySet {
    key_set_of(key, Timestamp::from_ms(0), KeyState::Valid)
}

pub(crate) fn key_set_of(key: &SigningKey, not_before: Timestamp, state: KeyState) -> KeySet {
    KeySet::new([TokenKey { key: key.public().clone(), not_before, state }]).expect("one key")
}

pub(crate) fn agent() -> SpiffeId {
    SpiffeId::parse(AGENT).expect("a SPIFFE ID")
}

pub(crate) fn instance() -> InstanceId {
    InstanceId::from_random([7; 16])
}

pub(crate) fn registration(key: &SigningKey) -> AgentRegistration {
    let key = RegisteredKey { key: key.public().clone(), origin: KeyOrigin::Registered };
    AgentRegistration { id: agent(), keys: vec![key], socket_uid: None }
}

/// Claims of a token for the holder of `holder`, issued `NOW`, good for five minutes.
pub(crate) fn claims(holder: &SigningKey) -> TaskTokenClaims {
    TaskTokenClaims {
        issuer: ISSUER.to_owned(),
        subject: Subject::parse("ana@example.com").expect("a subject"),
        audience: AUDIENCE.to_owned(),
        issued_at: NOW,
        expires_at: NOW.plus_ms(300_000),
        id: TokenId::from_random([1; 16]),
        agent: agent(),
        instance: instance(),
        attestation: Attestation::KeyProof,
        task: TaskId::from_random([2; 16]),
        actor: None,
        key: holder.public().thumbprint(),
        authorization_details: vec![json!({ "type": "accredit_task", "resource": "github" })],
    }
}

pub(crate) fn minted(holder: &SigningKey, signer: &SigningKey) -> String {
    token::mint(claims(holder), signer, &KeyId::of(signer.public())).expect("a token").expose().to_owned()
}

/// The claims of a good token as JSON, to be spoiled.
pub(crate) fn wire_claims(holder: &SigningKey) -> Value {
    let claims = claims(holder);
    json!({
        "iss": ISSUER, "sub": claims.subject, "aud": AUDIENCE, "iat": NOW_S, "exp": NOW_S + 300, "jti": claims.id,
        "client_id": AGENT, "instance": claims.instance, "attestation": "key_proof", "task": claims.task,
        "cnf": { "jkt": claims.key }, "authorization_details": [],
    })
}

/// The header of a good token.
pub(crate) fn wire_header(signer: &SigningKey) -> Value {
    json!({ "typ": "at+jwt", "alg": "ES256", "kid": signer.public().thumbprint() })
}

/// `base` with `member` set, or removed when `value` is null.
pub(crate) fn with(base: &Value, member: &str, value: Value) -> Value {
    let mut changed = base.clone();
    let members = changed.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(member);
    } else {
        members.insert(member.to_owned(), value);
    }
    changed
}
