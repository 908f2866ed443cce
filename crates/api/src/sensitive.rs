//! Texts that travel and must not be seen: session and task tokens, link codes, join tokens, values.
//!
//! They are written to the wire and read from it; they show as `…` in every other way, and their bytes
//! are overwritten when they are dropped. They cannot be copied by mistake.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroize;

/// A text that only its receiver should see.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Password)]
pub struct Sensitive(String);

impl Sensitive {
    /// Takes the text in.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Drop for Sensitive {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sensitive(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // case: SEC-19
    #[test]
    fn a_sensitive_text_does_not_show() {
        let text = Sensitive::new("canary".to_owned());
        assert!(!format!("{text:?}").contains("canary"));
        assert_eq!(serde_json::to_string(&text).expect("a text"), "\"canary\"");
    }
}
