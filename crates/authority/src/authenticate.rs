//! Proofs → callers and proven agents. The mathematics is `accredit-identity`'s; here is the memory
//! that makes a proof single use, and the look-up of what a proof is held against.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use accredit_core::agent::Agent;
use accredit_core::digest::Digest;
use accredit_core::event::Event;
use accredit_core::id::{AgentName, InstanceId, TokenId};
use accredit_core::time::Timestamp;
use accredit_identity::agent::{AgentRegistration, ProvenAgent};
use accredit_identity::assertion;
use accredit_identity::caller::Caller;
use accredit_identity::dpop::{DpopError, ProofId, ProvedRequest, ProvenPossession, verify_proof};
use accredit_identity::peer::SocketPeer;
use accredit_identity::spiffe::{SpiffeId, TrustDomain};
use accredit_identity::token::{Expected, VerifiedToken, verify};

use crate::Authority;
use crate::agents::read_keys;
use crate::fault::{Fault, FaultKind};

/// Proofs remembered at once. Each is good for two minutes; beyond this, new ones are refused
/// rather than old ones forgotten.
const PROOFS_MAX: usize = 1_000_000;
/// The code in the ledger of a token that came with a proof by another key than its own.
pub(crate) const OTHER_KEY: &str = "other_key";
/// How often one token is noted as presented without its key, in milliseconds.
const MISUSE_EVERY_MS: i64 = 60_000;
/// Most tokens that are noted so within that time: each is an entry in the ledger.
const MISUSES_MAX: usize = 1_000;

/// A request as far as its proof is about it.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Method.
    pub method: &'a str,
    /// Our own public URL of what was asked for, never taken from `Host`.
    pub url: &'a str,
    /// The `Authorization` field.
    pub authorization: &'a str,
    /// The `DPoP` field.
    pub dpop: &'a str,
}

/// How an agent proves itself when it starts a task.
pub enum AgentProof<'a> {
    /// `private_key_jwt`.
    Assertion(&'a str),
    /// A process at the other end of the Unix socket, and the agent that it says it is.
    Peer(SocketPeer, AgentName),
}

/// Proofs that were used and could still be replayed.
#[derive(Default)]
pub(crate) struct ProofMemory(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    until: BTreeMap<[u8; 32], Timestamp>,
    swept_at: Option<Timestamp>,
}

impl ProofMemory {
    /// Remembers a proof; `false` when it was used before or the memory is full.
    fn remember(&self, proof: &ProofId, now: Timestamp) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.swept_at.is_none_or(|at| now.ms_since(at) > 10_000) {
            seen.until.retain(|_, until| *until > now);
            seen.swept_at = Some(now);
        }
        if seen.until.len() >= PROOFS_MAX || seen.until.contains_key(proof.as_bytes()) {
            return false;
        }
        seen.until.insert(*proof.as_bytes(), proof.remember_until());
        true
    }
}

/// Why nobody proved that they hold a key.
enum NoPossession {
    /// They hold another one than the token is bound to.
    OtherKey,
    /// Anything else.
    Fault(Fault),
}

impl From<Fault> for NoPossession {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<NoPossession> for Fault {
    fn from(error: NoPossession) -> Self {
        match error {
            NoPossession::OtherKey => refused_proof(&DpopError::OtherKey),
            NoPossession::Fault(fault) => fault,
        }
    }
}

/// When a token was last noted as presented without its key.
#[derive(Default)]
pub(crate) struct Misuses(Mutex<BTreeMap<TokenId, Timestamp>>);

impl Misuses {
    fn is_news(&self, token: &TokenId, now: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.retain(|_, at| now.ms_since(*at) < MISUSE_EVERY_MS);
        noted.len() < MISUSES_MAX && noted.insert(token.clone(), now).is_none()
    }
}

impl Authority {
    /// The caller behind a task token and the proof that came with it.
    ///
    /// # Errors
    /// [`Fault`] of kind `Unauthenticated`. Whether the task still is active is decided later.
    pub async fn caller(&self, presented: Presented<'_>) -> Result<Caller, Fault> {
        let keys = self.keys().ok_or_else(Fault::sealed)?;
        let text = dpop_token(presented.authorization)?;
        let expected = Expected { issuer: &self.settings.issuer, audience: &self.settings.gateway_url };
        let now = self.now();
        let token = verify(text, keys.token_set(), &expected, now).map_err(|e| refused_token(&e))?;
        let request = ProvedRequest {
            method: presented.method,
            url: presented.url,
            access_token: Some(text),
            key: Some(&token.claims().key),
        };
        let possession = match self.possession(presented.dpop, &request, now).await {
            Err(NoPossession::OtherKey) => {
                self.note_misuse(&token, now).await;
                return Err(refused_proof(&DpopError::OtherKey));
            }
            other => other?,
        };
        let caller = Caller::from_token(token, &possession).map_err(|e| refused_token(&e))?;
        if caller.tenant() != self.tenant()
            || caller.spiffe_id().trust_domain().as_str() != self.settings.trust_domain
        {
            return Err(refused_token(&"the token is for another tenant"));
        }
        Ok(caller)
    }

    /// The possession of a key, proved for a request without a token.
    ///
    /// # Errors
    /// [`Fault`] of kind `Unauthenticated`.
    pub async fn possession_only(
        &self,
        method: &str,
        url: &str,
        dpop: &str,
    ) -> Result<ProvenPossession, Fault> {
        let request = ProvedRequest { method, url, access_token: None, key: None };
        Ok(self.possession(dpop, &request, self.now()).await?)
    }

    /// Writes down that somebody who does not hold its key presented a token of ours, once a minute for each.
    async fn note_misuse(&self, token: &VerifiedToken, now: Timestamp) {
        let claims = token.claims();
        if !self.misuses.is_news(&claims.id, now) {
            return;
        }
        let event = Event::new(self.tenant(), "token.refused")
            .with("token", &claims.id)
            .with("task", &claims.task)
            .with("agent", claims.agent.name())
            .with("instance", &claims.instance)
            .with("code", OTHER_KEY);
        let noted = self.store.change(move |tx| Ok::<_, Fault>(tx.append(event)?)).await;
        if let Err(error) = noted {
            tracing::warn!(%error, "a token was presented without its key, and that could not be written down");
        }
    }

    async fn possession(
        &self,
        dpop: &str,
        request: &ProvedRequest<'_>,
        now: Timestamp,
    ) -> Result<ProvenPossession, NoPossession> {
        let mut used = None;
        let proven = verify_proof(dpop, request, now, |proof| {
            used = Some(*proof);
            self.memory.remember(proof, now)
        });
        let proven = proven.map_err(|error| match error {
            DpopError::OtherKey => NoPossession::OtherKey,
            error => NoPossession::Fault(refused_proof(&error)),
        })?;
        match used {
            // This process remembers what it took; the others are told.
            Some(proof) if self.store.is_shared() => {
                let hash = Digest::from_bytes(*proof.as_bytes());
                let fresh = self.store.use_once("dpop", &hash, proof.remember_until()).await;
                match fresh.map_err(Fault::from)? {
                    true => Ok(proven),
                    false => Err(refused_proof(&"the proof was used before").into()),
                }
            }
            Some(_) => Ok(proven),
            None => Err(refused_proof(&"the proof names nothing that is used once").into()),
        }
    }

    /// The agent that proves itself, its task to be bound to the key in `possession`.
    ///
    /// # Errors
    /// [`Fault`] of kind `Unauthenticated`; it does not say whether the agent exists.
    pub async fn proven_agent(
        &self,
        proof: AgentProof<'_>,
        possession: &ProvenPossession,
    ) -> Result<ProvenAgent, Fault> {
        let instance = InstanceId::from_random(self.draw16());
        match proof {
            AgentProof::Assertion(text) => {
                let claimed = assertion::claimed_agent(text).map_err(|e| refused_agent(&e))?;
                let registration = self.registration(claimed.name()).await?;
                if registration.id != claimed {
                    return Err(refused_agent(&"it is not registered under this SPIFFE ID"));
                }
                let now = self.now();
                let mut used = None;
                let proven =
                    assertion::verify(text, &registration, &self.settings.issuer, instance, now, |proof| {
                        used = Some(*proof);
                        self.memory.remember(proof, now)
                    })
                    .map_err(|e| refused_agent(&e))?;
                self.use_up(used).await?;
                Ok(proven.bound_to(possession))
            }
            AgentProof::Peer(peer, name) => {
                let registration = self.registration(&name).await?;
                ProvenAgent::from_socket_peer(peer, possession, &registration, instance)
                    .map_err(|e| refused_agent(&e))
            }
        }
    }

    /// Makes the single use of an assertion durable, so that a restart does not forget it.
    async fn use_up(&self, proof: Option<ProofId>) -> Result<(), Fault> {
        let Some(proof) = proof else { return Err(refused_agent(&"the assertion names no proof")) };
        let fresh = self
            .store
            .change(move |tx| {
                Ok::<_, Fault>(tx.use_once(
                    "assertion",
                    &Digest::from_bytes(*proof.as_bytes()),
                    proof.remember_until(),
                )?)
            })
            .await?;
        if fresh { Ok(()) } else { Err(refused_agent(&"the assertion was used before")) }
    }

    /// The SPIFFE ID of a registered agent.
    ///
    /// # Errors
    /// [`Fault`] when the configured trust domain is not one.
    pub fn spiffe_id(&self, agent: &Agent) -> Result<SpiffeId, Fault> {
        let domain = TrustDomain::parse(&self.settings.trust_domain)
            .map_err(|e| Fault::unavailable("trust_domain", e.to_string()))?;
        Ok(SpiffeId::new(
            domain,
            agent.tenant.clone(),
            agent.environment.clone(),
            agent.kind,
            agent.name.clone(),
        ))
    }

    async fn registration(&self, name: &AgentName) -> Result<AgentRegistration, Fault> {
        let (tenant, asked) = (self.tenant().clone(), name.clone());
        let found = self
            .store
            .read(move |view| {
                let Some(agent) = view.agent(&tenant, &asked)? else { return Ok(None) };
                Ok(Some((view.agent_keys(&tenant, &asked)?, agent)))
            })
            .await?;
        let Some((keys, agent)) = found else { return Err(refused_agent(&"no such agent is registered")) };
        let keys = read_keys(&keys)?;
        Ok(AgentRegistration { id: self.spiffe_id(&agent)?, keys, socket_uid: agent.socket_uid })
    }
}

fn refused_proof(cause: &dyn std::fmt::Display) -> Fault {
    Fault::new(
        FaultKind::Unauthenticated,
        "invalid_dpop_proof",
        cause.to_string(),
        "Make a new DPoP proof (RFC 9449) for this method and URL with the key of this run.",
    )
}

/// The token of an `Authorization: DPoP …` field. `Bearer` is not accepted: every token is bound to a key.
fn dpop_token(authorization: &str) -> Result<&str, Fault> {
    let (scheme, token) = authorization.split_once(' ').ok_or_else(|| refused_token(&"no token was sent"))?;
    if scheme.eq_ignore_ascii_case("dpop") {
        Ok(token.trim())
    } else {
        Err(refused_token(&"the scheme must be `DPoP`"))
    }
}

fn refused_token(cause: &dyn std::fmt::Display) -> Fault {
    Fault::new(
        FaultKind::Unauthenticated,
        "invalid_token",
        cause.to_string(),
        "Renew the task's token, or start a new task with `accredit run`.",
    )
}

fn refused_agent(cause: &dyn std::fmt::Display) -> Fault {
    Fault::new(
        FaultKind::Unauthenticated,
        "invalid_client",
        format!("the agent did not prove itself: {cause}"),
        "Register the agent and its key with `accredit agent add` or `accredit agent enrol`.",
    )
}
