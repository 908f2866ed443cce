//! Who may do what, found out by asking: every endpoint that people may call, in each role, with what is theirs and with what
//! is somebody else's. The answers are `rights.tsv`; a change of them is a change that a reviewer reads.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use accredit_core::id::AgentName;
use accredit_identity::key::SigningKey;
use accredit_identity::{assertion, dpop};
use common::{ISSUER, Plane, Way};
use serde_json::{Value, json};

const ROLES: [&str; 4] = ["admin", "owner", "approver", "auditor"];
/// A stream has not been refused when nothing came for so long.
const STREAMS_FOR: Duration = Duration::from_secs(2);

/// What the endpoints are asked about: a thing of `owner@corp`, and one of somebody else.
struct Things {
    agent: &'static str,
    resource: &'static str,
    credential: &'static str,
    task: String,
    owner: &'static str,
    person: &'static str,
}

impl Things {
    /// The path with their names in it.
    fn path(&self, pattern: &str) -> String {
        let name = match pattern.split('/').nth(2) {
            Some("agents") => self.agent,
            Some("resources") => self.resource,
            Some("credentials") => self.credential,
            Some("operators") => "gone@corp",
            _ => "1",
        };
        let id = if pattern.starts_with("/v1/tasks") { self.task.as_str() } else { "1" };
        let path = pattern.replace("{name}", name).replace("{id}", id).replace("{owner}", "team:gone");
        path.replace("{seq}", "1").replace("{hash}", "1").replace("{path}", "checkpoint")
    }

    /// A body with which the endpoint gets as far as asking who may.
    fn body(&self, method: &str, pattern: &str) -> Option<Value> {
        if !matches!(method, "POST" | "PUT" | "PATCH") {
            return None;
        }
        let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        Some(match (method, pattern) {
            (_, "/v1/links") => json!({ "operator": self.person }),
            (_, "/v1/operators") => json!({ "operator": "new@corp", "roles": ["auditor"] }),
            (_, "/v1/owners") => json!({ "owner": "team:new" }),
            (_, "/v1/agents") => {
                json!({ "name": "new", "kind": "job", "environment": "prod", "owner": "team:pay", "socket_uid": 9 })
            }
            (_, "/v1/agents/{name}/suspend") => json!({ "reason": "drill" }),
            (_, "/v1/agents/{name}/owner") => json!({ "owner": self.owner }),
            (_, "/v1/agents/{name}/keys") => json!({ "public_key": jwk }),
            (_, "/v1/resources") => json!({
                "name": "new", "owner": "team:pay", "environment": "prod", "sensitivity": "internal",
                "endpoints": ["https://new.example"],
            }),
            (_, "/v1/credentials") => json!({
                "name": "new", "resource": self.resource, "owner": "team:pay",
                "placement": { "in": "header", "field": "x-api-key" },
            }),
            (_, "/v1/credentials/{name}/secret") => json!({ "value": "another-value" }),
            (_, "/v1/tasks/{id}/extend") => json!({ "by_s": 60 }),
            (_, "/v1/tasks/{id}/end") => json!({ "outcome": "completed" }),
            (_, "/v1/revoke") => json!({ "target": { "agent": self.agent } }),
            (_, "/v1/requests/{id}/approve") => json!({ "digest": "0".repeat(64), "scope": "call" }),
            ("PUT", "/v1/policies") | (_, "/v1/policies/check" | "/v1/policies/replay") => {
                json!({ "files": [] })
            }
            (_, "/v1/policies/who-can") => json!({ "resource": "api", "method": "GET", "path": "/" }),
            (_, "/v1/vault/rotate") => json!({ "key": "dek" }),
            _ => json!({}),
        })
    }
}

/// Registers an agent with a key and starts a task of it.
async fn task_of(plane: &Plane, admin: &str, name: &str, owner: &str) -> String {
    let (key, run) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let agent = json!({ "name": name, "kind": "job", "environment": "prod", "owner": owner, "public_key": key.public().to_pem() });
    plane.call(admin, "POST", "/v1/agents", Some(agent)).await.must(201);
    let authority = &plane.authority;
    let agent = authority.agent(AgentName::parse(name).unwrap()).await.unwrap();
    let proof = assertion::mint(&agent.spiffe_id, ISSUER, &key, authority.now(), authority.draw16()).unwrap();
    let url = format!("{ISSUER}/v1/tasks");
    let dpop = dpop::mint_proof(&run, "POST", &url, None, authority.now(), authority.draw16()).unwrap();
    let body = json!({
        "client_assertion": proof, "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "purpose": "nightly export", "boundary": ["api: GET *"],
    });
    let headers = [("dpop", dpop.as_str()), ("content-type", "application/json")];
    let answer = plane.send(Way::Tcp, "POST", "/v1/tasks", &headers, body.to_string().into_bytes()).await;
    answer.must(201).json()["task"]["id"].as_str().unwrap().to_owned()
}

/// What the endpoint says to somebody in this role, in a session of its own.
async fn ask(plane: &Plane, role: &str, things: &Things, method: &str, pattern: &str) -> &'static str {
    let token = plane.sign_in(Way::Tcp, role).await;
    let (path, body) = (things.path(pattern), things.body(method, pattern));
    let call = plane.call(&token, method, &path, body);
    let Ok(answer) = tokio::time::timeout(STREAMS_FOR, call).await else { return "allowed" };
    match answer.status {
        401 => panic!("{method} {path} does not know whoever is signed in: {}", answer.text),
        403 => match answer.problem().as_str() {
            "role_may_not" => "refused",
            "not_yours" | "role_too_high" => "not theirs",
            other => panic!("{method} {path} as {role}: {other}"),
        },
        _ => "allowed",
    }
}

// case: ADM-01
#[tokio::test]
async fn each_role_may_what_the_golden_file_says() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    plane.furnish(&admin, "a-value-for-later").await;
    for owner in ["owner@corp", "team:gone"] {
        plane.call(&admin, "POST", "/v1/owners", Some(json!({ "owner": owner }))).await.must(201);
    }
    let resource = json!({
        "name": "mine", "owner": "owner@corp", "environment": "prod", "sensitivity": "internal",
        "endpoints": ["https://mine.example"],
    });
    plane.call(&admin, "POST", "/v1/resources", Some(resource)).await.must(201);
    let credential = json!({
        "name": "my-key", "resource": "mine", "owner": "team:pay", "placement": { "in": "header", "field": "x-api-key" },
    });
    plane.call(&admin, "POST", "/v1/credentials", Some(credential)).await.must(201);
    let others = Things {
        agent: "etl",
        resource: "api",
        credential: "key",
        task: task_of(&plane, &admin, "etl", "team:pay").await,
        owner: "team:pay",
        person: "somebody@corp",
    };
    let own = Things {
        agent: "my-etl",
        resource: "mine",
        credential: "my-key",
        task: task_of(&plane, &admin, "my-etl", "owner@corp").await,
        owner: "owner@corp",
        person: "",
    };
    let description: Value = serde_json::from_str(&accredit_server::openapi_json()).unwrap();
    let mut found = BTreeMap::new();
    for (pattern, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let session = |need: &Value| need.get("session").is_some();
            let people = operation["security"].as_array().is_some_and(|all| all.iter().any(session));
            if !people && pattern != "/v1/links" {
                continue;
            }
            let method = method.to_uppercase();
            let mut line = Vec::new();
            for role in ROLES {
                let me = format!("{role}@corp");
                // Only of themselves, people make links: whose it is, is who they are.
                let own =
                    Things { person: if role == "admin" { "ana@corp" } else { me.leak() }, ..clone(&own) };
                // In this order: the last of them may end what the others ask about.
                let other = ask(&plane, role, &others, &method, pattern).await;
                let theirs = ask(&plane, role, &own, &method, pattern).await;
                line.push(match (other, theirs) {
                    ("allowed", "allowed") => "allowed",
                    ("not theirs", "allowed") => "own",
                    ("refused", "refused") => "refused",
                    both => panic!("{method} {pattern} as {role}: {both:?}"),
                });
            }
            found.insert(format!("{method} {pattern}"), line);
        }
    }
    let mut text = String::from("# endpoint\tadmin\towner\tapprover\tauditor\n");
    for (endpoint, line) in found {
        writeln!(text, "{endpoint}\t{}", line.join("\t")).unwrap();
    }
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rights.tsv");
    if std::env::var_os("ACCREDIT_WRITE_RIGHTS").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    let kept = std::fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(text, kept, "write it anew with ACCREDIT_WRITE_RIGHTS=1, and read the difference");
}

fn clone(things: &Things) -> Things {
    Things { task: things.task.clone(), ..*things }
}
