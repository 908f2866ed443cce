//! Secrets in an inherited environment: which variables hold one, and what stands in their place. A placeholder has
//! the beginning and the length of the real thing, so that a client which checks the form still starts; it opens
//! nothing.

use crate::known_keys::PREFIXES;

/// What happens to one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// No secret.
    Stays,
    /// A secret of a known form: this stands in its place.
    Replaced(String),
    /// A secret of no known form.
    Removed,
}

/// Words in a name that say what it holds.
const WORDS: [&str; 10] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
    "ACCESS_KEY",
    "CREDENTIAL",
];

/// Words that say so where they end a name: in other places they are part of something harmless (`AUTH_MODE`).
const LAST_WORDS: [&str; 5] = ["PASS", "PWD", "PAT", "AUTH", "AUTHORIZATION"];

/// Names that hold such a word and no secret.
const INNOCENT: [&str; 4] = ["TOKENIZERS_PARALLELISM", "GOOGLE_APPLICATION_CREDENTIALS", "PWD", "OLDPWD"];

/// Names that hold such a word but point at something instead of holding it.
const POINTERS: [&str; 6] = ["_FILE", "_PATH", "_DIR", "_SOCK", "_COMMAND", "_HELPER"];

/// Clients of these refuse to start when their key is absent, whatever its form.
const KNOWN_NAMES: [&str; 14] = [
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITLAB_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "MISTRAL_API_KEY",
    "STRIPE_API_KEY",
    "NPM_TOKEN",
    "HF_TOKEN",
];

/// Shortest text that is taken for a key by its beginning alone, in bytes.
const KEY_BYTES_MIN: usize = 16;
/// Shortest text after a scheme such as `Bearer` that is taken for a key, in bytes.
const AUTHORIZATION_BYTES_MIN: usize = 8;
/// What a placeholder is filled with: whoever sees it in a log knows what it is.
const FILLING: &str = "AccreditPlaceholder";

/// What happens to a variable with this name and value.
pub(crate) fn fate(name: &str, value: &str) -> Fate {
    let prefix = PREFIXES.into_iter().find(|p| value.starts_with(p) && value.len() >= KEY_BYTES_MIN);
    if let Some(prefix) = prefix {
        return Fate::Replaced(filled(prefix, value));
    }
    if formed_like_a_secret(value) {
        return Fate::Removed;
    }
    if !named_like_a_secret(name) || harmless(name, value) {
        return Fate::Stays;
    }
    if KNOWN_NAMES.contains(&name) { Fate::Replaced(filled("", value)) } else { Fate::Removed }
}

fn named_like_a_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    let last = upper.rsplit('_').next().unwrap_or(&upper);
    (WORDS.iter().any(|word| upper.contains(word)) || LAST_WORDS.contains(&last))
        && !INNOCENT.contains(&upper.as_str())
}

/// Values that are secrets under any name.
fn formed_like_a_secret(value: &str) -> bool {
    value.contains("PRIVATE KEY-----") || is_jwt(value) || is_authorization(value) || has_password(value)
}

/// `eyJ…`: the beginning of a JSON object in base64, and two dots (RFC 7515 §3.1).
fn is_jwt(value: &str) -> bool {
    let part = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    value.starts_with("eyJ") && value.split('.').count() == 3 && value.split('.').all(part)
}

/// The value of a header: a scheme and what it carries.
fn is_authorization(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once(' ') else { return false };
    let scheme = ["bearer", "basic", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    scheme && rest.len() >= AUTHORIZATION_BYTES_MIN && !rest.contains(' ')
}

/// A URL with a password in it (RFC 3986 §3.2.1), such as that of a database.
fn has_password(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or(rest);
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
    })
}

/// Values that cannot be a secret: nothing, a switch, a count, the path that a pointer holds.
fn harmless(name: &str, value: &str) -> bool {
    let switch = matches!(value, "" | "true" | "false" | "yes" | "no" | "on" | "off");
    let count = value.len() <= 6 && value.bytes().all(|b| b.is_ascii_digit());
    let pointer = POINTERS.iter().any(|end| name.ends_with(end)) && value.starts_with('/');
    switch || count || pointer
}

/// The prefix, then filling in the alphabet of the value, up to its length. Only prefix, length and alphabet of the
/// value show, which the form of the key gives away anyhow.
fn filled(prefix: &str, value: &str) -> String {
    let rest = &value.as_bytes()[prefix.len()..];
    let hex = rest.iter().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    let upper = rest.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let letter = |c: char| match () {
        () if hex => '0',
        () if upper => c.to_ascii_uppercase(),
        () => c,
    };
    prefix.chars().chain(FILLING.chars().cycle().take(rest.len()).map(letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // case: SEC-01
    #[test]
    fn a_placeholder_has_the_form_and_nothing_of_the_value() {
        let check = |name: &str, value: &str, expected: &str| {
            assert_eq!(fate(name, value), Fate::Replaced(expected.to_owned()), "{name}");
            assert_eq!(value.len(), expected.len());
        };
        check(
            "GITHUB_TOKEN",
            concat!("ghp_", "0123456789abcdefghijABCDEFGHIJ012345"),
            "ghp_AccreditPlaceholderAccreditPlacehold",
        );
        check("OPENAI_API_KEY", concat!("sk-proj-", "abcDEF012345"), "sk-proj-AccreditPlac");
        check("AWS_ACCESS_KEY_ID", concat!("AKIA", "ABCDEFGHIJ234567"), "AKIAACCREDITPLACEHOL");
        check("MISTRAL_API_KEY", "0123456789abcdef", "0000000000000000");
        check("ANY_NAME_AT_ALL", concat!("xoxb-", "1234567890-abcdefgh"), "xoxb-AccreditPlaceholder");
    }

    // case: SEC-01
    #[test]
    fn a_secret_of_no_known_form_is_taken_away() {
        for name in [
            "DB_PASSWORD",
            "MY_TOKEN",
            "stripe_secret",
            "SIGNING_PRIVATE_KEY",
            "Some-Api-Key",
            "CLIENTSECRET",
            "MYSQL_PWD",
            "GH_PAT",
            "SMTP_PASS",
            "npm_config__auth",
            "AUTHORIZATION",
        ] {
            assert_eq!(fate(name, "whatever it is"), Fate::Removed, "{name}");
        }
    }

    // case: SEC-01
    #[test]
    fn a_secret_shows_by_its_form_under_any_name() {
        for value in [
            "postgres://shop:hunter2@db.acme.test/orders",
            "redis://:hunter2@cache.acme.test",
            "https://robot:hunter2@pypi.acme.test/simple https://pypi.example",
            "postgres://shop:p@ss@db.acme.test",
            "Bearer abcdefgh",
            "basic dXNlcjpwYXNz",
            "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln-_",
            concat!("-----BEGIN ", "PRIVATE KEY-----\nAAAA"),
        ] {
            assert_eq!(fate("ANYTHING", value), Fate::Removed, "{value}");
        }
        for value in [
            "postgres://db.acme.test/orders",
            "postgres://shop@db.acme.test/orders",
            "https://acme.test/a:b@c",
            "https://acme.test/?mail=a:b@c",
            "[::1]:8080",
            "Bearer",
            "basic usage of the thing",
            "eyJust.a.word here",
        ] {
            assert_eq!(fate("ANYTHING", value), Fate::Stays, "{value}");
        }
    }

    #[test]
    fn what_only_sounds_like_a_secret_stays() {
        for (name, value) in [
            ("TOKENIZERS_PARALLELISM", "word"),
            ("MAX_TOKENS", "4096"),
            ("USE_API_KEY", "true"),
            ("API_KEY", ""),
            ("TOKEN_FILE", "/run/secrets/token"),
            ("PWD", "/home/ana"),
            ("OLDPWD", "/"),
            ("AUTH_MODE", "oauth"),
            ("GIT_ASKPASS", "/usr/lib/git-askpass"),
            ("SSH_AUTH_SOCK", "/tmp/agent.1"),
            ("COMPASS", "north"),
            ("PATH", "/usr/bin"),
            ("HOME", "/home/ana"),
        ] {
            assert_eq!(fate(name, value), Fate::Stays, "{name}");
        }
        assert_eq!(fate("TOKEN_FILE", "the-token-itself"), Fate::Removed);
    }
}
