//! Secrets at rest. The only place that sees a plaintext between the operator who sets it and the
//! one request that carries it.
//!
//! Envelope encryption: a key-encryption key (KEK) from outside wraps data keys; a data key seals
//! each value with AES-256-GCM and, as associated data, what the value is (tenant, kind, id,
//! version), so that no sealed value can be moved to another place. Without the right KEK the
//! vault is *sealed* and everything that needs it is refused. Blobs are stored by others.

mod envelope;
mod harden;
mod key_source;
mod secret;
mod vault;

pub use envelope::{KeyId, Label, SealError};
pub use harden::{HardenError, harden, quiet_panics};
pub use key_source::{KeyEncryptionKey, KeySource, KeySourceError};
pub use secret::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret, SecretValue, SecretValueError};
pub use vault::{OpenError, UnsealError, Vault, WrappedKey};
