//! Task tokens: what is accepted, and everything that is not.

mod common;

use accredit_identity::jws::JwsError;
use accredit_identity::key::SigningKey;
use accredit_identity::key_set::{KeyId, KeySet, KeyState, TokenKey};
use accredit_identity::time::Timestamp;
use accredit_identity::token::{
    self, Actor, LIFETIME_MS_MAX, MintError, SKEW_MS, Subject, TokenError, VerifiedToken, verify,
    verify_bytes,
};
use aws_lc_rs::hmac;
use common::*;
use serde_json::{Value, json};

fn verified(text: &str, signer: &SigningKey, now: Timestamp) -> Result<VerifiedToken, TokenError> {
    verify(text, &key_set(signer), &EXPECTED, now)
}

fn check(text: &str, signer: &SigningKey, expected: impl Into<TokenError>) {
    let expected = expected.into();
    assert_eq!(verified(text, signer, NOW).map(|_| ()), Err(expected), "{text}");
}

/// A token with one claim changed, signed by the right key.
fn with_claim(member: &str, value: Value) -> (String, SigningKey) {
    let key = es256();
    let text =
        forge(wire_header(&key).to_string(), with(&wire_claims(&key), member, value).to_string(), &key);
    (text, key)
}

fn check_claim(member: &str, value: Value, expected: impl Into<TokenError>) {
    let (text, key) = with_claim(member, value);
    check(&text, &key, expected);
}

fn check_header(member: &str, value: Value, expected: impl Into<TokenError>) {
    let key = es256();
    let header = with(&wire_header(&key), member, value).to_string();
    check(&forge(header, wire_claims(&key).to_string(), &key), &key, expected);
}

#[test]
fn what_was_minted_is_what_is_verified() {
    let (signer, holder) = (generated(), generated());
    let mut claims = claims(&holder);
    let root = Actor { sub: Subject::parse("orchestrator").expect("a subject"), act: None };
    claims.actor = Some(Actor { sub: Subject::from(&agent()), act: Some(Box::new(root)) });
    let text = token::mint(claims.clone(), &signer, &KeyId::of(signer.public())).expect("a token");
    let token = verified(text.expose(), &signer, NOW).expect("a good token");
    assert_eq!(token.claims(), &claims);
    assert_eq!(token.tenant().as_str(), "acme");
    let forged = forge(wire_header(&signer).to_string(), wire_claims(&holder).to_string(), &signer);
    assert!(verified(&forged, &signer, NOW).is_ok(), "the tests below spoil a text that is good");
}

#[test]
fn nothing_is_minted_that_would_not_be_verified() {
    let key = es256();
    let mint = |claims, key: &SigningKey| token::mint(claims, key, &KeyId::of(key.public())).map(|_| ());
    assert_eq!(mint(claims(&key), &ed25519()), Err(MintError::Algorithm));
    for life_ms in [i64::MIN, -1, 0, 999, LIFETIME_MS_MAX + 1_000, i64::MAX] {
        let claims = token::TaskTokenClaims { expires_at: NOW.plus_ms(life_ms), ..claims(&key) };
        assert_eq!(mint(claims, &key), Err(MintError::Lifetime), "{life_ms}");
    }
    let large =
        token::TaskTokenClaims { authorization_details: vec![json!("x".repeat(8_192))], ..claims(&key) };
    assert_eq!(mint(large, &key), Err(MintError::TooLarge));
}

// case: TOK-01
#[test]
fn unsigned_tokens_are_refused() {
    let key = es256();
    for alg in ["none", "None", "nOnE", "", "es256", "ES256 ", "ES384", "RS256", "HS256"] {
        check_header("alg", json!(alg), JwsError::Algorithm);
    }
    check_header("alg", Value::Null, JwsError::Header);
    check_header("alg", json!(["ES256"]), JwsError::Header);
    let good = minted(&key, &key);
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    check(&format!("{signed}."), &key, JwsError::Signature);
    check(signed, &key, JwsError::NotCompact);
    check(&format!("{good}."), &key, JwsError::NotCompact);
    check(&format!("{good}="), &key, JwsError::NotCompact);
    check(&format!("{good}\n"), &key, JwsError::NotCompact);
    check(&format!(" {good}"), &key, JwsError::NotCompact);
    check(&format!("{signed}.{}", b64([0; 64])), &key, JwsError::Signature);
    check(&format!("{signed}.{}", &signature[..80]), &key, JwsError::Signature);
    let none = format!("{}.{}.", b64(r#"{"alg":"none","typ":"at+jwt"}"#), b64(wire_claims(&key).to_string()));
    check(&none, &key, JwsError::Signature);
}

// case: TOK-02
#[test]
fn a_public_key_is_no_shared_secret() {
    let key = es256();
    let public = key.public();
    let header = with(&wire_header(&key), "alg", json!("HS256")).to_string();
    let pem = public.to_pem();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, body).expect("base64");
    for secret in [pem.as_bytes(), &der, public.to_jwk().as_bytes()] {
        let signed = format!("{}.{}", b64(&header), b64(wire_claims(&key).to_string()));
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        // of the length of a MAC, and padded to the length of our signatures
        check(&format!("{signed}.{}", b64(mac.as_ref())), &key, JwsError::Signature);
        check(&format!("{signed}.{}", b64([mac.as_ref(), mac.as_ref()].concat())), &key, JwsError::Algorithm);
    }
}

// case: TOK-03
#[test]
fn a_token_brings_no_key_of_its_own() {
    let (key, attacker) = (es256(), generated());
    let header = with(&wire_header(&attacker), "jwk", jwk(attacker.public())).to_string();
    check(&forge(header, wire_claims(&key).to_string(), &attacker), &key, JwsError::Header);
    for member in ["x5c", "jku", "x5u", "x5t", "crit", "b64", "zip", "cty", "unknown"] {
        check_header(member, json!("https://attacker.example/keys"), JwsError::Header);
    }
    check_header("jwk", jwk(key.public()), JwsError::Header);
}

// case: TOK-04
#[test]
fn only_the_name_of_a_known_key_selects_one() {
    let (key, other) = (es256(), generated());
    let stranger = other.public().thumbprint().to_string();
    for kid in ["", "../../etc/passwd", "' OR 1=1", "|id", "*", &"a".repeat(1_000), &stranger] {
        check_header("kid", json!(kid), JwsError::UnknownKey);
    }
    check_header("kid", Value::Null, JwsError::UnknownKey);
    check_header("kid", json!("a".repeat(1_000_000)), JwsError::TooLong);
    check_header("kid", json!("a".repeat(3_000)), JwsError::TooLong);
    // the right name, the wrong key
    check(
        &forge(wire_header(&key).to_string(), wire_claims(&key).to_string(), &other),
        &key,
        JwsError::Signature,
    );
}

// case: TOK-05
#[test]
fn one_flipped_bit_is_refused() {
    let key = es256();
    let (good, keys) = (minted(&key, &key).into_bytes(), key_set(&key));
    assert!(verify_bytes(&good, &keys, &EXPECTED, NOW).is_ok());
    let mut state = 0x5eed_u64;
    for _ in 0..1_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bit = (state >> 33) as usize % (good.len() * 8);
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(verify_bytes(&flipped, &keys, &EXPECTED, NOW).is_err(), "bit {bit}");
    }
}

// case: TOK-05, TOK-13
#[test]
fn every_cut_and_every_byte_string_is_refused_without_panic() {
    let key = es256();
    let (good, keys) = (minted(&key, &key), key_set(&key));
    for end in 0..good.len() {
        assert!(verify_bytes(&good.as_bytes()[..end], &keys, &EXPECTED, NOW).is_err(), "{end}");
    }
    for byte in 0..=255_u8 {
        assert!(verify_bytes(&[byte; 200], &keys, &EXPECTED, NOW).is_err(), "{byte}");
    }
}

// case: TOK-06
#[test]
fn only_the_life_of_a_token_is_accepted() {
    check_claim("exp", Value::Null, JwsError::Claims);
    check_claim("exp", json!("soon"), JwsError::Claims);
    check_claim("exp", json!((NOW_S + 60) as f64 + 0.5), JwsError::Claims);
    check_claim("iat", Value::Null, JwsError::Claims);
    for exp in [i64::MIN, -1, 0, NOW_S - 1, NOW_S] {
        check_claim("exp", json!(exp), TokenError::Lifetime);
    }
    assert!(verified(&with_claim("exp", json!(NOW_S + 1)).0, &es256(), NOW).is_ok());
    let most = LIFETIME_MS_MAX / 1_000;
    assert!(verified(&with_claim("exp", json!(NOW_S + most)).0, &es256(), NOW).is_ok());
    for exp in [NOW_S + most + 1, NOW_S + 86_400 * 365, i64::MAX] {
        check_claim("exp", json!(exp), TokenError::Lifetime);
    }
    check_claim("exp", json!(u64::MAX), JwsError::Claims);
    check_claim("iat", json!(NOW_S + 31), TokenError::NotYetValid);
    check_claim("nbf", json!(NOW_S + 31), TokenError::NotYetValid);
    check_claim("nbf", json!(i64::MAX), JwsError::Claims);
    check_claim("iat", json!(NOW_S - most), TokenError::Lifetime);
}

// case: TOK-07
#[test]
fn only_a_token_for_us_alone_is_accepted() {
    check_claim("aud", Value::Null, JwsError::Claims);
    check_claim("aud", json!([AUDIENCE]), JwsError::Claims);
    check_claim("aud", json!([AUDIENCE, "https://other.example"]), JwsError::Claims);
    let (slash, prefix, upper) = (format!("{AUDIENCE}/"), &AUDIENCE[..10], AUDIENCE.to_uppercase());
    for aud in ["", "https://other.example", &slash, prefix, &upper, ISSUER] {
        check_claim("aud", json!(aud), TokenError::Audience);
    }
    check_claim("iss", Value::Null, JwsError::Claims);
    for iss in ["", "https://attacker.example", "https://accredit.example/", "HTTPS://accredit.example"] {
        check_claim("iss", json!(iss), TokenError::Issuer);
    }
}

#[test]
fn other_sorts_of_signed_texts_are_refused() {
    for typ in ["JWT", "AT+JWT", "application/at+jwt", "dpop+jwt", "client-authentication+jwt", ""] {
        check_header("typ", json!(typ), JwsError::Type);
    }
    check_header("typ", Value::Null, JwsError::Type);
}

#[test]
fn claims_are_of_their_type_or_refused() {
    for (member, bad) in [
        ("sub", json!("")),
        ("sub", json!("a\u{202e}b")),
        ("sub", json!("x".repeat(256))),
        ("client_id", json!("spiffe://accredit.example/acme/prod/agent")),
        ("client_id", json!("spiffe://accredit.example/../prod/agent/a")),
        ("task", json!("t_short")),
        ("instance", json!("agent-1")),
        ("attestation", json!("trusted")),
        ("jti", json!("1")),
        ("cnf", json!({})),
        ("cnf", json!({ "jkt": "short" })),
        ("cnf", json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "jku": "x" })),
        ("authorization_details", json!("all")),
    ] {
        check_claim(member, bad, JwsError::Claims);
        check_claim(member, Value::Null, JwsError::Claims);
    }
    let longest =
        (1..token::ACT_DEPTH_MAX).fold(json!({ "sub": "a" }), |act, _| json!({ "sub": "a", "act": act }));
    assert!(verified(&with_claim("act", longest.clone()).0, &es256(), NOW).is_ok());
    check_claim("act", json!({ "sub": "a", "act": longest }), JwsError::Claims);
}

// case: TOK-13
#[test]
fn a_key_that_occurs_twice_is_refused() {
    let key = es256();
    let (header, claims) = (wire_header(&key).to_string(), wire_claims(&key).to_string());
    let twice = |json: &str, member: &str| format!("{{{member},{}", &json[1..]);
    check(&forge(twice(&header, r#""alg":"none""#), &claims, &key), &key, JwsError::Header);
    check(&forge(&header, twice(&claims, r#""aud":"https://other.example""#), &key), &key, JwsError::Claims);
    check(&forge(&header, twice(&claims, r#""x":{"a":1,"\u0061":2}"#), &key), &key, JwsError::Claims);
    check(&forge(&header, format!("{claims}{claims}"), &key), &key, JwsError::Claims);
    check(&forge(&header, [0xff, 0xfe], &key), &key, JwsError::Claims);
}

// case: TOK-13
#[test]
fn hostile_sizes_are_refused_before_work_is_done() {
    let (key, keys) = (es256(), key_set(&es256()));
    let deep = format!("{{\"a\":{}", "[".repeat(1_400));
    let hostile = [
        ("a".repeat(100_000), JwsError::TooLong),
        (".".repeat(1_000_000), JwsError::TooLong),
        (".".repeat(8_000), JwsError::NotCompact),
        (forge(deep, wire_claims(&key).to_string(), &key), JwsError::Header),
        (forge(wire_header(&key).to_string(), "[".repeat(5_000), &key), JwsError::Claims),
    ];
    for (text, expected) in &hostile {
        check(text, &key, *expected);
    }
    // a hundred times a million dots within the time of a few signatures: nothing looks at them
    #[expect(clippy::disallowed_methods, reason = "the test measures; the code under test does not")]
    let begun = std::time::Instant::now();
    for _ in 0..100 {
        assert!(verify(&hostile[1].0, &keys, &EXPECTED, NOW).is_err());
    }
    #[expect(clippy::disallowed_methods, reason = "the test measures; the code under test does not")]
    let taken_ms = begun.elapsed().as_millis();
    assert!(taken_ms < 100, "{taken_ms} ms");
}

// case: TOK-17
#[test]
fn rotation_keeps_old_tokens_until_they_expire() {
    let (old, new) = (generated(), generated());
    let rotated_at = NOW.plus_ms(60_000);
    let long_ago = Timestamp::from_ms(0);
    let keys = |old_state| {
        let old = TokenKey { key: old.public().clone(), not_before: long_ago, state: old_state };
        KeySet::new([
            old,
            TokenKey { key: new.public().clone(), not_before: rotated_at, state: KeyState::Valid },
        ])
        .expect("two keys")
    };
    let before = keys(KeyState::Valid);
    let after = keys(KeyState::Retained { since: rotated_at });
    let revoked = keys(KeyState::Revoked);
    let (old_token, late) = (minted(&old, &old), NOW.plus_ms(299_000));
    assert!(verify(&old_token, &before, &EXPECTED, NOW).is_ok());
    assert!(verify(&old_token, &after, &EXPECTED, late).is_ok());
    assert_eq!(verify(&old_token, &revoked, &EXPECTED, late).map(|_| ()), Err(JwsError::UnknownKey.into()));

    let minted_late = |key: &SigningKey, at: Timestamp| {
        let claims = token::TaskTokenClaims { issued_at: at, expires_at: at.plus_ms(300_000), ..claims(key) };
        token::mint(claims, key, &KeyId::of(key.public())).expect("a token").expose().to_owned()
    };
    // the old key signs no more, the new one did not sign before its time
    let edge = rotated_at.plus_ms(SKEW_MS);
    assert!(verify(&minted_late(&old, edge), &after, &EXPECTED, edge).is_ok());
    let beyond = edge.plus_ms(1_000);
    let refused = Err(TokenError::KeyNotInUse);
    assert_eq!(verify(&minted_late(&old, beyond), &after, &EXPECTED, beyond).map(|_| ()), refused);
    assert_eq!(verify(&minted_late(&new, NOW), &after, &EXPECTED, NOW).map(|_| ()), refused);
    assert!(verify(&minted_late(&new, rotated_at), &after, &EXPECTED, rotated_at).is_ok());
    // a verifier that has not heard of the new key refuses; it never accepts unverified
    let stale = key_set(&old);
    let unknown = Err(TokenError::Jws(JwsError::UnknownKey));
    assert_eq!(verify(&minted_late(&new, rotated_at), &stale, &EXPECTED, rotated_at).map(|_| ()), unknown);
}

// case: TOK-17
#[test]
fn published_keys_are_the_ones_that_still_count() {
    let (key, next) = (es256(), generated());
    let token_key = |key: &SigningKey, state| TokenKey { key: key.public().clone(), not_before: NOW, state };
    let keys = KeySet::new([token_key(&key, KeyState::Valid), token_key(&next, KeyState::Revoked)])
        .expect("two keys");
    let jwks = keys.to_jwks();
    assert_eq!(jwks["keys"].as_array().map(Vec::len), Some(1));
    assert_eq!(jwks["keys"][0]["kid"], json!(key.public().thumbprint()));
    assert_eq!(jwks["keys"][0].get("d"), None);
    assert!(KeySet::new([token_key(&key, KeyState::Valid), token_key(&key, KeyState::Revoked)]).is_err());
    assert!(KeySet::new([token_key(&ed25519(), KeyState::Valid)]).is_err());
}

// case: TOK-18
#[test]
fn the_skew_is_exact_at_its_edges() {
    let key = es256();
    let text = minted(&key, &key);
    let expires_at = NOW.plus_ms(300_000);
    for (now, expected) in [
        (NOW.plus_ms(-90_000), Err(TokenError::NotYetValid)),
        (NOW.plus_ms(-SKEW_MS - 1), Err(TokenError::NotYetValid)),
        (NOW.plus_ms(-SKEW_MS), Ok(())),
        (expires_at.plus_ms(SKEW_MS - 1), Ok(())),
        (expires_at.plus_ms(SKEW_MS), Err(TokenError::Expired)),
        (expires_at.plus_ms(90_000), Err(TokenError::Expired)),
        (Timestamp::from_ms(i64::MAX), Err(TokenError::Expired)),
        (Timestamp::from_ms(i64::MIN), Err(TokenError::NotYetValid)),
    ] {
        assert_eq!(verified(&text, &key, now).map(|_| ()), expected, "{now}");
    }
}

// case: SEC-11
#[test]
fn a_refusal_does_not_repeat_the_token() {
    let key = es256();
    for text in ["secret-token-text", "c2VjcmV0.c2VjcmV0.c2VjcmV0"] {
        let error = verified(text, &key, NOW).expect_err("not a token");
        assert!(!format!("{error} {error:?}").contains(&text[..6]));
    }
}
