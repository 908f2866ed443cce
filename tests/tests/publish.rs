//! The published ledger: whole at every moment for a reader who has nothing but the files and the log's key, never taken back,
//! and of one history.

use std::path::{Path, PathBuf};
use std::process::Command;

use accredit_tests::bucket::{BUCKET, Bucket};
use accredit_tests::canary::{Canary, in_tree};
use accredit_tests::harness::{Accredit, Said, Setup, http_get, root, shared_database, wait_for};
use accredit_tests::operator::Operator;

fn to_directory(place: &Path) -> String {
    format!("[audit.publish]\nto = \"file://{}\"\nevery = \"1s\"", place.display())
}

fn add_owners(accredit: &Accredit, word: &str, count: usize) {
    let operator = Operator::sign_in(accredit);
    for i in 0..count {
        operator.add_owner(&format!("{word}-{i}@acme.test")).expect("added");
    }
}

fn log_key(accredit: &Accredit) -> String {
    accredit.cli(&["audit", "key"]).ok().stdout.trim().to_owned()
}

/// What another implementation, in another language, says about the files.
fn second_verifier(place: &Path, key: &str) -> Said {
    let script = root().join("crates/ledger/tests/second_verifier.py");
    Said::of(&Command::new("python3").arg(script).arg(place).arg(key).output().expect("python runs"))
}

fn published(place: &Path) -> u64 {
    let text = std::fs::read_to_string(place.join("checkpoint")).unwrap_or_default();
    text.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or(0)
}

fn metric(accredit: &Accredit, name: &str) -> u64 {
    let (_, page) = http_get(accredit.listen, "/metrics").expect("a metrics page");
    let page = String::from_utf8_lossy(&page).into_owned();
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("accredit_{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no `{name}` in:\n{page}"))
}

fn head_size(accredit: &Accredit) -> u64 {
    let head = accredit.cli(&["audit", "checkpoint"]).ok();
    head.stdout.lines().nth(1).and_then(|size| size.parse().ok()).expect("a size")
}

/// Everything that is there now is published.
fn caught_up(accredit: &Accredit) {
    let size = head_size(accredit);
    wait_for(|| (metric(accredit, "ledger_published") >= size).then_some(()));
}

fn files(place: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![place.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).expect("a listing").flatten().map(|entry| entry.path()));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_directory_holds_the_whole_ledger_at_every_moment_and_after_every_death() {
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path().join("ledger");
    let mut accredit = Accredit::start(Setup { config: to_directory(&place), ..Setup::default() });
    let key = log_key(&accredit);
    for round in 0..3 {
        add_owners(&accredit, &format!("round-{round}"), 200);
        // Killed in the middle of whatever it does: the files are those of some checkpoint.
        wait_for(|| (published(&place) > 0).then_some(()));
        accredit.kill();
        second_verifier(&place, &key).ok();
        accredit.launch();
        accredit.wait_until_ready();
    }
    // A replica that was killed leads again when its lease has run out: until then the head is an older one.
    wait_for(|| (head_size(&accredit) > 600).then_some(()));
    caught_up(&accredit);
    let size = published(&place);
    assert!(size > 600, "{size}");
    let said = second_verifier(&place, &key).ok();
    assert!(said.stdout.contains("every tile as signed"), "{}", said.stdout);
    // Full files replaced their narrower versions; what is partial is at the right edge.
    let partial =
        |path: &&PathBuf| path.parent().is_some_and(|dir| dir.extension().is_some_and(|e| e == "p"));
    let found = files(&place);
    for full in ["tile/0/000", "tile/0/001", "tile/entries/001"] {
        assert!(found.contains(&place.join(full)), "{full}");
        assert!(!found.iter().any(|path| path.starts_with(place.join(format!("{full}.p")))), "{full}.p");
    }
    assert!(found.iter().filter(partial).count() > 0);
}

#[test]
fn what_was_taken_away_or_put_back_is_put_right_and_what_was_changed_is_left() {
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path().join("ledger");
    let accredit = Accredit::start(Setup { config: to_directory(&place), ..Setup::default() });
    let key = log_key(&accredit);
    caught_up(&accredit);
    let older = std::fs::read(place.join("checkpoint")).expect("a checkpoint");
    add_owners(&accredit, "one", 300);
    caught_up(&accredit);
    let size = published(&place);
    let whole = || wait_for(|| (published(&place) >= size).then_some(()));
    std::fs::write(place.join("checkpoint"), &older).expect("written");
    whole();
    let tile = place.join("tile/0/000");
    std::fs::remove_file(&tile).expect("removed");
    assert_ne!(second_verifier(&place, &key).code, 0, "a file is missing");
    std::fs::remove_file(place.join("checkpoint")).expect("removed");
    whole();
    second_verifier(&place, &key).ok();
    let mut bytes = std::fs::read(&tile).expect("a tile");
    bytes[0] ^= 1;
    std::fs::write(&tile, &bytes).expect("written");
    std::fs::remove_file(place.join("checkpoint")).expect("removed");
    wait_for(|| accredit.cli(&["health"]).stdout.contains("published_other_history").then_some(()));
    assert_eq!(std::fs::read(&tile).expect("a tile"), bytes);
    assert_eq!(published(&place), 0, "no head is signed for what is not there");
}

// case: AUD-06
#[test]
fn a_place_that_holds_another_history_is_left_as_it_is_and_that_is_an_alarm() {
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path().join("ledger");
    let first = Accredit::start(Setup { config: to_directory(&place), ..Setup::default() });
    let key = log_key(&first);
    caught_up(&first);
    let second = Accredit::start(Setup { config: to_directory(&place), ..Setup::default() });
    let said = wait_for(|| {
        let said = second.cli(&["health"]);
        said.stdout.contains("publish NOT WELL: published_other_history").then_some(said)
    });
    assert_eq!(said.code, 0, "the work goes on: {}", said.stdout);
    assert_eq!(metric(&second, "ledger_publish_failing"), 1);
    add_owners(&first, "more", 3);
    caught_up(&first);
    second_verifier(&place, &key).ok();
}

#[test]
fn a_bucket_holds_the_same_as_a_directory_and_the_key_shows_nowhere() {
    let dir = tempfile::tempdir().expect("a directory");
    let bucket = Bucket::start(dir.path());
    let config = format!(
        "[audit.publish]\nto = \"s3://{BUCKET}/prod/accredit\"\nendpoint = \"http://{}\"\nevery = \"1s\"\n\
         access_key = \"${{env:BUCKET_ID}}\"\nsecret_key = \"${{env:BUCKET_KEY}}\"",
        bucket.address
    );
    let environment = vec![
        ("BUCKET_ID".to_owned(), bucket.access_key.clone()),
        ("BUCKET_KEY".to_owned(), bucket.secret_key.clone()),
        ("ACCREDIT_LOG".to_owned(), "trace".to_owned()),
    ];
    let mut accredit = Accredit::start(Setup { config, environment, ..Setup::default() });
    let key = log_key(&accredit);
    add_owners(&accredit, "one", 300);
    caught_up(&accredit);
    // A restart goes on from what is there.
    accredit.stop();
    accredit.launch();
    accredit.wait_until_ready();
    add_owners(&accredit, "two", 5);
    caught_up(&accredit);
    let canaries = [Canary::new("the bucket's key", &bucket.secret_key)];
    let leaks = accredit.leaks(&canaries);
    assert!(leaks.is_empty(), "{leaks:?}");
    accredit.stop();
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).expect("a directory");
    bucket.copy_to(&copy);
    let there = copy.join("prod/accredit");
    second_verifier(&there, &key).ok();
    assert!(published(&there) > 300);
    assert!(in_tree(&canaries, &copy).is_empty());
}

#[test]
fn a_store_that_does_not_answer_stops_nothing() {
    let config = "[audit.publish]\nto = \"s3://acme-ledger\"\nendpoint = \"http://127.0.0.1:1\"\nevery = \"1s\"\n\
        access_key = \"${env:HOME}\"\nsecret_key = \"${env:HOME}\"";
    let accredit = Accredit::start(Setup { config: config.to_owned(), ..Setup::default() });
    wait_for(|| (metric(&accredit, "ledger_publish_failing") == 1).then_some(()));
    accredit.cli(&["owner", "add", "ana@acme.test"]).ok();
    accredit.cli(&["audit", "verify"]).ok();
    accredit.cli(&["health"]).ok();
}

/// Two replicas and a server of another tenant, which publish to one place.
#[test]
fn one_replica_publishes_for_all_with_the_entries_of_every_tenant() {
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path().join("ledger");
    let database = shared_database();
    let own = |config: String| Setup { config, shared: Some(database.clone()), ..Setup::default() };
    let mut first = Accredit::start(own(format!("\n{}", to_directory(&place))));
    let server = format!(
        "url = \"http://{}\"\nseal = {{ kind = \"file\", path = \"{}\" }}\n",
        first.listen,
        first.state().join("seal.key").display()
    );
    let second = Accredit::start(own(format!("{server}{}", to_directory(&place))));
    let elsewhere = Accredit::start(own(format!("{server}tenant = \"elsewhere\"\n{}", to_directory(&place))));
    let key = log_key(&first);
    for (accredit, word) in [(&first, "one"), (&second, "two"), (&elsewhere, "three")] {
        add_owners(accredit, word, 100);
    }
    let until = |size: u64| wait_for(|| (published(&place) >= size).then_some(()));
    until(head_size(&first));
    second_verifier(&place, &key).ok();
    let entries: Vec<_> = files(&place.join("tile/entries")).iter().map(std::fs::read).collect();
    let holds = |owner: &str| {
        let held = |bytes: &Vec<u8>| bytes.windows(owner.len()).any(|window| window == owner.as_bytes());
        entries.iter().flatten().any(held)
    };
    for owner in ["one-99@acme.test", "two-99@acme.test", "three-99@acme.test"] {
        assert!(holds(owner), "{owner}");
    }
    for accredit in [&first, &second, &elsewhere] {
        caught_up(accredit);
        assert_eq!(metric(accredit, "ledger_publish_failing"), 0);
        assert!(accredit.cli(&["health"]).ok().stdout.contains("publish"));
    }
    // Whichever of the two led: the other one goes on when it is gone, from what is there.
    let before = published(&place);
    first.kill();
    add_owners(&second, "four", 20);
    until(before + 20);
    first.launch();
    first.wait_until_ready();
    drop((second, elsewhere));
    add_owners(&first, "five", 20);
    until(before + 40);
    second_verifier(&place, &key).ok();
}
