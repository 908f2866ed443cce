//! The table of routes: method, path, who may call (people: for which operation), whether it takes a query, and the handler. What is not in the
//! table is not there; what is in the table is admitted by its class before its handler runs.

use accredit_core::rights::Operation as Op;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use utoipa::openapi::path::HttpMethod;

use crate::access::{Access, admit};
use crate::app::App;
use crate::extract::BODY_BYTES_MAX;
use crate::problem::Failure;
use crate::{
    agents, audit, credentials, findings, health, hold, metrics, openid, operators, owners, pages, passkeys,
    policies, requests, resources, revoke, sessions, tasks, templates, vault, wellknown, why,
};

/// One route.
pub(crate) struct Route {
    pub(crate) method: HttpMethod,
    path: &'static str,
    pub(crate) access: Access,
    takes_query: bool,
    handler: MethodRouter<App>,
}

impl Route {
    /// The path as the description has it: a tail without its star.
    pub(crate) fn described(&self) -> &'static str {
        if self.path == TLOG { "/v1/audit/tlog/{path}" } else { self.path }
    }

    #[cfg(test)]
    pub(crate) fn method_text(&self) -> &'static str {
        match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Put => "PUT",
            HttpMethod::Post => "POST",
            HttpMethod::Delete => "DELETE",
            HttpMethod::Patch => "PATCH",
            _ => "other",
        }
    }
}

const TLOG: &str = "/v1/audit/tlog/{*path}";

/// Whether a route takes query parameters.
const QUERY: bool = true;
const PLAIN: bool = false;

/// Every route.
#[rustfmt::skip] // one line per route, grouped, reads as the table it is
pub(crate) fn routes() -> Vec<Route> {
    use Access::{Agent, Code, Local, Open, Operator, Task, TaskOrOperator};
    use HttpMethod::{Delete, Get, Patch, Post, Put};
    let row = |method, path, access, takes_query, handler| Route { method, path, access, takes_query, handler };
    vec![
        // --- open: liveness, readiness, figures, and what other implementations read
        row(Get, "/v1/health", Open, PLAIN, get(health::live)),
        row(Get, "/v1/ready", Open, PLAIN, get(health::ready)),
        row(Get, "/metrics", Open, PLAIN, get(metrics::metrics)),
        row(Get, "/.well-known/oauth-authorization-server", Open, PLAIN, get(wellknown::metadata)),
        row(Get, "/v1/jwks.json", Open, PLAIN, get(wellknown::jwks)),
        row(Get, "/v1/ca.pem", Open, PLAIN, get(wellknown::gateway_ca)),
        row(Get, "/openapi.json", Open, PLAIN, get(wellknown::openapi)),
        // --- the pages for people
        row(Get, "/", Open, QUERY, get(pages::index)),
        row(Get, "/page.js", Open, PLAIN, get(pages::script)),
        row(Get, "/page.css", Open, PLAIN, get(pages::style)),
        // --- signing in
        row(Post, "/v1/links", Local(Op::LinkCreate), PLAIN, post(sessions::create_link)),
        row(Post, "/v1/sessions", Code, PLAIN, post(sessions::create)),
        row(Post, "/v1/sessions/browser", Code, PLAIN, post(sessions::create_in_browser)),
        row(Post, "/v1/sessions/openid/begin", Code, PLAIN, post(openid::begin)),
        row(Post, "/v1/sessions/openid", Code, PLAIN, post(openid::finish)),
        row(Post, "/v1/openid/backchannel-logout", Code, PLAIN, post(openid::logout)),
        row(Post, "/v1/openid/events", Code, PLAIN, post(openid::events)),
        row(Delete, "/v1/sessions/current", Operator(Op::SignOut), PLAIN, delete(sessions::end)),
        row(Get, "/v1/whoami", Operator(Op::WhoAmI), PLAIN, get(sessions::whoami)),
        row(Get, "/v1/passkeys", Operator(Op::PasskeyRead), PLAIN, get(passkeys::list)),
        row(Post, "/v1/passkeys", Operator(Op::PasskeyAdd), PLAIN, post(passkeys::add)),
        row(Post, "/v1/passkeys/challenge", Operator(Op::PasskeyAdd), PLAIN, post(passkeys::begin)),
        row(Delete, "/v1/passkeys/{id}", Operator(Op::PasskeyDrop), PLAIN, delete(passkeys::drop_one)),
        // --- operators, owners, agents
        row(Get, "/v1/operators", Operator(Op::OperatorRead), QUERY, get(operators::list)),
        row(Post, "/v1/operators", Operator(Op::OperatorAdd), PLAIN, post(operators::add)),
        row(Get, "/v1/operators/{name}", Operator(Op::OperatorRead), PLAIN, get(operators::get)),
        row(Patch, "/v1/operators/{name}", Operator(Op::OperatorChange), PLAIN, patch(operators::change)),
        row(Post, "/v1/operators/{name}/lapse", Operator(Op::OperatorLapse), PLAIN, post(operators::lapse)),
        row(Get, "/v1/owners", Operator(Op::OwnerRead), QUERY, get(owners::list)),
        row(Post, "/v1/owners", Operator(Op::OwnerAdd), PLAIN, post(owners::add)),
        row(Post, "/v1/owners/{owner}/lapse", Operator(Op::OwnerLapse), PLAIN, post(owners::lapse)),
        row(Get, "/v1/agents", Operator(Op::AgentRead), QUERY, get(agents::list)),
        row(Post, "/v1/agents", Operator(Op::AgentRegister), PLAIN, post(agents::register)),
        row(Get, "/v1/agents/{name}", Operator(Op::AgentRead), PLAIN, get(agents::get)),
        row(Post, "/v1/agents/{name}/suspend", Operator(Op::AgentSuspend), PLAIN, post(agents::suspend)),
        row(Post, "/v1/agents/{name}/resume", Operator(Op::AgentResume), PLAIN, post(agents::resume)),
        row(Put, "/v1/agents/{name}/owner", Operator(Op::AgentOwner), PLAIN, put(agents::change_owner)),
        row(Post, "/v1/agents/{name}/keys", Operator(Op::AgentKeyAdd), PLAIN, post(agents::add_key)),
        row(Post, "/v1/agents/{name}/join-tokens", Operator(Op::JoinTokenCreate), PLAIN, post(agents::create_join_token)),
        row(Post, "/v1/join", Code, PLAIN, post(agents::join)),
        // --- resources, credentials
        row(Get, "/v1/resources", Operator(Op::ResourceRead), QUERY, get(resources::list)),
        row(Post, "/v1/resources", Operator(Op::ResourceAdd), PLAIN, post(resources::add)),
        row(Get, "/v1/resources/{name}", Operator(Op::ResourceRead), PLAIN, get(resources::get)),
        row(Patch, "/v1/resources/{name}", Operator(Op::ResourceChange), PLAIN, patch(resources::change)),
        row(Post, "/v1/resources/{name}/retire", Operator(Op::ResourceRetire), PLAIN, post(resources::retire)),
        row(Get, "/v1/credentials", Operator(Op::CredentialRead), QUERY, get(credentials::list)),
        row(Post, "/v1/credentials", Operator(Op::CredentialAdd), PLAIN, post(credentials::add)),
        row(Get, "/v1/credentials/{name}", Operator(Op::CredentialRead), PLAIN, get(credentials::get)),
        row(Put, "/v1/credentials/{name}/secret", Operator(Op::SecretSet), PLAIN, put(credentials::set_secret)),
        row(Delete, "/v1/credentials/{name}/secret", Operator(Op::SecretDrop), PLAIN, delete(credentials::drop_secret)),
        row(Get, "/v1/credentials/{name}/uses", Operator(Op::CredentialUses), QUERY, get(credentials::list_uses)),
        row(Get, "/v1/credentials/{name}/who-can", Operator(Op::CredentialWhoCan), PLAIN, get(credentials::who_can)),
        // --- templates, tasks
        row(Get, "/v1/templates", Operator(Op::TemplateRead), QUERY, get(templates::list)),
        row(Get, "/v1/templates/{name}", Operator(Op::TemplateRead), PLAIN, get(templates::get)),
        row(Post, "/v1/tasks", Agent, PLAIN, post(tasks::start)),
        row(Get, "/v1/tasks", Operator(Op::TaskRead), QUERY, get(tasks::list)),
        row(Get, "/v1/tasks/{id}", TaskOrOperator(Op::TaskRead), PLAIN, get(tasks::get)),
        row(Get, "/v1/tasks/{id}/tree", Operator(Op::TaskRead), PLAIN, get(tasks::tree)),
        row(Post, "/v1/tasks/{id}/token", Task, PLAIN, post(tasks::renew)),
        row(Post, "/v1/tasks/{id}/extend", Operator(Op::TaskExtend), PLAIN, post(tasks::extend)),
        row(Post, "/v1/tasks/{id}/release", Operator(Op::TaskRelease), PLAIN, post(findings::release)),
        row(Post, "/v1/tasks/{id}/end", TaskOrOperator(Op::TaskEnd), PLAIN, post(tasks::end)),
        row(Get, "/v1/tasks/{id}/hold", Task, PLAIN, get(hold::hold)),
        row(Get, "/v1/tasks/{id}/receipt", TaskOrOperator(Op::TaskRead), PLAIN, get(tasks::receipt)),
        row(Post, "/v1/revoke", Operator(Op::Revoke), PLAIN, post(revoke::revoke)),
        row(Get, "/v1/findings", Operator(Op::FindingRead), QUERY, get(findings::list)),
        row(Get, "/v1/findings/{id}", Operator(Op::FindingRead), PLAIN, get(findings::get)),
        // --- requests, policies
        row(Get, "/v1/requests", Operator(Op::RequestRead), QUERY, get(requests::list)),
        row(Get, "/v1/requests/{id}", TaskOrOperator(Op::RequestRead), QUERY, get(requests::get)),
        row(Post, "/v1/requests/{id}/challenge", Operator(Op::RequestApprove), PLAIN, post(passkeys::ask)),
        row(Post, "/v1/requests/{id}/approve", Operator(Op::RequestApprove), PLAIN, post(requests::approve)),
        row(Post, "/v1/requests/{id}/deny", Operator(Op::RequestDeny), PLAIN, post(requests::deny)),
        row(Post, "/v1/requests/{id}/withdraw", TaskOrOperator(Op::RequestWithdraw), PLAIN, post(requests::withdraw)),
        row(Get, "/v1/policies", Operator(Op::PolicyRead), PLAIN, get(policies::head)),
        row(Put, "/v1/policies", Operator(Op::PolicyApply), PLAIN, put(policies::apply)),
        row(Get, "/v1/policies/{hash}", Operator(Op::PolicyRead), PLAIN, get(policies::get)),
        row(Post, "/v1/policies/check", Operator(Op::PolicyRead), PLAIN, post(policies::check)),
        row(Post, "/v1/policies/replay", Operator(Op::PolicyReplay), PLAIN, post(policies::replay)),
        row(Post, "/v1/policies/who-can", Operator(Op::PolicyRead), PLAIN, post(policies::who_can)),
        // --- the ledger
        row(Get, "/v1/audit/entries", Operator(Op::AuditRead), QUERY, get(audit::search)),
        row(Get, "/v1/audit/entries/{seq}", Operator(Op::AuditRead), PLAIN, get(audit::get)),
        row(Get, "/v1/audit/tail", Operator(Op::AuditRead), PLAIN, get(audit::tail)),
        row(Get, "/v1/audit/export", Operator(Op::AuditExport), PLAIN, get(audit::export)),
        row(Post, "/v1/audit/verify", Operator(Op::AuditRead), PLAIN, post(audit::verify)),
        row(Get, "/v1/audit/checkpoint", Operator(Op::AuditRead), QUERY, get(audit::checkpoint)),
        row(Get, "/v1/audit/key", Operator(Op::AuditRead), PLAIN, get(audit::key)),
        row(Get, "/v1/audit/proof/{seq}", Operator(Op::AuditRead), PLAIN, get(audit::proof)),
        row(Get, "/v1/audit/consistency", Operator(Op::AuditRead), QUERY, get(audit::consistency)),
        row(Get, TLOG, Operator(Op::AuditRead), PLAIN, get(audit::tlog)),
        row(Get, "/v1/why/{id}", Operator(Op::Why), PLAIN, get(why::why)),
        // --- the vault
        row(Get, "/v1/vault", Operator(Op::VaultRead), PLAIN, get(vault::get)),
        row(Post, "/v1/vault/rotate", Operator(Op::VaultRotate), PLAIN, post(vault::rotate)),
    ]
}

/// The control plane as a service.
pub(crate) fn router(app: &App) -> Router {
    let mut router = Router::new();
    for Route { path, access, takes_query, handler, .. } in routes() {
        let admission = from_fn_with_state((app.clone(), access, takes_query), admit);
        router = router.route(path, handler.route_layer(admission));
    }
    router
        .method_not_allowed_fallback(|| async {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path has no such method")
        })
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "not_found", "there is no such path") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(map_response(guarded))
        .layer(from_fn_with_state(app.clone(), metrics::count))
        .with_state(app.clone())
}

/// No answer is kept by anybody on the way, taken for something else than it says, or shown inside something else.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.extend(pages::HEADERS);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
