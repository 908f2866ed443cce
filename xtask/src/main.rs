//! Project chores: `cargo xtask tidy | cases | openapi | vectors`.
//!
//! What a reader of the documents relies on and no compiler checks is checked here. Nothing in this crate is
//! part of the product, and nothing in the product depends on it.

mod cases;
mod failure;
mod generated;
mod output;
mod tidy;
mod tree;

use std::process::ExitCode;

use failure::Failure;

const USAGE: &str = "\
usage: cargo xtask COMMAND
  tidy                    edges, module docs, vouchers, heavy dependencies, file length, links, words, codes
  cases [-v] [--missing]  which security cases name a test, per family
  openapi [--check]       write openapi.json from the binary, or compare with it
  vectors [--check]       write the test vectors anew, or check them";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            output::problem(&format!("xtask: {failure}"));
            ExitCode::from(2)
        }
    }
}

/// Runs one chore. `Ok(false)` means that it ran and found something wrong.
fn run(arguments: &[String]) -> Result<bool, Failure> {
    let Some((command, flags)) = arguments.split_first() else {
        return Err(Failure::Usage(USAGE.to_owned()));
    };
    let root = tree::root();
    match command.as_str() {
        "tidy" => {
            reject_unknown(flags, &[])?;
            tidy::run(&root)
        }
        "cases" => {
            reject_unknown(flags, &["-v", "--missing"])?;
            cases::run(&root, cases::View::from_flags(flags))
        }
        "openapi" => {
            reject_unknown(flags, &["--check"])?;
            generated::openapi(&root, has(flags, "--check"))
        }
        "vectors" => {
            reject_unknown(flags, &["--check"])?;
            generated::vectors(&root, has(flags, "--check"))
        }
        "help" | "--help" | "-h" => {
            output::line(USAGE);
            Ok(true)
        }
        other => Err(Failure::Usage(format!("no chore is called `{other}`\n{USAGE}"))),
    }
}

fn has(flags: &[String], flag: &str) -> bool {
    flags.iter().any(|given| given == flag)
}

fn reject_unknown(flags: &[String], known: &[&str]) -> Result<(), Failure> {
    match flags.iter().find(|flag| !known.contains(&flag.as_str())) {
        Some(flag) => Err(Failure::Usage(format!("unknown argument `{flag}`\n{USAGE}"))),
        None => Ok(()),
    }
}
