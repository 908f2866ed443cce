//! What is left to be shown afterwards: receipts, uses, explanations, and a ledger that notices what was done to it.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use accredit_tests::harness::{Accredit, Run, Said, Setup};
use accredit_tests::oracle::{Effect, Evidence, Ledger, Place, Verification, check};
use accredit_tests::sample::effects::Event;
use accredit_tests::world::{World, shared};
use serde_json::Value;

static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());

fn world() -> Arc<World> {
    shared(&WORLD, || {
        let world = World::start(Setup::default());
        for agent in ["shop-coder", "shop-reader"] {
            world.enrol(agent);
        }
        world
    })
}

#[test]
fn a_receipt_counts_what_a_task_did() {
    let world = world();
    let run = Run::of("shop-coder", &["orders: GET|POST /v1/orders/**", "orders: POST /v1/orders"]);
    let script = "for i in 1 2 3; do curl -sS -o /dev/null \"$0/v1/orders/$i\"; done; \
        curl -sS -o /dev/null -d '{}' \"$0/v1/orders\"; curl -sS -o /dev/null -X PUT -d x \"$0/v1/orders/1\"";
    let said = run.output(&world.accredit, &["sh", "-c", script, &world.sample.url]).ok();
    for part in ["4 uses of 1 credential", "1 refused", "3 reads, 1 write", "accredit why t_"] {
        assert!(said.stderr.contains(part), "no `{part}` in:\n{}", said.stderr);
    }
}

// case: AUD-11, AUD-12
#[test]
fn every_use_names_agent_task_purpose_workflow_and_person_and_replays_to_the_same_answer() {
    let world = world();
    let mut run = Run::of("shop-reader", &["orders: GET /v1/orders/*"]);
    run.purpose = "look up the lamp".to_owned();
    run.workflow = Some("SHOP-42".to_owned());
    let script = "curl -sS -o /dev/null \"$0/v1/orders/evidence\"; curl -sS -o /dev/null -X DELETE \"$0/v1/orders/evidence\"; echo $ACCREDIT_TASK";
    let said = run.output(&world.accredit, &["sh", "-c", script, &world.sample.url]).ok();
    let task = said.stdout.trim().to_owned();
    let uses = world.accredit.json(&["credential", "uses", "orders-key", "--task", &task]);
    let uses = uses.as_array().expect("a list");
    assert_eq!(uses.len(), 2, "one use, one refusal: {uses:?}");
    for used in uses {
        for (field, wanted) in [
            ("agent", "shop-reader"),
            ("task", task.as_str()),
            ("purpose", "look up the lamp"),
            ("workflow", "SHOP-42"),
            ("requested_by", "ana@acme.test"),
            ("resource", "orders"),
            ("path", "/v1/orders/evidence"),
        ] {
            assert_eq!(used[field].as_str(), Some(wanted), "{field} of {used}");
        }
    }
    let outcome = |wanted: &str| uses.iter().find(|u| u["outcome"] == wanted).expect("one of each");
    assert_eq!(
        (outcome("allow")["settled"].as_str(), outcome("allow")["status"].as_u64()),
        (Some("done"), Some(200))
    );
    assert_eq!(outcome("deny")["code"].as_str(), Some("outside_boundary"));
    for used in uses {
        let id = used["decision"].as_str().expect("an id");
        let why = world.accredit.json(&["why", id]);
        assert_eq!(why["decisions"][0]["replay"]["result"], "same", "{why}");
        let shown = world.accredit.cli(&["why", id]).ok();
        assert!(shown.stdout.lines().count() <= 45, "one screen:\n{}", shown.stdout);
        assert!(
            shown.stdout.contains("look up the lamp") && shown.stdout.contains("same answer"),
            "{}",
            shown.stdout
        );
    }
    // What the service saw is what the ledger names: the request carried the recorded trace.
    let effects = world.sample.effects().expect("the effect log");
    let effect = effects
        .iter()
        .find(|e| e.event == Event::Acted && e.path == "/v1/orders/evidence")
        .expect("the effect");
    let trace = effect.traceparent.as_deref().expect("a traceparent");
    let export = world.accredit.cli(&["audit", "export"]).ok();
    assert!(export.stdout.contains(trace), "the ledger names the trace of the effect");
}

// case: AUD-09, AUD-10
#[test]
fn what_an_agent_writes_stays_one_well_formed_record() {
    let world = world();
    let say = |purpose: &str| {
        let run = Run { purpose: purpose.to_owned(), ..Run::of("shop-reader", &["orders: GET"]) };
        run.output(&world.accredit, &["true"])
    };
    for bad in [
        "",
        "two\nlines",
        "bell\u{7}",
        "\u{1b}[2Jgone",
        "right\u{202e}left",
        "line\u{2028}break",
        &"x".repeat(301),
    ] {
        let said = say(bad);
        assert_eq!(said.code, 125, "{bad:?}: {}", said.stderr);
        assert!(
            said.stderr.contains("purpose") || said.stderr.contains("--task"),
            "{bad:?}: {}",
            said.stderr
        );
        assert!(!said.stderr.contains('\u{1b}') && !said.stderr.contains('\u{202e}'), "{:?}", said.stderr);
    }
    say("größer — 日本語 \"quoted\" {\"kind\":\"x\"}").ok();
    for line in world.accredit.cli(&["audit", "export"]).ok().stdout.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|entry| entry.is_object()), "{line}");
    }
}

#[test]
fn the_ledger_verifies_here_and_from_an_export() {
    let world = world();
    let _ = Run::of("shop-coder", &["orders: GET"])
        .output(&world.accredit, &["curl", "-sS", &world.url("/v1/orders/1")]);
    let said = world.accredit.cli(&["audit", "verify"]).ok();
    assert!(said.stdout.contains("entries"), "{}", said.stdout);
    let report = world.accredit.json(&["audit", "verify"]);
    assert_eq!(report["ok"], true, "{report}");
    assert!(report["entries"].as_u64().is_some_and(|n| n > 10), "{report}");
}

/// The invariants I1, I2, I3, I5 and I8, by the judge that every run has: what the service did against what the ledger
/// holds, decisions made again from what was recorded.
#[test]
fn a_day_of_work_leaves_nothing_for_the_judge() {
    let mut world = World::start(Setup { embedded: true, ..Setup::default() });
    for agent in ["shop-coder", "shop-reader"] {
        world.enrol(agent);
    }
    let script = "for i in 1 2 3; do curl -sS \"$0/v1/orders/$i\"; curl -sS -d '{}' \"$0/v1/orders\"; \
        curl -sS -X DELETE \"$0/v1/orders/$i\"; curl -sS \"$0/v1/echo?header=1\"; done; git ls-remote \"$1\" || true";
    let mut places = Vec::new();
    for (agent, grants) in [
        ("shop-coder", ["orders: *", "shop-git: read"]),
        ("shop-reader", ["orders: GET", "shop-git: git.refs"]),
    ] {
        let run = Run::of(agent, &grants);
        let said = run
            .output(&world.accredit, &["sh", "-c", script, &world.sample.url, &world.repository("shop")])
            .ok();
        let bytes = format!("{}{}", said.stdout, said.stderr).into_bytes();
        places.push(Place { name: format!("output of {agent}"), tenant: None, bytes });
    }
    let verified = world.accredit.cli(&["audit", "verify"]);
    let leaks = world.accredit.leaks(&world.canaries);
    world.accredit.stop();
    let ledger = Ledger::of_database(&world.accredit.state().join("accredit.db")).expect("the ledger");
    let effects = world.sample.effects().expect("the effect log");
    let evidence = Evidence {
        effects: Effect::of_log(&effects),
        ledger,
        at_rest: true,
        verifications: vec![Verification {
            when: "at the end".to_owned(),
            ok: verified.code == 0,
            said: verified.stdout,
        }],
        secrets: std::mem::take(&mut world.canaries),
        leaks,
        places,
        ..Evidence::default()
    };
    assert!(evidence.effects.len() >= 15, "there was something to judge: {}", evidence.effects.len());
    assert_eq!(check(&evidence), []);
}

/// A stopped authority whose state is copied and damaged.
struct Stopped {
    world: World,
}

impl Stopped {
    fn new() -> Self {
        let mut world = World::start(Setup { embedded: true, ..Setup::default() });
        world.enrol("shop-coder");
        let script = "for i in 1 2 3 4 5; do curl -sS -o /dev/null \"$0/v1/orders/$i\"; done";
        let run = Run::of("shop-coder", &["orders: GET"]);
        run.output(&world.accredit, &["sh", "-c", script, &world.sample.url]).ok();
        // What this machine saw is held against the ledger later.
        world.accredit.cli(&["audit", "verify"]).ok();
        world.accredit.stop();
        Self { world }
    }

    /// What `audit verify` says about a copy after `damage`: through a server on the copy, or, where the server itself
    /// refuses to start, what it says.
    fn verify(&self, name: &str, damage: impl FnOnce(&Path)) -> Said {
        let copy = self.world.accredit.scratch().join(name);
        let copied = Command::new("cp").arg("-a").arg(self.world.accredit.state()).arg(&copy).status();
        assert!(copied.expect("cp").success());
        damage(&copy);
        let old = &self.world.accredit;
        // The same addresses: the log's key is named after them.
        let setup = Setup {
            state: Some(copy),
            addresses: Some((old.listen, old.gateway)),
            embedded: true,
            ..Setup::default()
        };
        match Accredit::try_start(setup) {
            Ok(accredit) => accredit.cli(&["audit", "verify"]),
            Err(said) => said,
        }
    }
}

/// Changes a stopped database as its owner could, triggers or not.
fn sqlite(state: &Path, statement: &str) {
    let base = rusqlite::Connection::open(state.join("accredit.db")).expect("the database");
    let drop = "DROP TRIGGER entry_is_never_changed; DROP TRIGGER entry_is_never_removed;";
    base.execute_batch(drop).expect("triggers that are there");
    let before = base.total_changes();
    base.execute_batch(statement).unwrap_or_else(|error| panic!("{error}: {statement}"));
    assert!(base.total_changes() > before, "`{statement}` changed nothing");
}

// case: AUD-04, AUD-05
#[test]
fn a_ledger_that_was_tampered_with_does_not_verify() {
    let stopped = Stopped::new();
    stopped.verify("whole", |_| {}).ok();
    let middle = "(SELECT max(seq) / 2 FROM entry)";
    let columns =
        "tenant, kind, at, task, agent, resource, credential, decision, request, workflow, outcome, body";
    for (name, statement) in [
        (
            "changed",
            // Every entry has a 1 in it: the first digit of its time.
            format!(
                "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '1', '2') AS BLOB) WHERE seq = {middle}"
            ),
        ),
        ("removed", format!("DELETE FROM entry WHERE seq = {middle}")),
        (
            "swapped",
            format!(
                "CREATE TEMP TABLE pair AS SELECT seq, body FROM entry WHERE seq IN ({middle}, {middle} + 1); \
             UPDATE entry SET body = (SELECT body FROM pair WHERE pair.seq = 2 * {middle} + 1 - entry.seq) \
             WHERE seq IN (SELECT seq FROM pair)"
            ),
        ),
        (
            "added",
            format!(
                "CREATE TEMP TABLE twin AS SELECT * FROM entry WHERE seq = {middle}; \
             UPDATE entry SET seq = -seq - 1 WHERE seq > (SELECT seq FROM twin); \
             UPDATE entry SET seq = -seq WHERE seq < 0; \
             INSERT INTO entry (seq, {columns}) SELECT seq + 1, {columns} FROM twin"
            ),
        ),
        ("truncated", "DELETE FROM entry WHERE seq > (SELECT max(seq) - 3 FROM entry)".to_owned()),
    ] {
        let said = stopped.verify(name, |copy| sqlite(copy, &statement));
        assert_ne!(said.code, 0, "{name}: {}{}", said.stdout, said.stderr);
    }
}

// case: AUD-06
#[test]
fn an_older_copy_is_not_taken_for_the_present() {
    let mut world = World::start(Setup { embedded: true, ..Setup::default() });
    world.enrol("shop-coder");
    let yesterday = world.accredit.scratch().join("yesterday");
    world.accredit.stop();
    std::fs::create_dir(&yesterday).expect("a directory");
    let copy = |from: &Path, to: &Path| {
        for entry in std::fs::read_dir(from).expect("a listing").flatten() {
            if entry.file_name().to_string_lossy().starts_with("accredit.db") {
                std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
            }
        }
    };
    copy(world.accredit.state(), &yesterday);
    world.accredit.launch();
    world.accredit.wait_until_ready();
    Run::of("shop-coder", &["orders: GET"])
        .output(&world.accredit, &["curl", "-sS", &world.url("/v1/orders/1")])
        .ok();
    world.accredit.cli(&["audit", "verify"]).ok();
    world.accredit.stop();
    for entry in std::fs::read_dir(world.accredit.state()).expect("a listing").flatten() {
        if entry.file_name().to_string_lossy().starts_with("accredit.db") {
            std::fs::remove_file(entry.path()).expect("a file that goes");
        }
    }
    copy(&yesterday, world.accredit.state());
    world.accredit.launch();
    assert_ne!(world.accredit.wait_for_end(), 0, "{}", world.accredit.log());
    let log = world.accredit.log();
    assert!(log.contains("fork"), "it says what is wrong and what to do:\n{log}");
}
