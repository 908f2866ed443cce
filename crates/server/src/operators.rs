//! Registered people over HTTP.

use std::collections::BTreeSet;

use accredit_api::Page;
use accredit_api::operator::{
    AddOperator, ChangeOperator, LapseOperator, Operator, OperatorLapsed, OperatorStanding,
};
use accredit_api::page::PageQuery;
use accredit_authority::people::NewPerson;
use accredit_core::operator::{GROUPS_MAX, Group, Operator as Person, OperatorChange, Role};
use accredit_core::owner::Standing;
use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::access::By;
use crate::app::App;
use crate::extract::{Json, Params, in_path, line_opt, page_by_name, page_size, parsed, parsed_opt};
use crate::problem::Failure;
use crate::sessions;

fn wire(person: Person) -> Operator {
    let (standing, lapsed_at) = match person.standing {
        Standing::Active => (OperatorStanding::Active, None),
        Standing::Lapsed { at } => (OperatorStanding::Lapsed, Some(at.to_string())),
    };
    Operator {
        operator: person.name.to_string(),
        roles: person.roles.into_iter().map(sessions::role).collect(),
        groups: person.groups.into_iter().map(String::from).collect(),
        standing,
        same_person_as: person.same_person_as.map(|other| other.to_string()),
        successor: person.successor.map(|owner| owner.to_string()),
        passkeys: person.passkeys.len() as u64,
        added_at: person.added_at.to_string(),
        lapsed_at,
    }
}

fn roles(named: Vec<accredit_api::session::Role>) -> Result<BTreeSet<Role>, Failure> {
    if named.len() > Role::ALL.len() {
        return Err(Failure::field("roles", "there are four roles"));
    }
    Ok(named.into_iter().map(sessions::core_role).collect())
}

fn groups(names: &[String]) -> Result<BTreeSet<Group>, Failure> {
    let group = |name: &String| {
        Group::parse(name).map_err(|e| match Role::parse(name) {
            Some(_) => Failure::unusable("groups", e),
            None => Failure::field("groups", e),
        })
    };
    if names.len() > GROUPS_MAX {
        return Err(Failure::field("groups", format!("a person is in at most {GROUPS_MAX} groups")));
    }
    names.iter().map(group).collect()
}

/// A name that an empty text takes away.
fn or_none<T: std::str::FromStr>(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<Option<T>>, Failure>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| parsed_opt(field, Some(text).filter(|text| !text.is_empty()))).transpose()
}

/// Lists registered people
#[utoipa::path(get, path = "/v1/operators", tag = "operators", params(PageQuery), responses((status = 200, body = Page<Operator>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: By,
    Params(query): Params<PageQuery>,
) -> Result<Reply<Page<Operator>>, Failure> {
    let limit = page_size(query.limit)?;
    let all: Vec<_> = app.authority().people().await?.into_iter().map(wire).collect();
    page_by_name(all, |o| &o.operator, query.cursor.as_deref(), limit).map(Reply)
}

/// Shows a registered person
#[utoipa::path(get, path = "/v1/operators/{name}", tag = "operators", params(("name" = String, Path, description = "The operator")), responses((status = 200, body = Operator)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: By,
    Path(name): Path<String>,
) -> Result<Reply<Operator>, Failure> {
    Ok(Reply(wire(app.authority().person(in_path("operator", &name)?).await?)))
}

/// Registers a person, or lets one who lapsed act again
#[utoipa::path(post, path = "/v1/operators", tag = "operators", request_body = AddOperator, responses((status = 201, body = Operator)))]
pub(crate) async fn add(
    State(app): State<App>,
    By(by): By,
    Json(body): Json<AddOperator>,
) -> Result<(StatusCode, Reply<Operator>), Failure> {
    let new = NewPerson {
        name: parsed("operator", &body.operator)?,
        roles: roles(body.roles)?,
        groups: groups(&body.groups)?,
        same_person_as: parsed_opt("same_person_as", body.same_person_as.as_deref())?,
        successor: parsed_opt("successor", body.successor.as_deref())?,
    };
    Ok((StatusCode::CREATED, Reply(wire(app.authority().add_person(&by, new).await?))))
}

/// Changes what a person may do
///
/// Fields that are absent stay as they are. Sessions for a role that the person no longer has end. Nobody changes an account
/// of their own.
#[utoipa::path(patch, path = "/v1/operators/{name}", tag = "operators", params(("name" = String, Path, description = "The operator")), request_body = ChangeOperator, responses((status = 200, body = Operator)))]
pub(crate) async fn change(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
    Json(body): Json<ChangeOperator>,
) -> Result<Reply<Operator>, Failure> {
    let change = OperatorChange {
        roles: body.roles.map(roles).transpose()?,
        groups: body.groups.as_deref().map(groups).transpose()?,
        same_person_as: or_none("same_person_as", body.same_person_as.as_deref())?,
        successor: or_none("successor", body.successor.as_deref())?,
        drop_passkeys: body.drop_passkeys,
    };
    let reason = line_opt("reason", body.reason.as_deref())?;
    let name = in_path("operator", &name)?;
    Ok(Reply(wire(app.authority().change_person(&by, name, change, reason).await?)))
}

/// Lets a person lapse, with every account of theirs
///
/// Their sessions end, a yes of theirs that was not used counts for nothing, and what they own falls to their successor or
/// stops.
#[utoipa::path(post, path = "/v1/operators/{name}/lapse", tag = "operators", params(("name" = String, Path, description = "The operator")), request_body = LapseOperator, responses((status = 200, body = OperatorLapsed)))]
pub(crate) async fn lapse(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
    Json(body): Json<LapseOperator>,
) -> Result<Reply<OperatorLapsed>, Failure> {
    let reason = line_opt("reason", body.reason.as_deref())?;
    let lapsed = app.authority().lapse_person(&by, in_path("operator", &name)?, reason).await?;
    Ok(Reply(OperatorLapsed {
        operator: wire(lapsed.person),
        accounts: lapsed.accounts.iter().map(ToString::to_string).collect(),
        sessions: lapsed.sessions,
        fell_to: lapsed.fell_to.map(|owner| owner.to_string()),
    }))
}
