//! Registered people: who may do what, and what ends when somebody goes.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use common::{Plane, Way};
use serde_json::{Value, json};

fn kinds(entries: &[(String, Value)], kind: &str) -> Vec<Value> {
    entries.iter().filter(|(of, _)| of == kind).map(|(_, fields)| fields.clone()).collect()
}

// case: AUD-17
#[tokio::test]
async fn a_person_is_registered_changed_and_lapses_and_all_of_it_is_recorded() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let bo = json!({ "operator": "bo@corp", "roles": ["approver", "owner"], "groups": ["pay"] });
    let added = plane.call(&admin, "POST", "/v1/operators", Some(bo.clone())).await.must(201).json();
    assert_eq!((&added["roles"], &added["groups"]), (&json!(["owner", "approver"]), &json!(["pay"])));
    assert_eq!(
        plane.call(&admin, "POST", "/v1/operators", Some(bo)).await.must(409).problem(),
        "operator_exists"
    );
    let approver = plane.redeem(Way::Tcp, &plane.link_of("bo@corp", "approver").await).await;
    let owner = plane.redeem(Way::Tcp, &plane.link_of("bo@corp", "owner").await).await;
    let waiting = plane.link_of("bo@corp", "owner").await;
    // A role that they do not have is in no link.
    let body = json!({ "operator": "bo@corp", "role": "admin" });
    assert_eq!(plane.post(Way::Socket, "/v1/links", body).await.must(409).problem(), "role_not_held");
    // With the role go its sessions and links, and no others.
    let change = json!({ "roles": ["approver"], "groups": [], "reason": "moved" });
    let changed = plane.call(&admin, "PATCH", "/v1/operators/bo@corp", Some(change)).await.must(200).json();
    assert_eq!((&changed["roles"], &changed["groups"]), (&json!(["approver"]), &json!([])));
    plane.call(&owner, "GET", "/v1/whoami", None).await.must(401);
    plane.post(Way::Tcp, "/v1/sessions", json!({ "link_code": waiting })).await.must(401);
    plane.call(&approver, "GET", "/v1/whoami", None).await.must(200);
    let lapsed = plane.call(&admin, "POST", "/v1/operators/bo@corp/lapse", Some(json!({ "reason": "left" })));
    let lapsed = lapsed.await.must(200).json();
    assert_eq!((&lapsed["operator"]["standing"], &lapsed["sessions"]), (&json!("lapsed"), &json!(1)));
    plane.call(&approver, "GET", "/v1/whoami", None).await.must(401);
    let again = plane.call(&admin, "POST", "/v1/operators/bo@corp/lapse", Some(json!({}))).await.must(409);
    assert_eq!(again.problem(), "operator_lapsed");
    let entries = plane.entries(&admin).await;
    let of_bo = |kind| kinds(&entries, kind).into_iter().filter(|e| e["operator"] == "bo@corp").count();
    assert_eq!((of_bo("operator.added"), of_bo("operator.changed"), of_bo("operator.lapsed")), (1, 1, 1));
    let refused: Vec<_> =
        kinds(&entries, "operator.refused").iter().map(|e| e["code"].as_str().unwrap().to_owned()).collect();
    assert_eq!(refused, ["operator_exists", "operator_lapsed"]);
}

#[tokio::test]
async fn nobody_changes_their_own_account_and_only_an_administrator_anybodys() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let other = json!({ "operator": "a@corp", "roles": ["admin"], "same_person_as": "ana@corp" });
    plane.call(&admin, "POST", "/v1/operators", Some(other)).await.must(201);
    for name in ["ana@corp", "a@corp"] {
        let path = format!("/v1/operators/{name}");
        let change = plane.call(&admin, "PATCH", &path, Some(json!({ "roles": ["admin", "approver"] })));
        assert_eq!(change.await.must(403).problem(), "own_account");
        let path = format!("{path}/lapse");
        let lapse = plane.call(&admin, "POST", &path, Some(json!({})));
        assert_eq!(lapse.await.must(403).problem(), "own_account");
    }
    let auditor = plane.sign_in(Way::Tcp, "auditor").await;
    let me = json!({ "roles": ["admin"] });
    plane.call(&auditor, "PATCH", "/v1/operators/auditor@corp", Some(me)).await.must(403);
    for (body, status, code) in [
        (json!({ "operator": "bo@corp", "roles": [] }), 422, "no_role"),
        (json!({ "operator": "team:pay", "roles": ["owner"] }), 422, "not_a_person"),
        (json!({ "operator": "bo@corp", "roles": ["owner"], "groups": ["admin"] }), 422, "invalid_field"),
        (json!({ "operator": "bo@corp", "roles": ["owner"], "successor": "team:x" }), 409, "unknown_owner"),
        (
            json!({ "operator": "bo@corp", "roles": ["owner"], "same_person_as": "x@y" }),
            409,
            "unknown_operator",
        ),
    ] {
        let answer = plane.call(&admin, "POST", "/v1/operators", Some(body.clone())).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{body}");
    }
}

/// An owner `bo@corp` of a resource and its credential, of an agent and of nothing else.
async fn estate(plane: &Plane, admin: &str, successor: Option<&str>) {
    plane.furnish(admin, "canary-value").await;
    plane.call(admin, "POST", "/v1/owners", Some(json!({ "owner": "bo@corp" }))).await.must(201);
    plane.call(admin, "PATCH", "/v1/resources/api", Some(json!({ "owner": "bo@corp" }))).await.must(200);
    let agent =
        json!({ "name": "etl", "kind": "job", "environment": "prod", "owner": "bo@corp", "socket_uid": 7 });
    plane.call(admin, "POST", "/v1/agents", Some(agent)).await.must(201);
    let mut bo = json!({ "operator": "bo@corp", "roles": ["owner"] });
    if let Some(successor) = successor {
        bo["successor"] = json!(successor);
    }
    plane.call(admin, "POST", "/v1/operators", Some(bo)).await.must(201);
}

#[tokio::test]
async fn what_somebody_owned_stops_with_them_or_falls_to_their_successor() {
    for (successor, owner, standing) in
        [(None, "bo@corp", "lapsed"), (Some("team:pay"), "team:pay", "lapsed")]
    {
        let plane = Plane::start().await;
        let admin = plane.admin().await;
        estate(&plane, &admin, successor).await;
        let lapsed =
            plane.call(&admin, "POST", "/v1/operators/bo@corp/lapse", Some(json!({}))).await.must(200).json();
        assert_eq!(lapsed["fell_to"].as_str(), successor);
        for path in ["/v1/resources/api", "/v1/agents/etl"] {
            let thing = plane.call(&admin, "GET", path, None).await.must(200).json();
            assert_eq!(thing["owner"], owner, "{path}");
        }
        let owners = plane.call(&admin, "GET", "/v1/owners", None).await.must(200).json();
        let bo =
            owners["items"].as_array().unwrap().iter().find(|o| o["owner"] == "bo@corp").unwrap().clone();
        assert_eq!(bo["standing"], standing, "nobody answers under the name of somebody who left");
        let entries = plane.entries(&admin).await;
        let changed = kinds(&entries, "agent.owner_changed").len();
        assert_eq!(changed, usize::from(successor.is_some()));
        assert_eq!(kinds(&entries, "owner.lapsed").len(), 1);
        // The owner comes back only after the person.
        let back = Some(json!({ "owner": "bo@corp" }));
        let refused = plane.call(&admin, "POST", "/v1/owners", back.clone()).await.must(409);
        assert_eq!(refused.problem(), "operator_lapsed");
        let again = json!({ "operator": "bo@corp", "roles": ["owner"] });
        plane.call(&admin, "POST", "/v1/operators", Some(again)).await.must(201);
        plane.call(&admin, "POST", "/v1/owners", back).await.must(201);
    }
}

#[tokio::test]
async fn with_a_person_go_all_of_their_accounts_and_none_inherits_from_another() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    estate(&plane, &admin, None).await;
    plane.call(&admin, "POST", "/v1/owners", Some(json!({ "owner": "bo2@corp" }))).await.must(201);
    let second = json!({ "operator": "bo2@corp", "roles": ["owner"], "same_person_as": "bo@corp" });
    plane.call(&admin, "POST", "/v1/operators", Some(second)).await.must(201);
    let heir = json!({ "successor": "bo2@corp" });
    plane.call(&admin, "PATCH", "/v1/operators/bo@corp", Some(heir)).await.must(200);
    let session = plane.redeem(Way::Tcp, &plane.link_of("bo@corp", "owner").await).await;
    let lapsed = plane.call(&admin, "POST", "/v1/operators/bo2@corp/lapse", Some(json!({}))).await.must(200);
    let lapsed = lapsed.json();
    assert_eq!((&lapsed["accounts"], lapsed.get("fell_to")), (&json!(["bo2@corp", "bo@corp"]), None));
    plane.call(&session, "GET", "/v1/whoami", None).await.must(401);
    let api = plane.call(&admin, "GET", "/v1/resources/api", None).await.must(200).json();
    assert_eq!(api["owner"], "bo@corp", "it stops");
}
