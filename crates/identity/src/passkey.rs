//! Passkeys (Web Authentication Level 3): a key of a person's own device, registered once, which signs a challenge after its
//! holder was verified there.
//!
//! What is read is the little of WebAuthn that is needed: ES256 and EdDSA, no attestation, no extensions. Attestation would say
//! which make a device is; who registers it is known from the session. What a challenge means is not known here.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json;
use crate::key::{FIELD_BYTES, PublicKey};

/// Longest id of a credential, in bytes (WebAuthn §4, credential ID).
pub const CREDENTIAL_ID_BYTES_MAX: usize = 1_023;
/// Longest client data, in bytes: a challenge, an origin and what a browser adds.
pub const CLIENT_DATA_BYTES_MAX: usize = 2_048;
/// Longest authenticator data, in bytes: the longest id and key, with room for extensions.
pub const AUTHENTICATOR_DATA_BYTES_MAX: usize = 2_048;

/// Bytes before the attested credential: the digest of the RP ID, flags, a counter.
const HEAD_BYTES: usize = 32 + 1 + 4;
/// Bytes of the make of the authenticator.
const AAGUID_BYTES: usize = 16;
/// Flags of authenticator data (WebAuthn §6.1): the user was there, was verified, a credential follows.
const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const ATTESTED: u8 = 0x40;
const EXTENDED: u8 = 0x80;

/// An ES256 key in COSE up to x, between x and y, and an `EdDSA` key up to x: canonical CBOR has one spelling for each (CTAP2 §8, RFC 9053).
const COSE_P256: [u8; 10] = [0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
const COSE_P256_Y: [u8; 3] = [0x22, 0x58, 0x20];
const COSE_ED25519: [u8; 10] = [0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20];

/// Why something is not a registration or an assertion that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// Not in the form that the specification gives it, or longer than its bound.
    #[error("what the browser sent is not of the form of WebAuthn")]
    Form,
    /// For something else, or at somebody else's page.
    #[error("the passkey was used for something else, or on another page")]
    Elsewhere,
    /// The person at the device was not verified.
    #[error("the device did not verify who used it")]
    NotVerified,
    /// Another sort of key than ES256 and EdDSA.
    #[error("only ES256 and EdDSA passkeys are supported")]
    Unsupported,
    /// Not signed by this key.
    #[error("the signature is not of this passkey")]
    Signature,
    /// The counter went back: there are two of it.
    #[error("the passkey was used more often elsewhere: it seems to have been copied")]
    Copied,
}

/// The page on which passkeys count.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// `https://host[:port]`, exactly.
    pub origin: &'a str,
    /// Its host.
    pub host: &'a str,
}

/// A registered passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkey {
    /// The credential's id, in base64url.
    pub id: String,
    /// Its public key.
    pub key: PublicKey,
    /// How often it had signed when it was last used; 0: it does not count.
    pub signs: u32,
}

/// What a device answered, as bytes.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// `clientDataJSON`.
    pub client_data: &'a [u8],
    /// `authenticatorData`.
    pub authenticator_data: &'a [u8],
}

#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
}

/// Bytes as a browser's script sends them.
///
/// # Errors
/// [`PasskeyError::Form`].
pub fn bytes(text: &str) -> Result<Vec<u8>, PasskeyError> {
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| PasskeyError::Form)
}

/// Bytes as a browser's script takes them.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The challenge that client data carries, for whoever must first find out what it was for. Nothing is verified yet.
///
/// # Errors
/// [`PasskeyError::Form`].
pub fn challenge_in(client_data: &[u8]) -> Result<Vec<u8>, PasskeyError> {
    BASE64_URL_SAFE_NO_PAD.decode(parse(client_data)?.challenge).map_err(|_| PasskeyError::Form)
}

fn parse(client_data: &[u8]) -> Result<ClientData, PasskeyError> {
    if client_data.len() > CLIENT_DATA_BYTES_MAX {
        return Err(PasskeyError::Form);
    }
    let members = json::parse_object(client_data).map_err(|_| PasskeyError::Form)?;
    serde_json::from_value(Value::Object(members)).map_err(|_| PasskeyError::Form)
}

/// Head of authenticator data, checked: the counter, and what follows.
struct Head<'a> {
    flags: u8,
    signs: u32,
    rest: &'a [u8],
}

/// The checks that registration and assertion share (WebAuthn §7.1 steps 7 to 15, §7.2 steps 11 to 17).
fn head<'a>(
    site: Site<'_>,
    kind: &str,
    challenge: &[u8],
    answered: Answered<'a>,
) -> Result<Head<'a>, PasskeyError> {
    let client = parse(answered.client_data)?;
    let data = answered.authenticator_data;
    if data.len() < HEAD_BYTES || data.len() > AUTHENTICATOR_DATA_BYTES_MAX {
        return Err(PasskeyError::Form);
    }
    let (head, rest) = data.split_at(HEAD_BYTES);
    let ours = client.kind == kind
        && client.challenge == BASE64_URL_SAFE_NO_PAD.encode(challenge)
        && client.origin == site.origin
        && !client.cross_origin
        && head[..32] == *digest::digest(&digest::SHA256, site.host.as_bytes()).as_ref();
    if !ours {
        return Err(PasskeyError::Elsewhere);
    }
    let flags = head[32];
    if flags & PRESENT == 0 || flags & VERIFIED == 0 {
        return Err(PasskeyError::NotVerified);
    }
    let signs = u32::from_be_bytes(head[33..].try_into().map_err(|_| PasskeyError::Form)?);
    Ok(Head { flags, signs, rest })
}

impl Passkey {
    /// Reads a registration that answers this challenge.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub fn register(site: Site<'_>, challenge: &[u8], answered: Answered<'_>) -> Result<Self, PasskeyError> {
        let head = head(site, "webauthn.create", challenge, answered)?;
        if head.flags & ATTESTED == 0 || head.rest.len() < AAGUID_BYTES + 2 {
            return Err(PasskeyError::Form);
        }
        let (length, rest) = head.rest[AAGUID_BYTES..].split_at(2);
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        if length == 0 || length > CREDENTIAL_ID_BYTES_MAX || length > rest.len() {
            return Err(PasskeyError::Form);
        }
        let (id, rest) = rest.split_at(length);
        let (key, rest) = cose_key(rest)?;
        // Extensions that nobody asked for are allowed and mean nothing here (WebAuthn §9.3).
        if !rest.is_empty() && head.flags & EXTENDED == 0 {
            return Err(PasskeyError::Form);
        }
        Ok(Self { id: BASE64_URL_SAFE_NO_PAD.encode(id), key, signs: head.signs })
    }

    /// Verifies an assertion that answers this challenge. Gives the passkey with its new counter.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub fn assert(
        self,
        site: Site<'_>,
        challenge: &[u8],
        answered: Answered<'_>,
        signature: &[u8],
    ) -> Result<Self, PasskeyError> {
        let head = head(site, "webauthn.get", challenge, answered)?;
        let signed =
            [answered.authenticator_data, digest::digest(&digest::SHA256, answered.client_data).as_ref()]
                .concat();
        if !self.key.verify_der(&signed, signature) {
            return Err(PasskeyError::Signature);
        }
        if (head.signs != 0 || self.signs != 0) && head.signs <= self.signs {
            return Err(PasskeyError::Copied);
        }
        Ok(Self { signs: head.signs, ..self })
    }
}

fn cose_key(bytes: &[u8]) -> Result<(PublicKey, &[u8]), PasskeyError> {
    let field = |bytes: &mut &[u8]| -> Option<[u8; FIELD_BYTES]> {
        let (field, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*field)
    };
    let (key, rest) = if let Some(mut rest) = bytes.strip_prefix(&COSE_P256) {
        let x = field(&mut rest).ok_or(PasskeyError::Form)?;
        rest = rest.strip_prefix(&COSE_P256_Y).ok_or(PasskeyError::Form)?;
        let y = field(&mut rest).ok_or(PasskeyError::Form)?;
        (PublicKey::p256(&x, &y), rest)
    } else if let Some(mut rest) = bytes.strip_prefix(&COSE_ED25519) {
        let x = field(&mut rest).ok_or(PasskeyError::Form)?;
        (PublicKey::ed25519(x), rest)
    } else {
        return Err(PasskeyError::Unsupported);
    };
    Ok((key.map_err(|_| PasskeyError::Form)?, rest))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

    use super::*;

    const SITE: Site<'_> = Site { origin: "https://accredit.example:8443", host: "accredit.example" };
    const CHALLENGE: &[u8] = b"exactly this";

    fn client(kind: &str, challenge: &[u8], origin: &str, more: &str) -> Vec<u8> {
        let challenge = text(challenge);
        format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}"{more}}}"#).into_bytes()
    }

    fn data(host: &str, flags: u8, signs: u32, rest: &[u8]) -> Vec<u8> {
        let host = digest::digest(&digest::SHA256, host.as_bytes());
        [host.as_ref(), &[flags], &signs.to_be_bytes(), rest].concat()
    }

    fn attested(cose: &[u8]) -> Vec<u8> {
        [&[0; AAGUID_BYTES][..], &[0, 3], b"one", cose].concat()
    }

    /// A device that signs, and what its registration says.
    enum Device {
        P256(EcdsaKeyPair),
        Ed25519(Ed25519KeyPair),
    }

    impl Device {
        fn cose(&self) -> Vec<u8> {
            match self {
                Self::P256(pair) => {
                    let point = pair.public_key().as_ref();
                    [&COSE_P256[..], &point[1..33], &COSE_P256_Y, &point[33..]].concat()
                }
                Self::Ed25519(pair) => [&COSE_ED25519[..], pair.public_key().as_ref()].concat(),
            }
        }

        fn sign(&self, client: &[u8], data: &[u8]) -> Vec<u8> {
            let signed = [data, digest::digest(&digest::SHA256, client).as_ref()].concat();
            match self {
                Self::P256(pair) => {
                    pair.sign(&SystemRandom::new(), &signed).expect("signed").as_ref().to_vec()
                }
                Self::Ed25519(pair) => pair.sign(&signed).as_ref().to_vec(),
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a device draws its own key, whichever it is")]
    fn devices() -> [Device; 2] {
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        [Device::P256(p256), Device::Ed25519(Ed25519KeyPair::generate().expect("a key"))]
    }

    fn registered(device: &Device) -> Passkey {
        let client_data = client("webauthn.create", CHALLENGE, SITE.origin, r#","crossOrigin":false,"x":1"#);
        let authenticator_data = data(SITE.host, PRESENT | VERIFIED | ATTESTED, 7, &attested(&device.cose()));
        let answered = Answered { client_data: &client_data, authenticator_data: &authenticator_data };
        Passkey::register(SITE, CHALLENGE, answered).expect("a passkey")
    }

    #[test]
    fn what_a_device_signs_counts_for_this_challenge_on_this_page() {
        for device in devices() {
            let passkey = registered(&device);
            assert_eq!((passkey.id.as_str(), passkey.signs), ("b25l", 7));
            let check = |client: &[u8], data: &[u8]| {
                let answered = Answered { client_data: client, authenticator_data: data };
                let signature = device.sign(client, data);
                passkey.clone().assert(SITE, CHALLENGE, answered, &signature).map(|used| used.signs)
            };
            let get = "webauthn.get";
            let good = client(get, CHALLENGE, SITE.origin, "");
            let both = PRESENT | VERIFIED;
            assert_eq!(check(&good, &data(SITE.host, both, 8, &[])), Ok(8));
            for (client, data, error) in [
                (
                    client(get, b"another", SITE.origin, ""),
                    data(SITE.host, both, 8, &[]),
                    PasskeyError::Elsewhere,
                ),
                (
                    client("webauthn.create", CHALLENGE, SITE.origin, ""),
                    data(SITE.host, both, 8, &[]),
                    PasskeyError::Elsewhere,
                ),
                (
                    client(get, CHALLENGE, "https://accredit.example", ""),
                    data(SITE.host, both, 8, &[]),
                    PasskeyError::Elsewhere,
                ),
                (
                    client(get, CHALLENGE, SITE.origin, r#","crossOrigin":true"#),
                    data(SITE.host, both, 8, &[]),
                    PasskeyError::Elsewhere,
                ),
                (good.clone(), data("evil.example", both, 8, &[]), PasskeyError::Elsewhere),
                (good.clone(), data(SITE.host, PRESENT, 8, &[]), PasskeyError::NotVerified),
                (good.clone(), data(SITE.host, VERIFIED, 8, &[]), PasskeyError::NotVerified),
                (good.clone(), data(SITE.host, both, 7, &[]), PasskeyError::Copied),
                (good.clone(), data(SITE.host, both, 0, &[]), PasskeyError::Copied),
                (good.clone(), vec![0; HEAD_BYTES - 1], PasskeyError::Form),
                (b"{}".to_vec(), data(SITE.host, both, 8, &[]), PasskeyError::Form),
            ] {
                assert_eq!(check(&client, &data), Err(error), "{}", String::from_utf8_lossy(&client));
            }
            let data = data(SITE.host, both, 8, &[]);
            let answered = Answered { client_data: &good, authenticator_data: &data };
            let mut signature = device.sign(&good, &data);
            *signature.last_mut().expect("bytes") ^= 1;
            let changed = passkey.clone().assert(SITE, CHALLENGE, answered, &signature);
            assert_eq!(changed, Err(PasskeyError::Signature));
            let other =
                registered(&devices()[0]).assert(SITE, CHALLENGE, answered, &device.sign(&good, &data));
            assert_eq!(other, Err(PasskeyError::Signature));
        }
    }

    #[test]
    fn a_registration_is_whole_or_none() {
        let [device, _] = devices();
        let client_data = client("webauthn.create", CHALLENGE, SITE.origin, "");
        let all = PRESENT | VERIFIED | ATTESTED;
        let check = |flags: u8, rest: &[u8]| {
            let authenticator_data = data(SITE.host, flags, 0, rest);
            let answered = Answered { client_data: &client_data, authenticator_data: &authenticator_data };
            Passkey::register(SITE, CHALLENGE, answered).map(|passkey| passkey.id)
        };
        let whole = attested(&device.cose());
        assert!(check(all, &whole).is_ok());
        assert!(check(all | EXTENDED, &[&whole[..], &[0xa0]].concat()).is_ok());
        assert_eq!(check(PRESENT | VERIFIED, &whole), Err(PasskeyError::Form));
        assert_eq!(check(all, &[&whole[..], &[0xa0]].concat()), Err(PasskeyError::Form));
        assert_eq!(check(all & !VERIFIED, &whole), Err(PasskeyError::NotVerified));
        assert_eq!(check(all, &attested(&[0xa4, 0x01, 0x03])), Err(PasskeyError::Unsupported));
        for end in 0..whole.len() {
            assert!(check(all, &whole[..end]).is_err(), "{end}");
        }
    }
}
