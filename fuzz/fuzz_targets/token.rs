//! Tokens, proofs and assertions: any bytes are answered without a panic, as they come and signed by a key that is
//! known; whatever is accepted is for us, by us and in its time.

#![no_main]

use std::sync::LazyLock;

use accredit_identity::assertion;
use accredit_identity::dpop::{ProvedRequest, verify_proof};
use accredit_identity::key::SigningKey;
use accredit_identity::key_set::{KeyId, KeySet, KeyState, TokenKey};
use accredit_identity::time::Timestamp;
use accredit_identity::token::{Expected, verify_bytes};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;

const ISSUER: &str = "https://accredit.test";
const GATEWAY: &str = "https://gateway.accredit.test";
const NOW: Timestamp = Timestamp::from_ms(1_795_000_000_000);

struct Keys {
    signer: EcdsaKeyPair,
    id: String,
    known: KeySet,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let key = SigningKey::generate().expect("a key");
    let der = key.to_pkcs8().expect("its form");
    let public = key.public().clone();
    let id = KeyId::of(&public).to_string();
    let known = TokenKey { key: public, not_before: Timestamp::from_ms(0), state: KeyState::Valid };
    let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).expect("a P-256 key");
    Keys { signer, id, known: KeySet::new([known]).expect("one key") }
});

fn check(text: &[u8]) {
    let expected = Expected { issuer: ISSUER, audience: GATEWAY };
    if let Ok(token) = verify_bytes(text, &KEYS.known, &expected, NOW) {
        let claims = token.claims();
        assert_eq!((claims.issuer.as_str(), claims.audience.as_str()), (ISSUER, GATEWAY));
        assert!(claims.expires_at > claims.issued_at);
    }
    let Ok(text) = std::str::from_utf8(text) else { return };
    let request = ProvedRequest { method: "POST", url: GATEWAY, access_token: None, key: None };
    let _ = verify_proof(text, &request, NOW, |_| true);
    let _ = assertion::claimed_agent(text);
}

/// The same claims under a header and a signature that are in order, so that what is behind them is reached.
fn signed(claims: &[u8]) -> Vec<u8> {
    let header = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#, KEYS.id);
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let text = format!("{}.{}", encode(header.as_bytes()), encode(claims));
    let signature = KEYS.signer.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature");
    format!("{text}.{}", encode(signature.as_ref())).into_bytes()
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&signed(bytes));
});
