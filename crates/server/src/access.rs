//! Who may call an endpoint: one class for each, checked in one place, before its handler runs. Where people may call, the
//! class names the operation, and the table of rights (`accredit_core::rights`) says which roles may.
//!
//! No header but `Authorization`, `DPoP` and the cookie of our own page says anything about who is asking. Where a request
//! came from is what the listener saw.

use std::net::SocketAddr;

use accredit_authority::authenticate::Presented;
use accredit_authority::operators::{Operator, Transport};
use accredit_core::rights::Operation;
use accredit_identity::caller::Caller;
use accredit_identity::peer::SocketPeer;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use crate::browser;
use crate::problem::Failure;
use crate::process::nearest;

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody: it tells nothing that is anybody's.
    Open,
    /// Whoever has the one-time code that the body carries.
    Code,
    /// The agent that the body and the `DPoP` field prove, or the peer of the socket.
    Agent,
    /// The user that the server runs as, through the socket and outside of every task; or an operator who may.
    Local(Operation),
    /// The holder of a task: its token and a proof.
    Task,
    /// The holder of a task, about that task; or an operator who may.
    TaskOrOperator(Operation),
    /// A signed-in person who may.
    Operator(Operation),
}

/// The way a request came in, as the listener saw it.
#[derive(Debug, Clone)]
pub(crate) enum Via {
    /// Over the network.
    Tcp(SocketAddr),
    /// Through the socket, from this process.
    Socket(SocketPeer),
}

impl Via {
    pub(crate) const fn transport(&self) -> Transport {
        match self {
            Self::Tcp(_) => Transport::Tcp,
            Self::Socket(_) => Transport::Socket,
        }
    }

    /// For the ledger.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp(address) => address.ip().to_string(),
            Self::Socket(peer) => format!("uid {} pid {}", peer.uid(), peer.pid()),
        }
    }
}

/// Who is asking, proved.
#[derive(Clone)]
pub(crate) enum Asker {
    /// A signed-in person.
    Operator(Operator),
    /// The holder of a task.
    Task(Caller),
    /// The user that the server runs as.
    LocalUser(u32),
}

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Lets a request through to its handler, or refuses it.
pub(crate) async fn admit(
    State((app, access, takes_query)): State<(App, Access, bool)>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let (mut head, body) = request.into_parts();
    match asker(&app, access, &head).await {
        Ok(None) => {}
        Ok(Some(asker)) => drop(head.extensions.insert(asker)),
        Err(failure) => return failure.into_response(),
    }
    if !takes_query && head.uri.query().is_some_and(|q| !q.is_empty()) {
        let failure =
            Failure::new(StatusCode::BAD_REQUEST, "invalid_query", "this endpoint takes no query parameters");
        return failure.into_response();
    }
    next.run(Request::from_parts(head, body)).await
}

async fn asker(app: &App, access: Access, request: &Parts) -> Result<Option<Asker>, Failure> {
    match access {
        Access::Open | Access::Code | Access::Agent => Ok(None),
        Access::Operator(operation) => operator(app, request, operation).await.map(Some),
        Access::Task => holder(app, request).await.map(|c| Some(Asker::Task(c))),
        Access::TaskOrOperator(_) if scheme_is_dpop(&request.headers) => {
            holder(app, request).await.map(|c| Some(Asker::Task(c)))
        }
        Access::TaskOrOperator(operation) => operator(app, request, operation).await.map(Some),
        Access::Local(operation)
            if request.headers.contains_key(header::AUTHORIZATION)
                || browser::session(app, &request.headers).is_some() =>
        {
            operator(app, request, operation).await.map(Some)
        }
        Access::Local(_) => local_user(app, request).await.map(|uid| Some(Asker::LocalUser(uid))),
    }
}

/// The one field of this name; two of them are none.
pub(crate) fn only<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Option<&'r str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn scheme_is_dpop(headers: &HeaderMap) -> bool {
    only(headers, &header::AUTHORIZATION)
        .is_some_and(|v| v.get(..5).is_some_and(|s| s.eq_ignore_ascii_case("dpop ")))
}

fn via(request: &Parts) -> Result<&Via, Failure> {
    request.extensions.get::<Via>().ok_or_else(|| Failure::unauthenticated("the way in is not known"))
}

/// The person who asks, if their role may ask for this operation.
async fn operator(app: &App, request: &Parts, operation: Operation) -> Result<Asker, Failure> {
    let operator = signed_in(app, request).await?;
    app.authority().admit(&operator, operation, request.uri.path()).await?;
    Ok(Asker::Operator(operator))
}

async fn signed_in(app: &App, request: &Parts) -> Result<Operator, Failure> {
    let headers = &request.headers;
    let via = via(request)?;
    let token = if headers.contains_key(header::AUTHORIZATION) {
        let parts = only(headers, &header::AUTHORIZATION).and_then(|text| text.split_once(' '));
        parts.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim())
    } else {
        browser::session(app, headers)
    };
    let Some(token) = token else { return Err(Failure::unauthenticated("nobody is signed in")) };
    if !headers.contains_key(header::AUTHORIZATION) {
        browser::must_be_our_page(app, headers)?;
    }
    // A session file can be read by the user's agents as well: over the socket the kernel says who is asking.
    if let Via::Socket(peer) = via {
        outside_of_tasks(app, peer).await?;
    }
    Ok(app.authority().operator(token, via.transport()).await?)
}

/// A process of a running task is an agent, whatever it holds.
async fn outside_of_tasks(app: &App, peer: &SocketPeer) -> Result<(), Failure> {
    let runners = app.authority().runners().await?;
    let runners: Vec<u32> = runners.into_iter().map(|(pid, _)| pid).collect();
    if matches!(nearest(peer.pid(), &runners), Ok(None)) {
        return Ok(());
    }
    let detail = "a process of a running task is an agent, not an operator";
    let failure = Failure::new(StatusCode::FORBIDDEN, "inside_a_task", detail);
    Err(failure.next("Open a terminal of your own, outside of `accredit run`."))
}

async fn holder(app: &App, request: &Parts) -> Result<Caller, Failure> {
    let (Some(authorization), Some(dpop)) =
        (only(&request.headers, &header::AUTHORIZATION), only(&request.headers, &DPOP))
    else {
        return Err(Failure::unauthenticated("a task token and one `DPoP` proof are needed"));
    };
    let url = own_url(app, request.uri.path());
    let presented = Presented { method: request.method.as_str(), url: &url, authorization, dpop };
    Ok(app.authority().caller(presented).await?)
}

/// Our own public URL of a path; `Host` has no say in it.
pub(crate) fn own_url(app: &App, path: &str) -> String {
    format!("{}{path}", app.authority().settings().issuer)
}

async fn local_user(app: &App, request: &Parts) -> Result<u32, Failure> {
    let Via::Socket(peer) = via(request)? else {
        return Err(Failure::unauthenticated(
            "links are made through the socket of the server, or by a signed-in person",
        ));
    };
    if peer.uid() != app.own_uid() {
        return Err(Failure::unauthenticated("this user is not the one that the server runs as"));
    }
    outside_of_tasks(app, peer).await?;
    Ok(peer.uid())
}

/// A signed-in person, as a handler takes it.
pub(crate) struct By(pub(crate) Operator);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        match parts.extensions.get::<Asker>() {
            Some(Asker::Operator(operator)) => Ok(Self(operator.clone())),
            _ => Err(Failure::unauthenticated("nobody is signed in")),
        }
    }
}

/// The holder of a task, as a handler takes it.
pub(crate) struct Holder(pub(crate) Caller);

impl<S: Send + Sync> FromRequestParts<S> for Holder {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        match parts.extensions.get::<Asker>() {
            Some(Asker::Task(caller)) => Ok(Self(caller.clone())),
            _ => Err(Failure::unauthenticated("a task token is needed")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Failure::unauthenticated("nobody has proved who they are"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Via {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Failure::unauthenticated("the way in is not known"))
    }
}

/// Whether nobody else is named beside whoever the body of a request proves.
pub(crate) struct OnePrincipal(bool);

impl OnePrincipal {
    /// The request is in the name of nobody but whoever its body proves: a task's token beside that would be a second one.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.0 {
            return Ok(());
        }
        let detail =
            "the request is in the name of two: of whoever `Authorization` names, and of the agent in it";
        let failure = Failure::new(StatusCode::BAD_REQUEST, "two_principals", detail);
        Err(failure.next("Leave `Authorization` out; the token of a task above goes into `parent_token`."))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OnePrincipal {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Ok(Self(!parts.headers.contains_key(header::AUTHORIZATION)))
    }
}

/// The `DPoP` field of a request that has exactly one.
pub(crate) struct Proof(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Proof {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let proof = only(&parts.headers, &DPOP).map(|p| Self(p.to_owned()));
        proof.ok_or_else(|| Failure::unauthenticated("one `DPoP` proof of the instance's key is needed"))
    }
}
