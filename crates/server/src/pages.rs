//! The pages on which people sign in and answer: three files of the program, which no other site can frame, and which ask
//! only the server that they came from.

use std::borrow::Cow;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::app::App;

const HTML: &str = "text/html; charset=utf-8";

/// What every answer of the control plane says to a browser: scripts and styles come from here and stand in files, nothing is
/// framed, nothing is sent elsewhere.
pub(crate) const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        ),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

fn file(kind: &'static str, text: impl Into<Cow<'static, str>>) -> Response {
    let text = text.into();
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

/// The page
#[utoipa::path(get, path = "/", tag = "pages", responses((status = 200, description = "HTML", content_type = "text/html", body = String)))]
pub(crate) async fn index(State(app): State<App>) -> Response {
    let page = include_str!("pages/index.html");
    // The one thing that differs: through whom people can sign in.
    let Some(provider) = app.authority().openid_provider() else { return file(HTML, page) };
    let host: String = provider.chars().filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).collect();
    file(HTML, page.replace("data-openid=\"\"", &format!("data-openid=\"{host}\"")))
}

/// Its script
#[utoipa::path(get, path = "/page.js", tag = "pages", responses((status = 200, description = "JavaScript", content_type = "text/javascript", body = String)))]
pub(crate) async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("pages/page.js"))
}

/// Its style
#[utoipa::path(get, path = "/page.css", tag = "pages", responses((status = 200, description = "CSS", content_type = "text/css", body = String)))]
pub(crate) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("pages/page.css"))
}
