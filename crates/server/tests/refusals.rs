//! Every endpoint refuses whoever has not proved who they are. The exceptions are `open.txt`, which may only shrink.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::collections::BTreeSet;

use common::{Plane, Way};
use serde_json::{Value, json};

/// Headers that others have taken for a proof of who is asking.
const NO_PROOF: [(&str, &str); 12] = [
    ("x-forwarded-for", "127.0.0.1"),
    ("x-real-ip", "127.0.0.1"),
    ("forwarded", "for=127.0.0.1;proto=https"),
    ("x-client-ip", "127.0.0.1"),
    ("x-forwarded-user", "ana@corp"),
    ("x-remote-user", "ana@corp"),
    ("x-original-url", "/v1/health"),
    ("x-rewrite-url", "/v1/health"),
    ("x-http-method-override", "GET"),
    ("x-internal", "true"),
    ("router-key", "secret"),
    ("x-accredit-peer-uid", "0"),
];

/// Every method and path of the description, with something in the place of its parameters.
fn endpoints() -> Vec<(String, String, String)> {
    let description: Value = serde_json::from_str(&accredit_server::openapi_json()).unwrap();
    let mut all = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let mut concrete = path.clone();
            while let (Some(open), Some(close)) = (concrete.find('{'), concrete.find('}')) {
                concrete.replace_range(open..=close, "1");
            }
            all.push((method.to_uppercase(), path.clone(), concrete));
        }
    }
    all
}

/// A body that is well-formed, so that what refuses is not its form.
fn body(path: &str) -> Value {
    let code = |prefix: &str| format!("{prefix}{}", "A".repeat(43));
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    match path {
        "/v1/sessions" | "/v1/sessions/browser" => json!({ "link_code": code("accredit_link_") }),
        "/v1/join" => json!({ "token": code("accredit_join_"), "public_key": jwk }),
        "/v1/tasks" => json!({ "purpose": "x", "boundary": ["api: *"] }),
        "/v1/sessions/openid" => json!({ "code": "x", "state": "y" }),
        _ => json!({}),
    }
}

/// The same as it is sent, with its type: what providers send is no JSON.
fn sent(path: &str) -> (&'static str, Vec<u8>) {
    match path {
        "/v1/openid/backchannel-logout" => {
            ("application/x-www-form-urlencoded", b"logout_token=e30.e30.AAAA".to_vec())
        }
        "/v1/openid/events" => ("application/secevent+jwt", b"e30.e30.AAAA".to_vec()),
        _ => ("application/json", body(path).to_string().into_bytes()),
    }
}

// case: ADM-03
#[tokio::test]
async fn every_endpoint_refuses_whoever_has_not_proved_who_they_are() {
    let plane = Plane::start().await;
    let mut open = BTreeSet::new();
    for (method, pattern, path) in endpoints() {
        let (content_type, sent) = sent(&pattern);
        let wrong = [
            vec![],
            NO_PROOF.to_vec(),
            vec![("authorization", "Bearer accredit_session_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")],
            vec![("authorization", "Bearer "), ("cookie", "session=1")],
            vec![("authorization", "DPoP e30.e30.AAAA"), ("dpop", "e30.e30.AAAA")],
            vec![("authorization", "Basic YWRtaW46YWRtaW4=")],
        ];
        for mut headers in wrong {
            headers.extend([("content-type", content_type), ("accredit-page", "1")]);
            let answer = plane.send(Way::Tcp, &method, &path, &headers, sent.clone()).await;
            match answer.status {
                200 | 503 => _ = open.insert(format!("{method} {pattern}")),
                401 => {
                    answer.problem();
                    assert!(answer.headers.contains_key("www-authenticate"));
                }
                other => panic!("{method} {pattern} with {headers:?}: {other} {}", answer.text),
            }
        }
    }
    let listed: BTreeSet<_> = include_str!("open.txt").lines().map(str::to_owned).collect();
    assert_eq!(open, listed);
}

// case: ADM-03, SEC-19
#[tokio::test]
async fn what_is_open_names_nothing_of_anybody() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    plane.furnish(&admin, "canary-value-4711").await;
    plane.call(&admin, "GET", "/v1/agents/canary-agent", None).await.must(404);
    for line in include_str!("open.txt").lines() {
        let path = line.split(' ').nth(1).unwrap();
        let answer = plane.send(Way::Tcp, "GET", path, &[], Vec::new()).await.must(200);
        for name in [common::TENANT, "team:pay", "ana@corp", "canary", "https://api.example\"", "x-api-key\""]
        {
            assert!(!answer.text.contains(name), "{path} names {name}");
        }
    }
}

// case: ADM-03
#[tokio::test]
async fn methods_and_paths_that_are_not_there_are_refused_as_problems() {
    let plane = Plane::start().await;
    for (method, path, status) in [
        ("POST", "/", 405),
        ("GET", "/page.js?l=code", 400),
        ("GET", "/page", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/health/", 404),
        ("GET", "//v1/health", 404),
        ("GET", "/v1/../v1/whoami", 404),
        ("DELETE", "/v1/health", 405),
        ("TRACE", "/v1/whoami", 405),
        ("GET", "/v1/health?x=1", 400),
    ] {
        let answer = plane.send(Way::Tcp, method, path, &[], Vec::new()).await.must(status);
        answer.problem();
    }
}

// case: ADM-03
#[tokio::test]
async fn bodies_are_read_strictly() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let bearer = format!("Bearer {admin}");
    let json = "application/json";
    let long = format!("{{\"owner\":\"{}\"}}", "a".repeat(1024 * 1024));
    for (kind, body, status) in [
        (json, "{\"owner\":\"team:a\",\"x\":1}", 400),
        (json, "{\"owner\":\"team:a\"}{}", 400),
        (json, "{\"owner\":\"team:a\",\"owner\":\"team:b\"}", 400),
        (json, "{\"owner\":5}", 400),
        (json, "", 400),
        (json, "{\"owner\":\"Team A\"}", 400),
        (json, &long, 413),
        ("text/plain", "{\"owner\":\"team:a\"}", 415),
        ("application/x-www-form-urlencoded", "owner=team:a", 415),
    ] {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        let answer = plane.send(Way::Tcp, "POST", "/v1/owners", &headers, body.as_bytes().to_vec()).await;
        assert_eq!(answer.status, status, "{kind} {body:.60}: {}", answer.text);
        answer.problem();
    }
    for query in ["limit=0", "limit=501", "limit=x", "x=1", "limit=1&limit=2"] {
        plane.call(&admin, "GET", &format!("/v1/owners?{query}"), None).await.must(400).problem();
    }
}

#[tokio::test]
async fn what_is_not_yours_is_refused_in_the_words_for_what_is_not_there() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    for path in [
        "agents/NO",
        "agents/a%2fb",
        "agents/%00",
        "resources/..",
        "credentials/x%0a",
        "tasks/t_1",
        "requests/r_1",
        "why/x",
    ] {
        let answer = plane.call(&admin, "GET", &format!("/v1/{path}"), None).await.must(404);
        assert_eq!(answer.problem(), "not_found", "{path}");
    }
}
