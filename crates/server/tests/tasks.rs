//! A task from its start to its receipt, by an agent with a key of its own.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::time::Duration;

use accredit_core::id::AgentName;
use accredit_identity::key::SigningKey;
use accredit_identity::{assertion, dpop};
use accredit_store::TASKS_MAX;
use common::{Answer, ISSUER, Plane, Way};
use serde_json::{Value, json};

struct Agent<'p> {
    plane: &'p Plane,
    key: SigningKey,
    run: SigningKey,
}

impl<'p> Agent<'p> {
    async fn register(plane: &'p Plane, admin: &str) -> Self {
        plane.furnish(admin, "a-value-for-later").await;
        let key = SigningKey::generate().unwrap();
        let agent = json!({
            "name": "etl", "kind": "job", "environment": "prod", "owner": "team:pay", "public_key": key.public().to_pem(),
            "socket_uid": common::own_uid(),
        });
        plane.call(admin, "POST", "/v1/agents", Some(agent)).await.must(201);
        Self { plane, key, run: SigningKey::generate().unwrap() }
    }

    fn proof(&self, method: &str, path: &str, token: Option<&str>) -> String {
        let authority = &self.plane.authority;
        let url = format!("{ISSUER}{path}");
        dpop::mint_proof(&self.run, method, &url, token, authority.now(), authority.draw16()).unwrap()
    }

    async fn start(&self, more: Value) -> Answer {
        let authority = &self.plane.authority;
        let agent = authority.agent(AgentName::parse("etl").unwrap()).await.unwrap();
        let text = assertion::mint(&agent.spiffe_id, ISSUER, &self.key, authority.now(), authority.draw16())
            .unwrap();
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let mut body = json!({
            "client_assertion": text, "client_assertion_type": kind, "purpose": "nightly export", "boundary": ["api: GET *"],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post_start(Way::Tcp, body).await
    }

    async fn post_start(&self, way: Way, body: Value) -> Answer {
        let proof = self.proof("POST", "/v1/tasks", None);
        let headers = [("dpop", proof.as_str()), ("content-type", "application/json")];
        self.plane.send(way, "POST", "/v1/tasks", &headers, body.to_string().into_bytes()).await
    }

    async fn call(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let (proof, authorization) = (self.proof(method, path, Some(token)), format!("DPoP {token}"));
        let headers = [
            ("dpop", proof.as_str()),
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        self.plane
            .send(
                Way::Tcp,
                method,
                path,
                &headers,
                body.map(|b| b.to_string().into_bytes()).unwrap_or_default(),
            )
            .await
    }
}

fn started(answer: &Answer) -> (String, String) {
    let json = answer.json();
    (
        json["task"]["id"].as_str().unwrap().to_owned(),
        json["token"]["access_token"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn a_task_is_started_renewed_ended_and_accounted_for() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let agent = Agent::register(&plane, &admin).await;
    let (id, token) = started(&agent.start(json!({ "ttl_s": 600 })).await.must(201));
    let path = format!("/v1/tasks/{id}");
    assert_eq!(agent.call(&token, "GET", &path, None).await.must(200).json()["status"], "active");
    assert_eq!(plane.call(&admin, "GET", &path, None).await.must(200).json()["attestation"], "key_proof");
    let renewed = agent.call(&token, "POST", &format!("{path}/token"), None).await.must(200).json();
    let token = renewed["access_token"].as_str().unwrap().to_owned();
    agent.call(&token, "POST", &format!("{path}/extend"), Some(json!({ "by_s": 60 }))).await.must(401);
    plane.call(&admin, "POST", &format!("{path}/extend"), Some(json!({ "by_s": 60 }))).await.must(200);
    let ended =
        agent.call(&token, "POST", &format!("{path}/end"), Some(json!({ "outcome": "completed" }))).await;
    assert_eq!(ended.must(200).json()["status"], "completed");
    let receipt = agent.call(&token, "GET", &format!("{path}/receipt"), None).await.must(200).json();
    assert_eq!((receipt["uses"].as_u64(), receipt["refused"].as_u64()), (Some(0), Some(0)));
    agent.call(&token, "POST", &format!("{path}/token"), None).await.must(403);
    let why = plane.call(&admin, "GET", &format!("/v1/why/{id}"), None).await.must(200).json();
    assert_eq!(why["task"]["id"], id.as_str());
}

#[tokio::test]
async fn the_holder_of_one_task_sees_no_other() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let agent = Agent::register(&plane, &admin).await;
    let (_, token) = started(&agent.start(json!({})).await.must(201));
    let (other, _) = started(&agent.start(json!({})).await.must(201));
    for (method, tail) in [("GET", ""), ("POST", "/token"), ("GET", "/hold"), ("GET", "/receipt")] {
        agent.call(&token, method, &format!("/v1/tasks/{other}{tail}"), None).await.must(404);
    }
    let end = Some(json!({ "outcome": "failed" }));
    agent.call(&token, "POST", &format!("/v1/tasks/{other}/end"), end).await.must(404);
    agent.call(&token, "GET", "/v1/tasks", None).await.must(401);
}

#[tokio::test]
async fn what_does_not_prove_the_agent_starts_nothing() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let agent = Agent::register(&plane, &admin).await;
    agent.start(json!({ "client_assertion": "e30.e30.AAAA" })).await.must(401);
    agent.start(json!({ "client_assertion_type": "other" })).await.must(400);
    agent.start(json!({ "agent": "etl" })).await.must(400);
    let by_name = json!({ "agent": "etl", "purpose": "x", "boundary": ["api: GET *"] });
    agent.post_start(Way::Tcp, by_name.clone()).await.must(401);
    let started = agent.post_start(Way::Socket, by_name).await.must(201).json();
    assert_eq!(started["task"]["attestation"], "socket_peer");
    let listed = plane.call(&admin, "GET", "/v1/tasks?active=true", None).await.must(200).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_named() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let agent = Agent::register(&plane, &admin).await;
    for (wrong, field) in [
        (json!({ "purpose": "a\u{202e}b" }), "purpose"),
        (json!({ "purpose": "" }), "purpose"),
        (json!({ "boundary": ["api: get *"] }), "boundary"),
        (json!({ "template": "No" }), "template"),
    ] {
        let answer = agent.start(wrong).await.must(400);
        assert_eq!(answer.json()["field"], field);
    }
    agent.start(json!({ "template": "read" })).await.must(422);
    agent.start(json!({ "boundary": ["none: GET *"] })).await.must(404);
}

#[tokio::test]
async fn a_revoked_task_renews_nothing_and_its_runner_learns_of_it() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let agent = Agent::register(&plane, &admin).await;
    let (id, token) = started(&agent.start(json!({ "held": true })).await.must(201));
    let path = format!("/v1/tasks/{id}/hold");
    let holding = agent.call(&token, "GET", &path, None);
    let revoking = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let revoke = json!({ "target": { "agent": "etl" }, "reason": "drill" });
        plane.call(&admin, "POST", "/v1/revoke", Some(revoke)).await.must(200).json()
    };
    let (held, report) = tokio::join!(holding, revoking);
    assert_eq!(
        (report["tasks_ended"].clone(), report["agents_suspended"].clone()),
        (json!([id]), json!(["etl"]))
    );
    let lines: Vec<Value> = held.text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(
        (lines[0]["status"].as_str(), lines.last().unwrap()["status"].as_str()),
        (Some("active"), Some("revoked"))
    );
    agent.call(&token, "POST", &format!("/v1/tasks/{id}/token"), None).await.must(403);
    agent.start(json!({})).await.must(403);
}

// case: REV-11
#[tokio::test]
async fn a_revocation_of_everything_ends_more_tasks_than_one_page_holds() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let agent = Agent::register(&plane, &admin).await;
    for _ in 0..=TASKS_MAX {
        agent.start(json!({})).await.must(201);
    }
    let revoke = |target: Value| plane.call(&admin, "POST", "/v1/revoke", Some(json!({ "target": target })));
    let report = revoke(json!("all")).await.must(200).json();
    assert_eq!(report["tasks_ended"].as_array().map(Vec::len), Some(TASKS_MAX + 1));
    let left = plane.call(&admin, "GET", "/v1/tasks?active=true", None).await.must(200).json();
    assert_eq!(left["items"], json!([]));
}
