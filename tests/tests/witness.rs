//! A ledger with witnesses: what they cosign a reader can require, and a ledger that went back or split is noticed by
//! somebody who is not its owner.

use std::path::Path;
use std::process::Command;

use accredit_tests::cosigner::Cosigner;
use accredit_tests::harness::{Accredit, Setup, http_get, wait_for};

const NAME: &str = "witness.acme.test/w1";

/// An authority that has started once without a witness, so that its ledger has a key.
fn authority(setup: Setup) -> (Accredit, String) {
    let accredit = Accredit::start(setup);
    let key = accredit.cli(&["audit", "key"]).ok().stdout.trim().to_owned();
    (accredit, key)
}

fn restart(accredit: &mut Accredit, config: &str) {
    accredit.stop();
    accredit.write_config(config);
    accredit.launch();
    accredit.wait_until_ready();
}

fn add_owners(accredit: &Accredit, count: usize, word: &str) {
    for i in 0..count {
        accredit.cli(&["owner", "add", &format!("{word}-{i}@acme.test")]).ok();
    }
}

fn metric(accredit: &Accredit, name: &str) -> u64 {
    let (_, page) = http_get(accredit.listen, "/metrics").expect("a metrics page");
    let page = String::from_utf8_lossy(&page).into_owned();
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("accredit_{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no `{name}` in:\n{page}"))
}

/// How the newest alarm about a witness reads.
fn refused_as(accredit: &Accredit) -> Option<String> {
    let entries = accredit.json(&["audit", "search", "--kind", "ledger.witness_refused", "--limit", "1"]);
    entries[0]["fields"]["code"].as_str().map(str::to_owned)
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp").success());
}

#[test]
fn a_reader_can_require_the_cosignatures_of_witnesses() {
    let (mut accredit, log_key) = authority(Setup::default());
    let dir = accredit.scratch().join("witness");
    let witness = Cosigner::start(&dir, NAME, &log_key);
    let stranger = Cosigner::start(&accredit.scratch().join("stranger"), "witness.acme.test/w2", &log_key);
    restart(&mut accredit, &witness.config());
    add_owners(&accredit, 3, "one");
    let said = accredit.cli(&["audit", "verify", "--witness", &witness.key]).ok();
    assert!(said.stdout.contains(&format!("{NAME}: ")), "{}", said.stdout);
    // The head that everybody gets carries the line by now, and another reader's tools ignore it.
    let head = wait_for(|| {
        let head = accredit.cli(&["audit", "checkpoint"]).ok().stdout;
        head.contains(&format!("\u{2014} {NAME} ")).then_some(head)
    });
    assert_eq!(head.matches('\u{2014}').count(), 2, "{head}");
    accredit.cli(&["audit", "verify"]).ok();
    wait_for(|| {
        (metric(&accredit, "ledger_witnessed") == metric(&accredit, "ledger_checkpointed")).then_some(())
    });
    // A proof in a file carries it as well, and is verified without any server.
    let proof = accredit.scratch().join("entry.tlog-proof").display().to_string();
    let key = accredit.scratch().join("log.key");
    std::fs::write(&key, &log_key).expect("a file");
    accredit.cli(&["audit", "prove", "0", "--out", &proof]).ok();
    let bundle = ["audit", "verify", "--bundle", &proof, "--key", &key.display().to_string(), "--witness"];
    accredit.cli(&[&bundle[..], &[&witness.key]].concat()).ok();
    for (witnesses, quorum, code) in [
        (vec![&witness.key, &stranger.key], "1", 0),
        (vec![&witness.key, &stranger.key], "2", 1),
        (vec![&stranger.key], "1", 1),
        (vec![&witness.key], "2", 2),
        (vec![&witness.key, &witness.key], "2", 2),
    ] {
        let required: Vec<&str> = witnesses.iter().flat_map(|key| ["--witness", key.as_str()]).collect();
        let online = ["audit", "verify", "--wait", "1s", "--quorum", quorum];
        let said = accredit.cli(&[&online[..], &required].concat());
        assert_eq!(said.code, code, "{quorum} of {required:?}: {}", said.stderr);
        let said = accredit.cli(&[&bundle[..6], &["--quorum", quorum], &required].concat());
        assert_eq!(said.code, code, "offline, {quorum} of {required:?}: {}", said.stderr);
    }
}

/// Whoever can put back the database *and* the head beside it deceives this machine, but not a witness.
// case: AUD-06
#[test]
fn a_ledger_put_back_with_its_outside_head_is_refused_by_the_witness_and_that_is_an_alarm() {
    let (mut accredit, log_key) = authority(Setup { embedded: true, ..Setup::default() });
    let dir = accredit.scratch().join("witness");
    let witness = Cosigner::start(&dir, NAME, &log_key);
    restart(&mut accredit, &witness.config());
    let verify = ["audit", "verify", "--witness", &witness.key];
    accredit.cli(&verify).ok();
    accredit.stop();
    let yesterday = accredit.scratch().join("yesterday");
    copy(accredit.state(), &yesterday);
    accredit.launch();
    accredit.wait_until_ready();
    add_owners(&accredit, 8, "lost");
    accredit.cli(&verify).ok();
    accredit.stop();
    std::fs::remove_dir_all(accredit.state()).expect("the state goes");
    copy(&yesterday, accredit.state());
    accredit.launch();
    accredit.wait_until_ready();
    wait_for(|| (refused_as(&accredit).as_deref() == Some("rolled_back")).then_some(()));
    let said = accredit.cli(&["health"]).ok();
    assert!(said.stdout.contains("witness NOT WELL: witness_refused"), "{}", said.stdout);
    assert_eq!(metric(&accredit, "ledger_witnesses_refusing"), 1);
    let said = accredit.cli(&[&verify[..], &["--wait", "1s"]].concat());
    assert_eq!(said.code, 1, "{}{}", said.stdout, said.stderr);
    // Longer than what the witness has seen, it is another history of the same log.
    add_owners(&accredit, 20, "other");
    accredit.stop();
    accredit.launch();
    accredit.wait_until_ready();
    wait_for(|| (refused_as(&accredit).as_deref() == Some("forked")).then_some(()));
    // The work goes on, and the ledger is whole as far as this machine can tell.
    add_owners(&accredit, 1, "more");
    accredit.cli(&["audit", "verify"]).ok();
}

#[test]
fn a_witness_that_is_gone_stops_nothing() {
    let (mut accredit, log_key) = authority(Setup::default());
    let witness = Cosigner::start(&accredit.scratch().join("witness"), NAME, &log_key);
    let config = witness.config();
    drop(witness);
    restart(&mut accredit, &config);
    add_owners(&accredit, 2, "one");
    wait_for(|| (metric(&accredit, "ledger_witnesses_failing") == 1).then_some(()));
    accredit.cli(&["audit", "verify"]).ok();
    accredit.cli(&["health"]).ok();
    assert_eq!(metric(&accredit, "ledger_witnessed"), 0);
}
