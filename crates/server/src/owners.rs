//! Owners over HTTP.

use accredit_api::Page;
use accredit_api::owner::{AddOwner, LapseOwner, Owner, OwnerStanding};
use accredit_api::page::PageQuery;
use accredit_core::owner::{OwnerRecord, Standing};
use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::access::By;
use crate::app::App;
use crate::extract::{Json, Params, in_path, line_opt, page_by_name, page_size, parsed};
use crate::problem::Failure;

fn wire(record: OwnerRecord) -> Owner {
    let (standing, lapsed_at) = match record.standing {
        Standing::Active => (OwnerStanding::Active, None),
        Standing::Lapsed { at } => (OwnerStanding::Lapsed, Some(at.to_string())),
    };
    Owner { owner: record.owner.to_string(), standing, added_at: record.added_at.to_string(), lapsed_at }
}

/// Lists owners
#[utoipa::path(get, path = "/v1/owners", tag = "owners", params(PageQuery), responses((status = 200, body = Page<Owner>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: By,
    Params(query): Params<PageQuery>,
) -> Result<Reply<Page<Owner>>, Failure> {
    let limit = page_size(query.limit)?;
    let all: Vec<_> = app.authority().owners().await?.into_iter().map(wire).collect();
    page_by_name(all, |o| &o.owner, query.cursor.as_deref(), limit).map(Reply)
}

/// Adds an owner, or lets a lapsed one answer again
#[utoipa::path(post, path = "/v1/owners", tag = "owners", request_body = AddOwner, responses((status = 201, body = Owner)))]
pub(crate) async fn add(
    State(app): State<App>,
    By(by): By,
    Json(body): Json<AddOwner>,
) -> Result<(StatusCode, Reply<Owner>), Failure> {
    let record = app.authority().add_owner(&by, parsed("owner", &body.owner)?).await?;
    Ok((StatusCode::CREATED, Reply(wire(record))))
}

/// Stops everything that an owner answers for
#[utoipa::path(post, path = "/v1/owners/{owner}/lapse", tag = "owners", params(("owner" = String, Path, description = "The owner")), request_body = LapseOwner, responses((status = 200, body = Owner)))]
pub(crate) async fn lapse(
    State(app): State<App>,
    By(by): By,
    Path(owner): Path<String>,
    Json(body): Json<LapseOwner>,
) -> Result<Reply<Owner>, Failure> {
    let reason = line_opt("reason", body.reason.as_deref())?;
    let record = app.authority().lapse_owner(&by, in_path("owner", &owner)?, reason).await?;
    Ok(Reply(wire(record)))
}
