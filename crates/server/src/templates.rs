//! Templates over HTTP: they come from the configuration and are read here.

use accredit_api::Page;
use accredit_api::page::PageQuery;
use accredit_api::task::Boundary;
use accredit_api::template::Template;
use accredit_core::id::TemplateName;
use accredit_core::{boundary, template};
use axum::Json as Reply;
use axum::extract::{Path, State};

use crate::access::By;
use crate::app::App;
use crate::extract::{Params, in_path, page_by_name, page_size};
use crate::problem::Failure;

fn wire(template: &template::Template) -> Template {
    Template {
        name: template.name.to_string(),
        boundary: wire_boundary(&template.boundary),
        ttl_s: template.ttl_s,
    }
}

pub(crate) fn wire_boundary(boundary: &boundary::Boundary) -> Boundary {
    let texts = |grants: &[boundary::Grant]| grants.iter().map(ToString::to_string).collect();
    Boundary { usable: texts(&boundary.usable), delegable: texts(&boundary.delegable) }
}

/// Lists templates
#[utoipa::path(get, path = "/v1/templates", tag = "tasks", params(PageQuery), responses((status = 200, body = Page<Template>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: By,
    Params(query): Params<PageQuery>,
) -> Result<Reply<Page<Template>>, Failure> {
    let limit = page_size(query.limit)?;
    let mut all: Vec<_> = app.authority().settings().templates.iter().map(wire).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    page_by_name(all, |t| &t.name, query.cursor.as_deref(), limit).map(Reply)
}

/// Shows a template
#[utoipa::path(get, path = "/v1/templates/{name}", tag = "tasks", params(("name" = String, Path, description = "The template")), responses((status = 200, body = Template)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: By,
    Path(name): Path<String>,
) -> Result<Reply<Template>, Failure> {
    let name: TemplateName = in_path("template", &name)?;
    let found = app.authority().settings().template(&name).map(wire);
    found.map(Reply).ok_or_else(|| Failure::not_found("template"))
}
