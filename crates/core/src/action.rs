//! The protocol-neutral form of one request: what will be done, to what, carried by which bytes.

use accredit_identity::id::{OperationName, ResourceName};

use crate::approval::BodyShown;
use crate::boundary::Asked;
use crate::digest::Digest;
use crate::effect::Effect;
use crate::host::Endpoint;
use crate::resource::{Resource, unknown_operation};

/// Longest path of an action, in bytes: what the ledger keeps of it uncut.
pub const PATH_BYTES_MAX: usize = 2_048;

/// One request as a gateway parsed it, before anybody knows whose resource it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Where it is to go.
    pub endpoint: Endpoint,
    /// Method, as sent.
    pub method: String,
    /// Path, percent-decoded: two spellings of one path are one path for boundaries and policies.
    /// At most [`PATH_BYTES_MAX`] bytes, so that the ledger holds it whole.
    pub path: String,
    /// Path byte for byte as it will be sent, where that is another spelling.
    pub sent_path: Option<String>,
    /// Keyed digest of the query. `None`: there is none.
    pub query: Option<Digest>,
    /// Keyed digest of the head that will be sent, without the secret.
    pub head: Digest,
    /// Media type of the body, without parameters.
    pub content_type: Option<String>,
    /// Length of the body in bytes, where the request states it.
    pub body_bytes: Option<u64>,
    /// What is known of the body before anything is sent.
    pub body: Body,
    /// The query as it will be sent: for a person to read, never for a policy or the ledger.
    pub query_shown: Option<String>,
    /// W3C trace context that the request carries upstream.
    pub traceparent: String,
}

/// What is known of a request's body when it is decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// It will be read while it is sent.
    Streamed,
    /// It was read whole, and exactly this will be sent.
    Held(Box<BodyShown>),
}

impl Call {
    /// Digest of exactly what will be sent, body included. `None`: the body is not known yet.
    ///
    /// It is that of the head, for a request without a body; else SHA-256 over both keyed digests.
    #[must_use]
    pub fn exact(&self) -> Option<Digest> {
        match &self.body {
            Body::None => Some(self.head),
            Body::Streamed => None,
            Body::Held(body) => Some(exact_of(&self.head, &body.digest)),
        }
    }
}

pub(crate) fn exact_of(head: &Digest, body: &Digest) -> Digest {
    Digest::of(&[head.as_bytes().as_slice(), body.as_bytes()].concat())
}

/// One action: a [`Call`] with its place in the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    call: Call,
    resource: Option<ResourceName>,
    operation: OperationName,
    effect: Option<Effect>,
}

impl Action {
    /// The action that a call is, given the resource that answers at its endpoint.
    #[must_use]
    pub fn new(call: Call, resource: Option<&Resource>) -> Self {
        let at_home = resource.filter(|r| r.endpoints.contains(&call.endpoint));
        let known = at_home.and_then(|r| r.operation(&call.method, &call.path));
        let (operation, effect) = match known {
            Some((operation, effect)) => (operation, Some(effect)),
            None => (unknown_operation(), None),
        };
        Self { resource: at_home.map(|r| r.name.clone()), call, operation, effect }
    }

    /// The parsed request.
    #[must_use]
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// The resource, if one is registered for this endpoint.
    #[must_use]
    pub const fn resource(&self) -> Option<&ResourceName> {
        self.resource.as_ref()
    }

    /// The operation; `unknown` when there is no resource or the method is not carried.
    #[must_use]
    pub const fn operation(&self) -> &OperationName {
        &self.operation
    }

    /// The effect of a known operation.
    #[must_use]
    pub const fn effect(&self) -> Option<Effect> {
        self.effect
    }

    /// What is asked of a boundary, when the operation is known.
    #[must_use]
    pub fn asked(&self) -> Option<Asked<'_>> {
        Some(Asked {
            resource: self.resource.as_ref()?,
            operation: &self.operation,
            effect: self.effect?,
            method: &self.call.method,
            path: &self.call.path,
        })
    }
}
