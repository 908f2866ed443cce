//! Proofs of possession: the checks of RFC 9449 §4.3, one by one, and the way from a token to a caller.

mod common;

use accredit_identity::caller::{Caller, CallerError};
use accredit_identity::dpop::{
    DpopError, PROOF_AGE_MS_MAX, ProofId, ProvedRequest, ProvenPossession, mint_proof, verify_proof,
};
use accredit_identity::jws::JwsError;
use accredit_identity::key::{KeyError, SigningKey};
use accredit_identity::time::Timestamp;
use accredit_identity::token;
use common::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const URL: &str = "https://gateway.accredit.example/u/github/issues";
const TOKEN: &str = "the text of an access token";
/// Base64url of the SHA-256 of [`TOKEN`].
fn ath() -> String {
    b64(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, TOKEN.as_bytes()))
}

const REQUEST: ProvedRequest<'_> =
    ProvedRequest { method: "POST", url: URL, access_token: Some(TOKEN), key: None };

fn header(key: &SigningKey) -> Value {
    json!({ "typ": "dpop+jwt", "alg": key.public().algorithm().as_str(), "jwk": jwk(key.public()) })
}

fn good_claims() -> Value {
    json!({ "jti": "-BwC3ESc6acc2lTc", "htm": "POST", "htu": URL, "iat": NOW_S, "ath": ath() })
}

fn verified(proof: &str, request: &ProvedRequest<'_>) -> Result<ProvenPossession, DpopError> {
    verify_proof(proof, request, NOW, |_| true)
}

fn check(proof: &str, expected: Result<(), DpopError>) {
    assert_eq!(verified(proof, &REQUEST).map(|_| ()), expected, "{proof}");
}

fn check_claim(member: &str, value: Value, expected: Result<(), DpopError>) {
    let key = es256();
    check(&forge(header(&key).to_string(), with(&good_claims(), member, value).to_string(), &key), expected);
}

fn check_header(member: &str, value: Value, expected: impl Into<DpopError>) {
    let key = es256();
    let header = with(&header(&key), member, value).to_string();
    check(&forge(header, good_claims().to_string(), &key), Err(expected.into()));
}

fn check_url(claimed: &str, actual: &str, same: bool) {
    let key = es256();
    let proof =
        forge(header(&key).to_string(), with(&good_claims(), "htu", json!(claimed)).to_string(), &key);
    let result = verified(&proof, &ProvedRequest { url: actual, ..REQUEST }).map(|_| ());
    assert_eq!(result, if same { Ok(()) } else { Err(DpopError::Url) }, "{claimed} {actual}");
}

// RFC 9449 §4.1, figure 2: made by somebody else
const RFC_9449_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

#[test]
fn the_proof_of_the_specification_is_accepted() {
    let request = ProvedRequest {
        method: "POST",
        url: "https://server.example.com/token",
        access_token: None,
        key: None,
    };
    let now = Timestamp::from_ms(1_562_262_616_000);
    let proven = verify_proof(RFC_9449_PROOF, &request, now, |_| true).expect("the example proof");
    assert_eq!(proven.key().to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

#[test]
fn what_was_minted_is_what_is_verified() {
    for key in [es256(), ed25519(), generated()] {
        let proof = mint_proof(&key, "POST", &format!("{URL}?page=2#top"), Some(TOKEN), NOW, [3; 16])
            .expect("a proof");
        let thumbprint = key.public().thumbprint();
        let request = ProvedRequest { key: Some(&thumbprint), ..REQUEST };
        assert_eq!(verified(&proof, &request).expect("a good proof").key(), &thumbprint);
    }
    check_claim("extra", json!({ "nonce": 1 }), Ok(()));
    check_claim("nonce", json!("unasked"), Ok(()));
}

// case: TOK-10
#[test]
fn each_required_member_is_required() {
    for member in ["jti", "htm", "htu", "iat"] {
        check_claim(member, Value::Null, Err(JwsError::Claims.into()));
    }
    check_claim("ath", Value::Null, Err(DpopError::AccessToken));
    check_header("alg", Value::Null, JwsError::Header);
    check_header("jwk", Value::Null, JwsError::Header);
    check_header("typ", Value::Null, JwsError::Type);
    for typ in ["JWT", "at+jwt", "DPOP+JWT"] {
        check_header("typ", json!(typ), JwsError::Type);
    }
    for alg in ["none", "RS256", "HS256", "ES384"] {
        check_header("alg", json!(alg), JwsError::Algorithm);
    }
    check_header("alg", json!("EdDSA"), JwsError::Algorithm);
    check_header("x5c", json!([]), JwsError::Header);
    for bad in ["", "a", "a.b.c", "Bearer x", &format!("{RFC_9449_PROOF}, {RFC_9449_PROOF}")] {
        check(bad, Err(JwsError::NotCompact.into()));
    }
}

// case: TOK-10
#[test]
fn a_proof_brings_a_public_key_and_its_signature() {
    let (key, other) = (es256(), generated());
    check(
        &forge(header(&key).to_string(), good_claims().to_string(), &other),
        Err(JwsError::Signature.into()),
    );
    let private = with(&jwk(key.public()), "d", json!("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"));
    check_header("jwk", private, JwsError::Key(KeyError::Private));
    check_header("jwk", json!({ "kty": "oct", "k": "c2VjcmV0" }), JwsError::Key(KeyError::Private));
    check_header("jwk", json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }), JwsError::Key(KeyError::Jwk));
    let off_curve = with(&jwk(key.public()), "y", jwk(key.public())["x"].clone());
    check_header("jwk", off_curve, JwsError::Key(KeyError::Invalid));
}

// case: TOK-10
#[test]
fn a_proof_is_for_one_method_and_url() {
    for method in ["GET", "post", "", "POST "] {
        check_claim("htm", json!(method), Err(DpopError::Method));
    }
    for same in [
        "https://gateway.accredit.example/u/github/issues?page=2",
        "https://gateway.accredit.example/u/github/issues#top",
        "HTTPS://Gateway.Accredit.EXAMPLE/u/github/issues",
        "https://gateway.accredit.example:443/u/github/issues",
        "https://gateway.accredit.example:/u/github/issues",
    ] {
        check_url(same, URL, true);
        check_url(URL, same, true);
    }
    for other in [
        "",
        "/u/github/issues",
        "http://gateway.accredit.example/u/github/issues",
        "https://gateway.accredit.example:8443/u/github/issues",
        "https://gateway.accredit.example:65979/u/github/issues",
        "https://gateway.accredit.example/u/github/Issues",
        "https://gateway.accredit.example/u/github/issues/",
        "https://gateway.accredit.example/u/github",
        "https://gateway.accredit.example.evil.test/u/github/issues",
        "https://user@gateway.accredit.example/u/github/issues",
        "https://gateway.accredit.example\\@evil.test/u/github/issues",
        "https://gateway.accredit.example/u/github/issues\n",
        "ftp://gateway.accredit.example/u/github/issues",
    ] {
        check_url(other, URL, false);
    }
    check_url("http://127.0.0.1:80", "http://127.0.0.1/", true);
    check_url("http://[::1]:7450/x", "http://[::1]:7450/x?y", true);
    check_url("http://[::1]/x", "http://[::1]:7450/x", false);
    let long = format!("https://a.example/{}", "x".repeat(2_048));
    check_url(&long, &long, false);
    check_url("not a URL", "not a URL", false);
}

// case: TOK-10, TOK-18
#[test]
fn a_proof_is_of_this_minute() {
    for seconds in [-60, -10, 0, 10, 60] {
        check_claim("iat", json!(NOW_S + seconds), Ok(()));
    }
    for seconds in [-3_600, -600, -61, 61, 600, 3_600] {
        check_claim("iat", json!(NOW_S + seconds), Err(DpopError::Age));
    }
    check_claim("iat", json!(i64::MIN), Err(JwsError::Claims.into()));
    check_claim("iat", json!("now"), Err(JwsError::Claims.into()));
    let key = es256();
    let proof = mint_proof(&key, "POST", URL, Some(TOKEN), NOW, [3; 16]).expect("a proof");
    let at = |ms| verify_proof(&proof, &REQUEST, NOW.plus_ms(ms), |_| true).is_ok();
    assert_eq!(
        [-PROOF_AGE_MS_MAX - 1, -PROOF_AGE_MS_MAX, PROOF_AGE_MS_MAX, PROOF_AGE_MS_MAX + 1].map(at),
        [false, true, true, false]
    );
}

// case: TOK-10
#[test]
fn a_proof_is_for_one_token_and_key() {
    let (key, other) = (es256(), generated());
    for bad in ["", &ath()[..42], &b64([0; 32]), TOKEN] {
        check_claim("ath", json!(bad), Err(DpopError::AccessToken));
    }
    let proof = forge(header(&key).to_string(), good_claims().to_string(), &key);
    let expected = other.public().thumbprint();
    let result = verified(&proof, &ProvedRequest { key: Some(&expected), ..REQUEST });
    assert_eq!(result.map(|_| ()), Err(DpopError::OtherKey));
}

// case: TOK-10, TOK-11
#[test]
fn a_proof_is_used_once() {
    let key = es256();
    let mut used = BTreeSet::new();
    let mut attempt = |claims: &Value, key: &SigningKey| {
        let proof = forge(header(key).to_string(), claims.to_string(), key);
        verify_proof(&proof, &REQUEST, NOW, |id: &ProofId| used.insert(*id.as_bytes())).map(|_| ())
    };
    assert_eq!(attempt(&good_claims(), &key), Ok(()));
    assert_eq!(attempt(&good_claims(), &key), Err(DpopError::Replayed));
    assert_eq!(attempt(&with(&good_claims(), "iat", json!(NOW_S + 1)), &key), Err(DpopError::Replayed));
    assert_eq!(attempt(&good_claims(), &ed25519()), Ok(()), "another agent's `jti` is another one");
    for jti in ["", &"x".repeat(256)] {
        check_claim("jti", json!(jti), Err(DpopError::Id));
    }
}

// case: TOK-11
#[test]
fn a_refused_proof_is_not_remembered_and_a_good_one_long_enough() {
    let key = es256();
    let proof = mint_proof(&key, "POST", URL, Some(TOKEN), NOW, [3; 16]).expect("a proof");
    let wrong = ProvedRequest { method: "GET", ..REQUEST };
    assert!(verify_proof(&proof, &wrong, NOW, |_| panic!("asked about a refused proof")).is_err());
    let mut until = None;
    let fresh = |id: &ProofId| {
        until = Some(id.remember_until());
        true
    };
    verify_proof(&proof, &REQUEST, NOW, fresh).expect("a good proof");
    let forgotten = until.expect("it was asked");
    assert_eq!(verify_proof(&proof, &REQUEST, forgotten, |_| true).map(|_| ()), Err(DpopError::Age));
}

// case: TOK-10, TOK-16
#[test]
fn a_caller_holds_the_key_of_the_token_that_the_proof_is_for() {
    let (signer, holder, thief) = (es256(), generated(), generated());
    let text = minted(&holder, &signer);
    let verified_token = || token::verify(&text, &key_set(&signer), &EXPECTED, NOW).expect("a good token");
    let possession = |key: &SigningKey, access_token: Option<&str>| {
        let proof = mint_proof(key, "POST", URL, access_token, NOW, [3; 16]).expect("a proof");
        verify_proof(&proof, &ProvedRequest { access_token, ..REQUEST }, NOW, |_| true).expect("a good proof")
    };
    let caller = Caller::from_token(verified_token(), &possession(&holder, Some(&text))).expect("a caller");
    assert_eq!(caller.spiffe_id(), &agent());
    assert_eq!(caller.tenant().as_str(), "acme");
    assert_eq!(caller.agent().as_str(), "invoice-agent");
    assert_eq!(caller.instance(), &instance());
    assert_eq!(caller.key(), &holder.public().thumbprint());
    assert_eq!(caller.token_expires_at(), NOW.plus_ms(300_000));
    assert!(!caller.is_unattested());

    let refused = |possession| Caller::from_token(verified_token(), &possession).expect_err("refused");
    assert_eq!(refused(possession(&thief, Some(&text))), CallerError::OtherKey);
    assert_eq!(refused(possession(&holder, Some("another token"))), CallerError::OtherToken);
    assert_eq!(refused(possession(&holder, None)), CallerError::OtherToken);
}
