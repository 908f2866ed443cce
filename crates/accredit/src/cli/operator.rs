//! Calls in the name of the person who is signed in. On this machine's socket nobody has to sign in: the kernel says who
//! asks, and a session is made on the way, good for that socket alone.

use std::io;
use std::path::Path;

use accredit_api::session::{CreateLink, CreateSession, LinkCreated, SessionCreated};
use accredit_api::{Page, Sensitive};
use accredit_client::{Auth, CallError, Client, Lines, Raw, Server, routes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Context;
use crate::config::paths::{private_dir, write_private};
use crate::exit::Exit;
use crate::failure::Failure;

/// Items that are asked for at a time when a whole list is wanted.
const PAGE: u32 = 500;
/// Most items that a list shows without being asked for more.
pub(crate) const ITEMS_MAX: usize = 10_000;

/// The session file: which server it is for, and its token.
#[derive(Serialize, Deserialize)]
struct Stored {
    server: String,
    token: Sensitive,
}

/// A client with the session of a person.
pub(crate) struct Operator<'a> {
    context: &'a Context,
    client: Client,
    session: tokio::sync::Mutex<Option<std::sync::Arc<Sensitive>>>,
}

/// One page of a list, whatever else its query says.
#[derive(Serialize)]
struct Paged<'a, Q> {
    #[serde(flatten)]
    query: &'a Q,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
    limit: u32,
}

impl<'a> Operator<'a> {
    /// The person at this command line, with the authority that they mean.
    ///
    /// # Errors
    /// When the URL is not one.
    pub(crate) fn new(context: &'a Context) -> Result<Self, Failure> {
        let server = context.server()?;
        let stored = read(&context.paths.session()).filter(|s| s.server == server.name());
        let session = tokio::sync::Mutex::new(stored.map(|s| std::sync::Arc::new(s.token)));
        Ok(Self { context, client: Client::new(server), session })
    }

    /// Reads something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.with_session(async |auth| self.client.get(path, auth).await).await
    }

    /// Reads something, with a query.
    pub(crate) async fn get_with<Q: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Q,
    ) -> Result<T, Failure> {
        self.with_session(async |auth| self.client.get_with(path, query, auth).await).await
    }

    /// Changes something.
    pub(crate) async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.call(http::Method::POST, path, body).await
    }

    /// Changes something, with a method.
    pub(crate) async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: http::Method,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.with_session(async |auth| self.client.call(method.clone(), path, body, auth).await).await
    }

    /// Takes something away.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.with_session(async |auth| self.client.delete(path, auth).await).await
    }

    /// Reads what is not JSON.
    pub(crate) async fn raw(&self, path: &str) -> Result<Raw, Failure> {
        self.with_session(async |auth| self.client.raw(path, auth).await).await
    }

    /// Reads what is not JSON, with a query.
    pub(crate) async fn raw_with<Q: Serialize>(&self, path: &str, query: &Q) -> Result<Raw, Failure> {
        self.with_session(async |auth| self.client.raw_with(path, query, auth).await).await
    }

    /// Reads lines that arrive over time.
    pub(crate) async fn lines(&self, path: &str) -> Result<Lines, Failure> {
        self.with_session(async |auth| self.client.lines(path, auth).await).await
    }

    /// Every item of a list, up to [`ITEMS_MAX`].
    pub(crate) async fn all<Q: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Q,
    ) -> Result<Vec<T>, Failure> {
        self.up_to(path, query, ITEMS_MAX).await
    }

    /// The first items of a list, at most so many, over as many pages as it takes.
    pub(crate) async fn up_to<Q: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Q,
        most: usize,
    ) -> Result<Vec<T>, Failure> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        while items.len() < most {
            let limit = PAGE.min(u32::try_from(most - items.len()).unwrap_or(PAGE));
            let paged = Paged { query, cursor: cursor.as_deref(), limit };
            let page: Page<T> = self.get_with(path, &paged).await?;
            items.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(items);
            }
        }
        self.context
            .out
            .say(&format!("note: there are more; this shows {most}. Narrow the question or raise --limit."));
        Ok(items)
    }

    /// Signs in with the code of a one-time link, and keeps the session.
    pub(crate) async fn sign_in(&self, link_code: Sensitive) -> Result<SessionCreated, Failure> {
        let body = CreateSession { link_code };
        let created: SessionCreated =
            self.client.post(routes::SESSIONS, &body, Auth::Nobody).await.map_err(|e| failure(&e))?;
        Ok(created)
    }

    /// Keeps a session for later commands.
    pub(crate) async fn keep(&self, token: Sensitive) -> Result<(), Failure> {
        let stored = Stored { server: self.client.server().name(), token };
        let path = self.context.paths.session();
        let text = zeroize::Zeroizing::new(serde_json::to_vec(&stored).unwrap_or_default());
        let kept = private_dir(self.context.paths.state()).and_then(|()| write_private(&path, &text));
        kept.map_err(|e| Failure::file(&path, &e))?;
        *self.session.lock().await = Some(std::sync::Arc::new(stored.token));
        Ok(())
    }

    /// Forgets the kept session.
    pub(crate) fn forget(&self) -> Result<(), Failure> {
        let path = self.context.paths.session();
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Failure::file(&path, &e)),
            _ => Ok(()),
        }
    }

    /// Whether a session is kept for this server.
    pub(crate) async fn has_session(&self) -> bool {
        self.session.lock().await.is_some()
    }

    /// Calls with the session. Through the socket, a missing or ended session is made anew, once.
    async fn with_session<T>(
        &self,
        call: impl AsyncFn(Auth<'_>) -> Result<T, CallError>,
    ) -> Result<T, Failure> {
        let held = self.session.lock().await.clone();
        let local = matches!(self.client.server(), Server::Socket(_));
        match held {
            Some(token) => match call(Auth::Session(&token)).await {
                Err(error) if local && status(&error) == Some(401) => {}
                other => return other.map_err(|e| failure(&e)),
            },
            None if !local => return call(Auth::Nobody).await.map_err(|e| failure(&e)),
            None => {}
        }
        let token = self.sign_in_locally().await?;
        call(Auth::Session(&token)).await.map_err(|e| failure(&e))
    }

    async fn sign_in_locally(&self) -> Result<std::sync::Arc<Sensitive>, Failure> {
        let link = CreateLink { operator: None, role: None };
        let link: LinkCreated =
            self.client.post(routes::LINKS, &link, Auth::Nobody).await.map_err(|e| failure(&e))?;
        let created = self.sign_in(link.code).await?;
        self.keep(created.token).await?;
        let held = self.session.lock().await.clone();
        held.ok_or_else(|| {
            Failure::new(Exit::SignIn, "unauthenticated", "nobody is signed in", "the session was not kept")
        })
    }
}

impl Context {
    /// The authority that is meant: the one at `--url`, or the one on this machine.
    ///
    /// # Errors
    /// When the URL is not one.
    pub(crate) fn server(&self) -> Result<Server, Failure> {
        match &self.url {
            None => Ok(Server::socket(self.paths.socket())),
            Some(url) => Server::parse(url).map_err(|e| Failure::usage("the server was not understood", e)),
        }
    }
}

fn status(error: &CallError) -> Option<u16> {
    error.problem().map(|p| p.status)
}

fn read(path: &Path) -> Option<Stored> {
    let text = zeroize::Zeroizing::new(std::fs::read(path).ok()?);
    serde_json::from_slice(&text).ok()
}

/// A call that brought nothing, as a person reads it.
pub(crate) fn failure(error: &CallError) -> Failure {
    match error {
        CallError::Refused(problem) => {
            let exit = match (problem.status, problem.code.as_str()) {
                (_, code) if code.starts_with("approval_") || problem.request.is_some() => Exit::Pending,
                (400 | 413 | 415 | 422, _) => Exit::Usage,
                (401, _) => Exit::SignIn,
                (403, _) => Exit::Denied,
                (404, _) => Exit::NotFound,
                (409 | 412, _) => Exit::Conflict,
                _ => Exit::Error,
            };
            let decision =
                problem.decision.as_ref().map(|id| format!(" (accredit why {id})")).unwrap_or_default();
            let failure = Failure::new(
                exit,
                &problem.code,
                lower(&problem.title),
                format!("{}{decision}", problem.detail),
            );
            failure.todo(problem.next_step.clone().unwrap_or_default())
        }
        CallError::Unreachable { at, source } => {
            let failure = Failure::new(
                Exit::Unreachable,
                "unreachable",
                format!("no authority answers at {at}"),
                source,
            );
            failure.todo("start one with `accredit serve`, or name one with --url")
        }
        CallError::TimedOut { .. } | CallError::Broken { .. } => {
            Failure::new(Exit::Unreachable, "no_answer", "the authority did not answer", error)
                .todo("accredit health")
        }
        CallError::Untrusted { .. } => {
            Failure::new(Exit::Unreachable, "untrusted", "the authority was not trusted", error)
                .todo("check the URL and the certificate authorities of this machine")
        }
        CallError::Protocol { .. } => {
            Failure::new(Exit::Error, "protocol", "the answer was not understood", error).todo(
                "check that client and server are of the same version: accredit version; accredit health",
            )
        }
        CallError::Request(_) => Failure::new(Exit::Usage, "request", "nothing was sent", error),
    }
}

fn lower(title: &str) -> String {
    let mut chars = title.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().collect::<String>() + chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use accredit_api::Problem;

    fn refused(status: u16, code: &str) -> CallError {
        CallError::Refused(Box::new(Problem {
            kind: "t".to_owned(),
            title: "Not so".to_owned(),
            status,
            code: code.to_owned(),
            detail: "because".to_owned(),
            next_step: Some("do this".to_owned()),
            field: None,
            decision: None,
            request: None,
        }))
    }

    #[test]
    fn a_refusal_ends_with_the_exit_code_of_its_sort() {
        for (status, code, exit) in [
            (400, "invalid_field", Exit::Usage),
            (401, "unauthenticated", Exit::SignIn),
            (403, "denied", Exit::Denied),
            (403, "approval_pending", Exit::Pending),
            (404, "not_found", Exit::NotFound),
            (409, "conflict", Exit::Conflict),
            (503, "sealed", Exit::Error),
        ] {
            let failure = failure(&refused(status, code));
            assert_eq!((failure.exit(), failure.code()), (exit, code));
            assert_eq!(failure.lines()[..3], ["error: not so", "  why  because", "  do   do this"]);
        }
        let nobody = CallError::Unreachable { at: "/s".to_owned(), source: io::ErrorKind::NotFound.into() };
        assert_eq!(failure(&nobody).exit(), Exit::Unreachable);
    }
}
