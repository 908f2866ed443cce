//! Client assertions and the other ways in which an agent proves itself.

mod common;

use accredit_identity::agent::{AgentRegistration, Attestation, KeyOrigin, ProvenAgent, RegisteredKey};
use accredit_identity::assertion::{self, AssertionError, claimed_agent};
use accredit_identity::dpop::{ProofId, ProvedRequest, ProvenPossession, mint_proof, verify_proof};
use accredit_identity::jws::JwsError;
use accredit_identity::key::SigningKey;
use accredit_identity::peer::{PeerError, SocketPeer};
use common::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn header(key: &SigningKey) -> Value {
    json!({ "typ": "client-authentication+jwt", "alg": key.public().algorithm().as_str() })
}

fn good_claims() -> Value {
    json!({ "iss": AGENT, "sub": AGENT, "aud": ISSUER, "iat": NOW_S, "exp": NOW_S + 60, "jti": "a1" })
}

fn verified(text: &str, registration: &AgentRegistration) -> Result<ProvenAgent, AssertionError> {
    assertion::verify(text, registration, ISSUER, instance(), NOW, |_| true)
}

fn check(text: &str, expected: Result<(), AssertionError>) {
    assert_eq!(verified(text, &registration(&es256())).map(|_| ()), expected, "{text}");
}

fn check_claim(member: &str, value: Value, expected: Result<(), AssertionError>) {
    let key = es256();
    check(&forge(header(&key).to_string(), with(&good_claims(), member, value).to_string(), &key), expected);
}

fn check_header(member: &str, value: Value, expected: Result<(), AssertionError>) {
    let key = es256();
    check(&forge(with(&header(&key), member, value).to_string(), good_claims().to_string(), &key), expected);
}

fn possession(key: &SigningKey) -> ProvenPossession {
    let url = "https://accredit.example/token";
    let proof = mint_proof(key, "POST", url, None, NOW, [3; 16]).expect("a proof");
    let request = ProvedRequest { method: "POST", url, access_token: None, key: None };
    verify_proof(&proof, &request, NOW, |_| true).expect("a good proof")
}

#[test]
fn an_agent_proves_itself_with_its_key() {
    for key in [es256(), ed25519()] {
        let text = assertion::mint(&agent(), ISSUER, &key, NOW, [4; 16]).expect("an assertion");
        assert_eq!(claimed_agent(&text), Ok(agent()));
        let proven = verified(&text, &registration(&key)).expect("a good assertion");
        assert_eq!((proven.spiffe_id(), proven.instance()), (&agent(), &instance()));
        assert_eq!(proven.attestation(), Attestation::KeyProof);
        assert_eq!(proven.key(), &key.public().thumbprint());
        let run_key = generated();
        assert_eq!(proven.bound_to(&possession(&run_key)).key(), &run_key.public().thumbprint());
    }
}

#[test]
fn a_key_that_joined_is_told_apart() {
    let key = es256();
    let keys = vec![RegisteredKey { key: key.public().clone(), origin: KeyOrigin::Joined }];
    let text = assertion::mint(&agent(), ISSUER, &key, NOW, [4; 16]).expect("an assertion");
    let proven =
        verified(&text, &AgentRegistration { keys, ..registration(&key) }).expect("a good assertion");
    assert_eq!(proven.attestation(), Attestation::JoinedKey);
}

// case: TOK-07
#[test]
fn the_audience_is_the_issuer_alone() {
    for aud in [json!([ISSUER]), json!([ISSUER, "https://other.example"]), json!([]), Value::Null] {
        check_claim("aud", aud, Err(JwsError::Claims.into()));
    }
    for aud in
        ["https://accredit.example/token", "https://accredit.example/par", "https://accredit.example/", ""]
    {
        check_claim("aud", json!(aud), Err(AssertionError::Audience));
    }
}

// case: TOK-06, TOK-18
#[test]
fn an_assertion_is_of_this_minute() {
    for seconds in [-300, -1, 0] {
        check_claim("exp", json!(NOW_S + seconds), Err(AssertionError::Expired));
    }
    check_claim("exp", json!(NOW_S + 1), Ok(()));
    check_claim("exp", json!(NOW_S + 300), Ok(()));
    check_claim("exp", json!(NOW_S + 301), Err(AssertionError::Lifetime));
    check_claim("exp", json!(i64::MAX), Err(JwsError::Claims.into()));
    check_claim("exp", Value::Null, Err(JwsError::Claims.into()));
    for begins in ["iat", "nbf"] {
        check_claim(begins, json!(NOW_S + 8), Ok(()));
        check_claim(begins, json!(NOW_S + 60), Ok(()));
        check_claim(begins, json!(NOW_S + 61), Err(AssertionError::NotYetValid));
    }
    check_claim("iat", Value::Null, Ok(()));
}

#[test]
fn issuer_and_subject_are_the_agent() {
    for member in ["iss", "sub"] {
        check_claim(member, Value::Null, Err(JwsError::Claims.into()));
        let other_tenant = AGENT.replace("/acme/", "/evil/");
        for other in ["", "invoice-agent", &format!("{AGENT}2"), &AGENT.to_uppercase(), &other_tenant] {
            check_claim(member, json!(other), Err(AssertionError::Agent));
        }
    }
    for text in ["", "a.b.c", RUBBISH] {
        assert!(claimed_agent(text).is_err());
    }
}

const RUBBISH: &str = "eyJhbGciOiJFUzI1NiJ9.e30.AAAA";

// case: TOK-01, TOK-03
#[test]
fn the_header_is_one_that_is_allowed() {
    for typ in [json!("JWT"), json!("client-authentication+jwt"), Value::Null] {
        check_header("typ", typ, Ok(()));
    }
    for typ in ["at+jwt", "dpop+jwt", "jwt", ""] {
        check_header("typ", json!(typ), Err(JwsError::Type.into()));
    }
    for alg in ["none", "RS256", "PS256", "HS256"] {
        check_header("alg", json!(alg), Err(JwsError::Algorithm.into()));
    }
    for member in ["jwk", "x5c", "jku", "x5u", "crit"] {
        check_header(member, json!({}), Err(JwsError::Header.into()));
    }
}

// case: TOK-04
#[test]
fn one_registered_key_is_selected() {
    let (key, second, stranger) = (es256(), ed25519(), generated());
    let thumbprint = |key: &SigningKey| json!(key.public().thumbprint());
    check_header("kid", thumbprint(&key), Ok(()));
    check_header("kid", thumbprint(&stranger), Err(JwsError::UnknownKey.into()));
    check_header("kid", json!("../../etc/passwd"), Err(JwsError::UnknownKey.into()));
    let forged = forge(header(&key).to_string(), good_claims().to_string(), &stranger);
    check(&forged, Err(JwsError::Signature.into()));

    let mut two = registration(&key);
    two.keys.extend(registration(&second).keys);
    let unnamed = forge(header(&key).to_string(), good_claims().to_string(), &key);
    assert_eq!(verified(&unnamed, &two).map(|_| ()), Err(JwsError::UnknownKey.into()));
    let named = with(&header(&second), "kid", thumbprint(&second)).to_string();
    assert!(verified(&forge(named, good_claims().to_string(), &second), &two).is_ok());
    // named as one key's, signed and labelled as the other's
    let crossed = with(&header(&key), "kid", thumbprint(&second)).to_string();
    let crossed = verified(&forge(crossed, good_claims().to_string(), &key), &two).map(|_| ());
    assert_eq!(crossed, Err(JwsError::Algorithm.into()));
    two.keys.clear();
    assert_eq!(verified(&unnamed, &two).map(|_| ()), Err(JwsError::UnknownKey.into()));
}

// case: TOK-11
#[test]
fn an_assertion_is_used_once() {
    let key = es256();
    let mut used = BTreeSet::new();
    let text = forge(header(&key).to_string(), good_claims().to_string(), &key);
    let mut attempt = |text: &str| {
        let fresh = |id: &ProofId| used.insert(*id.as_bytes());
        assertion::verify(text, &registration(&key), ISSUER, instance(), NOW, fresh).map(|_| ())
    };
    assert_eq!(attempt(&text), Ok(()));
    assert_eq!(attempt(&text), Err(AssertionError::Replayed));
    let later = with(&good_claims(), "exp", json!(NOW_S + 120)).to_string();
    assert_eq!(attempt(&forge(header(&key).to_string(), later, &key)), Err(AssertionError::Replayed));
    check_claim("jti", Value::Null, Err(JwsError::Claims.into()));
    check_claim("jti", json!(""), Err(AssertionError::Id));
    check_claim("jti", json!("x".repeat(256)), Err(AssertionError::Id));
}

#[test]
fn a_socket_peer_is_the_registered_user_and_unattested() {
    let key = generated();
    let registered = |socket_uid| AgentRegistration { socket_uid, ..registration(&key) };
    let peer = || SocketPeer::observed(1_000, 1_000, 4_242, Some("/usr/bin/agent".into()));
    let prove = |socket_uid| {
        ProvenAgent::from_socket_peer(peer(), &possession(&key), &registered(socket_uid), instance())
    };
    let proven = prove(Some(1_000)).expect("the registered user");
    assert!(proven.attestation().is_unattested());
    assert_eq!(proven.key(), &key.public().thumbprint());
    assert_eq!(proven.peer(), Some(&peer()));
    assert_eq!(prove(Some(0)).map(|_| ()), Err(PeerError::OtherUser { uid: 1_000 }));
    assert_eq!(prove(None).map(|_| ()), Err(PeerError::NotRegistered));
}
