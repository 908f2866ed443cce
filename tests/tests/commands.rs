//! The command line as scripts meet it: where output goes, and what the exit code says about it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use accredit_tests::harness::{Accredit, Said, Setup, wait_for};

#[test]
fn following_the_ledger_ends_when_its_reader_has_gone() {
    let accredit = Accredit::start(Setup::default());
    let mut tail = accredit.command();
    let mut tail = tail.args(["audit", "tail"]).stdout(Stdio::piped()).spawn().expect("the command starts");
    let mut reader = BufReader::new(tail.stdout.take().expect("its output"));
    let mut line = String::new();
    let mut owners = 0;
    let mut something_happens = || {
        owners += 1;
        accredit.cli(&["owner", "add", &format!("team:t{owners}")]).ok();
    };
    // It may not follow yet when the first owners are added; `head -1` would read its line and go, like this.
    let first = std::thread::spawn(move || reader.read_line(&mut line).map(|_| line));
    wait_for(|| {
        something_happens();
        first.is_finished().then_some(())
    });
    let line = first.join().expect("a reader").expect("a line");
    assert!(line.ends_with('\n'), "a whole line: {line}");
    let ended = wait_for(|| {
        something_happens();
        tail.try_wait().expect("a child can be waited for")
    });
    assert_eq!(ended.code(), Some(141), "as every command that its reader leaves");
}

#[test]
fn data_that_could_not_be_written_is_a_failure() {
    let accredit = Accredit::start(Setup::default());
    for arguments in
        [&["audit", "export"][..], &["owner", "ls"], &["-o", "json", "whoami"], &["completion", "bash"]]
    {
        if arguments[0] == "owner" {
            accredit.cli(&["owner", "add", "team:shop"]).ok();
        }
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a device that is full");
        let said = accredit.command().args(arguments).stdout(full).output().expect("the command starts");
        let said = Said::of(&said);
        assert_eq!(said.code, 1, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains("could not be written"), "{}", said.stderr);
    }
}
