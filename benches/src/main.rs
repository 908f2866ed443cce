//! The side-by-side measurements: what Accredit costs beside a floor or a peer in the same run, on the same machine.
//!
//! `accredit-benches [gateway|decide|record|mint|revoke|ledger|idle|start|replicas|backup|expire|all] [--quick] [--out DIR]`. Figures come as
//! ratios to a floor first, because machines differ and drift. Nothing here is a test: no figure makes it fail.

mod backup; //  copies of an installation
mod child; //   processes that are measured, pinned to one processor
mod decide; //  P3: one decision, with few and many policies
mod disk; //    what this disk takes for a flush
mod expire; //  many tasks whose time runs out at once
mod figures; // percentiles and medians
mod gateway; // P1, P2: requests through the gateway, beside bare proxies
mod idle; //    P9: memory of idle connections
mod ledger; //  P7: append, verify, prove, search
mod load; //    the client that makes requests and takes times
mod machine; // what this machine is
mod mint; //    P6: tasks and tokens
mod peers; //   the proxies that are compared with
mod record; //  P4: decisions made durable
mod replicas; // decisions and revocations on PostgreSQL
mod report; //  tables, on the terminal and in a file
mod revoke; //  P5: from `revoke` to its return and to the last effect
mod start; //   P10: ready with many tasks
mod upstream; // the service behind every proxy
mod world; //   an authority with an agent, a resource and tasks

use std::path::PathBuf;
use std::process::ExitCode;

use crate::report::Report;

/// Anything that keeps a measurement from being made.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How large the measurements are.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// Only to see that everything runs: figures mean nothing.
    quick: bool,
}

impl Scale {
    /// One of two sizes.
    const fn of<T: Copy>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

const USAGE: &str = "usage: accredit-benches [gateway|decide|record|mint|revoke|ledger|idle|start|replicas|backup|expire|all] [--quick] [--out DIR]";
const ALL: [&str; 11] = [
    "decide", "record", "mint", "revoke", "ledger", "gateway", "idle", "start", "replicas", "backup",
    "expire",
];

struct Asked {
    what: Vec<String>,
    scale: Scale,
    out: PathBuf,
}

fn main() -> ExitCode {
    raise_descriptors();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        // The processes that are measured are this program again.
        Some((first, rest)) if first == child::ROLE => child::become_role(rest),
        _ => asked(&arguments).and_then(|asked| measure(&asked)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::complain(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

/// As many descriptors as the system lets us have: thousands of connections are held on both ends.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, opening connections says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn asked(arguments: &[String]) -> Result<Asked, Failure> {
    let mut asked = Asked {
        what: Vec::new(),
        scale: Scale { quick: false },
        out: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => asked.scale.quick = true,
            "--out" => asked.out = arguments.next().ok_or(USAGE)?.into(),
            "all" => asked.what.extend(ALL.map(str::to_owned)),
            what if ALL.contains(&what) => asked.what.push(what.to_owned()),
            other => return Err(format!("`{other}` is not a measurement\n{USAGE}").into()),
        }
    }
    if asked.what.is_empty() {
        asked.what.extend(ALL.map(str::to_owned));
    }
    Ok(asked)
}

fn measure(asked: &Asked) -> Result<(), Failure> {
    let mut report = Report::open(&asked.out, asked.scale)?;
    for what in &asked.what {
        report::say(&format!("measuring: {what}"));
        let measured = match what.as_str() {
            "gateway" => gateway::measure(asked.scale, &mut report),
            "decide" => decide::measure(asked.scale, &mut report),
            "record" => record::measure(asked.scale, &mut report),
            "mint" => mint::measure(asked.scale, &mut report),
            "revoke" => revoke::measure(asked.scale, &mut report),
            "ledger" => ledger::measure(asked.scale, &mut report),
            "idle" => idle::measure(asked.scale, &mut report),
            "start" => start::measure(asked.scale, &mut report),
            "replicas" => replicas::measure(asked.scale, &mut report),
            "backup" => backup::measure(asked.scale, &mut report),
            _ => expire::measure(asked.scale, &mut report),
        };
        measured.map_err(|failure| format!("{what}: {failure}"))?;
    }
    report.close()
}
