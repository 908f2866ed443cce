//! `accredit policy test`: a file of made-up uses with the answers that are expected, decided on this machine by the
//! same function that decides real ones. Nothing is asked of the server but, without files, the set in force.

use std::path::{Path, PathBuf};

use accredit_api::policy::PolicyFile;
use accredit_core::policy::cases::{CaseResult, Cases, FILE_BYTES_MAX};
use accredit_core::policy::{PolicySet, PolicySource, PolicySources};
use accredit_core::time::Timestamp;
use serde::Serialize;

use super::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// One case, as it came out.
#[derive(Debug, Serialize)]
struct Outcome {
    case: String,
    passed: bool,
    expected: &'static str,
    answer: &'static str,
    code: &'static str,
    policies: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

impl From<CaseResult> for Outcome {
    fn from(result: CaseResult) -> Self {
        Self {
            passed: result.passed(),
            expected: result.expected.as_str(),
            answer: result.answer.outcome.as_str(),
            code: result.answer.code(),
            policies: result.answer.grounds.policies,
            errors: result.answer.grounds.errors,
            case: result.name,
        }
    }
}

/// Decides every case of the file; exit 1 when one comes out otherwise than expected.
pub(crate) fn run(
    cases: &Path,
    files: Vec<PolicyFile>,
    now: Timestamp,
    context: &Context,
) -> Result<Exit, Failure> {
    let policies = compile(files)?;
    let text = read(cases)?;
    let wrong = |why: &dyn std::fmt::Display| {
        let failure =
            Failure::new(Exit::Usage, "cases", format!("`{}` is not a file of cases", cases.display()), why);
        failure.todo("see docs/guide/policies.md for its form")
    };
    let results = Cases::parse(&text).map_err(|e| wrong(&e))?.run(&policies, now).map_err(|e| wrong(&e))?;
    let outcomes: Vec<Outcome> = results.into_iter().map(Outcome::from).collect();
    let failed = outcomes.iter().filter(|o| !o.passed).count();
    let row = |o: &Outcome| {
        let verdict = if o.passed { "ok" } else { "FAILED" };
        vec![
            verdict.to_owned(),
            o.case.clone(),
            o.expected.to_owned(),
            o.answer.to_owned(),
            o.policies.join(", "),
        ]
    };
    context.out.list(
        &outcomes,
        &["", "CASE", "EXPECTED", "ANSWER", "POLICIES"],
        row,
        "the file has no cases",
    )?;
    context.out.say(&format!("{} cases, {failed} failed", outcomes.len()));
    Ok(if failed == 0 { Exit::Ok } else { Exit::Error })
}

fn compile(files: Vec<PolicyFile>) -> Result<PolicySet, Failure> {
    let sources = files.into_iter().map(|f| PolicySource { name: f.name, text: f.text }).collect();
    let bad = |why: String| {
        let failure = Failure::new(Exit::Error, "policies", "the policies cannot be used", why);
        failure.todo("accredit policy check FILE names every problem")
    };
    let sources = PolicySources::new(sources).map_err(|e| bad(e.to_string()))?;
    PolicySet::compile(sources)
        .map_err(|problems| bad(problems.first().map(ToString::to_string).unwrap_or_default()))
}

fn read(path: &Path) -> Result<String, Failure> {
    let size = std::fs::metadata(path).map_err(|e| Failure::file(path, &e))?.len();
    if size > FILE_BYTES_MAX as u64 {
        let why = format!("it has {size} bytes, the most is {FILE_BYTES_MAX}");
        return Err(Failure::new(Exit::Usage, "cases", format!("`{}` is too long", path.display()), why));
    }
    std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))
}

/// Where the policies come from.
#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// The file of cases, TOML or JSON
    #[arg(value_name = "CASES")]
    pub(crate) cases: PathBuf,
    /// Policy files, or directories of `.cedar` files [default: the set in force]
    #[arg(value_name = "FILE|DIR")]
    pub(crate) policies: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: &str = "[agents.etl]\n[resources.billing]\n[[case]]\nname = \"reads\"\nagent = \"etl\"\nresource = \"billing\"\nmethod = \"GET\"\npath = \"/x\"\nexpect = \"allow\"\n";

    fn check(policy: &str, expected: Exit) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cases.toml");
        std::fs::write(&path, CASES).expect("written");
        let files = vec![PolicyFile { name: "p.cedar".to_owned(), text: policy.to_owned() }];
        let exit = run(
            &path,
            files,
            Timestamp::from_ms(0),
            &Context::of_test(dir.path(), std::collections::BTreeMap::new()),
        );
        assert_eq!(exit.expect("the cases run"), expected, "{policy}");
    }

    #[test]
    fn a_case_passes_or_fails_by_the_decision_function() {
        check("permit (principal, action == Action::\"read\", resource);", Exit::Ok);
        check("permit (principal, action == Action::\"write\", resource);", Exit::Error);
    }
}
