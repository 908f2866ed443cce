//! Resources over HTTP.

use accredit_api::Page;
use accredit_api::page::PageQuery;
use accredit_api::resource::{
    AddResource, ChangeResource, Dialect, Mode, Resource, ResourceChanged, ResourceStatus, RetireResource,
    Sensitivity,
};
use accredit_authority::resources::{NewResource, ResourceChange};
use accredit_core::host::{Endpoint, HostError};
use accredit_core::resource as core;
use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::access::By;
use crate::app::App;
use crate::extract::{Json, Params, in_path, line_opt, page_by_name, page_size, parsed, parsed_opt};
use crate::problem::Failure;

fn wire(resource: core::Resource) -> Resource {
    Resource {
        name: resource.name.to_string(),
        owner: resource.owner.to_string(),
        environment: resource.environment.to_string(),
        sensitivity: match resource.sensitivity {
            core::Sensitivity::Public => Sensitivity::Public,
            core::Sensitivity::Internal => Sensitivity::Internal,
            core::Sensitivity::Confidential => Sensitivity::Confidential,
            core::Sensitivity::Restricted => Sensitivity::Restricted,
        },
        mode: match resource.mode {
            core::Mode::Observe => Mode::Observe,
            core::Mode::Enforce => Mode::Enforce,
        },
        endpoints: resource.endpoints.iter().map(ToString::to_string).collect(),
        private_network: resource.private_network,
        ca_pem: resource.ca_pem,
        dialect: match resource.dialect {
            core::Dialect::Plain => Dialect::Plain,
            core::Dialect::Git => Dialect::Git,
        },
        pass_cookies: resource.pass_cookies,
        credential: resource.credential.map(|c| c.to_string()),
        status: match resource.status {
            core::ResourceStatus::Active => ResourceStatus::Active,
            core::ResourceStatus::Retired { .. } => ResourceStatus::Retired,
        },
        added_at: resource.added_at.to_string(),
    }
}

const fn sensitivity(wire: Sensitivity) -> core::Sensitivity {
    match wire {
        Sensitivity::Public => core::Sensitivity::Public,
        Sensitivity::Internal => core::Sensitivity::Internal,
        Sensitivity::Confidential => core::Sensitivity::Confidential,
        Sensitivity::Restricted => core::Sensitivity::Restricted,
    }
}

const fn mode(wire: Mode) -> core::Mode {
    match wire {
        Mode::Observe => core::Mode::Observe,
        Mode::Enforce => core::Mode::Enforce,
    }
}

const fn dialect(wire: Dialect) -> core::Dialect {
    match wire {
        Dialect::Plain => core::Dialect::Plain,
        Dialect::Git => core::Dialect::Git,
    }
}

fn endpoints(texts: &[String]) -> Result<Vec<Endpoint>, Failure> {
    if texts.len() > core::ENDPOINTS_MAX {
        return Err(Failure::field("endpoints", format!("at most {}", core::ENDPOINTS_MAX)));
    }
    let endpoint = |text: &String| {
        // Brackets are for IPv6 alone (RFC 3986 §3.2.2).
        let bracketed = |e: &Endpoint| e.host.as_str().contains(':') || !text.contains('[');
        let found = Endpoint::parse(text).ok().filter(bracketed);
        found.ok_or_else(|| Failure::unusable("endpoints", HostError))
    };
    texts.iter().map(endpoint).collect()
}

/// Lists resources
#[utoipa::path(get, path = "/v1/resources", tag = "resources", params(PageQuery), responses((status = 200, body = Page<Resource>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: By,
    Params(query): Params<PageQuery>,
) -> Result<Reply<Page<Resource>>, Failure> {
    let limit = page_size(query.limit)?;
    let all: Vec<_> = app.authority().resources().await?.into_iter().map(wire).collect();
    page_by_name(all, |r| &r.name, query.cursor.as_deref(), limit).map(Reply)
}

/// Shows a resource
#[utoipa::path(get, path = "/v1/resources/{name}", tag = "resources", params(("name" = String, Path, description = "The resource")), responses((status = 200, body = Resource)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: By,
    Path(name): Path<String>,
) -> Result<Reply<Resource>, Failure> {
    Ok(Reply(wire(app.authority().resource(in_path("resource", &name)?).await?)))
}

/// Registers a resource
#[utoipa::path(post, path = "/v1/resources", tag = "resources", request_body = AddResource, responses((status = 201, body = Resource)))]
pub(crate) async fn add(
    State(app): State<App>,
    By(by): By,
    Json(body): Json<AddResource>,
) -> Result<(StatusCode, Reply<Resource>), Failure> {
    let new = NewResource {
        name: parsed("name", &body.name)?,
        owner: parsed("owner", &body.owner)?,
        environment: parsed("environment", &body.environment)?,
        sensitivity: sensitivity(body.sensitivity),
        mode: body.mode.map(mode),
        endpoints: endpoints(&body.endpoints)?,
        private_network: body.private_network,
        ca_pem: body.ca_pem,
        dialect: body.dialect.map_or(core::Dialect::Plain, dialect),
        pass_cookies: body.pass_cookies,
    };
    Ok((StatusCode::CREATED, Reply(wire(app.authority().add_resource(&by, new).await?))))
}

/// Changes a resource
///
/// Fields that are absent stay as they are. When the change lets the value of the credential go elsewhere (other
/// endpoints, other authorities, a private network), the value is dropped and must be set again.
#[utoipa::path(patch, path = "/v1/resources/{name}", tag = "resources", params(("name" = String, Path, description = "The resource")), request_body = ChangeResource, responses((status = 200, body = ResourceChanged)))]
pub(crate) async fn change(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
    Json(body): Json<ChangeResource>,
) -> Result<Reply<ResourceChanged>, Failure> {
    let change = ResourceChange {
        owner: parsed_opt("owner", body.owner.as_deref())?,
        environment: parsed_opt("environment", body.environment.as_deref())?,
        sensitivity: body.sensitivity.map(sensitivity),
        mode: body.mode.map(mode),
        endpoints: body.endpoints.as_deref().map(endpoints).transpose()?,
        private_network: body.private_network,
        ca_pem: body.ca_pem.map(|pem| Some(pem).filter(|pem| !pem.is_empty())),
        dialect: body.dialect.map(dialect),
        pass_cookies: body.pass_cookies,
        reason: line_opt("reason", body.reason.as_deref())?,
    };
    let changed = app.authority().change_resource(&by, in_path("resource", &name)?, change).await?;
    let dropped_value_of = changed.dropped.map(|c| c.to_string());
    Ok(Reply(ResourceChanged { resource: wire(changed.resource), dropped_value_of }))
}

/// Takes a resource out of use for ever
#[utoipa::path(post, path = "/v1/resources/{name}/retire", tag = "resources", params(("name" = String, Path, description = "The resource")), request_body = RetireResource, responses((status = 200, body = Resource)))]
pub(crate) async fn retire(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
    Json(body): Json<RetireResource>,
) -> Result<Reply<Resource>, Failure> {
    let reason = line_opt("reason", body.reason.as_deref())?;
    Ok(Reply(wire(app.authority().retire_resource(&by, in_path("resource", &name)?, reason).await?)))
}
