//! Another tenant in the same database: whatever of it is asked for is answered like what is not there.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use accredit_core::agent::Agent;
use accredit_core::credential::Credential;
use accredit_core::event::Event;
use accredit_core::id::TenantName;
use accredit_core::owner::OwnerRecord;
use accredit_core::resource::Resource;
use common::Plane;
use serde_json::json;

/// Puts an owner, an agent, a resource and a credential of another tenant beside ours. Gives the place of its entry.
async fn plant(plane: &Plane) -> u64 {
    let tenant = TenantName::parse("other").unwrap();
    let at = 1_800_000_000_000_i64;
    let owner: OwnerRecord = serde_json::from_value(json!({
        "owner": "team:other", "standing": { "standing": "active" }, "added_at": at,
    }))
    .unwrap();
    let agent: Agent = serde_json::from_value(json!({
        "tenant": "other", "name": "hidden", "kind": "job", "environment": "prod", "owner": "team:other",
        "status": { "status": "enabled" }, "socket_uid": null, "registered_at": at,
    }))
    .unwrap();
    let resource: Resource = serde_json::from_value(json!({
        "tenant": "other", "name": "hidden", "owner": "team:other", "environment": "prod", "sensitivity": "internal",
        "mode": "enforce", "endpoints": [{ "scheme": "https", "host": "hidden.example", "port": 443 }],
        "private_network": false, "ca_pem": null, "dialect": "plain", "pass_cookies": false, "credential": "hidden",
        "status": { "status": "active" }, "added_at": at,
    }))
    .unwrap();
    let credential: Credential = serde_json::from_value(json!({
        "tenant": "other", "name": "hidden", "resource": "hidden", "owner": "team:other",
        "revocation_authority": "team:other", "rotation_due": null,
        "placement": { "in": "header", "field": "x-api-key", "prefix": "" }, "secret_version": 1, "last_version": 1,
        "status": { "status": "active" }, "added_at": at,
    }))
    .unwrap();
    let store = plane.authority.store().of_installation();
    let change = store.change(move |tx| {
        tx.put_owner(&tenant, &owner)?;
        tx.put_agent(&agent)?;
        tx.put_resource(&resource)?;
        tx.put_credential(&credential)?;
        tx.append(Event::new(&tenant, "agent.registered").with("agent", "hidden").with("owner", "team:other"))
    });
    change.await.unwrap();
    plane.authority.store().read(|view| Ok(view.ledger_size()? - 1)).await.unwrap()
}

// case: TEN-02
#[tokio::test]
async fn what_another_tenant_has_is_answered_like_what_is_not_there() {
    let plane = Plane::start().await;
    plant(&plane).await;
    let admin = plane.admin().await;
    let reason = || Some(json!({ "reason": "x" }));
    let set = || Some(json!({ "value": "a-long-value" }));
    let endpoints = [
        ("GET", "/v1/agents/NAME", None),
        ("POST", "/v1/agents/NAME/suspend", reason()),
        ("POST", "/v1/agents/NAME/resume", reason()),
        ("POST", "/v1/agents/NAME/join-tokens", Some(json!({}))),
        ("PUT", "/v1/agents/NAME/owner", Some(json!({ "owner": "team:other" }))),
        ("GET", "/v1/resources/NAME", None),
        ("PATCH", "/v1/resources/NAME", Some(json!({ "mode": "observe" }))),
        ("POST", "/v1/resources/NAME/retire", reason()),
        ("GET", "/v1/credentials/NAME", None),
        ("PUT", "/v1/credentials/NAME/secret", set()),
        ("DELETE", "/v1/credentials/NAME/secret", None),
        ("GET", "/v1/credentials/NAME/uses", None),
        ("GET", "/v1/credentials/NAME/who-can", None),
        ("POST", "/v1/owners/team:NAME/lapse", reason()),
        ("POST", "/v1/policies/who-can", Some(json!({ "resource": "NAME", "method": "GET", "path": "/" }))),
        ("POST", "/v1/revoke", Some(json!({ "target": { "agent": "NAME" } }))),
        ("POST", "/v1/revoke", Some(json!({ "target": { "credential": "NAME" } }))),
    ];
    for (method, path, body) in endpoints {
        let mut texts = Vec::new();
        // The owner of the other tenant is `team:other`, its other things are `hidden`; `absent` is nobody's.
        let theirs = if path.contains("team:") { "other" } else { "hidden" };
        for name in [theirs, "absent"] {
            let body =
                body.as_ref().map(|b| serde_json::from_str(&b.to_string().replace("NAME", name)).unwrap());
            let answer = plane.call(&admin, method, &path.replace("NAME", name), body).await.must(404);
            texts.push(answer.text.replace(name, "NAME"));
        }
        assert_eq!(texts[0], texts[1], "{method} {path}");
    }
    for list in ["agents", "resources", "credentials", "owners", "tasks", "requests"] {
        let page = plane.call(&admin, "GET", &format!("/v1/{list}"), None).await.must(200).json();
        assert_eq!(page["items"], json!([]), "{list}");
    }
}

// case: AUD-16
#[tokio::test]
async fn a_reader_of_the_ledger_gets_nothing_of_another_tenant_but_hashes() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let theirs = plant(&plane).await;
    plane.call(&admin, "POST", "/v1/owners", Some(json!({ "owner": "team:ours" }))).await.must(201);
    let report = plane.call(&admin, "POST", "/v1/audit/verify", None).await.must(200).json();
    assert_eq!(report["ok"], true);
    let size = report["size"].as_u64().unwrap();
    // The hashes of this tile are everybody's; the entries below them are not.
    plane.call(&admin, "GET", &format!("/v1/audit/tlog/tile/0/000.p/{size}"), None).await.must(200);
    plane.call(&admin, "GET", &format!("/v1/audit/tlog/tile/entries/000.p/{size}"), None).await.must(404);
    for path in [format!("entries/{theirs}"), format!("proof/{theirs}")] {
        plane.call(&admin, "GET", &format!("/v1/audit/{path}"), None).await.must(404);
    }
    for path in ["entries?limit=500", "export"] {
        let answer = plane.call(&admin, "GET", &format!("/v1/audit/{path}"), None).await.must(200);
        assert!(
            !answer.text.contains("hidden") && !answer.text.contains("team:other"),
            "{path}: {}",
            answer.text
        );
    }
    let ours = plane.call(&admin, "GET", &format!("/v1/audit/proof/{}", theirs + 1), None).await.must(200);
    assert!(ours.text.starts_with("c2sp.org/tlog-proof@v1\n"));
}

#[tokio::test]
async fn what_is_handed_out_cannot_be_guessed() {
    let plane = Plane::start().await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let code = plane.link("admin").await;
        // 43 characters of base64url: 256 random bits.
        assert_eq!(code.len(), "accredit_link_".len() + 43);
        assert!(seen.insert(code));
    }
}
