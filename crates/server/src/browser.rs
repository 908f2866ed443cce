//! Sessions of browsers: a cookie that scripts cannot read, which counts only for calls of our own page.
//!
//! A browser sends a cookie along with whatever another site makes it send. So a cookie alone proves nobody: the call must
//! also carry a field that a form cannot set and another origin may not, and must not say that it came from elsewhere.

use axum::http::header::InvalidHeaderValue;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::access::only;
use crate::app::App;
use crate::problem::Failure;

/// Set by the page, and by nothing that another site can make a browser send without asking us first.
const PAGE: HeaderName = HeaderName::from_static("accredit-page");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a browser keeps for us.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cookie {
    /// A session.
    Session,
    /// The ticket of somebody who is at the `OpenID` provider.
    Journey,
}

impl Cookie {
    /// Behind https bound to this host and to TLS by its name (RFC 6265bis §4.1.3.2); else on this machine alone.
    const fn name(self, https: bool) -> &'static str {
        match (self, https) {
            (Self::Session, true) => "__Host-accredit",
            (Self::Session, false) => "accredit",
            (Self::Journey, true) => "__Host-accredit-journey",
            (Self::Journey, false) => "accredit-journey",
        }
    }
}

fn is_https(app: &App) -> bool {
    app.authority().settings().issuer.starts_with("https://")
}

/// The session in the cookie, where there is exactly one.
pub(crate) fn session<'r>(app: &App, headers: &'r HeaderMap) -> Option<&'r str> {
    cookie(app, Cookie::Session, headers)
}

/// What a cookie holds, where there is exactly one of its name.
pub(crate) fn cookie<'r>(app: &App, which: Cookie, headers: &'r HeaderMap) -> Option<&'r str> {
    let name = which.name(is_https(app));
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

/// Has the browser keep something, for so many seconds at most.
pub(crate) fn keep(app: &App, which: Cookie, value: &str, seconds: u64) -> Result<HeaderValue, Failure> {
    let mut value = set(app, which, value, seconds).map_err(|_| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "session_broken", "the session cannot be a cookie")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Takes it away.
pub(crate) fn forget(app: &App, which: Cookie) -> HeaderValue {
    set(app, which, "", 0).expect("a name and fixed words are a field value")
}

fn set(app: &App, which: Cookie, value: &str, seconds: u64) -> Result<HeaderValue, InvalidHeaderValue> {
    let https = is_https(app);
    let (name, secure) = (which.name(https), if https { "; Secure" } else { "" });
    HeaderValue::try_from(format!(
        "{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}"
    ))
}
