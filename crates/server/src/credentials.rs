//! Credentials over HTTP. No answer holds a value: the types that would carry one do not exist.

use accredit_api::Page;
use accredit_api::credential::{AddCredential, Credential, CredentialStatus, Placement, SetSecret};
use accredit_api::form::SECRET_CHARS_MAX;
use accredit_api::page::PageQuery;
use accredit_api::uses::{Outcome, Use, UsesQuery, WhoCan};
use accredit_authority::admission::Of;
use accredit_authority::credentials::{CredentialDetails, NewCredential};
use accredit_authority::uses_report::UsesFilter;
use accredit_core::credential as core;
use accredit_core::rights::Operation;
use accredit_identity::id::{AgentName, CredentialName, TaskId};
use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::access::By;
use crate::app::App;
use crate::extract::{
    Json, Params, canonical, in_path, moment, number_cursor, page_by_name, page_size, parsed, parsed_opt,
};
use crate::problem::Failure;
use crate::uses;

/// One request of each effect that a method can have, for the question who could use a credential.
const ONE_OF_EACH: [&str; 3] = ["GET", "POST", "DELETE"];

fn wire(found: CredentialDetails) -> Credential {
    let CredentialDetails { credential: c, endpoints } = found;
    let (status, revoked_at, revoked_because) = match c.status {
        core::CredentialStatus::Active => (CredentialStatus::Active, None, None),
        core::CredentialStatus::Revoked { at, reason } => {
            (CredentialStatus::Revoked, Some(at.to_string()), reason.map(|r| r.to_string()))
        }
    };
    Credential {
        name: c.name.to_string(),
        resource: c.resource.to_string(),
        endpoints: endpoints.iter().map(ToString::to_string).collect(),
        owner: c.owner.to_string(),
        revocation_authority: c.revocation_authority.to_string(),
        rotation_due: c.rotation_due.map(|t| t.to_string()),
        placement: match c.placement {
            core::Placement::Header { field, prefix } => {
                Placement::Header { field: field.as_str().to_owned(), prefix: prefix.as_str().to_owned() }
            }
            core::Placement::Basic { user } => Placement::Basic { user: user.as_str().to_owned() },
        },
        secret_version: c.secret_version,
        status,
        revoked_at,
        revoked_because,
        added_at: c.added_at.to_string(),
    }
}

/// Whether a text is spelled as a field name: then it is refused for what the field means.
fn is_token(field: &str) -> bool {
    (1..=64).contains(&field.len()) && field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn placement(wire: &Placement) -> Result<core::Placement, Failure> {
    let wrong = |e| Failure::field("placement", e);
    Ok(match wire {
        Placement::Header { field, prefix } => core::Placement::Header {
            field: core::FieldName::parse(field).map_err(|e| match is_token(field) {
                true => Failure::unusable("placement", e),
                false => Failure::field("placement", e),
            })?,
            prefix: core::Prefix::parse(prefix).map_err(wrong)?,
        },
        Placement::Basic { user } => {
            core::Placement::Basic { user: core::UserName::parse(user).map_err(wrong)? }
        }
    })
}

/// Lists credentials
#[utoipa::path(get, path = "/v1/credentials", tag = "credentials", params(PageQuery), responses((status = 200, body = Page<Credential>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: By,
    Params(query): Params<PageQuery>,
) -> Result<Reply<Page<Credential>>, Failure> {
    let limit = page_size(query.limit)?;
    let all: Vec<_> = app.authority().credentials().await?.into_iter().map(wire).collect();
    page_by_name(all, |c| &c.name, query.cursor.as_deref(), limit).map(Reply)
}

/// Shows a credential, without its value
#[utoipa::path(get, path = "/v1/credentials/{name}", tag = "credentials", params(("name" = String, Path, description = "The credential")), responses((status = 200, body = Credential)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: By,
    Path(name): Path<String>,
) -> Result<Reply<Credential>, Failure> {
    Ok(Reply(wire(app.authority().credential(in_path("credential", &name)?).await?)))
}

/// Adds a credential
#[utoipa::path(post, path = "/v1/credentials", tag = "credentials", request_body = AddCredential, responses((status = 201, body = Credential)))]
pub(crate) async fn add(
    State(app): State<App>,
    By(by): By,
    Json(body): Json<AddCredential>,
) -> Result<(StatusCode, Reply<Credential>), Failure> {
    let new = NewCredential {
        name: parsed("name", &body.name)?,
        resource: parsed("resource", &body.resource)?,
        owner: parsed("owner", &body.owner)?,
        revocation_authority: parsed_opt("revocation_authority", body.revocation_authority.as_deref())?,
        rotation_due: body.rotation_due.as_deref().map(|t| moment("rotation_due", t)).transpose()?,
        placement: placement(&body.placement)?,
    };
    Ok((StatusCode::CREATED, Reply(wire(app.authority().add_credential(&by, new).await?))))
}

/// Sets the value of a credential
///
/// It is sealed at once. No endpoint gives it back, to no role.
#[utoipa::path(put, path = "/v1/credentials/{name}/secret", tag = "credentials", params(("name" = String, Path, description = "The credential")), request_body = SetSecret, responses((status = 200, body = Credential)))]
pub(crate) async fn set_secret(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
    Json(body): Json<SetSecret>,
) -> Result<Reply<Credential>, Failure> {
    let value = body.value.reveal();
    if value.len() > SECRET_CHARS_MAX {
        return Err(Failure::field("value", format!("expected at most {SECRET_CHARS_MAX} characters")));
    }
    let value = value.as_bytes().to_vec();
    Ok(Reply(wire(app.authority().set_secret(&by, in_path("credential", &name)?, value).await?)))
}

/// Forgets the value of a credential
#[utoipa::path(delete, path = "/v1/credentials/{name}/secret", tag = "credentials", params(("name" = String, Path, description = "The credential")), responses((status = 200, body = Credential)))]
pub(crate) async fn drop_secret(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
) -> Result<Reply<Credential>, Failure> {
    Ok(Reply(wire(app.authority().drop_secret(&by, in_path("credential", &name)?).await?)))
}

/// Lists who used a credential for what
///
/// Newest first: every decision about it, joined with how the action ended.
#[utoipa::path(get, path = "/v1/credentials/{name}/uses", tag = "credentials", params(("name" = String, Path, description = "The credential"), UsesQuery), responses((status = 200, body = Page<Use>)))]
pub(crate) async fn list_uses(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
    Params(query): Params<UsesQuery>,
) -> Result<Reply<Page<Use>>, Failure> {
    let limit = page_size(query.limit)?;
    let filter = UsesFilter {
        since: query.since.as_deref().map(|t| moment("since", t)).transpose()?,
        until: query.until.as_deref().map(|t| moment("until", t)).transpose()?,
        agent: canonical::<AgentName>("agent", query.agent.as_deref())?,
        task: canonical::<TaskId>("task", query.task.as_deref())?,
        outcome: query.outcome.map(|o| word(o).to_owned()),
        before: number_cursor(query.cursor.as_deref())?,
        limit: limit + 1,
    };
    let (authority, credential) = (app.authority(), in_path::<CredentialName>("credential", &name)?);
    authority.allow(&by, Operation::CredentialUses, Of::Credential(credential.clone()), &name).await?;
    let mut found = authority.uses_of(credential, filter).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|u| u.seq.to_string());
    Ok(Reply(Page { items: found.iter().map(uses::wire).collect(), next }))
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allow => "allow",
        Outcome::Ask => "ask",
        Outcome::Deny => "deny",
    }
}

/// Lists which live tasks could use a credential now
///
/// Answered by the decision function, for one request of each effect to the root path.
#[utoipa::path(get, path = "/v1/credentials/{name}/who-can", tag = "credentials", params(("name" = String, Path, description = "The credential")), responses((status = 200, body = WhoCan)))]
pub(crate) async fn who_can(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
) -> Result<Reply<WhoCan>, Failure> {
    let (authority, credential) = (app.authority(), in_path::<CredentialName>("credential", &name)?);
    authority.allow(&by, Operation::CredentialWhoCan, Of::Credential(credential.clone()), &name).await?;
    let found = authority.credential(credential).await?;
    let resource = found.credential.resource.clone();
    let requests = ONE_OF_EACH.map(|method| (method.to_owned(), "/".to_owned())).to_vec();
    let items = match found.credential.active() {
        true => app.authority().who_can(resource.clone(), requests).await?,
        false => Vec::new(),
    };
    Ok(Reply(WhoCan { resource: resource.to_string(), items: items.into_iter().map(uses::could).collect() }))
}
