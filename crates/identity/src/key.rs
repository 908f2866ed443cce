//! Keys of agents and of the installation: ES256 (P-256) and EdDSA (Ed25519), nothing else.
//!
//! A public key is read from an SPKI PEM or a JWK and has one thumbprint (RFC 7638). A private key
//! signs and can be written to its owner's key file; it has no `Debug`, `Clone` or `Serialize`. Who a key
//! belongs to is not known here.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::json;

/// Longest JWK or PEM text in bytes: four times what a P-256 key with all optional members needs.
pub const KEY_TEXT_BYTES_MAX: usize = 2_048;

/// Bytes of a coordinate of P-256, of an Ed25519 public key, and of a SHA-256.
pub(crate) const FIELD_BYTES: usize = 32;
/// Bytes of a signature of either algorithm: R and S, 32 bytes each.
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// `SubjectPublicKeyInfo` of an uncompressed P-256 point, up to the point's leading 4 (RFC 5480 §2).
const SPKI_P256: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// `SubjectPublicKeyInfo` of an Ed25519 key, up to the key (RFC 8410 §4).
const SPKI_ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a text is not a key of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Longer than [`KEY_TEXT_BYTES_MAX`].
    #[error("a key has at most {KEY_TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// Not a PEM block of the expected label around strict base64.
    #[error("not a PEM block of a {label}")]
    Pem {
        /// What the label should have been.
        label: &'static str,
    },
    /// Not a JWK that we accept: a member is missing, repeated, unknown or not canonical.
    #[error("not a JWK of a P-256 or Ed25519 public key")]
    Jwk,
    /// The JWK carries a private key. It is compromised now.
    #[error("the JWK holds a private key; only its public members may leave its owner")]
    Private,
    /// Another sort of key than P-256 or Ed25519.
    #[error("only P-256 (ES256) and Ed25519 (EdDSA) keys are supported")]
    Unsupported,
    /// The numbers are not a key.
    #[error("the key is not valid")]
    Invalid,
    /// The random number generator or the library failed.
    #[error("the key could not be made or written")]
    Library,
}

/// The signature algorithms in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256 (RFC 7518 §3.4).
    Es256,
    /// Ed25519 (RFC 8037 §3.1).
    EdDsa,
}

impl Algorithm {
    /// The `alg` that we write.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Reads an `alg`, exactly as spelled by its specification. `Ed25519` is what RFC 9864 §2.2 calls `EdDSA`
    /// with that curve, the only one here.
    pub(crate) fn parse(alg: &str) -> Option<Self> {
        match alg {
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// SHA-256 of a key's required JWK members (RFC 7638), written in base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint([u8; FIELD_BYTES]);

impl Thumbprint {
    /// Parses the 43 characters of base64url.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] for any other spelling.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        base64url_field(text).map(Self).ok_or(KeyError::Invalid)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; FIELD_BYTES] {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

impl std::str::FromStr for Thumbprint {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl Serialize for Thumbprint {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Thumbprint {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// A public key on its curve. In JSON it is its JWK.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(Point);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Point {
    /// Uncompressed: 4, x, y.
    P256([u8; 1 + 2 * FIELD_BYTES]),
    Ed25519([u8; FIELD_BYTES]),
}

/// The members of a JWK that we know (RFC 7517 §4, RFC 7518 §6.2, RFC 8037 §2). Any other refuses the key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    #[serde(rename = "kid")]
    _kid: Option<String>,
    key_ops: Option<Vec<String>>,
    #[serde(rename = "ext")]
    _ext: Option<bool>,
}

/// Members that only a private or symmetric key has (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl PublicKey {
    /// Parses an SPKI PEM or a JWK, whichever the text starts like.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.trim_start().starts_with('{') { Self::parse_jwk(text) } else { Self::parse_pem(text) }
    }

    /// Parses one `-----BEGIN PUBLIC KEY-----` block and nothing else (RFC 7468 §13).
    ///
    /// # Errors
    /// [`KeyError::Pem`], [`KeyError::Unsupported`] or [`KeyError::Invalid`].
    pub fn parse_pem(text: &str) -> Result<Self, KeyError> {
        let der = pem_body(text, "PUBLIC KEY")?;
        let point = if let Some(xy) = der.strip_prefix(&SPKI_P256) {
            let xy: &[u8; 2 * FIELD_BYTES] = xy.try_into().map_err(|_| KeyError::Invalid)?;
            let mut bytes = [4; 1 + 2 * FIELD_BYTES];
            bytes[1..].copy_from_slice(xy);
            Point::P256(bytes)
        } else if let Some(key) = der.strip_prefix(&SPKI_ED25519) {
            Point::Ed25519(key.try_into().map_err(|_| KeyError::Invalid)?)
        } else {
            return Err(KeyError::Unsupported);
        };
        Self::checked(point)
    }

    /// Parses a JWK (RFC 7517): exact `kty` and `crv`, canonical coordinates, no private member, no unknown one.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn parse_jwk(text: &str) -> Result<Self, KeyError> {
        if text.len() > KEY_TEXT_BYTES_MAX {
            return Err(KeyError::TooLong);
        }
        Self::from_jwk(json::parse_object(text.as_bytes()).map_err(|_| KeyError::Jwk)?)
    }

    pub(crate) fn from_jwk(members: Map<String, Value>) -> Result<Self, KeyError> {
        if PRIVATE_MEMBERS.iter().any(|name| members.contains_key(*name)) {
            return Err(KeyError::Private);
        }
        let jwk: Jwk = serde_json::from_value(Value::Object(members)).map_err(|_| KeyError::Jwk)?;
        let point = match (jwk.kty.as_str(), jwk.crv.as_str(), &jwk.y) {
            ("EC", "P-256", Some(y)) => p256(&jwk.x, y)?,
            ("OKP", "Ed25519", None) => Point::Ed25519(base64url_field(&jwk.x).ok_or(KeyError::Jwk)?),
            ("EC", "P-256", None) | ("OKP", "Ed25519", Some(_)) => return Err(KeyError::Jwk),
            _ => return Err(KeyError::Unsupported),
        };
        let key = Self::checked(point)?;
        let alg_fits = jwk.alg.is_none_or(|alg| Algorithm::parse(&alg) == Some(key.algorithm()));
        let for_signatures = jwk.usage.is_none_or(|usage| usage == "sig")
            && jwk.key_ops.is_none_or(|ops| ops.iter().all(|op| op == "verify"));
        if alg_fits && for_signatures { Ok(key) } else { Err(KeyError::Jwk) }
    }

    /// The point is on its curve, as far as the library checks that before a signature is verified.
    fn checked(point: Point) -> Result<Self, KeyError> {
        let key = Self(point);
        key.unparsed().parse().map_err(|_| KeyError::Invalid)?;
        Ok(key)
    }

    /// The one algorithm that this key verifies.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Point::P256(_) => Algorithm::Es256,
            Point::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// The required members in lexicographic order (RFC 7638 §3.2): the shortest JWK of this key.
    #[must_use]
    pub fn to_jwk(&self) -> String {
        let b64 = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        match &self.0 {
            Point::P256(bytes) => {
                let (x, y) = (&bytes[1..=FIELD_BYTES], &bytes[1 + FIELD_BYTES..]);
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, b64(x), b64(y))
            }
            Point::Ed25519(bytes) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b64(bytes)),
        }
    }

    /// One `-----BEGIN PUBLIC KEY-----` block (RFC 7468 §13).
    #[must_use]
    pub fn to_pem(&self) -> String {
        let der = match &self.0 {
            Point::P256(bytes) => [&SPKI_P256, &bytes[1..]].concat(),
            Point::Ed25519(bytes) => [&SPKI_ED25519[..], bytes].concat(),
        };
        let body = BASE64_STANDARD.encode(der);
        let (first, rest) = body.split_at(PEM_LINE_CHARS.min(body.len()));
        let rest = if rest.is_empty() { String::new() } else { format!("{rest}\n") };
        format!("-----BEGIN PUBLIC KEY-----\n{first}\n{rest}-----END PUBLIC KEY-----\n")
    }

    /// The thumbprint of this key (RFC 7638).
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint(sha256(self.to_jwk().as_bytes()))
    }

    /// Whether `signature` is this key's signature of `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        self.unparsed().verify(message, signature).is_ok()
    }

    /// The same for the spelling of WebAuthn, in which an ES256 signature is DER (WebAuthn §6.5.5).
    pub(crate) fn verify_der(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Point::P256(bytes) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, bytes),
            Point::Ed25519(_) => return self.unparsed().verify(message, signature).is_ok(),
        }
        .verify(message, signature)
        .is_ok()
    }

    /// The P-256 key with these coordinates.
    pub(crate) fn p256(x: &[u8; FIELD_BYTES], y: &[u8; FIELD_BYTES]) -> Result<Self, KeyError> {
        let mut bytes = [4; 1 + 2 * FIELD_BYTES];
        bytes[1..=FIELD_BYTES].copy_from_slice(x);
        bytes[1 + FIELD_BYTES..].copy_from_slice(y);
        Self::checked(Point::P256(bytes))
    }

    /// The Ed25519 key of these bytes.
    pub(crate) fn ed25519(x: [u8; FIELD_BYTES]) -> Result<Self, KeyError> {
        Self::checked(Point::Ed25519(x))
    }

    fn unparsed(&self) -> UnparsedPublicKey<&[u8]> {
        let (algorithm, bytes): (&'static dyn VerificationAlgorithm, &[u8]) = match &self.0 {
            Point::P256(bytes) => (&ECDSA_P256_SHA256_FIXED, bytes),
            Point::Ed25519(bytes) => (&ED25519, bytes),
        };
        UnparsedPublicKey::new(algorithm, bytes)
    }
}

fn p256(x: &str, y: &str) -> Result<Point, KeyError> {
    let mut bytes = [4; 1 + 2 * FIELD_BYTES];
    bytes[1..=FIELD_BYTES].copy_from_slice(&base64url_field(x).ok_or(KeyError::Jwk)?);
    bytes[1 + FIELD_BYTES..].copy_from_slice(&base64url_field(y).ok_or(KeyError::Jwk)?);
    Ok(Point::P256(bytes))
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm().as_str(), self.thumbprint())
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let jwk: Value = serde_json::from_str(&self.to_jwk()).map_err(serde::ser::Error::custom)?;
        jwk.serialize(s)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::from_jwk(json::deserialize_object(d)?).map_err(serde::de::Error::custom)
    }
}

/// A private key that signs for an agent or for the installation.
///
/// ```compile_fail,E0277
/// fn printed(key: &accredit_identity::key::SigningKey) -> String {
///     format!("{key:?}")
/// }
/// ```
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl SigningKey {
    /// Draws a new ES256 key.
    ///
    /// The exception to this crate's rule that randomness is an argument: the library makes keys from its own
    /// generator only, and a private key that passes through a caller's buffer is worse than an impure function.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the generator failed.
    #[expect(clippy::disallowed_methods, reason = "the library takes no caller's randomness; see above")]
    pub fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeyError::Library)?;
        Self::of(Pair::Es256(pair))
    }

    /// Reads a PKCS#8 private key of P-256 or Ed25519 (RFC 5208, RFC 5958).
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] when it is not one.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            return Self::of(Pair::Es256(pair));
        }
        let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| KeyError::Unsupported)?;
        Self::of(Pair::EdDsa(pair))
    }

    /// Reads one `-----BEGIN PRIVATE KEY-----` block and nothing else (RFC 7468 §10).
    ///
    /// # Errors
    /// [`KeyError::Pem`] or [`KeyError::Unsupported`].
    pub fn from_pkcs8_pem(text: &str) -> Result<Self, KeyError> {
        Self::from_pkcs8(&pem_body(text, "PRIVATE KEY")?)
    }

    fn of(pair: Pair) -> Result<Self, KeyError> {
        let point = match &pair {
            Pair::Es256(pair) => pair.public_key().as_ref().try_into().map(Point::P256),
            Pair::EdDsa(pair) => pair.public_key().as_ref().try_into().map(Point::Ed25519),
        };
        let public = PublicKey::checked(point.map_err(|_| KeyError::Invalid)?)?;
        Ok(Self { pair, public })
    }

    /// The private key as DER, to be sealed or written to its owner's key file; wiped when dropped.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library cannot write it.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let der = match &self.pair {
            Pair::Es256(pair) => pair.to_pkcs8v1(),
            Pair::EdDsa(pair) => pair.to_pkcs8v1(),
        };
        // the library's document wipes itself
        der.map(|der| Zeroizing::new(der.as_ref().to_vec())).map_err(|_| KeyError::Library)
    }

    /// The private key as one `-----BEGIN PRIVATE KEY-----` block; wiped when dropped.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library cannot write it.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let body = Zeroizing::new(BASE64_STANDARD.encode(self.to_pkcs8()?));
        // sized beforehand: a growing string would leave unwiped copies behind
        let mut pem = Zeroizing::new(String::with_capacity(2 * KEY_TEXT_BYTES_MAX));
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        let mut rest = body.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(PEM_LINE_CHARS.min(rest.len()));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok(pem)
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], KeyError> {
        let signature = match &self.pair {
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), message),
            Pair::EdDsa(pair) => pair.try_sign(message),
        };
        let signature = signature.map_err(|_| KeyError::Library)?;
        signature.as_ref().try_into().map_err(|_| KeyError::Library)
    }
}

/// Characters of base64 in one line of PEM (RFC 7468 §2).
const PEM_LINE_CHARS: usize = 64;

fn pem_body(text: &str, label: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if text.len() > KEY_TEXT_BYTES_MAX {
        return Err(KeyError::TooLong);
    }
    let inner = text
        .trim()
        .strip_prefix("-----BEGIN ")
        .and_then(|rest| rest.strip_prefix(label))
        .and_then(|rest| rest.strip_prefix("-----"))
        .and_then(|rest| rest.strip_suffix("-----"))
        .and_then(|rest| rest.strip_suffix(label))
        .and_then(|rest| rest.strip_suffix("-----END "))
        .ok_or(KeyError::Pem { label })?;
    let mut base64 = Zeroizing::new(String::with_capacity(inner.len()));
    inner.lines().for_each(|line| base64.push_str(line.trim_end()));
    BASE64_STANDARD.decode(base64.as_bytes()).map(Zeroizing::new).map_err(|_| KeyError::Pem { label })
}

/// Decodes canonical base64url of exactly 32 bytes.
fn base64url_field(text: &str) -> Option<[u8; FIELD_BYTES]> {
    // 43 characters carry 32 bytes; longer texts are not decoded at all
    let short = text.len() == (FIELD_BYTES * 4).div_ceil(3);
    let bytes = short.then(|| BASE64_URL_SAFE_NO_PAD.decode(text).ok()).flatten()?;
    bytes.try_into().ok()
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC_9449: &str = r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#;
    const RFC_8037: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn check(jwk: &str, expected: KeyError) {
        assert_eq!(PublicKey::parse(jwk), Err(expected), "{jwk}");
    }

    // RFC 9449 §6.1 and RFC 8037 appendix A.3
    #[test]
    fn thumbprints_are_those_of_the_specifications() {
        for (jwk, thumbprint) in [
            (RFC_9449, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
            (RFC_8037, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        ] {
            let key = PublicKey::parse(jwk).expect("a key");
            assert_eq!(key.thumbprint().to_string(), thumbprint);
            assert_eq!(PublicKey::parse(&key.to_jwk()), Ok(key.clone()));
            assert_eq!(PublicKey::parse(&key.to_pem()), Ok(key.clone()));
            let json = serde_json::to_string(&key).expect("JSON");
            assert_eq!(serde_json::from_str::<PublicKey>(&json).expect("its own JSON"), key);
            assert!(serde_json::from_str::<PublicKey>(&json.replace('{', r#"{"kty":"EC","#)).is_err());
        }
    }

    #[test]
    fn members_that_change_nothing_are_accepted() {
        let members = r#"{"kid":"1","use":"sig","alg":"ES256","key_ops":["verify"],"ext":true,"#;
        assert!(PublicKey::parse(&RFC_9449.replace('{', members)).is_ok());
        assert!(PublicKey::parse(&RFC_8037.replace('{', r#"{"alg":"Ed25519","#)).is_ok());
    }

    // case: TOK-03
    #[test]
    fn other_keys_are_refused() {
        for private in ["d", "k", "p", "q", "dp", "dq", "qi", "oth"] {
            check(&RFC_9449.replace('{', &format!(r#"{{"{private}":"AQAB","#)), KeyError::Private);
        }
        for member in [
            r#""x5u":"https://attacker.example","#,
            r#""kty":"EC","#,
            r#""alg":"ES384","#,
            r#""alg":"EdDSA","#,
            r#""use":"enc","#,
            r#""key_ops":["sign"],"#,
            r#""kid":1,"#,
        ] {
            check(&RFC_9449.replace('{', &format!("{{{member}")), KeyError::Jwk);
        }
        check(&RFC_9449.replace("P-256", "P-384"), KeyError::Unsupported);
        check(&RFC_9449.replace("EC", "ec"), KeyError::Unsupported);
        check(&RFC_8037.replace("Ed25519", "X25519"), KeyError::Unsupported);
        check(&RFC_9449.replace("l8tF", "l8tG"), KeyError::Invalid);
        check(&RFC_9449.replace("WBFs", "WBFt"), KeyError::Jwk);
        check(&RFC_9449.replace("WBFs", "WBFs="), KeyError::Jwk);
        check(&RFC_9449.replace("l8tF", "AAAAl8tF"), KeyError::Jwk);
        check("{}", KeyError::Jwk);
        check(&format!("{{{}", " ".repeat(KEY_TEXT_BYTES_MAX)), KeyError::TooLong);
    }

    #[test]
    fn broken_pem_is_refused() {
        let pem = PublicKey::parse(RFC_9449).expect("a key").to_pem();
        let label = KeyError::Pem { label: "PUBLIC KEY" };
        check("", label);
        check(&pem.replace("PUBLIC", "PRIVATE"), label);
        check(&pem.replace("PUBLIC KEY", "CERTIFICATE"), label);
        check(&format!("{pem}{pem}"), label);
        check(&pem.replace("-----END", "!\n-----END"), label);
        check(&pem[..pem.len() - 10], label);
        check("-----BEGIN PUBLIC KEY-----", label);
        check(&pem.replace("MFkw", "MFkx"), KeyError::Unsupported);
        check(&pem.replace("\n-----END", "\nAAAA\n-----END"), KeyError::Pem { label: "PUBLIC KEY" });
        assert!(PublicKey::parse(&pem.replace('\n', "\r\n")).is_ok());
    }

    #[test]
    fn a_private_key_survives_its_key_file() {
        let key = SigningKey::generate().expect("randomness");
        let pem = key.to_pkcs8_pem().expect("a key that writes");
        let again = SigningKey::from_pkcs8_pem(&pem).expect("its own PEM");
        assert_eq!(again.public(), key.public());
        let signature = again.sign(b"message").expect("a signature");
        assert!(key.public().verifies(b"message", &signature));
        assert!(!key.public().verifies(b"massage", &signature));
        assert!(SigningKey::from_pkcs8(b"").is_err());
        assert!(PublicKey::parse(&pem).is_err(), "a private key is no public key");
    }
}
