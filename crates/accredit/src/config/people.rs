//! `[people.openid]`: the `OpenID` provider through which people sign in. The secret of the client is a reference.

use std::collections::BTreeMap;

use accredit_authority::settings::{ClientSecret, Provider};
use zeroize::Zeroizing;

use super::document::{ConfigError, Section};
use super::references::{self, ReferenceError};

/// Longest issuer identifier, in bytes: an entry of the ledger names it whole.
const ISSUER_BYTES_MAX: usize = 255;

/// The provider, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenIdConfig {
    issuer: String,
    client_id: String,
    client_secret: Option<String>,
}

impl OpenIdConfig {
    /// Its issuer identifier.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A client of it, with the secret read from where it is.
    ///
    /// # Errors
    /// [`ReferenceError`]; it never carries a value.
    pub(crate) fn provider(
        &self,
        environment: &BTreeMap<String, String>,
    ) -> Result<Provider, ReferenceError> {
        let read = |reference: &String| references::resolve(reference, environment).map(Zeroizing::new);
        let secret = self.client_secret.as_ref().map(read).transpose()?.map(ClientSecret::new);
        let provider = Provider::new(&self.issuer, &self.client_id, secret);
        Ok(provider.expect("the issuer was parsed when the configuration was read"))
    }
}

/// Reads `[people]`; `None` when no provider is written.
pub(crate) fn read(mut section: Section<'_>) -> Result<Option<OpenIdConfig>, ConfigError> {
    let mut openid = section.section("openid")?;
    section.finish()?;
    if !openid.is_present() {
        return Ok(None);
    }
    let (issuer, client_id) = (openid.parsed("issuer", issuer)?, openid.text("client_id")?);
    let config = OpenIdConfig {
        issuer: openid.required("issuer", issuer)?,
        client_id: openid.required("client_id", client_id)?,
        client_secret: openid.reference("client_secret")?,
    };
    openid.finish()?;
    Ok(Some(config))
}

fn issuer(text: &str) -> Result<String, String> {
    if text.len() > ISSUER_BYTES_MAX {
        return Err(format!("an issuer has at most {ISSUER_BYTES_MAX} bytes"));
    }
    Provider::new(text, "", None).map(|provider| provider.issuer().to_owned()).map_err(|e| e.to_string())
}
