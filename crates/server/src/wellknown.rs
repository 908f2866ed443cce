//! What other implementations read: metadata (RFC 8414), the keys of task tokens (RFC 7517), this API's description.

use accredit_api::oauth::{Jwks, ServerMetadata};
use accredit_authority::fault::Fault;
use axum::Json as Reply;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::access::own_url;
use crate::app::App;
use crate::problem::Failure;

/// Authorization server metadata (RFC 8414)
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", tag = "oauth", responses((status = 200, body = ServerMetadata)))]
pub(crate) async fn metadata(State(app): State<App>) -> Reply<ServerMetadata> {
    let algorithms = || vec!["ES256".to_owned(), "EdDSA".to_owned()];
    Reply(ServerMetadata {
        issuer: app.authority().settings().issuer.clone(),
        jwks_uri: own_url(&app, "/v1/jwks.json"),
        token_endpoint_auth_methods_supported: vec!["private_key_jwt".to_owned()],
        token_endpoint_auth_signing_alg_values_supported: algorithms(),
        dpop_signing_alg_values_supported: algorithms(),
        response_types_supported: Vec::new(),
        accredit_task_endpoint: own_url(&app, "/v1/tasks"),
    })
}

/// The keys of task tokens (RFC 7517)
#[utoipa::path(get, path = "/v1/jwks.json", tag = "oauth", responses((status = 200, body = Jwks)))]
pub(crate) async fn jwks(State(app): State<App>) -> Result<Reply<Jwks>, Failure> {
    let keys = app.authority().keys().ok_or_else(Fault::sealed)?;
    let set = serde_json::from_value(keys.token_set().to_jwks());
    set.map(Reply)
        .map_err(|e| Fault::unavailable("keys_unreadable", format!("the keys cannot be shown: {e}")).into())
}

/// This description
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = serde_json::Value)))]
pub(crate) async fn openapi() -> impl IntoResponse {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], crate::openapi::openapi_json()).into_response() as Response
}

/// The certificate authority of the gateway
///
/// PEM, for clients that speak through the gateway. It is no secret; its key never leaves the gateway.
#[utoipa::path(
    get,
    path = "/v1/ca.pem",
    tag = "oauth",
    responses((status = 200, description = "A PEM certificate", content_type = "application/x-pem-file", body = String))
)]
pub(crate) async fn gateway_ca(State(app): State<App>) -> Result<Response, Failure> {
    let pem = app.gateway_ca().ok_or_else(|| Failure::not_found("certificate authority"))?.to_owned();
    let kind = HeaderValue::from_static("application/x-pem-file");
    Ok(([(header::CONTENT_TYPE, kind)], pem).into_response())
}
