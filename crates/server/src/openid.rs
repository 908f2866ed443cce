//! Signing in through an `OpenID` provider, and what the provider says later. Nothing is decided here.

use accredit_api::openid::{BeginOpenId, EventRefused, FinishOpenId, OpenIdBegun};
use accredit_api::session::Session;
use accredit_authority::fault::FaultKind;
use accredit_authority::openid::{Arrival, JOURNEY_S};
use accredit_authority::operators::{SESSION_TTL_S, Transport};
use axum::Json as Reply;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse as _, Response};

use crate::access::{Via, only};
use crate::app::App;
use crate::browser::{self, Cookie};
use crate::extract::{Json, bytes_of};
use crate::problem::Failure;
use crate::sessions;

/// Longest body with a token of a provider, in bytes: as long as it would be looked at, and the name of a field.
const TOKEN_BYTES_MAX: usize = accredit_identity::openid::TOKEN_BYTES_MAX + 1_024;

/// Begins to sign a browser in through the `OpenID` provider
#[utoipa::path(post, path = "/v1/sessions/openid/begin", tag = "sessions", params(("accredit-page" = String, Header, description = "`1`: the page that this server gave asks")), request_body = BeginOpenId, responses((status = 200, body = OpenIdBegun)))]
pub(crate) async fn begin(
    State(app): State<App>,
    headers: HeaderMap,
    Json(body): Json<BeginOpenId>,
) -> Result<Response, Failure> {
    browser::must_be_our_page(&app, &headers)?;
    let departure = app.authority().depart(body.role.map(sessions::core_role)).await?;
    let cookie = browser::keep(&app, Cookie::Journey, &departure.ticket, JOURNEY_S)?;
    Ok(([(header::SET_COOKIE, cookie)], Reply(OpenIdBegun { address: departure.address })).into_response())
}

/// Signs in the browser of whoever came back from the `OpenID` provider
#[utoipa::path(post, path = "/v1/sessions/openid", tag = "sessions", params(("accredit-page" = String, Header, description = "`1`: the page that this server gave asks")), request_body = FinishOpenId, responses((status = 201, body = Session)))]
pub(crate) async fn finish(
    State(app): State<App>,
    via: Via,
    headers: HeaderMap,
    Json(body): Json<FinishOpenId>,
) -> Result<Response, Failure> {
    browser::must_be_our_page(&app, &headers)?;
    let guess = app.guesses(Transport::Tcp).begin()?;
    let ticket = browser::cookie(&app, Cookie::Journey, &headers).unwrap_or_default();
    let (code, state, issuer) = (body.code.reveal(), body.state.as_str(), body.iss.as_deref());
    let arrival = Arrival { ticket, code, state, issuer };
    let signed_in = guess.answered(app.authority().arrive(arrival, &via.address()).await)?;
    let session = browser::keep(&app, Cookie::Session, signed_in.secret.expose(), SESSION_TTL_S)?;
    let cookies =
        [(header::SET_COOKIE, session), (header::SET_COOKIE, browser::forget(&app, Cookie::Journey))];
    let body = Reply(sessions::wire(&signed_in.operator));
    Ok((StatusCode::CREATED, AppendHeaders(cookies), body).into_response())
}

/// Ends the sessions of somebody who signed out at the `OpenID` provider
///
/// For the provider: `OpenID` Connect Back-Channel Logout 1.0 §2.5, with `logout_token` in a form.
#[utoipa::path(post, path = "/v1/openid/backchannel-logout", tag = "sessions", request_body(content = String, content_type = "application/x-www-form-urlencoded"), responses((status = 200, description = "Their sessions have ended")))]
pub(crate) async fn logout(State(app): State<App>, request: Request<Body>) -> Result<StatusCode, Failure> {
    let form = text_of(request, "application/x-www-form-urlencoded").await?;
    // A token in compact form needs no escapes.
    let mut tokens = form.split('&').filter_map(|pair| pair.strip_prefix("logout_token="));
    let (Some(token), None) = (tokens.next(), tokens.next()) else {
        return Err(Failure::field("logout_token", "expected one logout token"));
    };
    app.authority().log_out_from_provider(token).await?;
    Ok(StatusCode::OK)
}

/// Takes a security event of the `OpenID` provider
///
/// For the provider: RFC 8935. CAEP `session-revoked` ends somebody's sessions; RISC `account-disabled` and `account-purged`
/// let them lapse.
#[utoipa::path(post, path = "/v1/openid/events", tag = "sessions", request_body(content = String, content_type = "application/secevent+jwt"), responses((status = 202, description = "It was done"), (status = 400, body = EventRefused)))]
pub(crate) async fn events(State(app): State<App>, request: Request<Body>) -> Result<Response, Failure> {
    let token = text_of(request, "application/secevent+jwt").await?;
    match app.authority().hear_provider(&token).await {
        Ok(()) => Ok(StatusCode::ACCEPTED.into_response()),
        Err(fault) if fault.kind == FaultKind::Invalid => {
            let refused = EventRefused { err: "authentication_failed".to_owned(), description: fault.detail };
            Ok((StatusCode::BAD_REQUEST, Reply(refused)).into_response())
        }
        Err(fault) => Err(fault.into()),
    }
}

async fn text_of(request: Request<Body>, content_type: &'static str) -> Result<String, Failure> {
    let said = only(request.headers(), &header::CONTENT_TYPE).unwrap_or_default();
    if !said.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(content_type) {
        return Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("the body must be sent as `{content_type}`"),
        ));
    }
    let bytes = bytes_of(request, TOKEN_BYTES_MAX).await?;
    String::from_utf8(bytes.into())
        .map_err(|_| Failure::new(StatusCode::BAD_REQUEST, "invalid_body", "the body is not text"))
}
