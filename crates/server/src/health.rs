//! `GET /v1/health` (the process answers) and `GET /v1/ready` (it takes work).

use accredit_api::health::{Health, Ready, ReadyCheck};
use axum::Json as Reply;
use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;

/// Whether the process answers
#[utoipa::path(get, path = "/v1/health", tag = "health", responses((status = 200, body = Health)))]
pub(crate) async fn live() -> Reply<Health> {
    Reply(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// Whether work is accepted
///
/// Not while the ledger cannot be written, the vault is sealed, the database is a fork or has not heard of this replica for
/// seconds, and not once the server was told to stop. A witness that refuses is a check
/// that is not well, and keeps nobody from working.
#[utoipa::path(get, path = "/v1/ready", tag = "health", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub(crate) async fn ready(State(app): State<App>) -> (StatusCode, Reply<Ready>) {
    let found = app.authority().checks();
    let stopping = app.is_stopping();
    let ready = !stopping && found.iter().all(|c| c.wrong.is_none() || !c.needed);
    let mut checks: Vec<_> = found
        .into_iter()
        .map(|c| ReadyCheck {
            name: c.name.to_owned(),
            ok: c.wrong.is_none(),
            detail: c.wrong.map(str::to_owned),
        })
        .collect();
    if stopping {
        checks.push(ReadyCheck { name: "server".to_owned(), ok: false, detail: Some("stopping".to_owned()) });
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Reply(Ready { ready, checks }))
}
