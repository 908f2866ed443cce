//! Texts of 256 random bits: handed out once, kept only as SHA-256, compared in constant time.
//!
//! With 256 bits of randomness a plain SHA-256 cannot be searched; a slow hash would only help who floods us.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// Random bytes in one text.
pub(crate) const RANDOM_BYTES: usize = 32;

/// The text is not of the expected kind. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `{prefix}` and 43 characters of base64url")]
pub struct NotOneTime {
    /// What texts of this kind start with.
    pub prefix: &'static str,
}

pub(crate) fn write(prefix: &str, random: &Zeroizing<[u8; RANDOM_BYTES]>) -> Zeroizing<String> {
    let digits = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(random.as_slice()));
    Zeroizing::new([prefix, &digits].concat())
}

pub(crate) fn read(prefix: &'static str, text: &str) -> Result<Zeroizing<String>, NotOneTime> {
    let not = NotOneTime { prefix };
    let digits = text.strip_prefix(prefix).ok_or(not)?;
    if digits.len() != (RANDOM_BYTES * 4).div_ceil(3) {
        return Err(not);
    }
    BASE64_URL_SAFE_NO_PAD.decode(digits).map(Zeroizing::new).map_err(|_| not)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Declares a text and its digest.
macro_rules! one_time {
    ($(#[$doc:meta])* $text:ident = $prefix:literal; $(#[$digest_doc:meta])* $digest:ident;) => {
        $(#[$doc])*
        pub struct $text(zeroize::Zeroizing<String>);

        impl $text {
            /// What every text of this kind starts with, so that it is found where it should not be.
            pub const PREFIX: &'static str = $prefix;

            /// Makes the text of 256 random bits that the caller drew.
            #[must_use]
            pub fn from_random(random: [u8; $crate::one_time::RANDOM_BYTES]) -> Self {
                Self($crate::one_time::write(Self::PREFIX, &zeroize::Zeroizing::new(random)))
            }

            /// Parses what somebody presents.
            ///
            /// # Errors
            /// [`NotOneTime`] when it cannot be one.
            pub fn parse(text: &str) -> Result<Self, NotOneTime> {
                $crate::one_time::read(Self::PREFIX, text).map(Self)
            }

            /// The text, to be shown once to the one it is for.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0
            }

            /// What is kept of it.
            #[must_use]
            pub fn digest(&self) -> $digest {
                $digest($crate::key::sha256(self.0.as_bytes()))
            }
        }

        $(#[$digest_doc])*
        #[derive(Clone, Copy)]
        pub struct $digest([u8; 32]);

        impl $digest {
            /// The digest as it was kept.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes to keep.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Whether `presented` is the text that this was made of; takes the same time for any other.
            #[must_use]
            pub fn matches(&self, presented: &$text) -> bool {
                let presented = presented.digest();
                aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &presented.0).is_ok()
            }
        }
    };
}
pub(crate) use one_time;

#[cfg(test)]
mod tests {
    use crate::join::JoinToken;
    use crate::operator::{LinkCode, SessionSecret};

    #[test]
    fn only_the_text_itself_matches_its_digest() {
        let token = JoinToken::from_random([0xab; 32]);
        assert_eq!(token.expose(), "accredit_join_q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s");
        let kept = crate::join::JoinTokenDigest::from_bytes(*token.digest().as_bytes());
        assert!(kept.matches(&JoinToken::parse(token.expose()).expect("its own spelling")));
        for bit in 0..256 {
            let mut random = [0xab; 32];
            random[bit / 8] ^= 1 << (bit % 8);
            assert!(!kept.matches(&JoinToken::from_random(random)), "bit {bit}");
        }
    }

    #[test]
    fn one_kind_is_not_another() {
        let code = LinkCode::from_random([1; 32]);
        let secret = SessionSecret::from_random([1; 32]);
        assert!(SessionSecret::parse(code.expose()).is_err());
        assert!(JoinToken::parse(secret.expose()).is_err());
        assert_ne!(code.digest().as_bytes(), secret.digest().as_bytes());
    }

    #[test]
    fn other_spellings_are_refused_and_not_repeated() {
        let good = JoinToken::from_random([0; 32]);
        let digits = &good.expose()[JoinToken::PREFIX.len()..];
        let last_bit = format!("{}{}B", JoinToken::PREFIX, &digits[1..]);
        let upper = good.expose().to_uppercase();
        for bad in ["", digits, &format!("{}=", good.expose()), &last_bit, &upper, &"x".repeat(1_000_000)] {
            let Err(error) = JoinToken::parse(bad) else { panic!("{bad}") };
            assert_eq!(error.to_string(), "expected `accredit_join_` and 43 characters of base64url");
        }
    }
}
