//! A defect where the secret is placed: what it prints, whom it ends, and what the ledger says of it.

use std::process::Command;

use accredit_core::record::Permit;
use accredit_core::resource::Mode;
use tokio::io::AsyncWriteExt as _;

use crate::common::{KEY, Upstream, read_until_silent, world};

/// Requests for this path meet the defect.
const PATH: &str = "/defect";
/// Set in the process whose output is looked at.
const INSIDE: &str = "ACCREDIT_TEST_DEFECT";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Panics with the value in its message, as careless code would.
pub(super) fn here(permit: &Permit, secret: &[u8]) {
    let path = &permit.decision().action().call().path;
    assert!(path != PATH, "cannot place {:?} in a field", String::from_utf8_lossy(secret));
}

fn get(host: &str, path: &str) -> Vec<u8> {
    format!("GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

// case: SEC-16
#[test]
fn a_panic_while_injecting_prints_no_value_and_ends_only_its_request() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        return runtime.expect("a runtime").block_on(one_of_two_connections_meets_the_defect());
    }
    let name = "exchange::defect::a_panic_while_injecting_prints_no_value_and_ends_only_its_request";
    let inside = Command::new(std::env::current_exe().expect("this test"))
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .envs([(INSIDE, "1"), ("RUST_BACKTRACE", "full")])
        .output()
        .expect("it runs again");
    let said =
        [inside.stdout, inside.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(inside.status.success() && said.contains("1 passed"), "{}", said.replace(KEY, "[the value]"));
    assert!(said.contains("exchange/defect.rs:"), "the place of the defect is named: {said}");
    assert!(!said.contains(KEY) && !said.contains("cannot place"), "the message came out");
}

async fn one_of_two_connections_meets_the_defect() {
    accredit_vault::quiet_panics();
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let run = world.task(&["sample: *"]).await;
    let mut other = world.attached(&run).await;
    let answer = world.raw(&run, &get(&world.host(), PATH)).await;
    assert!(!answer.contains("200 OK") && !answer.contains(KEY), "{answer}");
    assert_eq!(world.upstream.text(), "", "nothing was sent");
    let settled = world.entries_at_least("action.settled", 1).await;
    assert_eq!(settled.len(), 1);
    assert_eq!((&settled[0]["outcome"], &settled[0]["cause"]), (&"unknown".into(), &"abandoned".into()));
    other.write_all(&get(&world.host(), "/after")).await.expect("the other connection is there");
    let answer = read_until_silent(&mut other).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let report = world.authority.revoke("test", accredit_authority::revoke::Target::All, None).await;
    let report = report.expect("revoked");
    assert_eq!((report.tasks_ended.len(), report.pending), (1, 0), "nothing is left of the broken action");
}
