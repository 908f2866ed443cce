//! `accredit database`: the schema of a shared database, made and brought up to date by the role that owns it, before
//! the first server and with each new version.

use accredit_authority::settings::Address;
use accredit_store::{SchemaError, prepare};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use crate::config::references;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Line;

/// The role that servers sign in as unless another is named.
const SERVICE_ROLE: &str = "accredit";

#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the schema or bring it up to date, and let the role of the servers work with it
    ///
    /// Signs in as the role that owns the schema, which is not the role that servers sign in as. Servers of the version
    /// before go on working meanwhile.
    Prepare {
        /// The database, as its owner: `postgres://owner@host/database`, or a reference to where that stands
        #[arg(long, value_name = "URL")]
        database: String,
        /// Where the owner's password stands: `${env:NAME}` or `${file:/path}`
        #[arg(long, value_name = "REFERENCE")]
        password_from: Option<String>,
        /// The role that servers sign in as
        #[arg(long, value_name = "NAME", default_value = SERVICE_ROLE)]
        role: String,
    },
}

/// What was made.
#[derive(Serialize)]
struct Prepared {
    database: String,
    schema: i64,
    role: String,
}

/// Runs the command.
pub(crate) async fn run(args: DatabaseArgs, context: &Context) -> Result<Exit, Failure> {
    let Verb::Prepare { database, password_from, role } = args.verb;
    let what = "the database was not prepared";
    let address = address(&database, password_from.as_deref(), context, what)?;
    let schema = prepare(&address, &role).await.map_err(|error| failed(&error, &role))?;
    let prepared = Prepared { database: address.shown(), schema, role };
    context.out.one(&prepared, |prepared| -> Vec<Line> {
        vec![
            ("database", prepared.database.clone()),
            ("schema", prepared.schema.to_string()),
            ("role", prepared.role.clone()),
        ]
    })?;
    Ok(Exit::Ok)
}

/// Where a database is that the command line names; `what` was not done where it says it badly.
pub(super) fn address(
    database: &str,
    password: Option<&str>,
    context: &Context,
    what: &str,
) -> Result<Address, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(what, why);
    if !references::is_reference(database) && Address::has_password(database) {
        let why = "a password on the command line can be read by every process of this machine";
        return Err(wrong(&why).todo("--password-from '${file:/path}', with a file of mode 600"));
    }
    if password.is_some_and(|password| !references::is_reference(password)) {
        let why = "--password-from takes a reference, not the password itself";
        return Err(wrong(&why).todo("--password-from '${file:/path}' or '${env:NAME}'"));
    }
    let resolve = |text: &str| references::resolve(text, &context.environment).map_err(|e| wrong(&e));
    let password = password.map(resolve).transpose()?;
    Address::parse(&resolve(database)?, password.as_deref()).map_err(|e| wrong(&e))
}

fn failed(error: &SchemaError, role: &str) -> Failure {
    let exit = match error {
        SchemaError::Store(_) => Exit::Unreachable,
        SchemaError::NoRole(_) => Exit::NotFound,
        _ => Exit::Conflict,
    };
    let todo = match error {
        SchemaError::NoRole(_) => format!("CREATE ROLE {role} LOGIN PASSWORD '…', then repeat this"),
        SchemaError::Newer { .. } => "use the version of accredit that made it, or a later one".to_owned(),
        SchemaError::Changed(_) => "another build of accredit made it: use that one".to_owned(),
        _ => "look at the address, and whether the owner may create a schema in the database".to_owned(),
    };
    Failure::new(exit, "database", "the database was not prepared", error).todo(todo)
}
