//! The sample service as a program: `sample --dir DIR --key-file FILE [--port N] [--host NAME] [--git-host NAME]`.
//!
//! When it listens it prints one line of JSON: where it is, its certificate authority, its effect log, and
//! `authority_prefix`, what to put in front of the authority's command line so that the authority knows the service's
//! host name. It ends with its parent.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use accredit_tests::names::Names;
use accredit_tests::sample::{Sample, SampleConfig};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::json;

/// What it is called when nobody says.
const HOST: &str = "orders.acme.test";
/// What its git server is called when nobody says.
const GIT_HOST: &str = "git.acme.test";

fn main() -> ExitCode {
    match start() {
        Ok(sample) => {
            let _running = sample;
            loop {
                std::thread::park();
            }
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "sample: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<Sample, String> {
    let said = |error: std::io::Error| error.to_string();
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|error| error.to_string())?;
    let mut arguments = std::env::args().skip(1);
    let (mut port, mut dir, mut key_file) = (0, None, None);
    let (mut host, mut git_host) = (HOST.to_owned(), GIT_HOST.to_owned());
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("`{name}` needs a value"))?;
        match name.as_str() {
            "--port" => port = value.parse().map_err(|_| format!("`{value}` is not a port"))?,
            "--dir" => dir = Some(PathBuf::from(value)),
            "--key-file" => key_file = Some(PathBuf::from(value)),
            "--host" => host = value,
            "--git-host" => git_host = value,
            _ => return Err(format!("`{name}` is not one of --port, --dir, --key-file, --host, --git-host")),
        }
    }
    let dir = dir.ok_or("say where with --dir DIR")?;
    let key_file = key_file.ok_or("say which key with --key-file FILE")?;
    let key = std::fs::read_to_string(&key_file).map_err(|e| format!("{}: {e}", key_file.display()))?;
    std::fs::create_dir_all(&dir).map_err(said)?;
    let loopback = std::net::Ipv4Addr::LOCALHOST.into();
    let names = Names::stage(&dir, &[(&host, loopback), (&git_host, loopback)]).map_err(said)?;
    let mut config = SampleConfig::new(key.trim(), &dir);
    config.port = port;
    config.address = names.address();
    config.host = names.host(&host);
    config.git_host = names.host(&git_host);
    let sample = Sample::start(config).map_err(said)?;
    let ready = json!({
        "url": sample.url,
        "git_url": sample.git_url,
        "address": sample.address.to_string(),
        "git_address": sample.git_address.to_string(),
        "ca": sample.ca_pem_path,
        "effects": sample.effects_path,
        "repositories": sample.repositories_path,
        "authority_prefix": names.prefix(),
    });
    let mut out = std::io::stdout();
    writeln!(out, "{ready}").and_then(|()| out.flush()).map_err(said)?;
    Ok(sample)
}
