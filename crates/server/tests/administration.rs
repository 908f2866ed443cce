//! Owners, agents, resources, credentials, policies and the ledger, as an administrator meets them.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use common::{Plane, Way};
use serde_json::{Value, json};

const CANARY: &str = "canary-5b1e-value";

// case: SEC-02, ADM-01
#[tokio::test]
async fn a_value_goes_in_and_never_comes_out() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    plane.furnish(&admin, CANARY).await;
    let description: Value = serde_json::from_str(&accredit_server::openapi_json()).unwrap();
    for (path, item) in description["paths"].as_object().unwrap() {
        let streams = ["/v1/audit/tail", "/v1/tasks/{id}/hold"].contains(&path.as_str());
        if item.get("get").is_none() || streams {
            continue;
        }
        let path = path.replace("{name}", "key").replace("{seq}", "1").replace("{path}", "tile/entries/000");
        let answer = plane.call(&admin, "GET", &path, None).await;
        assert!(!answer.text.contains(CANARY), "{path}");
    }
    let shown = plane.call(&admin, "GET", "/v1/credentials/key", None).await.must(200).json();
    assert_eq!((shown["secret_version"].as_u64(), shown.get("value")), (Some(1), None));
}

// case: SEC-02, SEC-19
#[tokio::test]
async fn a_value_that_is_refused_is_not_repeated() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    plane.furnish(&admin, CANARY).await;
    let path = "/v1/credentials/key/secret";
    for body in [
        json!({ "value": "canary\nx-evil: 1" }),
        json!({ "value": "canary" }),
        json!({ "value": "canary ".repeat(2_000) }),
        json!({ "value": ["canary"] }),
        json!("canary-as-a-whole"),
    ] {
        let answer = plane.call(&admin, "PUT", path, Some(body.clone())).await;
        assert!(matches!(answer.status, 400 | 422), "{}: {}", answer.status, answer.text);
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
    let entries = format!("{:?}", plane.entries(&admin).await);
    assert!(!entries.contains("canary"));
}

// case: SEC-12
#[tokio::test]
async fn names_that_mean_something_elsewhere_are_refused_at_the_door() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    plane.furnish(&admin, CANARY).await;
    let long = "a".repeat(10_000);
    for name in ["*", "**", "..", "a/b", "a\nb", "", "A", "\u{0430}pi", "a b", long.as_str()] {
        let credential = json!({
            "name": name, "resource": "api", "owner": "team:pay", "placement": { "in": "header", "field": "x-api-key" },
        });
        let answer = plane.call(&admin, "POST", "/v1/credentials", Some(credential)).await.must(400);
        assert_eq!(answer.json()["field"], "name");
    }
}

// case: SEC-14
#[tokio::test]
async fn pointing_a_resource_elsewhere_drops_the_value() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    plane.furnish(&admin, CANARY).await;
    let harmless = json!({ "sensitivity": "restricted", "mode": "observe" });
    let changed = plane.call(&admin, "PATCH", "/v1/resources/api", Some(harmless)).await.must(200).json();
    assert_eq!(changed.get("dropped_value_of"), None);
    for change in [
        json!({ "endpoints": ["https://evil.example"] }),
        json!({ "endpoints": ["https://evil.example", "https://api.example"] }),
        json!({ "endpoints": ["http://api.example"] }),
        json!({ "private_network": true }),
        json!({ "ca_pem": include_str!("../../authority/tests/authority.pem") }),
    ] {
        let changed =
            plane.call(&admin, "PATCH", "/v1/resources/api", Some(change.clone())).await.must(200).json();
        assert_eq!(changed["dropped_value_of"], "key", "{change}");
        let shown = plane.call(&admin, "GET", "/v1/credentials/key", None).await.must(200).json();
        assert_eq!(shown.get("secret_version"), None, "{change}");
        let value = json!({ "value": CANARY });
        plane.call(&admin, "PUT", "/v1/credentials/key/secret", Some(value)).await.must(200);
    }
    let dropped =
        plane.entries(&admin).await.into_iter().filter(|(kind, _)| kind == "secret.dropped").count();
    assert_eq!(dropped, 5);
}

// case: AUD-17
#[tokio::test]
async fn every_action_of_an_administrator_is_recorded_and_so_is_every_refused_one() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    plane.furnish(&admin, CANARY).await;
    let agent =
        json!({ "name": "etl", "kind": "job", "environment": "prod", "owner": "team:pay", "socket_uid": 7 });
    let steps: [(&str, &str, Value, u16, &str); 14] = [
        ("POST", "/v1/owners", json!({ "owner": "team:pay" }), 409, "operator.refused"),
        ("POST", "/v1/agents", agent.clone(), 201, "agent.registered"),
        ("POST", "/v1/agents", agent, 409, "operator.refused"),
        ("POST", "/v1/agents/etl/join-tokens", json!({}), 201, "join_token.created"),
        ("POST", "/v1/agents/none/suspend", json!({ "reason": "x" }), 404, "operator.refused"),
        ("POST", "/v1/agents/etl/suspend", json!({ "reason": "drill" }), 200, "agent.suspended"),
        ("POST", "/v1/agents/etl/resume", json!({}), 200, "agent.resumed"),
        ("PUT", "/v1/agents/etl/owner", json!({ "owner": "team:none" }), 409, "operator.refused"),
        ("PUT", "/v1/credentials/key/secret", json!({ "value": "another-value" }), 200, "secret.set"),
        ("PUT", "/v1/policies", json!({ "files": [] }), 200, "policy.applied"),
        ("POST", "/v1/revoke", json!({ "target": { "credential": "key" } }), 200, "credential.revoked"),
        ("POST", "/v1/revoke", json!({ "target": "all", "reason": "drill" }), 200, "revoke.all"),
        ("POST", "/v1/resources/api/retire", json!({}), 200, "resource.retired"),
        ("POST", "/v1/owners/team:pay/lapse", json!({}), 200, "owner.lapsed"),
    ];
    for (method, path, body, status, kind) in steps {
        let answer = plane.call(&admin, method, path, Some(body)).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        let entries = plane.entries(&admin).await;
        let (last, fields) = entries.last().unwrap();
        assert_eq!(last, kind, "{method} {path}");
        let by = fields.get("by").or_else(|| fields.get("operator")).and_then(Value::as_str);
        assert_eq!(by, Some("ana@corp"), "{method} {path}");
    }
}

#[tokio::test]
async fn a_policy_set_is_applied_on_the_one_it_was_made_for_or_not_at_all() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let head = plane.call(&admin, "GET", "/v1/policies", None).await.must(200).json();
    let files =
        json!([{ "name": "all.cedar", "text": "@id(\"all\") permit (principal, action, resource);" }]);
    let other = json!({ "files": files, "expected_head": "0".repeat(64) });
    plane.call(&admin, "PUT", "/v1/policies", Some(other)).await.must(409);
    let broken =
        json!({ "files": [{ "name": "x.cedar", "text": "permit (" }], "expected_head": head["hash"] });
    let problems = plane.call(&admin, "PUT", "/v1/policies", Some(broken)).await.must(422).json();
    assert_eq!((problems["ok"].as_bool(), problems["problems"][0]["line"].as_u64()), (Some(false), Some(1)));
    assert_eq!(plane.call(&admin, "GET", "/v1/policies", None).await.must(200).json()["hash"], head["hash"]);
    let good = json!({ "files": files, "expected_head": head["hash"] });
    let applied = plane.call(&admin, "PUT", "/v1/policies", Some(good)).await.must(200).json();
    assert_eq!(applied["policies"], json!(["all"]));
    let old = format!("/v1/policies/{}", head["hash"].as_str().unwrap());
    assert_eq!(plane.call(&admin, "GET", &old, None).await.must(200).json()["head"], false);
}

#[tokio::test]
async fn the_ledger_proves_what_it_shows() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    plane.furnish(&admin, CANARY).await;
    let verified = plane.call(&admin, "POST", "/v1/audit/verify", None).await.must(200).json();
    assert_eq!(
        (verified["ok"].as_bool(), verified["problems"].as_array().map(Vec::len)),
        (Some(true), Some(0))
    );
    let entry = plane.call(&admin, "GET", "/v1/audit/entries/1", None).await.must(200).json();
    assert_eq!(entry["seq"], 1);
    let proof = plane.call(&admin, "GET", "/v1/audit/proof/1", None).await.must(200);
    assert!(proof.text.starts_with("c2sp.org/tlog-proof@v1\n"));
    let size = verified["size"].as_u64().unwrap();
    let consistency =
        plane.call(&admin, "GET", &format!("/v1/audit/consistency?old=1&new={size}"), None).await.must(200);
    assert_eq!(consistency.json()["new"], size);
    plane.call(&admin, "GET", "/v1/audit/consistency?old=2&new=1", None).await.must(422);
    let checkpoint = plane.call(&admin, "GET", "/v1/audit/tlog/checkpoint", None).await.must(200);
    assert!(checkpoint.text.starts_with("accredit.example/ledger\n"));
    plane.call(&admin, "GET", "/v1/audit/tlog/tile/0/000", None).await.must(404);
    plane.call(&admin, "GET", "/v1/audit/entries/9999999", None).await.must(404);
    let export = plane.call(&admin, "GET", "/v1/audit/export", None).await.must(200);
    let last: Value = serde_json::from_str(export.text.lines().last().unwrap()).unwrap();
    assert_eq!(last["kind"], "audit.exported");
    assert!(!export.text.contains(CANARY));
}

#[tokio::test]
async fn fifty_who_redeem_one_join_token_register_one_key() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    plane.call(&admin, "POST", "/v1/owners", Some(json!({ "owner": "team:pay" }))).await.must(201);
    let agent = json!({ "name": "etl", "kind": "job", "environment": "prod", "owner": "team:pay" });
    plane.call(&admin, "POST", "/v1/agents", Some(agent)).await.must(201);
    let made =
        plane.call(&admin, "POST", "/v1/agents/etl/join-tokens", Some(json!({}))).await.must(201).json();
    let keys: Vec<String> =
        (0..25).map(|_| accredit_identity::key::SigningKey::generate().unwrap().public().to_jwk()).collect();
    let join = |key: &String| {
        plane.post(Way::Socket, "/v1/join", json!({ "token": made["token"], "public_key": key }))
    };
    let answers = futures_util::future::join_all(keys.iter().map(join)).await;
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1);
    assert!(answers.iter().all(|a| [201, 401].contains(&a.status)));
    let shown = plane.call(&admin, "GET", "/v1/agents/etl", None).await.must(200).json();
    assert_eq!(shown["keys"].as_array().map(Vec::len), Some(1));
}

// case: ADM-11, FLT-19
#[tokio::test]
async fn both_vault_keys_rotate_and_the_value_stays_usable() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    plane.furnish(&admin, CANARY).await;
    let before = plane.call(&admin, "GET", "/v1/vault", None).await.must(200).json();
    let rotated =
        plane.call(&admin, "POST", "/v1/vault/rotate", Some(json!({ "key": "dek" }))).await.must(200).json();
    assert_eq!(before["kek"], rotated["kek"]);
    assert_ne!(before["deks"], rotated["deks"]);
    let rotated =
        plane.call(&admin, "POST", "/v1/vault/rotate", Some(json!({ "key": "kek" }))).await.must(200).json();
    assert_ne!(before["kek"], rotated["kek"]);
    assert_eq!(rotated["sealed"], false);
    let kinds: Vec<String> = plane.entries(&admin).await.into_iter().map(|(kind, _)| kind).collect();
    for kind in ["secret.dek_rotated", "secret.kek_rotated"] {
        assert!(kinds.iter().any(|k| k == kind), "{kind} is missing in {kinds:?}");
    }
}
