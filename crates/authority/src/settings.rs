//! What the configuration says, parsed and checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use accredit_core::deviation::Rule;
use accredit_core::id::{TemplateName, TenantName};
use accredit_core::resource::Mode;
use accredit_core::task::{TTL_S_DEFAULT, TTL_S_MAX};
use accredit_core::template::Template;
pub use accredit_openid::{ClientSecret, Provider};
pub use accredit_store::Address;
pub use accredit_vault::KeySource;

use crate::witnesses::WitnessSetting;

/// Life of a task token, in seconds: minutes, because it is renewed while the task is active.
pub const TOKEN_TTL_S: u64 = 300;

/// Name of the embedded database's file, in the directory of the database.
pub const DATABASE_FILE: &str = "accredit.db";

/// Where the durable state is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// In a file of this process, in the directory of the database.
    Embedded,
    /// On a server that other replicas work on as well.
    Shared(Box<Address>),
}

/// What the configuration says about the authority.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the durable state is.
    pub database: Database,
    /// Directory of the embedded database.
    pub data_dir: PathBuf,
    /// File that holds the ledger's head, outside the database.
    pub head_path: PathBuf,
    /// The tenant that this installation serves.
    pub tenant: TenantName,
    /// Trust domain of the SPIFFE IDs.
    pub trust_domain: String,
    /// Our issuer identifier: the public URL of the control plane, without a final `/`.
    pub issuer: String,
    /// Public URL of the gateway, without a final `/`: the audience of task tokens.
    pub gateway_url: String,
    /// Where the key-encryption key comes from.
    pub key: KeySource,
    /// Named boundaries.
    pub templates: Vec<Template>,
    /// Longest life of a task, in seconds.
    pub task_ttl_s_max: u64,
    /// Mode of resources that do not say.
    pub default_mode: Mode,
    /// How long a call is held while a person is asked, before it is answered as pending. Zero: not at all.
    pub hold_for: Duration,
    /// Signs that an agent does what it does not usually do, and what follows.
    pub rules: Arc<[Rule]>,
    /// Largest number of commands that wait for the database.
    pub queue_max: usize,
    /// The `OpenID` provider through which people sign in.
    pub openid: Option<Provider>,
    /// Who is asked to cosign the ledger's head.
    pub witnesses: Vec<WitnessSetting>,
}

impl Settings {
    /// The template with this name.
    #[must_use]
    pub fn template(&self, name: &TemplateName) -> Option<&Template> {
        self.templates.iter().find(|t| t.name == *name)
    }

    /// Life of a task for which nobody asked otherwise, in seconds.
    #[must_use]
    pub fn default_ttl_s(&self) -> u64 {
        TTL_S_DEFAULT.min(self.task_ttl_s_max).min(TTL_S_MAX)
    }
}
