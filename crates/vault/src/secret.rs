//! Values that must not be seen: no `Debug`, no `Display`, no `Clone`, wiped when dropped.

use zeroize::Zeroizing;

/// Longest secret value, in bytes: half of what upstreams commonly take in one field.
pub const SECRET_BYTES_MAX: usize = 4 * 1024;
/// Shortest secret value, in bytes: shorter ones could not be told from ordinary text when an
/// upstream echoes them.
pub const SECRET_BYTES_MIN: usize = 8;

/// A value on its way into the vault.
pub struct SecretValue(Zeroizing<Vec<u8>>);

/// Why a value is not accepted. Never says the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretValueError {
    /// Too short or too long.
    #[error("a secret is {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes long")]
    Length,
    /// Holds bytes that no header field may carry.
    #[error("a secret holds printable ASCII only; check for a line break at its end")]
    Bytes,
}

impl SecretValue {
    /// Takes a value; one final line break is cut, because files end with one.
    ///
    /// # Errors
    /// [`SecretValueError`].
    pub fn new(mut bytes: Vec<u8>) -> Result<Self, SecretValueError> {
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        let value = Self(Zeroizing::new(bytes));
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&value.0.len()) {
            return Err(SecretValueError::Length);
        }
        // RFC 9110 §5.5: what may stand inside a field value, without the edges that get trimmed.
        if value.0.iter().all(|b| (b'!'..=b'~').contains(b)) {
            Ok(value)
        } else {
            Err(SecretValueError::Bytes)
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An opened secret. Made only by [`crate::Vault::open`], which takes a permit.
pub struct Secret(pub(crate) Zeroizing<Vec<u8>>);

impl Secret {
    /// The value, for the one request that the permit is about.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
