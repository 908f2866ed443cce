//! Passkeys over HTTP: the bytes of the browser in, nothing decided here.

use accredit_api::passkey::{AddPasskey, AskPasskey, Passkey, PasskeyChallenge, PasskeyUsed, Passkeys};
use accredit_authority::operators::Operator;
use accredit_authority::passkeys::{Assertion, Purpose, Registration};
use accredit_core::approval;
use accredit_core::digest::Digest;
use accredit_core::operator::Passkey as Kept;
use accredit_identity::passkey::{bytes, text};
use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::access::By;
use crate::app::App;
use crate::extract::{Json, in_path};
use crate::problem::Failure;
use crate::requests::{digest, reach};

fn wire(kept: &[Kept]) -> Passkeys {
    let one = |kept: &Kept| Passkey {
        id: kept.passkey.id.clone(),
        key: kept.passkey.key.thumbprint().to_string(),
        added_at: kept.added_at.to_string(),
    };
    Passkeys { passkeys: kept.iter().map(one).collect() }
}

fn field(name: &'static str, value: &str) -> Result<Vec<u8>, Failure> {
    bytes(value).map_err(|e| Failure::unusable(name, e))
}

pub(crate) fn assertion(used: PasskeyUsed) -> Result<Assertion, Failure> {
    Ok(Assertion {
        client_data: field("client_data", &used.client_data)?,
        authenticator_data: field("authenticator_data", &used.authenticator_data)?,
        signature: field("signature", &used.signature)?,
        id: used.id,
    })
}

pub(crate) fn purpose(id: &str, digest: Digest, scope: approval::Scope) -> Result<Purpose, Failure> {
    Ok(Purpose::Approve { request: in_path("request", id)?, digest, scope })
}

fn challenge(app: &App, by: &Operator, purpose: &Purpose) -> Result<PasskeyChallenge, Failure> {
    let authority = app.authority();
    let person = format!("{}/{}", authority.tenant(), by.name());
    Ok(PasskeyChallenge {
        challenge: text(&authority.challenge(by, purpose)?),
        host: authority.passkey_host().to_owned(),
        operator: by.name().to_string(),
        handle: text(Digest::of(person.as_bytes()).as_bytes()),
        passkeys: by.record().passkeys.iter().map(|kept| kept.passkey.id.clone()).collect(),
    })
}

/// Lists the passkeys of whoever is signed in
#[utoipa::path(get, path = "/v1/passkeys", tag = "passkeys", responses((status = 200, body = Passkeys)))]
pub(crate) async fn list(By(by): By) -> Reply<Passkeys> {
    Reply(wire(&by.record().passkeys))
}

/// Gives a challenge with which to register a passkey
#[utoipa::path(post, path = "/v1/passkeys/challenge", tag = "passkeys", responses((status = 200, body = PasskeyChallenge)))]
pub(crate) async fn begin(State(app): State<App>, By(by): By) -> Result<Reply<PasskeyChallenge>, Failure> {
    challenge(&app, &by, &Purpose::Register).map(Reply)
}

/// Registers a passkey of whoever is signed in, shortly after they did
///
/// Who has one already vouches with it for the next.
#[utoipa::path(post, path = "/v1/passkeys", tag = "passkeys", request_body = AddPasskey, responses((status = 201, body = Passkeys)))]
pub(crate) async fn add(
    State(app): State<App>,
    By(by): By,
    Json(body): Json<AddPasskey>,
) -> Result<(StatusCode, Reply<Passkeys>), Failure> {
    let registration = Registration {
        client_data: field("client_data", &body.client_data)?,
        authenticator_data: field("authenticator_data", &body.authenticator_data)?,
    };
    let voucher = body.voucher.map(assertion).transpose()?;
    let all = app.authority().add_passkey(&by, registration, voucher).await?;
    Ok((StatusCode::CREATED, Reply(wire(&all))))
}

/// Takes a passkey away from whoever is signed in
#[utoipa::path(delete, path = "/v1/passkeys/{id}", tag = "passkeys", params(("id" = String, Path, description = "The credential's id")), responses((status = 204, description = "It is gone")))]
pub(crate) async fn drop_one(
    State(app): State<App>,
    By(by): By,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    app.authority().drop_passkey(&by, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a challenge with which to say yes to exactly what was shown
///
/// What a device signs of it counts in this session, for this request, this digest and this scope, for two minutes.
#[utoipa::path(post, path = "/v1/requests/{id}/challenge", tag = "requests", params(("id" = String, Path, description = "The request")), request_body = AskPasskey, responses((status = 200, body = PasskeyChallenge)))]
pub(crate) async fn ask(
    State(app): State<App>,
    By(by): By,
    Path(id): Path<String>,
    Json(body): Json<AskPasskey>,
) -> Result<Reply<PasskeyChallenge>, Failure> {
    let purpose = purpose(&id, digest(&body.digest)?, reach(body.scope))?;
    challenge(&app, &by, &purpose).map(Reply)
}
