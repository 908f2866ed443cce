//! The `accredit` program: configuration, wiring and the command line. What it does is done elsewhere; here it is told
//! what to do, and what came of it is printed.

mod cli; //     one file for each noun of the command line
mod config; //  what people write: `accredit.toml`, `.accredit.toml`
mod exit; //    exit codes
mod failure; // what, why, what to do, code
mod known_keys; // how well-known keys begin
mod otlp; //    reports of actions on their way to a collector
mod output; //  the only place that prints
mod run; //     `accredit run`: a task around one command
mod serve; //   `accredit serve`: authority, control plane and gateway in one process

fn main() -> std::process::ExitCode {
    cli::main()
}
