//! Operators: people. A one-time link becomes a session; whoever presents the session is an [`Operator`].
//!
//! There is no password and no first visitor who becomes the owner: links are made on the machine of the
//! authority, through its socket, or by somebody who is signed in.

use std::fmt;

use accredit_core::digest::Digest;
use accredit_core::event::Event;
use accredit_core::id::{SessionId, TenantName};
use accredit_core::operator::{Group, Operator as Person, Role};
use accredit_core::rights::{Operation, may_do};
use accredit_core::text::Owner;
use accredit_core::time::Timestamp;
use accredit_identity::operator::{LinkCode, SessionSecret};
use accredit_store::{OperatorLink, OperatorSession};

use crate::Authority;
use crate::fault::{Fault, FaultKind};

/// Life of a one-time link, in seconds: long enough to switch windows, too short to lie around.
pub const LINK_TTL_S: u64 = 10 * 60;
/// Longest life of a session, in seconds: a working day.
pub const SESSION_TTL_S: u64 = 12 * 3_600;
/// A session that was not used for so long ends, in seconds.
pub const SESSION_IDLE_S: u64 = 2 * 3_600;
/// How old the last sign of use may get before it is written anew, in seconds: one write in a while, not one per call.
const SEEN_EVERY_S: u64 = 5 * 60;

/// The way a request came in. A session works only the way it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// The local socket.
    Socket,
    /// The network listener.
    Tcp,
}

impl Transport {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Tcp => "tcp",
        }
    }

    const fn stored(self) -> accredit_store::Transport {
        match self {
            Self::Socket => accredit_store::Transport::Socket,
            Self::Tcp => accredit_store::Transport::Tcp,
        }
    }

    const fn from_stored(stored: accredit_store::Transport) -> Self {
        match stored {
            accredit_store::Transport::Socket => Self::Socket,
            accredit_store::Transport::Tcp => Self::Tcp,
        }
    }
}

/// A person who is signed in. Exists only after [`Authority::operator`] has looked the session and the person up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The person, as registered at the moment of asking.
    record: Person,
    /// What the session was made for: the most that it can be used for.
    role: Role,
    session: SessionId,
    transport: Transport,
    signed_in_at: Timestamp,
    expires_at: Timestamp,
}

impl Operator {
    /// Who it is.
    #[must_use]
    pub const fn name(&self) -> &Owner {
        &self.record.name
    }

    /// The person, as registered.
    #[must_use]
    pub const fn record(&self) -> &Person {
        &self.record
    }

    /// What the session was made for.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Their session.
    #[must_use]
    pub const fn session(&self) -> &SessionId {
        &self.session
    }

    /// The way in which the session works.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// When they signed in.
    #[must_use]
    pub const fn signed_in_at(&self) -> Timestamp {
        self.signed_in_at
    }

    /// When the session ends at the latest.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    fn from_row(row: &OperatorSession, record: Person) -> Option<Self> {
        Some(Self {
            record,
            role: Role::parse(&row.role)?,
            session: row.id.clone(),
            transport: Transport::from_stored(row.transport),
            signed_in_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}

/// Who asks for a one-time link.
pub enum LinkMaker<'a> {
    /// Somebody who is signed in.
    Operator(&'a Operator),
    /// The user that the authority runs as, through the socket, outside of every task.
    LocalUser {
        /// Their user id.
        uid: u32,
    },
}

/// A one-time link.
pub struct Link {
    /// The code, shown this once.
    pub code: LinkCode,
    /// Who signs in with it.
    pub operator: Owner,
    /// From when on it no longer works.
    pub expires_at: Timestamp,
}

/// A new session.
pub struct SignedIn {
    /// The secret, shown this once.
    pub secret: SessionSecret,
    /// Who is signed in.
    pub operator: Operator,
}

impl SignedIn {
    pub(crate) fn new(secret: SessionSecret, row: &OperatorSession, person: Person) -> Result<Self, Fault> {
        let operator = Operator::from_row(row, person).ok_or_else(|| broken_session(&row.id))?;
        Ok(Self { secret, operator })
    }
}

/// A session before it is known whose it will be.
pub(crate) struct NewSession {
    id: SessionId,
    hash: Digest,
    via: Transport,
    now: Timestamp,
}

impl NewSession {
    /// Draws one, with the secret that it is presented by.
    pub(crate) fn draw(authority: &Authority, via: Transport) -> (Self, SessionSecret) {
        let secret = SessionSecret::from_random(authority.draw32());
        let hash = Digest::from_bytes(*secret.digest().as_bytes());
        (Self { id: SessionId::from_random(authority.draw16()), hash, via, now: authority.now() }, secret)
    }

    /// The session of this person in this role.
    pub(crate) fn row(self, tenant: &TenantName, operator: &str, role: &str) -> OperatorSession {
        OperatorSession {
            id: self.id,
            hash: self.hash,
            tenant: tenant.clone(),
            operator: operator.to_owned(),
            role: role.to_owned(),
            transport: self.via.stored(),
            created_at: self.now,
            idle_expires_at: self.now.plus_ms(ms(SESSION_IDLE_S)),
            expires_at: self.now.plus_ms(ms(SESSION_TTL_S)),
        }
    }
}

/// The entry of a session that was made. `method` is how the person proved who they are.
pub(crate) fn signed_in(row: &OperatorSession, method: impl fmt::Display, address: &str) -> Event {
    Event::new(&row.tenant, "operator.signed_in")
        .with("operator", &row.operator)
        .with("session", &row.id)
        .with("role", &row.role)
        .with("method", method)
        .with("address", address)
        .with_number("expires_at", at(row.expires_at))
}

impl Authority {
    /// Makes a one-time link.
    ///
    /// # Errors
    /// [`Fault`] when more is asked for than the maker may do, or for a name that is no person's.
    pub async fn create_link(
        &self,
        by: LinkMaker<'_>,
        operator: Option<Owner>,
        role: Option<Role>,
    ) -> Result<Link, Fault> {
        let (maker, maker_role, via) = match by {
            LinkMaker::Operator(operator) => (operator.name().clone(), operator.role, "session"),
            LinkMaker::LocalUser { uid } => (local_user(uid)?, Role::Admin, "socket"),
        };
        let registered = match &operator {
            Some(name) => self.registered(name).await?,
            None => None,
        };
        // Of somebody who is registered, the first of their roles; whoever is not is registered with it.
        let first = registered.as_ref().and_then(|person| person.roles.first().copied());
        let role = role.or(first).unwrap_or(maker_role);
        let allowed = match by {
            LinkMaker::LocalUser { .. } => true,
            LinkMaker::Operator(who) => {
                let same = operator.as_ref().is_none_or(|name| *name == maker) && role == maker_role;
                let own: &[Owner] = if same { std::slice::from_ref(&maker) } else { &[] };
                may_do(who.record(), who.role, Operation::LinkCreate, own).is_ok()
            }
        };
        if !allowed {
            let fault = Fault::new(
                FaultKind::Denied,
                "role_too_high",
                format!("{} may not make a link for the role `{}`", maker, role.as_str()),
                "Ask an administrator for the link.",
            );
            if let LinkMaker::Operator(operator) = by {
                self.note_refusal(operator, Operation::LinkCreate, role.as_str(), &fault).await;
            }
            return Err(fault);
        }
        let operator = operator.unwrap_or_else(|| maker.clone());
        if operator.as_str().starts_with("team:") {
            return Err(Fault::invalid(
                "not_a_person",
                "a team cannot sign in",
                "Name a person: `person@organisation`.",
            ));
        }
        if registered.as_ref().is_some_and(|person| !person.has(role)) {
            return Err(Fault::conflict(
                "role_not_held",
                format!("{operator} does not have the role `{role}`, or may not act any more"),
                "`accredit operator show` says what they may do; an administrator can change it.",
            ));
        }
        let code = LinkCode::from_random(self.draw32());
        let (tenant, now) = (self.tenant().clone(), self.now());
        let expires_at = now.plus_ms(ms(LINK_TTL_S));
        let row = OperatorLink {
            hash: Digest::from_bytes(*code.digest().as_bytes()),
            tenant: tenant.clone(),
            operator: operator.to_string(),
            role: role.as_str().to_owned(),
            expires_at,
        };
        self.store
            .change(move |tx| {
                tx.put_operator_link(&row)?;
                let event = Event::new(&tenant, "operator.link_created")
                    .with("operator", &row.operator)
                    .with("role", &row.role)
                    .with("by", &maker)
                    .with("via", via)
                    .with_number("expires_at", at(row.expires_at));
                Ok::<_, Fault>(tx.append(event)?)
            })
            .await?;
        Ok(Link { code, operator, expires_at })
    }

    async fn registered(&self, name: &Owner) -> Result<Option<Person>, Fault> {
        let (tenant, name) = (self.tenant().clone(), name.clone());
        Ok(self.store.read(move |view| view.operator(&tenant, &name)).await?)
    }

    /// Signs in: the link burns, whatever happens afterwards.
    ///
    /// # Errors
    /// [`Fault`] of kind `Unauthenticated`, recorded, for a code that is wrong, used or too old.
    pub async fn sign_in(&self, code: &str, via: Transport, address: &str) -> Result<SignedIn, Fault> {
        let Ok(code) = LinkCode::parse(code) else {
            return Err(self.refuse_sign_in("malformed", via, address).await);
        };
        let (tenant, now) = (self.tenant().clone(), self.now());
        let (session, secret) = NewSession::draw(self, via);
        let (hash, from) = (Digest::from_bytes(*code.digest().as_bytes()), address.to_owned());
        let row = self
            .store
            .change(move |tx| {
                let Some(link) = tx.redeem_operator_link(&hash, now)?.filter(|link| link.tenant == tenant)
                else {
                    return Ok(None);
                };
                let row = session.row(&link.tenant, &link.operator, &link.role);
                let (Ok(person), Some(role)) = (Owner::parse(&row.operator), Role::parse(&row.role)) else {
                    return Err(broken_session(&row.id));
                };
                let person = match tx.operator(&tenant, &person)? {
                    Some(person) if !person.has(role) => return Ok(None),
                    Some(person) => person,
                    None => {
                        let person = Person::first(&tenant, &person, role, now);
                        tx.put_operator(&person)?;
                        tx.append(added(&person, "link"))?;
                        person
                    }
                };
                tx.put_session(&row)?;
                tx.append(signed_in(&row, format_args!("link over {}", via.as_str()), &from))?;
                Ok::<_, Fault>(Some((row, person)))
            })
            .await?;
        let Some((row, person)) = row else {
            return Err(self.refuse_sign_in("not_usable", via, address).await);
        };
        SignedIn::new(secret, &row, person)
    }

    async fn refuse_sign_in(&self, code: &'static str, via: Transport, address: &str) -> Fault {
        let event = Event::new(self.tenant(), "operator.sign_in_refused")
            .with("method", format_args!("link over {}", via.as_str()))
            .with("address", address)
            .with("code", code);
        // Without its record the failure is not answered as a failure to sign in, but as ours.
        if let Err(fault) = self.store.change(move |tx| Ok::<_, Fault>(tx.append(event)?)).await {
            return fault.into();
        }
        Fault::new(
            FaultKind::Unauthenticated,
            "link_not_usable",
            "this link is wrong, was used before, or is too old",
            "Make a new one on the machine of the server: `accredit login --link`.",
        )
    }

    /// Who presents this session.
    ///
    /// # Errors
    /// [`Fault`] of kind `Unauthenticated`, in the same words for every reason.
    pub async fn operator(&self, secret: &str, via: Transport) -> Result<Operator, Fault> {
        let secret = SessionSecret::parse(secret).map_err(|_| no_session())?;
        let (tenant, now) = (self.tenant().clone(), self.now());
        let hash = Digest::from_bytes(*secret.digest().as_bytes());
        let found = self
            .store
            .read(move |view| {
                let Some(row) = view.session(&hash, via.stored(), now)? else { return Ok(None) };
                let Ok(name) = Owner::parse(&row.operator) else { return Ok(None) };
                Ok(view
                    .operator(&tenant, &name)?
                    .filter(|_| row.tenant == tenant)
                    .map(|person| (row, person)))
            })
            .await?;
        let (row, person) = found.ok_or_else(no_session)?;
        let operator = Operator::from_row(&row, person).ok_or_else(|| broken_session(&row.id))?;
        if !operator.record.has(operator.role) {
            return Err(no_session());
        }
        let idle = now.plus_ms(ms(SESSION_IDLE_S)).min(row.expires_at);
        if idle.ms_since(row.idle_expires_at) > ms(SEEN_EVERY_S) {
            self.store.change(move |tx| Ok::<_, Fault>(tx.touch_session(&hash, idle)?)).await?;
        }
        Ok(operator)
    }

    /// Ends the session.
    ///
    /// # Errors
    /// [`Fault`] when the change could not be made durable: then the session goes on.
    pub async fn sign_out(&self, by: &Operator) -> Result<(), Fault> {
        let (tenant, id) = (self.tenant().clone(), by.session.clone());
        let event =
            Event::new(&tenant, "operator.signed_out").with("operator", by.name()).with("session", &id);
        self.store
            .change(move |tx| {
                tx.end_session(&tenant, &id)?;
                tx.append(event)?;
                Ok::<_, Fault>(())
            })
            .await?;
        Ok(())
    }
}

/// The entry of a person who was registered.
pub(crate) fn added(person: &Person, by: &str) -> Event {
    Event::new(&person.tenant, "operator.added")
        .with("operator", &person.name)
        .with_list("roles", &person.roles)
        .with_list("groups", person.groups.iter().map(Group::as_str))
        .with_opt("same_person_as", person.same_person_as.as_ref())
        .with_opt("successor", person.successor.as_ref())
        .with("by", by)
}

fn local_user(uid: u32) -> Result<Owner, Fault> {
    Owner::parse(&format!("uid-{uid}@localhost"))
        .map_err(|e| Fault::invalid("not_a_person", e.to_string(), "Name a person."))
}

fn no_session() -> Fault {
    Fault::new(
        FaultKind::Unauthenticated,
        "session_not_valid",
        "there is no such session, or it has ended, or it was made over another way in",
        "Sign in again: `accredit login`.",
    )
}

fn broken_session(id: &SessionId) -> Fault {
    tracing::error!(session = %id, "a stored session cannot be read");
    Fault::unavailable("session_broken", "the stored session cannot be read")
}

/// Seconds as milliseconds.
pub(crate) fn ms(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

/// A moment as a number of an event.
pub(crate) fn at(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_ms()).unwrap_or(0)
}
