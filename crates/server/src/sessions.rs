//! Signing in: links, sessions, who am I.

use accredit_api::Sensitive;
use accredit_api::session::{
    CreateLink, CreateSession, LinkCreated, Role, Session, SessionCreated, Transport, WhoAmI,
};
use accredit_authority::operators::{self, LinkMaker, Operator};
use accredit_core::operator as core;
use axum::Json as Reply;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::access::{Asker, By, Via};
use crate::app::App;
use crate::browser::{self, Cookie};
use crate::extract::{Json, parsed_opt};
use crate::problem::Failure;

pub(crate) const fn role(role: core::Role) -> Role {
    match role {
        core::Role::Admin => Role::Admin,
        core::Role::Owner => Role::Owner,
        core::Role::Approver => Role::Approver,
        core::Role::Auditor => Role::Auditor,
    }
}

pub(crate) const fn core_role(role: Role) -> core::Role {
    match role {
        Role::Admin => core::Role::Admin,
        Role::Owner => core::Role::Owner,
        Role::Approver => core::Role::Approver,
        Role::Auditor => core::Role::Auditor,
    }
}

pub(crate) fn wire(operator: &Operator) -> Session {
    Session {
        id: operator.session().to_string(),
        operator: operator.name().to_string(),
        role: role(operator.role()),
        bound_to: match operator.transport() {
            operators::Transport::Socket => Transport::Socket,
            operators::Transport::Tcp => Transport::Tcp,
        },
        signed_in_at: operator.signed_in_at().to_string(),
        expires_at: operator.expires_at().to_string(),
    }
}

/// Makes a one-time sign-in link
///
/// For the user that the server runs as, through its socket and outside of every task; or for whoever is signed in.
#[utoipa::path(post, path = "/v1/links", tag = "sessions", request_body = CreateLink, responses((status = 201, body = LinkCreated)))]
pub(crate) async fn create_link(
    State(app): State<App>,
    asker: Asker,
    Json(body): Json<CreateLink>,
) -> Result<(StatusCode, Reply<LinkCreated>), Failure> {
    let operator = parsed_opt("operator", body.operator.as_deref())?;
    let role = body.role.map(core_role);
    let maker = match &asker {
        Asker::Operator(operator) => LinkMaker::Operator(operator),
        Asker::LocalUser(uid) => LinkMaker::LocalUser { uid: *uid },
        Asker::Task(_) => return Err(Failure::unauthenticated("a task makes no links")),
    };
    let link = app.authority().create_link(maker, operator, role).await?;
    let created = LinkCreated {
        code: Sensitive::new(link.code.expose().to_owned()),
        operator: link.operator.to_string(),
        expires_at: link.expires_at.to_string(),
    };
    Ok((StatusCode::CREATED, Reply(created)))
}

/// Signs in with a one-time link
///
/// The link burns. The session works only the way it was made: through the socket, or over the network.
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", request_body = CreateSession, responses((status = 201, body = SessionCreated)))]
pub(crate) async fn create(
    State(app): State<App>,
    via: Via,
    Json(body): Json<CreateSession>,
) -> Result<(StatusCode, Reply<SessionCreated>), Failure> {
    let guess = app.guesses(via.transport()).begin()?;
    let signed_in = app.authority().sign_in(body.link_code.reveal(), via.transport(), &via.address()).await;
    let signed_in = guess.answered(signed_in)?;
    let token = Sensitive::new(signed_in.secret.expose().to_owned());
    Ok((StatusCode::CREATED, Reply(SessionCreated { token, session: wire(&signed_in.operator) })))
}

/// Signs a browser in with a one-time link
///
/// For the page at `/`: the session is in a cookie that its scripts cannot read, and counts only for calls of that page.
#[utoipa::path(post, path = "/v1/sessions/browser", tag = "sessions", params(("accredit-page" = String, Header, description = "`1`: the page that this server gave asks")), request_body = CreateSession, responses((status = 201, body = Session)))]
pub(crate) async fn create_in_browser(
    State(app): State<App>,
    via: Via,
    headers: HeaderMap,
    Json(body): Json<CreateSession>,
) -> Result<Response, Failure> {
    browser::must_be_our_page(&app, &headers)?;
    let guess = app.guesses(via.transport()).begin()?;
    let signed_in = app.authority().sign_in(body.link_code.reveal(), via.transport(), &via.address()).await;
    let signed_in = guess.answered(signed_in)?;
    let cookie = browser::keep(&app, Cookie::Session, signed_in.secret.expose(), operators::SESSION_TTL_S)?;
    let session = Reply(wire(&signed_in.operator));
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], session).into_response())
}

/// Signs out
#[utoipa::path(delete, path = "/v1/sessions/current", tag = "sessions", responses((status = 204, description = "The session has ended")))]
pub(crate) async fn end(State(app): State<App>, By(by): By) -> Result<Response, Failure> {
    app.authority().sign_out(&by).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, browser::forget(&app, Cookie::Session))])
        .into_response())
}

/// Who is asking
#[utoipa::path(get, path = "/v1/whoami", tag = "sessions", responses((status = 200, body = WhoAmI)))]
pub(crate) async fn whoami(State(app): State<App>, By(by): By) -> Reply<WhoAmI> {
    Reply(WhoAmI { tenant: app.authority().tenant().to_string(), session: wire(&by) })
}
