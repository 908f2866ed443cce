//! What an `OpenID` provider signs: ID tokens (`OpenID` Connect Core 1.0 §2), logout tokens (Back-Channel Logout 1.0 §2.4) and
//! security events (RFC 8417). Its keys come from the place that was configured, never from a token.
//!
//! Providers sign with RS256 unless they are told otherwise, so this is the one place where RSA is verified.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::json;
use crate::jws::three_parts;
use crate::time::Timestamp;

/// Longest token, in bytes: providers put group lists into them.
pub const TOKEN_BYTES_MAX: usize = 64 * 1_024;
/// Most keys of a provider that are looked at.
pub const PROVIDER_KEYS_MAX: usize = 64;
/// How far a provider's clock may be from ours, in milliseconds.
pub const PROVIDER_SKEW_MS: i64 = 60_000;
/// How old a token may be when it arrives, in milliseconds: it was made for this very exchange.
pub const ISSUED_MS_MAX: i64 = 10 * 60_000;
/// Longest `sub`, in bytes (Core §2).
const SUBJECT_BYTES_MAX: usize = 255;
/// Bytes of a coordinate of P-256 and of an Ed25519 key.
const FIELD_BYTES: usize = 32;

/// The event by which a provider says that somebody's sessions are over (CAEP 1.0 §3.1).
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
/// The events by which it says that an account is no longer one (RISC 1.0 §2.1, §2.2).
const ACCOUNT_GONE: [&str; 2] = [
    "https://schemas.openid.net/secevent/risc/event-type/account-disabled",
    "https://schemas.openid.net/secevent/risc/event-type/account-purged",
];
/// The event of a logout token (Back-Channel Logout §2.4).
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Why something that a provider is said to have signed does not count. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenIdError {
    /// Not a signed text in compact form of JSON objects, or longer than [`TOKEN_BYTES_MAX`].
    #[error("not a token of the form that providers give")]
    Form,
    /// Another algorithm than RS256, ES256 and `EdDSA`.
    #[error("the provider signs with another algorithm than RS256, ES256 and EdDSA")]
    Algorithm,
    /// None of the provider's keys goes by this name.
    #[error("the provider publishes no key of the name that its token has")]
    UnknownKey,
    /// Not signed by that key.
    #[error("the signature is not the provider's")]
    Signature,
    /// Of another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// Not for us alone.
    #[error("the token is not for this client alone")]
    Audience,
    /// Over, too old, or from the future.
    #[error("the token is not of now; a clock may be wrong")]
    Time,
    /// It answers another request.
    #[error("the token answers another request")]
    Nonce,
    /// It says nothing that is understood here.
    #[error("the token says nothing that is understood here")]
    Content,
}

/// The keys of a provider.
#[derive(Debug, Clone, Default)]
pub struct ProviderKeys(Vec<(Option<String>, ProviderKey)>);

#[derive(Debug, Clone)]
enum ProviderKey {
    Rsa(PublicKeyComponents<Vec<u8>>),
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl ProviderKeys {
    /// Reads a JWK set (RFC 7517 §5). Keys for other purposes or of other sorts are passed over, as §5 says.
    ///
    /// # Errors
    /// [`OpenIdError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, OpenIdError> {
        let set: JwkSet = serde_json::from_slice(bytes).map_err(|_| OpenIdError::Form)?;
        let signing = |jwk: &Jwk| jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
        let key = |jwk: Jwk| Some((jwk.kid.clone(), jwk.key()?));
        Ok(Self(set.keys.into_iter().take(PROVIDER_KEYS_MAX).filter(signing).filter_map(key).collect()))
    }

    /// The only key of this name and sort; without a name, the only key of the sort (RFC 7515 §4.1.4).
    fn find(&self, kid: Option<&str>, algorithm: &str) -> Result<&ProviderKey, OpenIdError> {
        let fits = |(name, key): &&(Option<String>, ProviderKey)| {
            key.algorithm() == algorithm && (kid.is_none() || name.as_deref() == kid)
        };
        let mut found = self.0.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some((_, key)), None) => Ok(key),
            _ => Err(OpenIdError::UnknownKey),
        }
    }
}

impl Jwk {
    fn key(self) -> Option<ProviderKey> {
        let bytes = |text: Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text?).ok();
        let field = |text: Option<String>| bytes(text).filter(|bytes| bytes.len() == FIELD_BYTES);
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", None) => {
                Some(ProviderKey::Rsa(PublicKeyComponents { n: bytes(self.n)?, e: bytes(self.e)? }))
            }
            ("EC", Some("P-256")) => {
                Some(ProviderKey::P256([vec![4], field(self.x)?, field(self.y)?].concat()))
            }
            ("OKP", Some("Ed25519")) => Some(ProviderKey::Ed25519(field(self.x)?)),
            _ => None,
        }
    }
}

impl ProviderKey {
    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature),
            Self::P256(key) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(signed, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(signed, signature),
        }
        .is_ok()
    }
}

/// Who must have signed, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer identifier of the provider, exactly.
    pub issuer: &'a str,
    /// What we are called there.
    pub client_id: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// Somebody who proved at the provider who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What the provider calls them, for ever.
    pub subject: String,
    /// Their address, where the provider says that it verified it.
    pub verified_email: Option<String>,
}

impl Identity {
    /// With what the provider says of the same person at its user info endpoint (Core §5.3.2).
    ///
    /// # Errors
    /// [`OpenIdError`] when it speaks of somebody else.
    pub fn with_user_info(self, bytes: &[u8]) -> Result<Self, OpenIdError> {
        let claims: UserInfo = typed(json::parse_object(bytes).map_err(|_| OpenIdError::Form)?)?;
        if claims.sub != self.subject {
            return Err(OpenIdError::Content);
        }
        Ok(Self {
            verified_email: claims.email.filter(|_| claims.email_verified == Value::Bool(true)),
            ..self
        })
    }
}

/// What a provider says has happened to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// Their sessions are over.
    SessionsRevoked,
    /// Their account is no longer one.
    AccountGone,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Registered {
    iss: String,
    aud: Audience,
    iat: i64,
    exp: Option<i64>,
}

#[derive(Deserialize)]
struct IdClaims {
    sub: String,
    azp: Option<String>,
    nonce: Option<String>,
    email: Option<String>,
    #[serde(default)]
    email_verified: Value,
}

#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    email: Option<String>,
    #[serde(default)]
    email_verified: Value,
}

#[derive(Deserialize)]
struct EventClaims {
    sub: Option<String>,
    sub_id: Option<SubjectId>,
    nonce: Option<Value>,
    events: Map<String, Value>,
}

/// A subject identifier of the only format that names an account here (RFC 9493 §3.2.4).
#[derive(Deserialize)]
struct SubjectId {
    format: String,
    iss: Option<String>,
    sub: Option<String>,
}

/// Verifies an ID token that answers our own request (Core §3.1.3.7).
///
/// # Errors
/// [`OpenIdError`].
pub fn id_token(
    text: &str,
    keys: &ProviderKeys,
    expected: Expected<'_>,
    nonce: &str,
) -> Result<Identity, OpenIdError> {
    let (typ, claims) = verify(text, keys)?;
    // Of the kinds of tokens that a provider signs, this one alone has no type of its own.
    if typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(OpenIdError::Content);
    }
    registered(&claims, expected, Expiry::Needed)?;
    let claims: IdClaims = typed(claims)?;
    if claims.azp.is_some_and(|azp| azp != expected.client_id) {
        return Err(OpenIdError::Audience);
    }
    if claims.nonce.as_deref() != Some(nonce) {
        return Err(OpenIdError::Nonce);
    }
    let verified = claims.email_verified == Value::Bool(true);
    Ok(Identity { subject: subject(claims.sub)?, verified_email: claims.email.filter(|_| verified) })
}

/// Verifies a logout token (Back-Channel Logout §2.6): whose sessions are over.
///
/// # Errors
/// [`OpenIdError`].
pub fn logout_token(text: &str, keys: &ProviderKeys, expected: Expected<'_>) -> Result<String, OpenIdError> {
    let (typ, claims) = verify(text, keys)?;
    if typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT") && !typ.eq_ignore_ascii_case("logout+jwt")) {
        return Err(OpenIdError::Content);
    }
    registered(&claims, expected, Expiry::Optional)?;
    let claims: EventClaims = typed(claims)?;
    // A nonce is what tells an ID token from it.
    if claims.nonce.is_some() || !claims.events.contains_key(LOGOUT) {
        return Err(OpenIdError::Content);
    }
    subject(claims.sub.ok_or(OpenIdError::Content)?)
}

/// Verifies a security event token (RFC 8417 §2.2) of the kinds that are acted on: about whom, and what happened.
///
/// # Errors
/// [`OpenIdError`].
pub fn security_event(
    text: &str,
    keys: &ProviderKeys,
    expected: Expected<'_>,
) -> Result<(String, Happened), OpenIdError> {
    let (typ, claims) = verify(text, keys)?;
    if !typ.is_some_and(|typ| typ.eq_ignore_ascii_case("secevent+jwt")) {
        return Err(OpenIdError::Content);
    }
    registered(&claims, expected, Expiry::Optional)?;
    let claims: EventClaims = typed(claims)?;
    let happened = if ACCOUNT_GONE.iter().any(|event| claims.events.contains_key(*event)) {
        Happened::AccountGone
    } else if claims.events.contains_key(SESSION_REVOKED) {
        Happened::SessionsRevoked
    } else {
        return Err(OpenIdError::Content);
    };
    let id = claims.sub_id.ok_or(OpenIdError::Content)?;
    if id.format != "iss_sub" || id.iss.as_deref() != Some(expected.issuer) {
        return Err(OpenIdError::Content);
    }
    Ok((subject(id.sub.ok_or(OpenIdError::Content)?)?, happened))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiry {
    Needed,
    Optional,
}

/// Type and claims of a text that one of these keys signed.
fn verify(text: &str, keys: &ProviderKeys) -> Result<(Option<String>, Map<String, Value>), OpenIdError> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        typ: Option<String>,
        kid: Option<String>,
        crit: Option<Value>,
    }
    if text.len() > TOKEN_BYTES_MAX {
        return Err(OpenIdError::Form);
    }
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| OpenIdError::Form);
    let object = |part: &str| json::parse_object(&decode(part)?).map_err(|_| OpenIdError::Form);
    let (head, payload, signature) = three_parts(text).ok_or(OpenIdError::Form)?;
    let header: Header = typed(object(head)?)?;
    if header.crit.is_some() {
        return Err(OpenIdError::Form);
    }
    if !["RS256", "ES256", "EdDSA"].contains(&header.alg.as_str()) {
        return Err(OpenIdError::Algorithm);
    }
    let key = keys.find(header.kid.as_deref(), &header.alg)?;
    if !key.verifies(&text.as_bytes()[..head.len() + 1 + payload.len()], &decode(signature)?) {
        return Err(OpenIdError::Signature);
    }
    Ok((header.typ, object(payload)?))
}

fn typed<T: serde::de::DeserializeOwned>(members: Map<String, Value>) -> Result<T, OpenIdError> {
    serde_json::from_value(Value::Object(members)).map_err(|_| OpenIdError::Form)
}

fn registered(
    claims: &Map<String, Value>,
    expected: Expected<'_>,
    expiry: Expiry,
) -> Result<(), OpenIdError> {
    let claims: Registered = typed(claims.clone())?;
    if claims.iss != expected.issuer {
        return Err(OpenIdError::Issuer);
    }
    let ours = match &claims.aud {
        Audience::One(one) => one == expected.client_id,
        Audience::Many(many) => matches!(many.as_slice(), [one] if one == expected.client_id),
    };
    if !ours {
        return Err(OpenIdError::Audience);
    }
    let now = expected.now.as_ms();
    let ms = |seconds: i64| seconds.saturating_mul(1_000);
    let issued = ms(claims.iat);
    let over = match (claims.exp, expiry) {
        (Some(exp), _) => now >= ms(exp).saturating_add(PROVIDER_SKEW_MS),
        (None, Expiry::Optional) => false,
        (None, Expiry::Needed) => true,
    };
    if over || issued > now.saturating_add(PROVIDER_SKEW_MS) || issued < now.saturating_sub(ISSUED_MS_MAX) {
        return Err(OpenIdError::Time);
    }
    Ok(())
}

fn subject(text: String) -> Result<String, OpenIdError> {
    let fits = !text.is_empty()
        && text.len() <= SUBJECT_BYTES_MAX
        && text.bytes().all(|b| (0x20..0x7f).contains(&b));
    if fits { Ok(text) } else { Err(OpenIdError::Content) }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
    use serde_json::json;

    use super::*;
    use crate::key::SigningKey;

    const NOW_S: i64 = 1_795_000_000;
    const EXPECTED: Expected<'_> = Expected {
        issuer: "https://idp.example",
        client_id: "accredit",
        now: Timestamp::from_ms(NOW_S * 1_000),
    };

    fn encoded(bytes: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// A provider with a key of each sort that is understood, beside some that are not.
    struct Provider {
        rsa: KeyPair,
        p256: SigningKey,
    }

    impl Provider {
        fn new() -> Self {
            let rsa = KeyPair::generate(KeySize::Rsa2048).expect("a key");
            Self { rsa, p256: SigningKey::generate().expect("a key") }
        }

        fn keys(&self) -> ProviderKeys {
            // RFC 8017 §A.1.1 in DER: of 2,048 bits, the modulus stands behind nine bytes, the exponent at the end.
            let public = self.rsa.public_key().as_ref();
            let (n, e) = (&public[9..265], &public[267..]);
            let mut p256: Value = serde_json::from_str(&self.p256.public().to_jwk()).expect("JSON");
            p256["kid"] = "curve".into();
            let set = json!({ "keys": [
                { "kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256",
                  "n": encoded(n), "e": encoded(e) },
                { "kty": "EC", "kid": "big", "crv": "P-521", "x": "AA", "y": "AA" },
                { "kty": "oct", "kid": "shared", "k": "AA" },
                p256,
            ] });
            ProviderKeys::parse(set.to_string().as_bytes()).expect("keys")
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let part = |json: &Value| encoded(json.to_string().as_bytes());
            let signed = format!("{}.{}", part(header), part(claims));
            let signature = if header["alg"] == "RS256" {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                let random = SystemRandom::new();
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).expect("signed");
                signature
            } else {
                self.p256.sign(signed.as_bytes()).expect("signed").to_vec()
            };
            format!("{signed}.{}", encoded(&signature))
        }
    }

    /// The object with these members changed; with null: taken away.
    fn merged(base: &Value, more: &Value) -> Value {
        let mut all = base.clone();
        for (name, value) in more.as_object().expect("an object") {
            if value.is_null() {
                all.as_object_mut().expect("an object").remove(name);
            } else {
                all[name] = value.clone();
            }
        }
        all
    }

    // case: TOK-09
    #[test]
    fn an_id_token_counts_for_this_client_and_request_and_now() {
        let (provider, other) = (Provider::new(), Provider::new());
        let keys = provider.keys();
        let claims = json!({
            "iss": EXPECTED.issuer, "aud": "accredit", "sub": "u-1", "iat": NOW_S, "exp": NOW_S + 300, "nonce": "n",
            "email": "Bo@acme.test", "email_verified": true, "groups": ["a", "b"],
        });
        let rs256 = json!({ "alg": "RS256", "kid": "rsa", "x5t": "whatever" });
        let read = |text: &str| id_token(text, &keys, EXPECTED, "n");
        let bo = Identity { subject: "u-1".to_owned(), verified_email: Some("Bo@acme.test".to_owned()) };
        for header in
            [&rs256, &json!({ "alg": "RS256", "typ": "JWT" }), &json!({ "alg": "ES256", "kid": "curve" })]
        {
            assert_eq!(read(&provider.sign(header, &claims)).as_ref(), Ok(&bo), "{header}");
        }
        for (change, error) in [
            (json!({ "iss": "https://idp.example/" }), OpenIdError::Issuer),
            (json!({ "aud": "another" }), OpenIdError::Audience),
            (json!({ "aud": ["accredit", "another"] }), OpenIdError::Audience),
            (json!({ "azp": "another" }), OpenIdError::Audience),
            (json!({ "exp": NOW_S - 60 }), OpenIdError::Time),
            (json!({ "exp": null }), OpenIdError::Time),
            (json!({ "iat": NOW_S - 601 }), OpenIdError::Time),
            (json!({ "iat": NOW_S + 61 }), OpenIdError::Time),
            (json!({ "iat": i64::MAX }), OpenIdError::Time),
            (json!({ "nonce": "m" }), OpenIdError::Nonce),
            (json!({ "nonce": null }), OpenIdError::Nonce),
            (json!({ "sub": "" }), OpenIdError::Content),
            (json!({ "sub": "\u{202e}" }), OpenIdError::Content),
            (json!({ "sub": null }), OpenIdError::Form),
        ] {
            assert_eq!(read(&provider.sign(&rs256, &merged(&claims, &change))), Err(error), "{change}");
        }
        for unverified in
            [json!({ "email_verified": "true" }), json!({ "email_verified": null }), json!({ "email": null })]
        {
            let identity = read(&provider.sign(&rs256, &merged(&claims, &unverified))).expect("somebody");
            assert_eq!(identity.verified_email, None, "{unverified}");
        }
        let good = provider.sign(&rs256, &claims);
        for (header, error) in [
            (json!({ "alg": "none" }), OpenIdError::Algorithm),
            (json!({ "alg": "HS256", "kid": "shared" }), OpenIdError::Algorithm),
            (json!({ "alg": "RS256", "kid": "another" }), OpenIdError::UnknownKey),
            (json!({ "alg": "ES256", "kid": "rsa" }), OpenIdError::UnknownKey),
            (json!({ "alg": "RS256", "kid": "rsa", "crit": ["exp"] }), OpenIdError::Form),
            (json!({ "alg": "RS256", "kid": "rsa", "typ": "logout+jwt" }), OpenIdError::Content),
            (json!({ "alg": "RS256", "kid": "rsa", "typ": "at+jwt" }), OpenIdError::Content),
        ] {
            assert_eq!(read(&provider.sign(&header, &claims)), Err(error), "{header}");
        }
        assert_eq!(read(&other.sign(&rs256, &claims)), Err(OpenIdError::Signature));
        let (head, rest) = good.split_once('.').expect("parts");
        let (payload, signature) = rest.split_once('.').expect("parts");
        let changed = encoded(merged(&claims, &json!({ "sub": "u-2" })).to_string().as_bytes());
        assert_eq!(read(&format!("{head}.{changed}.{signature}")), Err(OpenIdError::Signature));
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        for text in ["", "..", head, &format!("{head}.{payload}"), &format!("{good}.x"), &long] {
            assert_eq!(read(text), Err(OpenIdError::Form));
        }
    }

    #[test]
    fn what_is_said_later_is_of_its_own_kind_and_of_now() {
        let provider = Provider::new();
        let keys = provider.keys();
        let header = |typ: &str| json!({ "alg": "RS256", "kid": "rsa", "typ": typ });
        let claims = json!({
            "iss": EXPECTED.issuer, "aud": ["accredit"], "iat": NOW_S, "jti": "j", "sub": "u-1", "events": { LOGOUT: {} },
        });
        let logout = |typ: &str, more: &Value| {
            logout_token(&provider.sign(&header(typ), &merged(&claims, more)), &keys, EXPECTED)
        };
        assert_eq!(logout("logout+jwt", &json!({})), Ok("u-1".to_owned()));
        assert_eq!(logout("JWT", &json!({ "nonce": "n" })), Err(OpenIdError::Content));
        assert_eq!(logout("JWT", &json!({ "events": {} })), Err(OpenIdError::Content));
        assert_eq!(logout("JWT", &json!({ "sub": null })), Err(OpenIdError::Content));
        assert_eq!(logout("JWT", &json!({ "exp": NOW_S - 61 })), Err(OpenIdError::Time));
        assert_eq!(logout("secevent+jwt", &json!({})), Err(OpenIdError::Content));
        let id = |iss: &str| json!({ "format": "iss_sub", "iss": iss, "sub": "u-1" });
        let event = |typ: &str, events: Value, sub_id: Value| {
            let claims = merged(&claims, &json!({ "sub": null, "events": events, "sub_id": sub_id }));
            security_event(&provider.sign(&header(typ), &claims), &keys, EXPECTED)
        };
        let ours = id(EXPECTED.issuer);
        let said = |event: &str| json!({ event: { "reason_admin": {} } });
        let gone = Ok(("u-1".to_owned(), Happened::AccountGone));
        assert_eq!(event("secevent+jwt", said(ACCOUNT_GONE[0]), ours.clone()), gone);
        assert_eq!(event("secevent+jwt", said(ACCOUNT_GONE[1]), ours.clone()), gone);
        let over = Ok(("u-1".to_owned(), Happened::SessionsRevoked));
        assert_eq!(event("secevent+jwt", said(SESSION_REVOKED), ours.clone()), over);
        let nothing = Err(OpenIdError::Content);
        assert_eq!(event("JWT", said(SESSION_REVOKED), ours.clone()), nothing);
        assert_eq!(event("secevent+jwt", said(LOGOUT), ours), nothing);
        assert_eq!(event("secevent+jwt", said(SESSION_REVOKED), id("https://other.example")), nothing);
        assert_eq!(event("secevent+jwt", said(SESSION_REVOKED), json!({ "format": "email" })), nothing);
    }
}
