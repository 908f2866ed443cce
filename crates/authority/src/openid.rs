//! Signing in through an `OpenID` provider, and what the provider says later: that sessions or accounts are over.
//!
//! Between going there and coming back nothing is kept here, so any replica takes whoever comes back. The browser keeps a
//! ticket of random bytes; state, nonce and verifier are keyed digests over it. Who comes back with the code of another
//! browser's journey has no ticket that fits its state.
//!
//! A provider proves who somebody is, and no more: what they may do is registered here. The first time, a verified address
//! leads to the registration of that name and is bound to the provider's own name for that person, which counts from then on.

use accredit_core::event::Event;
use accredit_core::id::TenantName;
use accredit_core::operator::{OidcIdentity, Operator as Person, Role};
use accredit_core::text::{Owner, Reason};
use accredit_core::time::Timestamp;
use accredit_identity::openid::{Happened, Identity};
use accredit_identity::passkey::{bytes, text};
use accredit_openid::{Provider, ProviderError, Request};
use accredit_store::View;
use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::Authority;
use crate::fault::{Fault, FaultKind};
use crate::operators::{NewSession, SignedIn, Transport, ms, signed_in};

/// How long somebody may take at the provider, in seconds.
pub const JOURNEY_S: u64 = 10 * 60;
/// Where the provider sends people back to: our page.
const BACK: &str = "/";
/// Bytes of a ticket: random ones, its end, the role that is wanted.
const TICKET_BYTES: usize = 16 + 8 + 1;

/// Where to go, and what the browser keeps for when it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The address at the provider.
    pub address: String,
    /// What the browser keeps.
    pub ticket: String,
}

/// What somebody comes back with.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// What the browser kept.
    pub ticket: &'a str,
    /// The code of the provider.
    pub code: &'a str,
    /// The state that went along.
    pub state: &'a str,
    /// The issuer that the address names (RFC 9207).
    pub issuer: Option<&'a str>,
}

/// One way to the provider and back.
struct Journey {
    ticket: [u8; TICKET_BYTES],
}

impl Journey {
    fn new(random: [u8; 16], end: Timestamp, role: Option<Role>) -> Self {
        let mut ticket = [0; TICKET_BYTES];
        ticket[..16].copy_from_slice(&random);
        ticket[16..24].copy_from_slice(&end.as_ms().to_be_bytes());
        ticket[24] = role.map_or(0, number);
        Self { ticket }
    }

    fn parse(ticket: &str) -> Option<Self> {
        let ticket = bytes(ticket).ok()?.try_into().ok()?;
        Some(Self { ticket })
    }

    fn end(&self) -> Timestamp {
        let mut end = [0; 8];
        end.copy_from_slice(&self.ticket[16..24]);
        Timestamp::from_ms(i64::from_be_bytes(end))
    }

    fn role(&self) -> Option<Role> {
        Role::ALL.into_iter().find(|role| number(*role) == self.ticket[24])
    }
}

const fn number(role: Role) -> u8 {
    match role {
        Role::Admin => 1,
        Role::Owner => 2,
        Role::Approver => 3,
        Role::Auditor => 4,
    }
}

/// What goes along and comes back, derived from a ticket.
struct Words {
    state: String,
    nonce: String,
    verifier: String,
}

impl Authority {
    fn provider(&self) -> Result<&Provider, Fault> {
        self.settings().openid.as_ref().ok_or_else(|| {
            Fault::new(
                FaultKind::Unauthenticated,
                "openid_not_configured",
                "no OpenID provider is configured",
                "Sign in with a link (`accredit login --link`), or configure one in `[people.openid]`.",
            )
        })
    }

    /// The host of the provider, where there is one.
    #[must_use]
    pub fn openid_provider(&self) -> Option<&str> {
        self.settings().openid.as_ref().map(Provider::host)
    }

    fn words(&self, journey: &Journey) -> Result<Words, Fault> {
        let keys = self.keys().ok_or_else(Fault::sealed)?;
        let word = |what: &[u8]| keys.digest.digest(&[b"openid", what, &journey.ticket]).to_string();
        Ok(Words { state: word(b"state"), nonce: word(b"nonce"), verifier: word(b"verifier") })
    }

    fn back(&self) -> String {
        format!("{}{BACK}", self.settings().issuer)
    }

    /// Begins to sign somebody in through the provider, in a role or in the first that they have.
    ///
    /// # Errors
    /// [`Fault`] without a provider, or when it does not answer.
    pub async fn depart(&self, role: Option<Role>) -> Result<Departure, Fault> {
        let provider = self.provider()?;
        let journey = Journey::new(self.draw16(), self.now().plus_ms(ms(JOURNEY_S)), role);
        let (words, redirect_uri) = (self.words(&journey)?, self.back());
        let address = provider.address(request(&words, &redirect_uri)).await.map_err(|e| unavailable(&e))?;
        Ok(Departure { address, ticket: text(&journey.ticket) })
    }

    /// Signs in whoever comes back from the provider.
    ///
    /// # Errors
    /// [`Fault`], recorded, when they are nobody who is registered, or do not come back from where they went.
    pub async fn arrive(&self, arrival: Arrival<'_>, address: &str) -> Result<SignedIn, Fault> {
        let provider = self.provider()?;
        match self.identified(provider, arrival).await {
            Ok((identity, role)) => self.admit_identity(provider, identity, role, address).await,
            Err(fault) => Err(self.refuse_arrival(fault, None, address).await),
        }
    }

    async fn identified(
        &self,
        provider: &Provider,
        arrival: Arrival<'_>,
    ) -> Result<(Identity, Option<Role>), Fault> {
        let elsewhere = || {
            let why = "this browser did not begin to sign in, or took longer than ten minutes";
            Fault::new(FaultKind::Unauthenticated, "sign_in_elsewhere", why, "Begin anew on the page.")
        };
        let journey = Journey::parse(arrival.ticket).ok_or_else(elsewhere)?;
        let (words, redirect_uri) = (self.words(&journey)?, self.back());
        let same = verify_slices_are_equal(words.state.as_bytes(), arrival.state.as_bytes()).is_ok();
        if !same || self.now() >= journey.end() {
            return Err(elsewhere());
        }
        let request = request(&words, &redirect_uri);
        match provider.identify(arrival.code, arrival.issuer, request, self.now()).await {
            Ok(identity) => Ok((identity, journey.role())),
            Err(error @ (ProviderError::Call(_) | ProviderError::Protocol(_))) => Err(unavailable(&error)),
            Err(error @ (ProviderError::Refused(_) | ProviderError::Token(_))) => Err(Fault::new(
                FaultKind::Unauthenticated,
                "identity_refused",
                error.to_string(),
                "Begin anew on the page.",
            )),
        }
    }

    async fn admit_identity(
        &self,
        provider: &Provider,
        identity: Identity,
        role: Option<Role>,
        address: &str,
    ) -> Result<SignedIn, Fault> {
        let tenant = self.tenant().clone();
        let (session, secret) = NewSession::draw(self, Transport::Tcp);
        let (issuer, subject, from) =
            (provider.issuer().to_owned(), identity.subject.clone(), address.to_owned());
        let made = self
            .store
            .change(move |tx| {
                let person = match tx.operator_by_oidc(&tenant, &issuer, &identity.subject)? {
                    Some(person) => person,
                    None => {
                        let subject = identity.subject.clone();
                        let oidc = Some(OidcIdentity { issuer: issuer.clone(), subject });
                        let person = Person { oidc, ..by_address(tx, &tenant, &identity)? };
                        tx.put_operator(&person)?;
                        let event = Event::new(&tenant, "operator.identity_bound")
                            .with("operator", &person.name)
                            .with("issuer", &issuer)
                            .with("subject", &identity.subject);
                        tx.append(event)?;
                        person
                    }
                };
                let role = role.or_else(|| person.roles.first().copied());
                let Some(role) = role.filter(|role| person.has(*role)) else {
                    return Err(not_held(&person));
                };
                let row = session.row(&tenant, person.name.as_str(), role.as_str());
                tx.put_session(&row)?;
                tx.append(signed_in(&row, "openid over tcp", &from))?;
                Ok((row, person))
            })
            .await;
        match made {
            Ok((row, person)) => SignedIn::new(secret, &row, person),
            Err(error) => Err(self.refuse_arrival(error.into(), Some(subject), address).await),
        }
    }

    /// Records why nobody was signed in. Without the record it is our failure.
    async fn refuse_arrival(&self, fault: Fault, subject: Option<String>, address: &str) -> Fault {
        if fault.kind == FaultKind::Unavailable {
            return fault;
        }
        let event = Event::new(self.tenant(), "operator.sign_in_refused")
            .with("method", "openid over tcp")
            .with("address", address)
            .with_opt("subject", subject)
            .with("code", fault.code);
        match self.store.change(move |tx| Ok::<_, Fault>(tx.append(event)?)).await {
            Ok(_) => fault,
            Err(error) => error.into(),
        }
    }

    /// Ends the sessions of whom a logout token names (Back-Channel Logout §2.7).
    ///
    /// # Errors
    /// [`Fault`] when it is not the provider's. Somebody whom nobody knows here has no sessions: no fault.
    pub async fn log_out_from_provider(&self, token: &str) -> Result<(), Fault> {
        let provider = self.provider()?;
        let subject = provider.logged_out(token, self.now()).await.map_err(|e| not_its_word(&e))?;
        self.end_sessions_by_provider(provider.issuer(), subject).await
    }

    /// Does what a security event asks for: sessions end, or the person lapses.
    ///
    /// # Errors
    /// [`Fault`] when it is not the provider's, or of another kind.
    pub async fn hear_provider(&self, token: &str) -> Result<(), Fault> {
        let provider = self.provider()?;
        let (subject, happened) = provider.happened(token, self.now()).await.map_err(|e| not_its_word(&e))?;
        match happened {
            Happened::SessionsRevoked => self.end_sessions_by_provider(provider.issuer(), subject).await,
            Happened::AccountGone => {
                let (tenant, issuer) = (self.tenant().clone(), provider.issuer().to_owned());
                let read = move |view: &View<'_>| view.operator_by_oidc(&tenant, &issuer, &subject);
                let Some(person) = self.store.read(read).await?.filter(Person::active) else { return Ok(()) };
                let by = Owner::parse(&format!("openid@{}", provider.host()))
                    .map_err(|e| Fault::unavailable("provider_unavailable", e.to_string()))?;
                let reason = Reason::parse("the account at the identity provider is gone").ok();
                self.lapse_by_provider(by, person.name, reason).await
            }
        }
    }

    async fn end_sessions_by_provider(&self, issuer: &str, subject: String) -> Result<(), Fault> {
        let (tenant, issuer) = (self.tenant().clone(), issuer.to_owned());
        self.store
            .change(move |tx| {
                let Some(person) = tx.operator_by_oidc(&tenant, &issuer, &subject)? else { return Ok(()) };
                let ended = tx.end_sessions_of(&tenant, &person.name, Role::ALL)?;
                let event = Event::new(&tenant, "operator.sessions_ended")
                    .with("operator", &person.name)
                    .with("issuer", &issuer)
                    .with_number("sessions", ended as u64);
                tx.append(event)?;
                Ok::<_, Fault>(())
            })
            .await?;
        Ok(())
    }
}

const fn request<'a>(words: &'a Words, redirect_uri: &'a str) -> Request<'a> {
    Request {
        redirect_uri,
        state: words.state.as_str(),
        nonce: words.nonce.as_str(),
        verifier: words.verifier.as_str(),
    }
}

/// The registration that a verified address leads to, if nobody else is bound to it.
fn by_address(view: &View<'_>, tenant: &TenantName, identity: &Identity) -> Result<Person, Fault> {
    let unknown = |who: &str| {
        let next = "An administrator registers people: `accredit operator add ADDRESS --role ROLE`.";
        Fault::new(FaultKind::Denied, "not_registered", format!("{who} is not registered here"), next)
    };
    let Some(address) = identity.verified_email.as_ref().map(|address| address.to_ascii_lowercase()) else {
        return Err(unknown("somebody without a verified address"));
    };
    let name = Owner::parse(&address).map_err(|_| unknown("somebody whose address is no name here"))?;
    let person = view.operator(tenant, &name)?.filter(Person::active);
    let person = person.ok_or_else(|| unknown(name.as_str()))?;
    if person.oidc.is_some() {
        let detail = format!("{name} is somebody else at the provider");
        let next = "Their account there was made anew? An administrator lets them lapse and adds them again.";
        return Err(Fault::new(FaultKind::Denied, "another_identity", detail, next));
    }
    Ok(person)
}

fn not_held(person: &Person) -> Fault {
    let detail = format!("{} does not have that role, or may not act any more", person.name);
    let next = "Sign in with another role, or ask an administrator.";
    Fault::new(FaultKind::Denied, "role_not_held", detail, next)
}

fn unavailable(error: &ProviderError) -> Fault {
    tracing::error!(%error, "the OpenID provider does not answer");
    Fault::unavailable("provider_unavailable", "the OpenID provider does not answer as it should")
}

fn not_its_word(error: &ProviderError) -> Fault {
    match error {
        ProviderError::Call(_) | ProviderError::Protocol(_) | ProviderError::Refused(_) => unavailable(error),
        ProviderError::Token(why) => {
            let next = "Check issuer, client and clocks of both ends.";
            Fault::invalid("not_the_providers", why.to_string(), next)
        }
    }
}
