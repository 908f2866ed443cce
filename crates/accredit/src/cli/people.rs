//! `accredit operator`: people who are registered, and what they may do.

use accredit_api::operator::{AddOperator, ChangeOperator, LapseOperator, Operator, OperatorLapsed};
use accredit_api::page::PageQuery;
use accredit_api::session::Role;
use accredit_client::routes;
use clap::{Args, Subcommand};

use super::ask::Consent;
use super::operator::Operator as Caller;
use super::resource::parse;
use super::{Context, or_dash, when, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Line;

#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List registered people
    Ls,
    /// Show one
    Show {
        /// `person@organisation`
        operator: String,
    },
    /// Register a person, or let one who lapsed act again
    Add(Add),
    /// Change what a person may do; sessions for a role that they lose end
    Change(Change),
    /// Let a person lapse: sessions end, what they said counts for nothing, what they own falls to their successor or stops
    Lapse {
        /// `person@organisation`
        operator: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// `person@organisation`
    operator: String,
    /// admin, owner, approver or auditor; may stand several times
    #[arg(long = "role", required = true, value_name = "ROLE", value_parser = parse::<Role>)]
    roles: Vec<Role>,
    /// A group that they are in; may stand several times
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Another account of the same person
    #[arg(long, value_name = "OPERATOR")]
    same_person_as: Option<String>,
    /// The owner that takes over what they own when they lapse
    #[arg(long, value_name = "OWNER")]
    successor: Option<String>,
}

#[derive(Debug, Args)]
struct Change {
    /// `person@organisation`
    operator: String,
    /// Other roles, all of them
    #[arg(long = "role", value_name = "ROLE", value_parser = parse::<Role>)]
    roles: Vec<Role>,
    /// Other groups, all of them
    #[arg(long = "group", value_name = "GROUP", conflicts_with = "no_groups")]
    groups: Vec<String>,
    /// In no group
    #[arg(long)]
    no_groups: bool,
    /// Another account of the same person; an empty text: none
    #[arg(long, value_name = "OPERATOR")]
    same_person_as: Option<String>,
    /// The owner that takes over what they own when they lapse; an empty text: none
    #[arg(long, value_name = "OWNER")]
    successor: Option<String>,
    /// Take their passkeys away: they lost their devices, and register others after they sign in next
    #[arg(long)]
    drop_passkeys: bool,
    /// Why
    #[arg(long)]
    reason: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: OperatorArgs, context: &Context) -> Result<Exit, Failure> {
    let caller = Caller::new(context)?;
    match args.verb {
        Verb::Ls => {
            let all: Vec<Operator> = caller.all(routes::OPERATORS, &PageQuery::default()).await?;
            let columns = ["operator", "roles", "groups", "standing", "successor", "added"];
            context.out.list(&all, &columns, row, "nobody is registered yet: accredit operator add")?;
        }
        Verb::Show { operator } => {
            let found: Operator = caller.get(&routes::one(routes::OPERATORS, &operator)).await?;
            context.out.one(&found, lines)?;
        }
        Verb::Add(add) => {
            let body = AddOperator {
                operator: add.operator,
                roles: add.roles,
                groups: add.groups,
                same_person_as: add.same_person_as,
                successor: add.successor,
            };
            let added: Operator = caller.post(routes::OPERATORS, &body).await?;
            context.out.one(&added, lines)?;
        }
        Verb::Change(change) => {
            let path = routes::one(routes::OPERATORS, &change.operator);
            let named = change.no_groups || !change.groups.is_empty();
            let body = ChangeOperator {
                roles: (!change.roles.is_empty()).then_some(change.roles),
                groups: named.then_some(change.groups),
                same_person_as: change.same_person_as,
                successor: change.successor,
                drop_passkeys: change.drop_passkeys,
                reason: change.reason,
            };
            let changed: Operator = caller.call(http::Method::PATCH, &path, &body).await?;
            context.out.one(&changed, lines)?;
        }
        Verb::Lapse { operator, reason, consent } => {
            let deed = format!(
                "`{operator}` lapses, and what they own falls to their successor, or stops without one"
            );
            if !consent.given(context, &deed)? {
                return Ok(Exit::Ok);
            }
            let path = routes::under(routes::OPERATORS, &operator, "lapse");
            let lapsed: OperatorLapsed = caller.post(&path, &LapseOperator { reason }).await?;
            context.out.one(&lapsed, |lapsed| {
                let mut all = lines(&lapsed.operator);
                all.push(("accounts", lapsed.accounts.join(" ")));
                all.push(("sessions", format!("{} ended", lapsed.sessions)));
                let fell_to = lapsed.fell_to.clone().unwrap_or_else(|| "nobody: it stops".to_owned());
                all.push(("what they own", fell_to));
                all
            })?;
        }
    }
    Ok(Exit::Ok)
}

fn roles(operator: &Operator) -> String {
    operator.roles.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn row(operator: &Operator) -> Vec<String> {
    vec![
        operator.operator.clone(),
        roles(operator),
        operator.groups.join(" "),
        word(&operator.standing),
        or_dash(operator.successor.as_deref()),
        when::show(&operator.added_at),
    ]
}

fn lines(operator: &Operator) -> Vec<Line> {
    let mut lines = vec![
        ("operator", operator.operator.clone()),
        ("roles", roles(operator)),
        ("groups", or_dash(Some(operator.groups.join(" ")).as_deref().filter(|text| !text.is_empty()))),
        ("standing", word(&operator.standing)),
        ("same person as", or_dash(operator.same_person_as.as_deref())),
        ("successor", or_dash(operator.successor.as_deref())),
        ("passkeys", operator.passkeys.to_string()),
        ("added", when::show(&operator.added_at)),
    ];
    if let Some(at) = &operator.lapsed_at {
        lines.push(("lapsed", when::show(at)));
    }
    lines
}
