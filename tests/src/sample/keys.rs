//! The one key, in the three places where clients put such a thing. The type shows nothing of it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The one key.
pub(crate) struct Key(String);

/// Where a request carried the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// `X-Api-Key`.
    ApiKey,
    /// `Authorization: Bearer` or `Basic`, the key as password.
    Authorization,
}

impl Key {
    pub(crate) fn new(key: String) -> Self {
        Self(key)
    }

    /// Where the request carries the key; `None` when it does not, or not exactly once.
    pub(crate) fn carried(&self, headers: &HeaderMap) -> Option<Carried> {
        let api_key: Vec<_> = headers.get_all("x-api-key").iter().collect();
        let authorization: Vec<_> = headers.get_all(AUTHORIZATION).iter().collect();
        match (api_key.as_slice(), authorization.as_slice()) {
            ([value], []) => (value.as_bytes() == self.0.as_bytes()).then_some(Carried::ApiKey),
            ([], [value]) => self.opens(value.to_str().ok()?).then_some(Carried::Authorization),
            _ => None,
        }
    }

    fn opens(&self, authorization: &str) -> bool {
        match authorization.split_once(' ') {
            Some(("Bearer", token)) => token == self.0,
            Some(("Basic", pair)) => {
                let pair = BASE64_STANDARD.decode(pair).unwrap_or_default();
                pair.split(|byte| *byte == b':').nth(1).is_some_and(|password| password == self.0.as_bytes())
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_opens_from_each_place_and_nothing_else_does() {
        let key = Key::new("key-of-everybody".to_owned());
        let check = |fields: &[(&'static str, &str)], expected: Option<Carried>| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().expect("a field value"));
            }
            assert_eq!(key.carried(&headers), expected, "{fields:?}");
        };
        let basic = format!("Basic {}", BASE64_STANDARD.encode("any:key-of-everybody"));
        check(&[("x-api-key", "key-of-everybody")], Some(Carried::ApiKey));
        check(&[("authorization", "Bearer key-of-everybody")], Some(Carried::Authorization));
        check(&[("authorization", &basic)], Some(Carried::Authorization));
        check(&[], None);
        check(&[("x-api-key", "key-of-nobody")], None);
        check(&[("authorization", "key-of-everybody")], None);
        check(&[("x-api-key", "key-of-everybody"), ("x-api-key", "key-of-everybody")], None);
        check(&[("x-api-key", "key-of-everybody"), ("authorization", "Bearer other")], None);
    }
}
