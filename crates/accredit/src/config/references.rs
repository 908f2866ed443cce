//! Values that stand elsewhere: `${env:NAME}` and `${file:/path}`. A literal that looks like a secret is refused,
//! because a configuration file is copied, committed and backed up.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::known_keys::PREFIXES;

/// Largest file that a reference may point at, in bytes: a value on one line, or a PEM file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Shortest run of letters and digits that is taken for a random key.
const RANDOM_CHARS_MIN: usize = 32;

/// Why a value cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    /// The text opens a reference and is none.
    #[error("`{0}` is not a reference: write ${{env:NAME}} or ${{file:/path}} and nothing around it")]
    Form(String),
    /// The variable is not set.
    #[error("the environment variable `{0}` is not set")]
    NoVariable(String),
    /// The file cannot be read.
    #[error("the file `{path}` cannot be read: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// Others may read the file.
    #[error("the file `{path}` has mode {mode:o}: only its owner may read it (chmod 600)")]
    Permissions {
        /// Which.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A secret stands in the configuration.
    #[error("the value looks like a secret; keep it outside and write ${{env:NAME}} or ${{file:/path}}")]
    LooksLikeSecret,
}

/// The value that a text of the configuration stands for.
///
/// # Errors
/// [`ReferenceError`]; it never carries the value.
pub(crate) fn resolve(text: &str, environment: &BTreeMap<String, String>) -> Result<String, ReferenceError> {
    if !is_reference(text) {
        return if looks_like_secret(text) {
            Err(ReferenceError::LooksLikeSecret)
        } else {
            Ok(text.to_owned())
        };
    }
    match parse(text) {
        Some(Reference::Environment(name)) => {
            environment.get(name).cloned().ok_or_else(|| ReferenceError::NoVariable(name.to_owned()))
        }
        Some(Reference::File(path)) => read(Path::new(path)),
        None => Err(ReferenceError::Form(text.to_owned())),
    }
}

/// Whether a text stands for a value elsewhere, or tries to.
pub(crate) fn is_reference(text: &str) -> bool {
    text.contains("${")
}

/// The path that a text names, whether it is written plainly or as `${file:…}`.
pub(crate) fn path_of(text: &str) -> &str {
    match parse(text) {
        Some(Reference::File(path)) => path,
        Some(Reference::Environment(_)) | None => text,
    }
}

enum Reference<'a> {
    Environment(&'a str),
    File(&'a str),
}

fn parse(text: &str) -> Option<Reference<'_>> {
    let inside = text.strip_prefix("${")?.strip_suffix('}').filter(|t| !t.contains(['$', '{', '}']))?;
    match inside.split_once(':')? {
        ("env", name) if !name.is_empty() => Some(Reference::Environment(name)),
        ("file", path) if path.starts_with('/') => Some(Reference::File(path)),
        _ => None,
    }
}

fn read(path: &Path) -> Result<String, ReferenceError> {
    let named = path.display().to_string();
    let failed = |why: String| ReferenceError::File { path: named.clone(), why };
    let metadata = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(ReferenceError::Permissions { path: named, mode });
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(failed(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Whether a literal has the form of a key: a known beginning, a PEM private key, a password in a URL, or a long
/// random-looking run of letters and digits.
pub(crate) fn looks_like_secret(text: &str) -> bool {
    let known = PREFIXES.iter().any(|p| text.starts_with(p) && text.len() >= p.len() + 12);
    let pem = text.contains("PRIVATE KEY-----");
    let jwt = text.starts_with("eyJ") && text.matches('.').count() == 2;
    known || pem || jwt || has_password(text) || looks_random(text)
}

fn has_password(text: &str) -> bool {
    let authority =
        text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(rest));
    let userinfo = authority.and_then(|a| a.rsplit_once('@')).map(|(userinfo, _)| userinfo);
    userinfo.and_then(|u| u.split_once(':')).is_some_and(|(_, password)| !password.is_empty())
}

fn looks_random(text: &str) -> bool {
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'=' | b'_' | b'-');
    let has = |kind: fn(&u8) -> bool| text.as_bytes().iter().any(kind);
    let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    let hex = has(u8::is_ascii_digit) && text.bytes().all(|b| b.is_ascii_hexdigit());
    text.len() >= RANDOM_CHARS_MIN && text.bytes().all(alphabet) && (mixed || hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn environment() -> BTreeMap<String, String> {
        BTreeMap::from([("HOST".to_owned(), "10.0.0.1:9748".to_owned())])
    }

    #[test]
    fn references_are_followed_and_plain_values_stay() {
        let check =
            |text: &str, expected: &str| assert_eq!(resolve(text, &environment()), Ok(expected.to_owned()));
        check("127.0.0.1:9748", "127.0.0.1:9748");
        check("${env:HOST}", "10.0.0.1:9748");
        check("sqlite:///var/lib/accredit/accredit.db", "sqlite:///var/lib/accredit/accredit.db");
        check(
            "https://accredit.example/a-long-path-with-many-words-in-it",
            "https://accredit.example/a-long-path-with-many-words-in-it",
        );
        check("github: GET /repos/acme/*/pulls", "github: GET /repos/acme/*/pulls");
    }

    #[test]
    fn what_is_not_a_reference_is_refused() {
        for text in [
            "${HOST}",
            "x${env:HOST}",
            "${env:}",
            "${vault:a#b}",
            "${file:relative}",
            "${env:${env:HOST}}",
            "${",
        ] {
            assert!(matches!(resolve(text, &environment()), Err(ReferenceError::Form(_))), "{text}");
        }
        assert_eq!(
            resolve("${env:NONE}", &environment()),
            Err(ReferenceError::NoVariable("NONE".to_owned()))
        );
    }

    // case: ADM-05
    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("value");
        std::fs::write(&path, "value\n").expect("a file");
        let text = format!("${{file:{}}}", path.display());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(resolve(&text, &environment()), Ok("value".to_owned()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(matches!(
            resolve(&text, &environment()),
            Err(ReferenceError::Permissions { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_literal_that_looks_like_a_secret_is_refused_without_repeating_it() {
        let secrets = [
            concat!("ghp_", "0123456789abcdefghijABCDEFGHIJ012345"),
            concat!("sk-", "proj-0123456789abcdef"),
            concat!("AKIA", "ABCDEFGHIJKLMNOP"),
            "postgres://accredit:hunter22@db/accredit",
            concat!("-----BEGIN ", "PRIVATE KEY-----"),
            "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4MDEyMzQ1",
            "0123456789abcdef0123456789abcdef",
        ];
        for secret in secrets {
            let error = resolve(secret, &environment()).expect_err(secret);
            assert_eq!(error, ReferenceError::LooksLikeSecret);
            assert!(!error.to_string().contains(secret));
        }
    }
}
