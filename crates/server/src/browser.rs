//! Sessions of browsers: a cookie that scripts cannot read, which counts only for calls of our own page.
//!
//! A browser sends a cookie along with whatever another site makes it send. So a cookie alone proves nobody: the call must
//! also carry a field that a form cannot set and another origin may not, and must not say that it came from elsewhere.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::access::only;
use crate::app::App;
use crate::problem::Failure;

/// Set by the page, and by nothing that another site can make a browser send without asking us first.
const PAGE: HeaderName = HeaderName::from_static("accredit-page");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Bound to this host and to TLS by its name (RFC 6265bis §4.1.3.2).
const COOKIE: &str = "__Host-accredit";
/// On this machine alone, without TLS.
const LOCAL_COOKIE: &str = "accredit";

fn is_https(app: &App) -> bool {
    app.authority().settings().issuer.starts_with("https://")
}

fn name(app: &App) -> &'static str {
    if is_https(app) { COOKIE } else { LOCAL_COOKIE }
}

/// The session in the cookie, where there is exactly one.
pub(crate) fn session<'r>(app: &App, headers: &'r HeaderMap) -> Option<&'r str> {
    let name = name(app);
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut ours = pairs
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(|(found, value)| (found == name).then_some(value));
    match (ours.next(), ours.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// The call was made by our own page.
pub(crate) fn must_be_our_page(app: &App, headers: &HeaderMap) -> Result<(), Failure> {
    let none_or = |name: &HeaderName, expected: &str| {
        !headers.contains_key(name) || only(headers, name).is_some_and(|value| value == expected)
    };
    let ours = only(headers, &PAGE) == Some("1")
        && none_or(&FETCH_SITE, "same-origin")
        && none_or(&header::ORIGIN, &app.authority().settings().issuer);
    if ours {
        return Ok(());
    }
    let failure = Failure::new(
        StatusCode::FORBIDDEN,
        "foreign_page",
        "a browser's session counts only for calls of this server's own page, at its own URL",
    );
    Err(failure.next(format!("Open {} and do it there.", app.authority().settings().issuer)))
}

/// Gives the browser its session for as long as it can last.
pub(crate) fn keep(app: &App, secret: &str, seconds: u64) -> Result<HeaderValue, Failure> {
    let secure = if is_https(app) { "; Secure" } else { "" };
    let text =
        format!("{}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}", name(app));
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "session_broken", "the session cannot be a cookie")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Takes it away.
pub(crate) fn forget(app: &App) -> HeaderValue {
    HeaderValue::from_static(if is_https(app) {
        "__Host-accredit=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0; Secure"
    } else {
        "accredit=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
    })
}
