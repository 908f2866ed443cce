//! Signing in: links burn, sessions stay where they were made, failures are recorded and braked.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use common::{Plane, Way, own_uid};
use serde_json::json;

// case: AUD-17
#[tokio::test]
async fn a_link_signs_in_once_and_everything_about_it_is_recorded() {
    let plane = Plane::start().await;
    let code = plane.link("admin").await;
    let session = plane.post(Way::Tcp, "/v1/sessions", json!({ "link_code": code })).await.must(201).json();
    let token = session["token"].as_str().unwrap();
    assert_eq!(session["session"]["operator"], "ana@corp");
    plane.post(Way::Tcp, "/v1/sessions", json!({ "link_code": code })).await.must(401);
    plane.post(Way::Tcp, "/v1/sessions", json!({ "link_code": "guess" })).await.must(401);
    let who = plane.call(token, "GET", "/v1/whoami", None).await.must(200).json();
    assert_eq!(
        (who["tenant"].as_str(), who["session"]["role"].as_str()),
        (Some(common::TENANT), Some("admin"))
    );
    let kinds: Vec<_> = plane.entries(token).await.into_iter().map(|(kind, _)| kind).collect();
    let of = |kind: &str| kinds.iter().filter(|k| *k == kind).count();
    assert_eq!(of("operator.link_created"), 1);
    assert_eq!(of("operator.signed_in"), 1);
    assert_eq!(of("operator.sign_in_refused"), 2);
    plane.call(token, "DELETE", "/v1/sessions/current", None).await.must(204);
    plane.call(token, "GET", "/v1/whoami", None).await.must(401);
}

#[tokio::test]
async fn of_many_who_use_one_link_at_once_one_is_signed_in() {
    let plane = Plane::start().await;
    let code = plane.link("admin").await;
    let all = (0..20).map(|_| plane.post(Way::Socket, "/v1/sessions", json!({ "link_code": code })));
    let answers = futures_util::future::join_all(all).await;
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|a| a.status == 401).count(), 19);
}

#[tokio::test]
async fn a_session_works_only_the_way_it_was_made() {
    let plane = Plane::start().await;
    for (made, other) in [(Way::Socket, Way::Tcp), (Way::Tcp, Way::Socket)] {
        let token = plane.sign_in(made, "admin").await;
        plane.call_by(made, &token, "GET", "/v1/whoami", None).await.must(200);
        plane.call_by(other, &token, "GET", "/v1/whoami", None).await.must(401);
    }
}

// case: ADM-03
#[tokio::test]
async fn links_are_made_on_the_machine_or_by_somebody_signed_in() {
    let plane = Plane::start().await;
    plane.post(Way::Tcp, "/v1/links", json!({})).await.must(401);
    let local = plane.post(Way::Socket, "/v1/links", json!({})).await.must(201).json();
    assert_eq!(local["operator"], format!("uid-{}@localhost", own_uid()));
    plane.post(Way::Socket, "/v1/links", json!({ "operator": "team:pay" })).await.must(422);
    let other_user = Plane::start_as(own_uid() + 1).await;
    other_user.post(Way::Socket, "/v1/links", json!({})).await.must(401);
    let auditor = plane.sign_in(Way::Tcp, "auditor").await;
    plane.call(&auditor, "POST", "/v1/links", Some(json!({ "role": "admin" }))).await.must(403);
    plane.call(&auditor, "POST", "/v1/links", Some(json!({}))).await.must(201);
}

// case: AUD-17
#[tokio::test]
async fn an_auditor_reads_everything_and_changes_nothing_and_the_attempt_is_recorded() {
    let plane = Plane::start().await;
    let auditor = plane.sign_in(Way::Tcp, "auditor").await;
    plane.call(&auditor, "GET", "/v1/owners", None).await.must(200);
    let answer =
        plane.call(&auditor, "POST", "/v1/owners", Some(json!({ "owner": "team:a" }))).await.must(403);
    assert_eq!(answer.problem(), "role_may_not");
    let revoke = Some(json!({ "target": "all" }));
    plane.call(&auditor, "POST", "/v1/revoke", revoke).await.must(403);
    plane.call(&auditor, "POST", "/v1/vault/rotate", Some(json!({ "key": "dek" }))).await.must(403);
    let entries = plane.entries(&auditor).await;
    let refused = entries.iter().filter(|(kind, _)| kind == "operator.refused");
    let operations: Vec<_> =
        refused.map(|(_, fields)| fields["operation"].as_str().unwrap().to_owned()).collect();
    assert_eq!(operations, ["owner.add", "revoke", "vault.rotate"]);
}

// case: APR-09
#[tokio::test]
async fn a_browsers_session_counts_for_calls_of_our_own_page_alone() {
    let plane = Plane::start().await;
    let code = plane.link("approver").await;
    let body = json!({ "link_code": code }).to_string().into_bytes();
    let json = ("content-type", "application/json");
    let page = [("accredit-page", "1"), ("origin", common::ISSUER), ("sec-fetch-site", "same-origin")];
    let foreign: [&[(&str, &str)]; 7] = [
        &[],
        &page[1..],
        &[("accredit-page", "2")],
        &[page[0], ("origin", "https://evil.example")],
        &[page[0], ("origin", "null")],
        &[page[0], page[1], ("sec-fetch-site", "same-site")],
        &[page[0], page[1], ("sec-fetch-site", "cross-site")],
    ];
    // Neither to sign in, which would make somebody act under a name that is not theirs ...
    for headers in foreign {
        let headers = [&[json], headers].concat();
        let answer = plane.send(Way::Tcp, "POST", "/v1/sessions/browser", &headers, body.clone()).await;
        assert_eq!(answer.must(403).problem(), "foreign_page", "{headers:?}");
    }
    let headers = [&[json], &page[..]].concat();
    let made = plane.send(Way::Tcp, "POST", "/v1/sessions/browser", &headers, body).await.must(201);
    let cookie = made.headers["set-cookie"].clone();
    let attributes: Vec<_> = cookie.split("; ").skip(1).collect();
    assert_eq!(attributes, ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=43200", "Secure"]);
    let cookie = cookie.split(';').next().unwrap();
    assert!(cookie.starts_with("__Host-accredit=accredit_session_"), "{cookie}");
    assert!(!made.text.contains("accredit_session_"), "no script reads it");
    // ... nor to do anything.
    for headers in foreign {
        let headers = [&[json, ("cookie", cookie)], headers].concat();
        let answer = plane.send(Way::Tcp, "GET", "/v1/whoami", &headers, Vec::new()).await;
        assert_eq!(answer.must(403).problem(), "foreign_page", "{headers:?}");
    }
    let twice = format!("{cookie}; {cookie}");
    for (cookie, status) in [(cookie, 200), (twice.as_str(), 401), ("accredit=x", 401)] {
        let headers = [&[("cookie", cookie)], &page[..]].concat();
        plane.send(Way::Tcp, "GET", "/v1/whoami", &headers, Vec::new()).await.must(status);
    }
    let headers = [&[("cookie", cookie)], &page[..]].concat();
    plane.send(Way::Socket, "GET", "/v1/whoami", &headers, Vec::new()).await.must(401);
    let ended = plane.send(Way::Tcp, "DELETE", "/v1/sessions/current", &headers, Vec::new()).await.must(204);
    assert!(ended.headers["set-cookie"].starts_with("__Host-accredit=; "), "{:?}", ended.headers);
    plane.send(Way::Tcp, "GET", "/v1/whoami", &headers, Vec::new()).await.must(401);
}

#[tokio::test]
async fn the_page_is_kept_by_nobody_framed_by_nobody_and_runs_nothing_from_elsewhere() {
    let plane = Plane::start().await;
    for path in ["/", "/page.js", "/page.css", "/v1/health"] {
        let answer = plane.send(Way::Tcp, "GET", path, &[], Vec::new()).await.must(200);
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        let policy = &answer.headers["content-security-policy"];
        for part in
            ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "form-action 'none'"]
        {
            assert!(policy.contains(part) && !policy.contains("unsafe"), "{path}: {policy}");
        }
    }
}

/// Other ways to write a code, none of which is the code.
fn spellings(code: &str) -> Vec<String> {
    let digits = code.rsplit('_').next().unwrap();
    vec![
        code.to_uppercase(),
        format!(" {code}"),
        format!("{code} "),
        format!("{code}\n"),
        format!("{code}\u{a0}"),
        format!("{code}\u{200b}"),
        format!("{code}="),
        code.replacen('_', "\u{ff3f}", 1),
        code.replace('a', "\u{430}").replace('e', "\u{435}"),
        digits.to_owned(),
        String::new(),
    ]
}

// case: ADM-12
#[tokio::test]
async fn guesses_count_together_whatever_their_spelling_and_only_for_their_own_way_in() {
    let plane = Plane::start().await;
    let code = plane.link("admin").await;
    let key = accredit_identity::key::SigningKey::generate().unwrap().public().to_jwk();
    let guesses = spellings(&code).into_iter().cycle().take(30).enumerate();
    for (count, guess) in guesses {
        // Signing in and joining share the bound; who says to come from elsewhere does not.
        let elsewhere = [
            ("content-type", "application/json"),
            ("x-forwarded-for", "203.0.113.9"),
            ("forwarded", "for=203.0.113.9"),
        ];
        let (path, body) = match count % 2 {
            0 => ("/v1/sessions", json!({ "link_code": guess })),
            _ => ("/v1/join", json!({ "token": guess.replacen("link", "join", 1), "public_key": key })),
        };
        let answer = plane.send(Way::Tcp, "POST", path, &elsewhere, body.to_string().into_bytes()).await;
        assert_eq!(answer.status, 401, "guess {count}, {guess:?}: {}", answer.text);
    }
    for (path, body) in [
        ("/v1/sessions", json!({ "link_code": code })),
        ("/v1/sessions", json!({ "link_code": "guess" })),
        ("/v1/join", json!({ "token": "guess", "public_key": key })),
    ] {
        let answer = plane.post(Way::Tcp, path, body).await.must(429);
        assert_eq!(answer.problem(), "too_many_failures");
    }
    // The way in that nobody guessed at works, with the very code that is held back on the other.
    let session =
        plane.post(Way::Socket, "/v1/sessions", json!({ "link_code": code })).await.must(201).json();
    let token = session["token"].as_str().unwrap();
    let page =
        plane.call_by(Way::Socket, token, "GET", "/v1/audit/entries?limit=500", None).await.must(200).json();
    let kinds: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    let of = |kind: &str| kinds.iter().filter(|k| **k == kind).count();
    assert_eq!(
        (of("operator.sign_in_refused"), of("join_token.refused")),
        (15, 15),
        "each failure is recorded"
    );
}
