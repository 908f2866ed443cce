//! The control plane and its description: schemathesis sends what `openapi.json` allows and what it forbids to a real
//! server, and every answer must be one that the description has. What may not be held against it, and why, is in
//! `schemathesis.toml`.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use accredit_tests::harness::{Accredit, Setup, root, tool, wait_for};
use serde_json::{Value, json};

/// The same requests in every run.
const SEED: &str = "20261122";
/// Examples of each operation: with those of its bounds, a few thousand requests in less than a minute.
const EXAMPLES: &str = "5";
/// How long the server may take for the answer to a sign-in.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Signs in with the link that the server printed at its first start, as a person would.
fn session(accredit: &Accredit) -> String {
    let code = wait_for(|| {
        let log = accredit.log();
        let (_, rest) = log.split_once("#l=")?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')?;
        Some(rest[..end].to_owned())
    });
    let (status, answer) = post(accredit.listen, "/v1/sessions", &json!({ "link_code": code }));
    assert_eq!(status, 201, "{answer}");
    answer["token"].as_str().expect("a token").to_owned()
}

fn post(address: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(ANSWER_WITHIN)).expect("a bound");
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    (status, serde_json::from_str(body).expect("JSON"))
}

// case: ADM-03
#[test]
fn the_control_plane_does_what_its_description_says() {
    let accredit = Accredit::start(Setup::default());
    let token = session(&accredit);
    let mut schemathesis = Command::new(tool("python/bin/st"));
    schemathesis.current_dir(accredit.scratch()).env("HOME", accredit.home());
    schemathesis
        .arg("--config-file")
        .arg(root().join("schemathesis.toml"))
        .arg("run")
        .arg(root().join("openapi.json"));
    schemathesis.args(["--url", &format!("http://{}", accredit.listen)]);
    schemathesis.args(["-H", &format!("Authorization: Bearer {token}")]);
    schemathesis.args(["--checks", "all", "--seed", SEED, "--max-examples", EXAMPLES, "--warnings", "off"]);
    let output = schemathesis.output().expect("schemathesis can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("Test cases:"), "it sent requests:\n{said}");

    let ledger = accredit.cli(&["audit", "export"]).ok().stdout;
    let entries: Vec<Value> =
        ledger.lines().map(|line| serde_json::from_str(line).expect("an entry is JSON")).collect();
    let refused: BTreeSet<&str> = entries
        .iter()
        .filter(|entry| entry["kind"] == "operator.refused")
        .filter_map(|entry| entry["fields"]["operation"].as_str())
        .collect();
    for operation in OPERATIONS_REFUSED {
        assert!(refused.contains(operation), "a refused `{operation}` is recorded; recorded are {refused:?}");
    }
    let verified = accredit.json(&["audit", "verify"]);
    assert_eq!(verified["ok"], true, "{verified}");
}

/// Operations of operators that name what does not exist, in every run.
const OPERATIONS_REFUSED: [&str; 5] =
    ["agent.suspend", "agent.resume", "owner.lapse", "resource.retire", "credential.add"];
