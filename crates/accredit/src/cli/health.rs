//! `accredit health`: whether the authority accepts work; 0 when it does, 1 when it does not.

use accredit_api::health::Ready;
use accredit_client::{Auth, Client, routes};

use super::{Context, operator};
use crate::exit::Exit;
use crate::failure::Failure;

/// Runs the command.
pub(crate) async fn run(context: &Context) -> Result<Exit, Failure> {
    let client = Client::new(context.server()?);
    let ready: Ready = client
        .unavailable_too(routes::READY, Auth::Nobody)
        .await
        .map_err(|e| operator::failure(&e).with_exit(Exit::Error))?;
    context.out.one(&ready, |ready| {
        let said = |ok: bool| if ok { "ok" } else { "NOT WELL" };
        let mut lines = vec![("accepts work", if ready.ready { "yes" } else { "no" }.to_owned())];
        lines.extend(ready.checks.iter().map(|c| {
            let detail = c.detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default();
            ("check", format!("{} {}{detail}", c.name, said(c.ok)))
        }));
        lines
    })?;
    Ok(if ready.ready { Exit::Ok } else { Exit::Error })
}
