//! Errors on the wire: every refusal of every endpoint leaves here as `application/problem+json`.
//!
//! Says what happened and what to do; never what else exists, and never a value that was sent.

use accredit_api::problem::{PROBLEM_JSON, Problem};
use accredit_authority::fault::{Fault, FaultKind, where_listed};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Where each sort of problem has its page.
const PAGES: &str = "https://accredit.dev/e/";
/// Seconds after which an overloaded server may be asked again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");
/// How to prove oneself (RFC 9110 §11.6.1): a session, or a task token with its proof (RFC 9449 §7.1).
const CHALLENGES: [HeaderValue; 2] = [
    HeaderValue::from_static("Bearer realm=\"accredit\""),
    HeaderValue::from_static("DPoP algs=\"ES256 EdDSA\""),
];

/// One refusal on its way out.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    code: &'static str,
    detail: String,
    next_step: Option<String>,
    field: Option<&'static str>,
    request: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), next_step: None, field: None, request: None }
    }

    /// With what to do next.
    pub(crate) fn next(self, next_step: impl Into<String>) -> Self {
        Self { next_step: Some(next_step.into()), ..self }
    }

    /// A field of the request is wrong.
    pub(crate) fn field(field: &'static str, why: impl std::fmt::Display) -> Self {
        let failure = Self::new(StatusCode::BAD_REQUEST, "invalid_field", format!("`{field}`: {why}"));
        Self { field: Some(field), ..failure }
    }

    /// A field has the form that the description gives it, and still cannot be used.
    pub(crate) fn unusable(field: &'static str, why: impl std::fmt::Display) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, ..Self::field(field, why) }
    }

    /// Nobody has proved who they are.
    pub(crate) fn unauthenticated(detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            .next("Sign in with `accredit login`; a link comes from `accredit login --link` on the server's machine.")
    }

    /// There is no such thing, or it is not the asker's to see.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
            .next(where_listed(what))
    }

    fn body(self) -> Problem {
        Problem {
            kind: format!("{PAGES}{}", self.code.replace('_', "-")),
            title: title(self.code),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail,
            next_step: self.next_step,
            field: self.field.map(str::to_owned),
            decision: None,
            request: self.request,
        }
    }
}

/// `unknown_owner` → `Unknown owner`.
fn title(code: &str) -> String {
    let text = code.replace('_', " ");
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let status = match fault.kind {
            // Who owns what is a matter of what is there, not of how the request is written.
            FaultKind::Invalid if matches!(fault.code, "unknown_owner" | "owner_lapsed") => {
                StatusCode::CONFLICT
            }
            // The edge has refused what is not of its form: this is well-formed and cannot be done.
            FaultKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            FaultKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            FaultKind::Denied => StatusCode::FORBIDDEN,
            FaultKind::NotFound => StatusCode::NOT_FOUND,
            FaultKind::Conflict => StatusCode::CONFLICT,
            FaultKind::Overloaded | FaultKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let request = fault.request.map(|id| id.to_string());
        Self { request, ..Self::new(status, fault.code, fault.detail).next(fault.next_step) }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status;
        let text = serde_json::to_vec(&self.body()).expect("a problem holds texts and a number");
        let mut response = (status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match status {
            StatusCode::UNAUTHORIZED => {
                CHALLENGES.into_iter().for_each(|c| _ = headers.append(header::WWW_AUTHENTICATE, c));
            }
            StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(header::RETRY_AFTER, RETRY_AFTER_S)),
            _ => {}
        }
        response
    }
}

#[cfg(test)]
impl Failure {
    pub(crate) fn body_text(self) -> String {
        serde_json::to_string(&self.body()).expect("a problem is JSON")
    }
}
