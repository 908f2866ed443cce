//! What `deploy/` ships besides balancers: a unit that systemd takes, and a chart that makes what the file for Kubernetes
//! says, by the programs that read them. That a cluster runs it is not tried here.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use accredit_tests::harness::{Said, binary, root};
use serde_json::Value;

/// Of ten, what systemd's own judgement of a unit may come to: 2 is what it calls well protected.
const EXPOSURE_TENTHS_MAX: &str = "20";
/// The values with which the chart says what `kubernetes/accredit.yaml` does.
const SAME: [&str; 4] = [
    "server.url=https://accredit.example.org",
    "server.gatewayUrl=https://gateway.accredit.example.org",
    "database.url=postgres://accredit@db.example.org/accredit",
    "topologySpreadConstraints=null",
];

fn deploy(file: &str) -> PathBuf {
    root().join("deploy").join(file)
}

#[track_caller]
fn ran(command: &mut Command) -> Said {
    Said::of(&command.output().expect("it is installed: scripts/setup-tests"))
}

/// What Helm makes of the chart with these values.
fn helm(verb: &[&str], values: &[&str]) -> Said {
    let mut command = Command::new("helm");
    command.args(verb).arg(deploy("helm/accredit"));
    for value in values {
        command.args(["--set", value]);
    }
    ran(&mut command)
}

/// The documents of a text in YAML.
#[track_caller]
fn documents(yaml: &str) -> Vec<Value> {
    let convert =
        "import json, sys, yaml; json.dump([d for d in yaml.safe_load_all(sys.stdin) if d], sys.stdout)";
    let mut python = Command::new("python3")
        .args(["-c", convert])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it is installed: scripts/setup-tests");
    let mut stdin = python.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, yaml.as_bytes()).expect("it reads");
    drop(stdin);
    let output = python.wait_with_output().expect("it ends");
    let mut documents: Vec<Value> = serde_json::from_slice(&output.stdout).expect("documents");
    documents.sort_by_key(|document| document["kind"].as_str().map(str::to_owned));
    documents
}

/// Takes away what only one of the two says: names of a release, and what follows from the chart being installed again.
fn in_common(mut document: Value) -> Value {
    strip(&mut document);
    document
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for only_one in ["namespace", "labels", "annotations", "release", "imagePullPolicy", "type"] {
                if !matches!(fields.get(only_one), Some(Value::String(text)) if text == "RuntimeDefault") {
                    fields.remove(only_one);
                }
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

#[test]
fn the_chart_makes_what_the_file_for_kubernetes_says() {
    let file = std::fs::read_to_string(deploy("kubernetes/accredit.yaml")).expect("the shipped file");
    let rendered = helm(&["template", "accredit"], &SAME);
    assert_eq!(rendered.code, 0, "{}", rendered.stderr);
    let (file, chart) = (documents(&file), documents(&rendered.stdout));
    assert_eq!(file.len(), 4, "a configuration, replicas, a service, a budget");
    for (file, chart) in file.into_iter().zip(chart) {
        assert_eq!(in_common(chart), in_common(file));
    }
}

#[test]
fn the_chart_is_well_formed_and_says_what_it_lacks() {
    let linted = helm(&["lint", "--strict"], &SAME);
    assert_eq!(linted.code, 0, "{}{}", linted.stdout, linted.stderr);
    let without = helm(&["template", "accredit"], &SAME[1..]);
    assert!(without.code != 0 && without.stderr.contains("server.url"), "{}", without.stderr);
    let ingress = [&SAME[..], &["ingress.enabled=true", "ingress.host=accredit.example.org"]].concat();
    let in_the_clear = helm(&["template", "accredit"], &ingress);
    assert!(
        in_the_clear.code != 0 && in_the_clear.stderr.contains("ingress.tlsSecret"),
        "{}",
        in_the_clear.stderr
    );
    let ingress = [&ingress[..], &["ingress.tlsSecret=accredit-tls"]].concat();
    let kinds = documents(&helm(&["template", "accredit"], &ingress).stdout);
    let kinds: Vec<&str> = kinds.iter().filter_map(|document| document["kind"].as_str()).collect();
    assert_eq!(kinds, ["ConfigMap", "Deployment", "Ingress", "PodDisruptionBudget", "Service"]);
}

#[test]
fn a_replica_of_the_chart_gets_as_long_to_stop_as_it_is_told_to_take() {
    for delay_s in [0, 10, 120] {
        let delay = format!("server.drainDelaySeconds={delay_s}");
        let rendered = documents(&helm(&["template", "accredit"], &[&SAME[..], &[&delay]].concat()).stdout);
        let of = |kind: &str| rendered.iter().find(|document| document["kind"] == kind).expect(kind);
        let config = of("ConfigMap")["data"]["accredit.toml"].as_str().expect("a text");
        assert!(config.contains(&format!("drain_delay = \"{delay_s}s\"")), "{config}");
        let grace_s = of("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
        // The drain itself takes up to ten seconds, and what was recorded is signed after it.
        assert!(grace_s >= Some(delay_s + 30), "{grace_s:?} after {delay_s} s");
    }
}

#[test]
fn systemd_takes_the_unit_and_finds_it_well_protected() {
    let dir = tempfile::tempdir().expect("a directory");
    let unit = dir.path().join("accredit.service");
    let text = std::fs::read_to_string(deploy("systemd/accredit.service")).expect("the shipped file");
    let here = text.replace("/usr/local/bin/accredit", &binary().display().to_string());
    std::fs::write(&unit, here).expect("a file");
    let verified = ran(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert_eq!((verified.code, verified.stderr.as_str()), (0, ""), "{}", verified.stdout);
    let judged = ran(Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true", "--threshold", EXPOSURE_TENTHS_MAX])
        .arg(&unit));
    assert_eq!(judged.code, 0, "{}", judged.stdout.lines().last().unwrap_or_default());
}
