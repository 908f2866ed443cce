//! The texts that a policy set is made of: named, bounded, in one order, content-addressed.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Most sources of one set.
pub const SOURCES_MAX: usize = 64;
/// Longest text of one source, in bytes.
pub const SOURCE_BYTES_MAX: usize = 256 * 1_024;
/// Longest name of a source, in bytes.
pub const SOURCE_NAME_BYTES_MAX: usize = 100;

/// Says what a digest is over, so that no other digest of ours is mistaken for it.
const DIGEST_DOMAIN: &[u8] = b"accredit policy set v1\n";

/// Why texts cannot make a policy set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// More than [`SOURCES_MAX`].
    #[error("{0} policy files, the most is {SOURCES_MAX}")]
    TooMany(usize),
    /// A text longer than [`SOURCE_BYTES_MAX`].
    #[error("`{name}` is {bytes} bytes long, the most is {SOURCE_BYTES_MAX}; split it")]
    TooLong {
        /// Which source.
        name: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A name that cannot be part of a policy id.
    #[error(
        "a policy file needs a name of 1 to {SOURCE_NAME_BYTES_MAX} letters, digits, `.`, `_` and `-` that starts with a letter or digit; `{0}` is not one"
    )]
    Name(String),
    /// The same name twice.
    #[error("two policy files are named `{0}`")]
    NameTwice(String),
}

/// One named text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySource {
    /// File name without folders, such as `prod.cedar`.
    pub name: String,
    /// Cedar policies.
    pub text: String,
}

/// The sources of one set, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<PolicySource>", into = "Vec<PolicySource>")]
pub struct PolicySources(Vec<PolicySource>);

impl PolicySources {
    /// The sources, checked and sorted. None at all is a set that denies everything.
    ///
    /// # Errors
    /// [`SourceError`] naming the source.
    pub fn new(mut sources: Vec<PolicySource>) -> Result<Self, SourceError> {
        if sources.len() > SOURCES_MAX {
            return Err(SourceError::TooMany(sources.len()));
        }
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        sources.iter().try_for_each(check)?;
        match sources.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(SourceError::NameTwice(pair[0].name.clone())),
            None => Ok(Self(sources)),
        }
    }

    /// One source under this name.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn one(name: &str, text: &str) -> Result<Self, SourceError> {
        Self::new(vec![PolicySource { name: name.to_owned(), text: text.to_owned() }])
    }

    /// The sources in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &PolicySource> {
        self.0.iter()
    }

    /// The content address: SHA-256 over the number of sources, then each name and text, each
    /// preceded by its length in 8 bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut bytes = DIGEST_DOMAIN.to_vec();
        bytes.extend((self.0.len() as u64).to_be_bytes());
        for part in self.0.iter().flat_map(|s| [&s.name, &s.text]) {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        Digest::of(&bytes)
    }
}

impl TryFrom<Vec<PolicySource>> for PolicySources {
    type Error = SourceError;
    fn try_from(sources: Vec<PolicySource>) -> Result<Self, SourceError> {
        Self::new(sources)
    }
}

impl From<PolicySources> for Vec<PolicySource> {
    fn from(sources: PolicySources) -> Self {
        sources.0
    }
}

fn check(source: &PolicySource) -> Result<(), SourceError> {
    let name = source.name.as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    let fits = (1..=SOURCE_NAME_BYTES_MAX).contains(&name.len())
        && name.iter().all(plain)
        && name[0].is_ascii_alphanumeric();
    if !fits {
        return Err(SourceError::Name(source.name.chars().take(SOURCE_NAME_BYTES_MAX).collect()));
    }
    match source.text.len() {
        0..=SOURCE_BYTES_MAX => Ok(()),
        bytes => Err(SourceError::TooLong { name: source.name.clone(), bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(of: &[(&str, &str)]) -> Result<PolicySources, SourceError> {
        PolicySources::new(
            of.iter().map(|(n, t)| PolicySource { name: (*n).into(), text: (*t).into() }).collect(),
        )
    }

    #[test]
    fn the_digest_is_of_names_and_texts_and_not_of_their_order() {
        let digest = |of| sources(of).expect("sources").digest();
        assert_eq!(digest(&[("a", "1"), ("b", "2")]), digest(&[("b", "2"), ("a", "1")]));
        let others = [&[("a", "2"), ("b", "1")][..], &[("a", "1b2")], &[("a", "1")], &[("ab", "")], &[]];
        for other in others {
            assert_ne!(digest(&[("a", "1"), ("b", "2")]), digest(other), "{other:?}");
        }
    }

    #[test]
    fn sources_are_bounded() {
        let long = "x".repeat(SOURCE_BYTES_MAX + 1);
        assert!(sources(&[("a", &long[1..])]).is_ok());
        assert!(matches!(sources(&[("a", &long)]), Err(SourceError::TooLong { .. })));
        assert!(matches!(sources(&[("a", ""), ("a", "")]), Err(SourceError::NameTwice(_))));
        for bad in ["", "../a", "a/b", ".a", "a b", "a\u{202e}", &"a".repeat(101)] {
            assert!(matches!(sources(&[(bad, "")]), Err(SourceError::Name(_))), "{bad:?}");
        }
        let named =
            |n: usize| (0..n).map(|i| PolicySource { name: format!("p{i}"), text: String::new() }).collect();
        assert!(PolicySources::new(named(SOURCES_MAX)).is_ok());
        assert!(PolicySources::new(named(SOURCES_MAX + 1)).is_err());
    }

    #[test]
    fn sources_read_back_only_when_they_fit() {
        let text = serde_json::to_string(&sources(&[("a", "1")]).expect("sources")).expect("JSON");
        assert_eq!(text, r#"[{"name":"a","text":"1"}]"#);
        assert!(serde_json::from_str::<PolicySources>(&text).is_ok());
        assert!(serde_json::from_str::<PolicySources>(r#"[{"name":"a/b","text":""}]"#).is_err());
    }
}
