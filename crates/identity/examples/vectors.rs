//! Writes `vectors/identity/`: keeps every text that is there, verifies it anew, and signs the texts of new cases.
//!
//! The keys are the published examples of RFC 7515 and RFC 8032; they protect nothing.
#![allow(clippy::disallowed_methods, reason = "a chore that writes files; the crate itself does not")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::error::Error;
use std::path::Path;

use accredit_identity::key::{PublicKey, SigningKey};
use accredit_identity::time::Timestamp;
use accredit_identity::vectors::{Assertions, Case, KeyVector, Proofs, Thumbprints, Tokens, Verdict, write};
use common::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const METHOD: &str = "POST";
const URL: &str = "https://gateway.accredit.example/u/github/issues";
const ACCESS_TOKEN: &str = "an-access-token";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/identity");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("thumbprints.json"), write(&thumbprints()?.verified())?)?;
    let tokens =
        Tokens { cases: kept(&folder, "tokens.json", |file: Tokens| file.cases, tokens().cases), ..tokens() };
    std::fs::write(folder.join("tokens.json"), write(&tokens.verified())?)?;
    let proofs =
        Proofs { cases: kept(&folder, "proofs.json", |file: Proofs| file.cases, proofs().cases), ..proofs() };
    std::fs::write(folder.join("proofs.json"), write(&proofs.verified())?)?;
    let cases = kept(&folder, "assertions.json", |file: Assertions| file.cases, assertions().cases);
    std::fs::write(folder.join("assertions.json"), write(&Assertions { cases, ..assertions() }.verified())?)?;
    Ok(())
}

/// The wanted cases, each with the text that the file already has for it.
fn kept<T: DeserializeOwned>(
    folder: &Path,
    file: &str,
    cases: fn(T) -> Vec<Case>,
    wanted: Vec<Case>,
) -> Vec<Case> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    let present = serde_json::from_str(&text).map(cases).unwrap_or_default();
    let keep = |case: Case| present.iter().find(|known| known.name == case.name).cloned().unwrap_or(case);
    wanted.into_iter().map(keep).collect()
}

fn case(name: &str, text: String, now: Timestamp) -> Case {
    Case { name: name.to_owned(), text, now_ms: now, verdict: Verdict::Accepted }
}

fn thumbprints() -> Result<Thumbprints, Box<dyn Error>> {
    let rfc_9449 = r#"{"kty":"EC","crv":"P-256","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}"#;
    let key = |name: &str, jwk: &PublicKey| KeyVector {
        name: name.to_owned(),
        jwk: jwk.clone(),
        thumbprint: jwk.thumbprint(),
    };
    Ok(Thumbprints {
        about: "public keys and their thumbprints (RFC 7638)".to_owned(),
        keys: vec![
            key("RFC 9449 section 6.1", &PublicKey::parse(rfc_9449)?),
            key("RFC 8037 appendix A.3", ed25519().public()),
            key("RFC 7515 appendix A.3", es256().public()),
        ],
    })
}

fn tokens() -> Tokens {
    let (key, holder, other) = (es256(), ed25519(), generated());
    let (header, claims) = (wire_header(&key), wire_claims(&holder));
    let sign =
        |header: &Value, claims: &Value, key: &SigningKey| forge(header.to_string(), claims.to_string(), key);
    let claim = |member: &str, value| sign(&header, &with(&claims, member, value), &key);
    let head = |member: &str, value| sign(&with(&header, member, value), &claims, &key);
    let good = sign(&header, &claims, &key);
    let unsigned = format!("{}.{}.", b64(r#"{"alg":"none","typ":"at+jwt"}"#), b64(claims.to_string()));
    let twice = format!(r#"{{"aud":"https://other.example",{}"#, &claims.to_string()[1..]);
    Tokens {
        about: "task tokens (RFC 9068), verified at `now_ms` with 30 s of skew".to_owned(),
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        key: key.public().clone(),
        cases: vec![
            case("good", good.clone(), NOW),
            case("at the end of the skew", good.clone(), NOW.plus_ms(329_999)),
            case("after the skew", good.clone(), NOW.plus_ms(330_000)),
            case("at the begin of the skew", good.clone(), NOW.plus_ms(-30_000)),
            case("before the skew", good.clone(), NOW.plus_ms(-30_001)),
            case("alg none", unsigned, NOW),
            case("alg HS256", head("alg", json!("HS256")), NOW),
            case("unknown key", sign(&wire_header(&other), &claims, &other), NOW),
            case("another key under our name", sign(&header, &claims, &other), NOW),
            case("embedded jwk", head("jwk", jwk(other.public())), NOW),
            case("jku", head("jku", json!("https://attacker.example/keys")), NOW),
            case("crit", head("crit", json!(["b64"])), NOW),
            case("typ JWT", head("typ", json!("JWT")), NOW),
            case("other audience", claim("aud", json!("https://other.example")), NOW),
            case("audience in an array", claim("aud", json!([AUDIENCE])), NOW),
            case("other issuer", claim("iss", json!("https://attacker.example")), NOW),
            case("no exp", claim("exp", Value::Null), NOW),
            case("life of 15 minutes", claim("exp", json!(NOW_S + 900)), NOW),
            case("life of more than 15 minutes", claim("exp", json!(NOW_S + 901)), NOW),
            case("no cnf", claim("cnf", Value::Null), NOW),
            case("aud twice", forge(header.to_string(), twice, &key), NOW),
            case("padded base64", format!("{good}=="), NOW),
        ],
    }
}

fn proofs() -> Proofs {
    let (key, other) = (ed25519(), generated());
    let header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk(key.public()) });
    let ath = b64(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, ACCESS_TOKEN.as_bytes()));
    let claims = json!({ "jti": "-BwC3ESc6acc2lTc", "htm": METHOD, "htu": URL, "iat": NOW_S, "ath": ath });
    let sign =
        |header: &Value, claims: &Value, key: &SigningKey| forge(header.to_string(), claims.to_string(), key);
    let claim = |member: &str, value| sign(&header, &with(&claims, member, value), &key);
    let private = with(&jwk(key.public()), "d", json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"));
    let others = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(other.public()) });
    let good = sign(&header, &claims, &key);
    Proofs {
        about: "DPoP proofs (RFC 9449), each seen for the first time at `now_ms`".to_owned(),
        method: METHOD.to_owned(),
        url: URL.to_owned(),
        access_token: ACCESS_TOKEN.to_owned(),
        key: key.public().thumbprint(),
        cases: vec![
            case("good", good.clone(), NOW),
            case("60 s old", good.clone(), NOW.plus_ms(60_000)),
            case("more than 60 s old", good.clone(), NOW.plus_ms(60_001)),
            case("more than 60 s ahead", good, NOW.plus_ms(-60_001)),
            case("other method", claim("htm", json!("GET")), NOW),
            case("other URL", claim("htu", json!("https://gateway.accredit.example/u/github")), NOW),
            case("URL with query", claim("htu", json!(format!("{URL}?page=2"))), NOW),
            case(
                "URL with upper-case host and default port",
                claim("htu", json!("HTTPS://GATEWAY.accredit.example:443/u/github/issues")),
                NOW,
            ),
            case("extra claim", claim("extra", json!(1)), NOW),
            case("no jti", claim("jti", Value::Null), NOW),
            case("no ath", claim("ath", Value::Null), NOW),
            case("other token", claim("ath", json!(b64([0; 32]))), NOW),
            case("other key", sign(&others, &claims, &other), NOW),
            case("private key in jwk", sign(&with(&header, "jwk", private), &claims, &key), NOW),
            case("typ JWT", sign(&with(&header, "typ", json!("JWT")), &claims, &key), NOW),
        ],
    }
}

fn assertions() -> Assertions {
    let key = ed25519();
    let header =
        json!({ "typ": "client-authentication+jwt", "alg": "EdDSA", "kid": key.public().thumbprint() });
    let claims =
        json!({ "iss": AGENT, "sub": AGENT, "aud": ISSUER, "iat": NOW_S, "exp": NOW_S + 60, "jti": "a1" });
    let claim =
        |member: &str, value| forge(header.to_string(), with(&claims, member, value).to_string(), &key);
    let head =
        |member: &str, value| forge(with(&header, member, value).to_string(), claims.to_string(), &key);
    let good = forge(header.to_string(), claims.to_string(), &key);
    Assertions {
        about: "client assertions (RFC 7523, RFC 10070), each seen for the first time at `now_ms`".to_owned(),
        issuer: ISSUER.to_owned(),
        agent: agent(),
        key: key.public().clone(),
        cases: vec![
            case("good", good.clone(), NOW),
            case("typ JWT", head("typ", json!("JWT")), NOW),
            case("no kid", head("kid", Value::Null), NOW),
            case("typ at+jwt", head("typ", json!("at+jwt")), NOW),
            case("expired", good.clone(), NOW.plus_ms(60_000)),
            case("clock of the agent 60 s ahead", good.clone(), NOW.plus_ms(-60_000)),
            case("clock of the agent more than 60 s ahead", good, NOW.plus_ms(-60_001)),
            case("audience in an array", claim("aud", json!([ISSUER])), NOW),
            case("token endpoint as audience", claim("aud", json!("https://accredit.example/token")), NOW),
            case("no sub", claim("sub", Value::Null), NOW),
            case("other sub", claim("sub", json!(AGENT.replace("acme", "evil"))), NOW),
            case("more than 5 minutes of life", claim("exp", json!(NOW_S + 301)), NOW),
            case("no jti", claim("jti", Value::Null), NOW),
        ],
    }
}
