//! The description of this API (OpenAPI 3.1): the handlers say what is theirs, the table of routes says who may call,
//! and every refusal that can happen on the way is added here.

use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::schema::{AdditionalProperties, Schema};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use accredit_api::problem::{PROBLEM_JSON, Problem};

use crate::access::Access;
use crate::router::routes;
use crate::{
    agents, audit, credentials, findings, health, hold, metrics, openid, operators, owners, pages, passkeys,
    policies, requests, resources, revoke, sessions, tasks, templates, vault, wellknown, why,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Accredit", description = "The control plane: agents, tasks, resources, credentials, policies and the ledger.", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        health::live, health::ready, metrics::metrics,
        wellknown::metadata, wellknown::jwks, wellknown::openapi, wellknown::gateway_ca,
        pages::index, pages::script, pages::style,
        sessions::create_link, sessions::create, sessions::create_in_browser, sessions::end, sessions::whoami,
        openid::begin, openid::finish, openid::logout, openid::events,
        passkeys::list, passkeys::begin, passkeys::add, passkeys::drop_one, passkeys::ask,
        operators::list, operators::get, operators::add, operators::change, operators::lapse,
        owners::list, owners::add, owners::lapse,
        agents::list, agents::get, agents::register, agents::suspend, agents::resume, agents::change_owner, agents::add_key,
        agents::create_join_token, agents::join,
        resources::list, resources::get, resources::add, resources::change, resources::retire,
        credentials::list, credentials::get, credentials::add, credentials::set_secret, credentials::drop_secret,
        credentials::list_uses, credentials::who_can,
        templates::list, templates::get,
        tasks::start, tasks::list, tasks::get, tasks::tree, tasks::renew, tasks::extend, tasks::end, tasks::receipt, hold::hold,
        revoke::revoke,
        findings::list, findings::get, findings::release,
        requests::list, requests::get, requests::approve, requests::deny, requests::withdraw,
        policies::head, policies::get, policies::check, policies::apply, policies::replay, policies::who_can,
        audit::search, audit::get, audit::tail, audit::export, audit::verify, audit::checkpoint, audit::key, audit::proof,
        audit::consistency, audit::tlog,
        why::why,
        vault::get, vault::rotate,
    ),
    components(schemas(Problem)),
    modifiers(&Common),
)]
struct Description;

/// The description as JSON text, the same for every build of one version.
#[must_use]
pub fn openapi_json() -> String {
    Description::openapi().to_pretty_json().expect("a description holds texts and numbers")
}

/// Names of the ways to prove oneself.
const SESSION: &str = "session";
const TASK: &str = "task";

struct Common;

impl Modify for Common {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let session = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A session, from a one-time link."));
        components.add_security_scheme(SESSION, SecurityScheme::Http(session.build()));
        // OpenAPI has no word for the scheme `DPoP`: the header that always comes with it stands for it.
        let proof = ApiKeyValue::with_description(
            "DPoP",
            "A proof (RFC 9449) of the task's key, with `Authorization: DPoP <task token>`.",
        );
        components.add_security_scheme(TASK, SecurityScheme::ApiKey(ApiKey::Header(proof)));
        for name in CLOSED_CHOICES {
            close(components.schemas.get_mut(name));
        }
        for route in routes() {
            let Some(item) = openapi.paths.paths.get_mut(route.described()) else { continue };
            let operation = match route.method {
                HttpMethod::Get => &mut item.get,
                HttpMethod::Put => &mut item.put,
                HttpMethod::Post => &mut item.post,
                HttpMethod::Delete => &mut item.delete,
                HttpMethod::Patch => &mut item.patch,
                _ => continue,
            };
            if let Some(operation) = operation {
                let changes = !matches!(route.method, HttpMethod::Get);
                describe(operation, route.access, changes);
            }
        }
    }
}

/// Choices in requests whose objects have no other fields; the macro has no word for it.
const CLOSED_CHOICES: [&str; 2] = ["Placement", "RevokeTarget"];

fn close(choice: Option<&mut RefOr<Schema>>) {
    let Some(RefOr::T(Schema::OneOf(choice))) = choice else { return };
    for one in &mut choice.items {
        if let RefOr::T(Schema::Object(object)) = one
            && !object.properties.is_empty()
        {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

fn describe(operation: &mut Operation, access: Access, changes: bool) {
    let need = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
    operation.security = match access {
        Access::Open | Access::Code | Access::Agent | Access::Local(_) => None,
        Access::Task => Some(vec![need(TASK)]),
        Access::TaskOrOperator(_) => Some(vec![need(SESSION), need(TASK)]),
        Access::Operator(_) => Some(vec![need(SESSION)]),
    };
    let body = operation.request_body.is_some();
    let refusals = [
        ("400", "The request is not well-formed", true),
        ("401", "Nobody has proved who they are", access != Access::Open),
        ("403", "It is known who asks, and they may not", access != Access::Open),
        ("404", "There is no such thing", true),
        ("405", "The path has no such method", true),
        ("408", "The body took too long", body),
        ("409", "It does not fit what is there", changes),
        ("413", "The body is too long", body),
        ("415", "The body is not JSON", body),
        ("422", "It is well-formed and cannot be used", body || matches!(access, Access::Operator(_))),
        ("429", "Too many codes were refused", access == Access::Code),
        ("503", "It cannot be done now", true),
    ];
    for (status, what, _) in refusals.into_iter().filter(|(_, _, happens)| *happens) {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem(what)));
    }
}

fn problem(what: &str) -> Response {
    let content: Content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(what).content(PROBLEM_JSON, content).build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    // case: ADM-03
    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let described: serde_json::Value = serde_json::from_str(&openapi_json()).expect("JSON");
        let paths = described["paths"].as_object().expect("paths");
        let described: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().expect("an item").keys().map(move |m| (m.to_uppercase(), path.clone()))
            })
            .collect();
        let routed: BTreeSet<_> =
            routes().iter().map(|r| (r.method_text().to_owned(), r.described().to_owned())).collect();
        assert_eq!(described, routed);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = openapi_json();
        let described: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert!(described["openapi"].as_str().is_some_and(|v| v.starts_with("3.1")));
        let schemas = described["components"]["schemas"].as_object().expect("schemas");
        for reference in text.split("\"$ref\": \"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap_or_default();
            assert!(schemas.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_choice_in_a_request_is_closed() {
        let described: serde_json::Value = serde_json::from_str(&openapi_json()).expect("JSON");
        for name in CLOSED_CHOICES {
            let choices = described["components"]["schemas"][name]["oneOf"].as_array().expect("choices");
            let objects: Vec<_> = choices.iter().filter(|c| c["type"] == "object").collect();
            assert!(!objects.is_empty(), "{name}");
            assert!(objects.iter().all(|o| o["additionalProperties"] == false), "{name}");
        }
    }

    // case: SEC-02, ADM-01, ADM-04
    #[test]
    fn no_answer_has_a_place_for_a_value() {
        let described: serde_json::Value = serde_json::from_str(&openapi_json()).expect("JSON");
        let credential = &described["components"]["schemas"]["Credential"]["properties"];
        let fields: BTreeSet<_> =
            credential.as_object().expect("fields").keys().map(String::as_str).collect();
        assert!(fields.contains("secret_version"));
        assert!(!fields.iter().any(|f| ["value", "secret", "blob"].contains(f)), "{fields:?}");
        let paths = described["paths"].as_object().expect("paths");
        assert!(paths["/v1/credentials/{name}/secret"].get("get").is_none());
        assert!(
            !paths.keys().any(|p| ["log", "plugin", "config"].iter().any(|w| p.contains(&format!("/{w}"))))
        );
    }
}
