//! Passkeys of operators: register, list, take away, and a yes that is made with one.
//!
//! A challenge is stateless, so that any replica takes its answer: it carries its own end, and a keyed digest over the session that
//! asked, what it is for, and for a yes the request, its digest and the scope. So an assertion is worth something for exactly
//! what the person was shown, in their own session, for a short while.

use accredit_core::approval::Scope;
use accredit_core::digest::Digest;
use accredit_core::event::Event;
use accredit_core::id::RequestId;
use accredit_core::operator::Passkey as Kept;
use accredit_core::rights::Operation;
use accredit_core::time::Timestamp;
use accredit_identity::passkey::{Answered, Passkey, PasskeyError, Site, challenge_in};
use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::Authority;
use crate::fault::{Fault, FaultKind};
use crate::operators::{Operator, ms};
use crate::people::cannot_be;

/// How long a challenge can be answered, in seconds: a person finds their device.
pub const CHALLENGE_S: u64 = 2 * 60;
/// How long after signing in a passkey can be registered, in seconds: a session that was stolen later registers none.
pub const FRESH_S: u64 = 10 * 60;
/// Bytes of a challenge: random ones, its end, a keyed digest.
const CHALLENGE_BYTES: usize = 16 + 8 + 32;

/// What a challenge is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// To register a passkey.
    Register,
    /// To say yes to what has this digest.
    Approve {
        /// The request.
        request: RequestId,
        /// What was shown.
        digest: Digest,
        /// How far it reaches.
        scope: Scope,
    },
}

/// What a device answered to a challenge, as the browser sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// The credential's id, in base64url.
    pub id: String,
    /// `clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `authenticatorData`.
    pub authenticator_data: Vec<u8>,
    /// The signature over both.
    pub signature: Vec<u8>,
}

/// What a device answered when it made a passkey, as the browser sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// `clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `authenticatorData`.
    pub authenticator_data: Vec<u8>,
}

/// A yes that was made with a passkey just now, for exactly one purpose. Made by verification alone.
#[derive(Debug)]
pub struct Verified {
    purpose: Purpose,
    passkey: Passkey,
}

impl Verified {
    /// Whether it was made for this.
    #[must_use]
    pub(crate) fn is_for(&self, request: &RequestId, digest: &Digest, scope: Scope) -> bool {
        let (request, digest) = (request.clone(), *digest);
        self.purpose == Purpose::Approve { request, digest, scope }
    }

    /// The passkey, with the counter that it has now.
    pub(crate) const fn passkey(&self) -> &Passkey {
        &self.passkey
    }
}

impl Authority {
    /// A challenge for a device of the person who is signed in.
    ///
    /// # Errors
    /// [`Fault`] while the vault is sealed, and where the server's URL has no name: passkeys are for a name.
    pub fn challenge(&self, by: &Operator, purpose: &Purpose) -> Result<Vec<u8>, Fault> {
        let host = self.passkey_host();
        if host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(Fault::conflict(
                "passkeys_need_a_name",
                format!("browsers use passkeys for a name, and this server's URL has the address {host}"),
                "Give `[server] url` a name, on one machine `http://localhost:PORT`, and open that.",
            ));
        }
        let end = self.now().plus_ms(ms(CHALLENGE_S));
        let random = self.draw16();
        let seal = self.seal_challenge(by, purpose, &random, end)?;
        Ok([&random[..], &end.as_ms().to_be_bytes(), seal.as_bytes()].concat())
    }

    fn seal_challenge(
        &self,
        by: &Operator,
        purpose: &Purpose,
        random: &[u8],
        end: Timestamp,
    ) -> Result<Digest, Fault> {
        let keys = self.keys().ok_or_else(Fault::sealed)?;
        let end = end.as_ms().to_be_bytes();
        let asked = [b"passkey challenge", by.session().as_str().as_bytes(), random, &end];
        let what: Vec<&[u8]> = match purpose {
            Purpose::Register => vec![b"register"],
            Purpose::Approve { request, digest, scope } => {
                vec![b"approve", request.as_str().as_bytes(), digest.as_bytes(), scope.as_str().as_bytes()]
            }
        };
        Ok(keys.digest.digest(&[&asked[..], &what].concat()))
    }

    /// The challenge in the client data, if it is one of ours for this person and purpose, and not too old.
    fn answers(&self, by: &Operator, purpose: &Purpose, client_data: &[u8]) -> Result<Vec<u8>, Fault> {
        let challenge = challenge_in(client_data).map_err(|e| not_a_passkey(&e))?;
        let parts = <&[u8; CHALLENGE_BYTES]>::try_from(challenge.as_slice());
        let parts = parts.map_err(|_| not_a_passkey(&PasskeyError::Elsewhere))?;
        let (random, rest) = parts.split_at(16);
        let (end, seal) = rest.split_at(8);
        let end = end.try_into().map_err(|_| not_a_passkey(&PasskeyError::Elsewhere))?;
        let end = Timestamp::from_ms(i64::from_be_bytes(end));
        let expected = self.seal_challenge(by, purpose, random, end)?;
        if verify_slices_are_equal(expected.as_bytes(), seal).is_err() || self.now() >= end {
            return Err(not_a_passkey(&PasskeyError::Elsewhere));
        }
        Ok(challenge)
    }

    /// The page on which passkeys count: that at our own URL.
    fn site(&self) -> Site<'_> {
        let origin = self.settings().issuer.as_str();
        let host = origin.split_once("://").map_or(origin, |(_, rest)| rest);
        Site { origin, host: host.split(['/', ':']).next().unwrap_or(host) }
    }

    /// The host that passkeys are for.
    #[must_use]
    pub fn passkey_host(&self) -> &str {
        self.site().host
    }

    /// Registers a passkey of the person who is signed in, shortly after they did; who has one vouches with it for the next,
    /// so that neither a stolen session nor a link that an administrator made for them registers another device.
    ///
    /// # Errors
    /// [`Fault`] when it is none, nothing vouches for it, they have too many, or they signed in too long ago.
    pub async fn add_passkey(
        &self,
        by: &Operator,
        registration: Registration,
        voucher: Option<Assertion>,
    ) -> Result<Vec<Kept>, Fault> {
        let doing = self.add_passkey_unchecked(by, registration, voucher);
        self.as_operator(by, Operation::PasskeyAdd, by.name(), doing).await
    }

    async fn add_passkey_unchecked(
        &self,
        by: &Operator,
        registration: Registration,
        voucher: Option<Assertion>,
    ) -> Result<Vec<Kept>, Fault> {
        let Registration { client_data, authenticator_data } = &registration;
        let voucher = match voucher {
            Some(assertion) => Some(self.verify_unrecorded(by, Purpose::Register, &assertion)?),
            None => None,
        };
        let now = self.now();
        if now >= by.signed_in_at().plus_ms(ms(FRESH_S)) {
            return Err(Fault::new(
                FaultKind::Denied,
                "sign_in_again",
                "a passkey is registered shortly after signing in",
                "Sign in again, and register it then.",
            ));
        }
        let challenge = self.answers(by, &Purpose::Register, client_data)?;
        let answered = Answered { client_data, authenticator_data };
        let passkey = Passkey::register(self.site(), &challenge, answered).map_err(|e| not_a_passkey(&e))?;
        let (tenant, name, session) = (self.tenant().clone(), by.name().clone(), by.session().clone());
        let person = self
            .store
            .change(move |tx| {
                let taken = |one: &Kept| one.passkey.id == passkey.id;
                if tx.operators(&tenant)?.iter().any(|other| other.passkeys.iter().any(taken)) {
                    return Err(Fault::conflict("passkey_exists", "it is registered already", "Use it."));
                }
                let found = tx.operator(&tenant, &name)?;
                let mut person = found.ok_or_else(|| Fault::not_found("operator", &name))?;
                let event = Event::new(&tenant, "operator.passkey_added")
                    .with("operator", &name)
                    .with("passkey", passkey.key.thumbprint())
                    .with_opt("voucher", voucher.as_ref().map(|used| used.passkey.key.thumbprint()))
                    .with("session", &session);
                if !person.passkeys.is_empty() {
                    let vouched = voucher.and_then(|used| person.with_used(&used.passkey));
                    person = vouched.ok_or_else(not_vouched_for)?;
                }
                let person =
                    person.with_passkey(Kept { passkey, added_at: now }).map_err(|e| cannot_be(&e))?;
                tx.put_operator(&person)?;
                tx.append(event)?;
                Ok(person)
            })
            .await?;
        Ok(person.passkeys)
    }

    /// Takes a passkey away from the person who is signed in.
    ///
    /// # Errors
    /// [`Fault`] when they have none with this id.
    pub async fn drop_passkey(&self, by: &Operator, id: String) -> Result<(), Fault> {
        let (tenant, name, session) = (self.tenant().clone(), by.name().clone(), by.session().clone());
        let doing = async {
            self.store
                .change(move |tx| {
                    let found = tx.operator(&tenant, &name)?;
                    let mut person = found.ok_or_else(|| Fault::not_found("operator", &name))?;
                    let place = person.passkeys.iter().position(|one| one.passkey.id == id);
                    let place = place.ok_or_else(|| Fault::not_found("passkey", "of this id"))?;
                    let gone = person.passkeys.remove(place);
                    tx.put_operator(&person)?;
                    let event = Event::new(&tenant, "operator.passkey_dropped")
                        .with("operator", &name)
                        .with("passkey", gone.passkey.key.thumbprint())
                        .with("session", &session);
                    tx.append(event)?;
                    Ok::<_, Fault>(())
                })
                .await?;
            Ok(())
        };
        self.as_operator(by, Operation::PasskeyDrop, by.name(), doing).await
    }

    /// Verifies that the person who is signed in used a passkey of theirs for this purpose, just now; recorded when not.
    ///
    /// # Errors
    /// [`Fault`] when it does not count.
    pub async fn verify_passkey(
        &self,
        by: &Operator,
        purpose: Purpose,
        assertion: &Assertion,
    ) -> Result<Verified, Fault> {
        let verified = self.verify_unrecorded(by, purpose, assertion);
        if let Err(fault) = &verified {
            self.note_refusal(by, Operation::RequestApprove, "passkey", fault).await;
        }
        verified
    }

    fn verify_unrecorded(
        &self,
        by: &Operator,
        purpose: Purpose,
        assertion: &Assertion,
    ) -> Result<Verified, Fault> {
        let challenge = self.answers(by, &purpose, &assertion.client_data)?;
        let kept = by.record().passkeys.iter().find(|one| one.passkey.id == assertion.id);
        let kept = kept.ok_or_else(|| not_a_passkey(&PasskeyError::Signature))?;
        let answered = Answered {
            client_data: &assertion.client_data,
            authenticator_data: &assertion.authenticator_data,
        };
        let passkey = kept.passkey.clone().assert(self.site(), &challenge, answered, &assertion.signature);
        Ok(Verified { purpose, passkey: passkey.map_err(|e| not_a_passkey(&e))? })
    }
}

fn not_vouched_for() -> Fault {
    Fault::new(
        FaultKind::Denied,
        "passkey_not_vouched_for",
        "a passkey that is there vouches for the next one",
        "Use one that you registered here; if all are lost, an administrator takes them away: `accredit operator change --drop-passkeys`.",
    )
}

fn not_a_passkey(error: &PasskeyError) -> Fault {
    let next = "Look at the request again, and use a passkey that you registered here.";
    Fault::new(FaultKind::Denied, "passkey_refused", error.to_string(), next)
}
