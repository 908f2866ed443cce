//! `accredit login|logout|whoami`: a one-time link becomes a session that later commands use.

use accredit_api::Sensitive;
use accredit_api::session::{CreateLink, LinkCreated, Role, Session, WhoAmI};
use accredit_client::{Server, routes};
use clap::Args;

use super::operator::Operator;
use super::resource::parse;
use super::{Context, secret, when, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Line;

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// URL of the authority. The code of the link is asked for; it burns when it is used
    #[arg(conflicts_with = "link")]
    server: Option<String>,
    /// File that holds the link or its code, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    link_file: Option<std::path::PathBuf>,
    /// Print a one-time link for a browser or another machine
    #[arg(long)]
    link: bool,
    /// For whom the link is: `person@organisation`
    #[arg(long, requires = "link", value_name = "OPERATOR")]
    operator: Option<String>,
    /// admin, owner, approver or auditor; of somebody who is registered, a role that they have
    #[arg(long, requires = "link", value_parser = parse::<Role>)]
    role: Option<Role>,
}

/// `login`: exchanges a one-time link for a session; `login --link` makes such a link.
pub(crate) async fn login(args: LoginArgs, context: &Context) -> Result<Exit, Failure> {
    if args.link {
        return print_link(args, context).await;
    }
    let (server, code) = split(args.server.as_deref());
    let target = Context {
        out: context.out,
        paths: context.paths.clone(),
        environment: context.environment.clone(),
        unreadable: context.unreadable.clone(),
        url: server.or_else(|| context.url.clone()),
    };
    let operator = Operator::new(&target)?;
    if code.is_none() && args.link_file.is_none() && matches!(target.server()?, Server::Socket(_)) {
        // Through the socket the kernel has said who it is.
        return whoami(&target).await;
    }
    let code = match code {
        Some(code) => code,
        None => {
            let given = secret::read(args.link_file.as_deref(), "code of the link", context)?;
            let (_, code) = split(Some(given.reveal()));
            code.unwrap_or(given)
        }
    };
    let created = operator.sign_in(code).await?;
    operator.keep(created.token).await?;
    context.out.one(&created.session, lines)?;
    Ok(Exit::Ok)
}

/// `https://host/#l=CODE` in its two parts. The code burns with its first use, so that seeing it later gains nothing.
fn split(text: Option<&str>) -> (Option<String>, Option<Sensitive>) {
    match text.map(|t| t.split_once("#l=").ok_or(t)) {
        None => (None, None),
        Some(Err(url)) => (Some(url.to_owned()), None),
        Some(Ok((url, code))) => {
            (Some(url.to_owned()).filter(|u| !u.is_empty()), Some(Sensitive::new(code.to_owned())))
        }
    }
}

async fn print_link(args: LoginArgs, context: &Context) -> Result<Exit, Failure> {
    let operator = Operator::new(context)?;
    let body = CreateLink { operator: args.operator, role: args.role };
    let created: LinkCreated = operator.post(routes::LINKS, &body).await?;
    let url = match context.server()? {
        Server::Socket(_) => {
            let metadata: accredit_api::oauth::ServerMetadata = operator.get(routes::METADATA).await?;
            metadata.issuer
        }
        server => server.name(),
    };
    context.out.one(&created, |link| {
        vec![
            ("link", format!("{url}/#l={}", link.code.reveal())),
            ("for", link.operator.clone()),
            ("works", format!("once, {}", when::until(&link.expires_at))),
            ("on a machine", format!("accredit login {url}")),
        ]
    })?;
    Ok(Exit::Ok)
}

/// `logout`: ends the session there and forgets it here.
pub(crate) async fn logout(context: &Context) -> Result<Exit, Failure> {
    let operator = Operator::new(context)?;
    if !operator.has_session().await {
        context.out.say("nobody is signed in");
        return operator.forget().map(|()| Exit::Ok);
    }
    let ended = operator.delete(routes::SESSION).await;
    operator.forget()?;
    match ended {
        Err(failure) if failure.exit() != Exit::SignIn => Err(failure),
        _ => {
            context.out.say("signed out");
            Ok(Exit::Ok)
        }
    }
}

/// `whoami`: who is asking, as the authority sees it.
pub(crate) async fn whoami(context: &Context) -> Result<Exit, Failure> {
    let who: WhoAmI = Operator::new(context)?.get(routes::WHOAMI).await?;
    context.out.one(&who, |who| {
        let mut all = vec![("tenant", who.tenant.clone())];
        all.extend(lines(&who.session));
        all
    })?;
    Ok(Exit::Ok)
}

fn lines(session: &Session) -> Vec<Line> {
    vec![
        ("operator", session.operator.clone()),
        ("role", word(&session.role)),
        ("session", format!("{} (good through the {})", session.id, word(&session.bound_to))),
        ("until", format!("{} ({})", when::show(&session.expires_at), when::until(&session.expires_at))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_server_and_a_code() {
        let parts = |text: &str| {
            let (server, code) = split(Some(text));
            (server, code.map(|c| c.reveal().to_owned()))
        };
        let (url, code) = ("https://accredit.example/".to_owned(), "8f1c".to_owned());
        assert_eq!(parts("https://accredit.example/#l=8f1c"), (Some(url), Some(code.clone())));
        assert_eq!(parts("#l=8f1c"), (None, Some(code)));
        assert_eq!(parts("https://a"), (Some("https://a".to_owned()), None));
    }
}
