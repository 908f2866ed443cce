//! `accredit policy`: show, check, apply, compare, and try policies on what really happened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use accredit_api::policy::{
    ApplyPolicies, AskWhoCan, CheckPolicies, PolicyCheck, PolicyFile, PolicyProblem, PolicyReplay, PolicySet,
    ReplayChange, ReplayPolicies,
};
use accredit_api::uses::WhoCan;
use accredit_authority::Clock;
use accredit_client::routes;
use clap::{Args, Subcommand};

use super::ask::Consent;
use super::operator::Operator;
use super::policy_test::{self, TestArgs};
use super::{Context, or_dash, when, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Line, Written};

/// Most files of one set, as the server has it.
const FILES_MAX: usize = 256;
/// The extension of policy files.
const EXTENSION: &str = "cedar";
/// Largest policy file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the policy set in force, or an earlier one
    Show {
        /// Hash of a set
        hash: Option<String>,
        /// Print the texts, not the list
        #[arg(long)]
        text: bool,
    },
    /// Check policies without applying them
    Check(Files),
    /// Put policies in force, in place of those that are
    Apply {
        #[command(flatten)]
        files: Files,
        /// Apply only if this set is in force now
        #[arg(long, value_name = "HASH")]
        expected: Option<String>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Show what would change if policies were applied
    Diff(Files),
    /// Decide a file of made-up uses and compare with the answers it expects; exit 1 if any differs
    Test(TestArgs),
    /// Say which live tasks could make a request now, by the decision function
    WhoCan {
        /// The resource
        resource: String,
        /// The method, such as POST
        method: String,
        /// The path, such as /repos/acme/shop/pulls
        path: String,
    },
    /// Try policies on recorded decisions: what would have changed
    Replay {
        #[command(flatten)]
        files: Files,
        /// Decisions from when on: 7d, 2h, or 2026-11-22T09:00:00Z
        #[arg(long, default_value = "7d", value_name = "WHEN")]
        since: String,
    },
}

#[derive(Debug, Args)]
struct Files {
    /// Policy files, or directories of `.cedar` files: the whole set
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
}

/// Runs the command.
pub(crate) async fn run(args: PolicyArgs, context: &Context) -> Result<Exit, Failure> {
    let operator = Operator::new(context)?;
    match args.verb {
        Verb::Show { hash, text } => show(hash.as_deref(), text, &operator, context).await,
        Verb::Check(files) => {
            let check = check(files.read()?, &operator).await?;
            context.out.one(&check, check_lines)?;
            Ok(if check.ok { Exit::Ok } else { Exit::Error })
        }
        Verb::Apply { files, expected, consent } => {
            apply(files.read()?, expected, consent, &operator, context).await
        }
        Verb::Diff(files) => {
            let now: PolicySet = operator.get(routes::POLICIES).await?;
            let changes = compare(&now.files, &files.read()?);
            let row = |c: &Change| vec![c.file.clone(), c.change.to_owned(), c.lines.join("\n")];
            if context.out.is_json() {
                context.out.list(&changes, &[], row, "")?;
            } else if changes.is_empty() {
                context.out.say("no difference from the set in force");
            } else {
                context.out.text(&changes.iter().map(Change::text).collect::<String>())?;
            }
            Ok(Exit::Ok)
        }
        Verb::Test(args) => {
            let files = match args.policies.is_empty() {
                true => operator.get::<PolicySet>(routes::POLICIES).await?.files,
                false => Files { paths: args.policies }.read()?,
            };
            policy_test::run(&args.cases, files, Clock.now(), context)
        }
        Verb::WhoCan { resource, method, path } => {
            let ask = AskWhoCan { resource, method, path };
            let answer: WhoCan = operator.post(&routes::part(routes::POLICIES, "who-can"), &ask).await?;
            super::credential::show_who_can(context.out, &answer)?;
            Ok(Exit::Ok)
        }
        Verb::Replay { files, since } => {
            let replay = replay(files.read()?, &since, &operator).await?;
            show_replay(&replay, context)?;
            Ok(Exit::Ok)
        }
    }
}

async fn show(
    hash: Option<&str>,
    text: bool,
    operator: &Operator<'_>,
    context: &Context,
) -> Result<Exit, Failure> {
    let path = hash.map_or_else(|| routes::POLICIES.to_owned(), |hash| routes::one(routes::POLICIES, hash));
    let set: PolicySet = operator.get(&path).await?;
    if text && !context.out.is_json() {
        let texts: Vec<String> = set.files.iter().map(|f| format!("// {}\n{}", f.name, f.text)).collect();
        context.out.text(&texts.join("\n"))?;
    } else {
        context.out.one(&set, set_lines)?;
    }
    Ok(Exit::Ok)
}

async fn check(files: Vec<PolicyFile>, operator: &Operator<'_>) -> Result<PolicyCheck, Failure> {
    operator.post(&routes::part(routes::POLICIES, "check"), &CheckPolicies { files }).await
}

async fn apply(
    files: Vec<PolicyFile>,
    expected: Option<String>,
    consent: Consent,
    operator: &Operator<'_>,
    context: &Context,
) -> Result<Exit, Failure> {
    let checked = check(files.clone(), operator).await?;
    if !checked.ok {
        context.out.one(&checked, check_lines)?;
        return Ok(Exit::Error);
    }
    let now: PolicySet = operator.get(routes::POLICIES).await?;
    let changes = compare(&now.files, &files);
    changes.iter().for_each(|c| context.out.say(c.text().trim_end()));
    let deed = format!(
        "{} of {} files change, for every task at once",
        changes.len(),
        now.files.len().max(files.len())
    );
    if !consent.given(context, &deed)? {
        return Ok(Exit::Ok);
    }
    // What was compared is what is replaced: if somebody else was quicker, nothing is applied.
    let body = ApplyPolicies { files, expected_head: Some(expected.unwrap_or(now.hash)) };
    let applied: PolicySet = operator.call(http::Method::PUT, routes::POLICIES, &body).await?;
    context.out.one(&applied, set_lines)?;
    Ok(Exit::Ok)
}

async fn replay(
    files: Vec<PolicyFile>,
    since: &str,
    operator: &Operator<'_>,
) -> Result<PolicyReplay, Failure> {
    let body = ReplayPolicies { files, since: when::parse("--since", since)? };
    operator.post(&routes::part(routes::POLICIES, "replay"), &body).await
}

fn show_replay(replay: &PolicyReplay, context: &Context) -> Written {
    let columns = ["time", "decision", "agent", "task", "resource", "request", "was", "would be", "by"];
    let row = |c: &ReplayChange| {
        vec![
            when::show(&c.time),
            c.decision.clone(),
            c.agent.clone(),
            c.task.clone(),
            or_dash(c.resource.as_deref()),
            format!("{} {}", c.method, c.path),
            word(&c.was),
            word(&c.would_be),
            c.policies.join(" "),
        ]
    };
    context.out.page(replay, &replay.changed, &columns, row, "nothing would have been decided otherwise")?;
    let cut = if replay.cut { "; there are more" } else { "" };
    context.out.say(&format!(
        "{} decisions: {} the same, {} otherwise, {} cannot be replayed{cut}",
        replay.examined,
        replay.same,
        replay.changed.len(),
        replay.not_replayed
    ));
    Ok(())
}

impl Files {
    /// The files by name, in the order of their names.
    fn read(&self) -> Result<Vec<PolicyFile>, Failure> {
        let mut paths = Vec::new();
        for path in &self.paths {
            if path.is_dir() { paths.extend(inside(path)?) } else { paths.push(path.clone()) }
        }
        let mut files = BTreeMap::new();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = read(&path)?;
            if files.insert(name.clone(), text).is_some() {
                let why = format!("two files are called `{name}`");
                return Err(Failure::usage("the policies were not read", why));
            }
        }
        if files.is_empty() || files.len() > FILES_MAX {
            let why = format!("a set has 1 to {FILES_MAX} files, here are {}", files.len());
            return Err(Failure::usage("the policies were not read", why));
        }
        Ok(files.into_iter().map(|(name, text)| PolicyFile { name, text }).collect())
    }
}

fn inside(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(dir).map_err(|e| Failure::file(dir, &e))?;
    let paths = entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>();
    let paths = paths.map_err(|e| Failure::file(dir, &e))?;
    Ok(paths.into_iter().filter(|p| p.extension().is_some_and(|e| e == EXTENSION)).collect())
}

fn read(path: &Path) -> Result<String, Failure> {
    let size = std::fs::metadata(path).map_err(|e| Failure::file(path, &e))?.len();
    if size > FILE_BYTES_MAX {
        let why = format!("`{}` is larger than {FILE_BYTES_MAX} bytes", path.display());
        return Err(Failure::usage("the policies were not read", why));
    }
    std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))
}

/// How one file differs from the one in force.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
struct Change {
    file: String,
    change: &'static str,
    lines: Vec<String>,
}

impl Change {
    fn text(&self) -> String {
        format!("{}: {}\n{}\n", self.file, self.change, self.lines.join("\n"))
    }
}

/// What changes from one set to another, file by file.
fn compare(now: &[PolicyFile], then: &[PolicyFile]) -> Vec<Change> {
    let texts = |files: &[PolicyFile]| -> BTreeMap<String, String> {
        files.iter().map(|f| (f.name.clone(), f.text.clone())).collect()
    };
    let (now, then) = (texts(now), texts(then));
    let names: std::collections::BTreeSet<&String> = now.keys().chain(then.keys()).collect();
    let one = |name: &String| {
        let (before, after) =
            (now.get(name).map_or("", String::as_str), then.get(name).map_or("", String::as_str));
        let change = match (now.contains_key(name), then.contains_key(name)) {
            (true, false) => "removed",
            (false, true) => "added",
            _ => "changed",
        };
        (before != after || change != "changed").then(|| Change {
            file: name.clone(),
            change,
            lines: differing_lines(before, after),
        })
    };
    names.into_iter().filter_map(one).collect()
}

/// Lines that only one of two texts has, by the longest sequence that both share.
fn differing_lines(before: &str, after: &str) -> Vec<String> {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let mut shared = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            shared[i][j] =
                if a[i] == b[j] { shared[i + 1][j + 1] + 1 } else { shared[i + 1][j].max(shared[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && shared[i + 1][j] >= shared[i][j + 1]) {
            out.push(format!("- {}", a[i]));
            i += 1;
        } else {
            out.push(format!("+ {}", b[j]));
            j += 1;
        }
    }
    out
}

fn set_lines(set: &PolicySet) -> Vec<Line> {
    vec![
        ("policy set", set.hash.clone()),
        ("in force", if set.head { "yes" } else { "no" }.to_owned()),
        ("files", set.files.iter().map(|f| f.name.clone()).collect::<Vec<_>>().join("\n")),
        ("policies", set.policies.join("\n")),
    ]
}

fn check_lines(check: &PolicyCheck) -> Vec<Line> {
    let mut lines = vec![("result", if check.ok { "good" } else { "not good" }.to_owned())];
    lines.extend(check.hash.iter().map(|hash| ("would be", hash.clone())));
    lines.extend(check.problems.iter().map(|p| ("problem", problem(p))));
    lines.extend(check.warnings.iter().map(|p| ("warning", problem(p))));
    lines.push(("policies", check.policies.join("\n")));
    lines
}

fn problem(problem: &PolicyProblem) -> String {
    let line = problem.line.map(|n| format!(":{n}")).unwrap_or_default();
    let place = problem.file.as_ref().map(|f| format!("{f}{line}: ")).unwrap_or_default();
    let help = problem.help.as_ref().map(|h| format!("\n{h}")).unwrap_or_default();
    format!("{place}{}{help}", problem.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Vec<PolicyFile> {
        list.iter().map(|(n, t)| PolicyFile { name: (*n).to_owned(), text: (*t).to_owned() }).collect()
    }

    #[test]
    fn a_comparison_shows_what_only_one_side_has() {
        let now = files(&[("a.cedar", "one\ntwo\nthree"), ("b.cedar", "x"), ("same.cedar", "y")]);
        let then = files(&[("a.cedar", "one\n2\nthree\nfour"), ("c.cedar", "z"), ("same.cedar", "y")]);
        let shown: Vec<(String, &str, String)> =
            compare(&now, &then).into_iter().map(|c| (c.file, c.change, c.lines.join(" "))).collect();
        let expected = [
            ("a.cedar".to_owned(), "changed", "- two + 2 + four".to_owned()),
            ("b.cedar".to_owned(), "removed", "- x".to_owned()),
            ("c.cedar".to_owned(), "added", "+ z".to_owned()),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_directory_stands_for_its_policy_files() {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in [("b.cedar", "2"), ("a.cedar", "1"), ("notes.txt", "no")] {
            std::fs::write(dir.path().join(name), text).expect("a file");
        }
        let read = |paths: Vec<PathBuf>| Files { paths }.read();
        assert_eq!(read(vec![dir.path().to_owned()]), Ok(files(&[("a.cedar", "1"), ("b.cedar", "2")])));
        let twice = read(vec![dir.path().to_owned(), dir.path().join("a.cedar")]);
        assert_eq!(twice.expect_err("the same name twice").exit(), Exit::Usage);
    }
}
