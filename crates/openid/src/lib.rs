//! An `OpenID` provider, asked as its client: discovery, keys, and the code of somebody who came back from it.
//!
//! What its tokens are worth is decided in `accredit-identity`; here they travel over HTTP. Everything is asked of the issuer
//! that was configured and of the places that it names itself.

mod exchange; // one bounded request, nothing followed

pub mod provider;

pub use provider::{ClientSecret, Metadata, Provider, ProviderError, ProviderUrlError, Request};
