//! The provider and what is known of it: its places and keys, read when they are needed and kept for a while.

use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use accredit_client::CallError;
use accredit_identity::openid::{self, Expected, Happened, Identity, OpenIdError, ProviderKeys};
use accredit_identity::time::Timestamp;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::exchange::Place;

/// How long what a provider publishes is kept before it is read again.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);
/// How soon it may be read again for a key that is not among those that are known.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How soon it may be read again after it could not be read.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// What we prove ourselves with at the provider.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// Takes the text.
    #[must_use]
    pub const fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

/// Why a text is not the issuer of a provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an issuer: write https://host[:port][/path], without query (http for this machine alone)"
)]
pub struct ProviderUrlError(String);

/// Why somebody could not be signed in through the provider.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It was not reached, or did not prove who it is.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It answered what is not of its protocol.
    #[error("the provider answered what is not of its protocol: {0}")]
    Protocol(String),
    /// It did not take the code: used, too old, or another client's (RFC 6749 §5.2).
    #[error("the provider did not take the code: {0}")]
    Refused(String),
    /// What it signed does not count.
    #[error(transparent)]
    Token(#[from] OpenIdError),
}

/// What a provider publishes of itself (`OpenID` Connect Discovery 1.0 §3).
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

struct Known {
    metadata: Metadata,
    keys: ProviderKeys,
    read: Instant,
}

/// A provider, as its client.
#[derive(Clone)]
pub struct Provider {
    issuer: String,
    client_id: String,
    secret: Option<ClientSecret>,
    published: Arc<Published>,
}

/// What was read of what the provider publishes.
#[derive(Default)]
struct Published {
    known: Mutex<Option<Arc<Known>>>,
    /// Whoever holds it reads; when that failed last.
    turn: tokio::sync::Mutex<Option<Instant>>,
}

impl Published {
    /// What is known, unless it is old or `stale`.
    fn fresh(&self, stale: Option<&Arc<Known>>) -> Option<Arc<Known>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|known| {
            known.read.elapsed() < KEPT_FOR && !stale.is_some_and(|stale| Arc::ptr_eq(stale, known))
        })
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// A request for somebody's identity: what comes back must fit it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Where the provider sends them back to.
    pub redirect_uri: &'a str,
    /// Comes back with them (RFC 6749 §10.12).
    pub state: &'a str,
    /// Comes back in the ID token.
    pub nonce: &'a str,
    /// What only whoever asked knows (RFC 7636 §4.1).
    pub verifier: &'a str,
}

impl Provider {
    /// A client of the provider with this issuer identifier. Nothing is asked yet.
    ///
    /// # Errors
    /// [`ProviderUrlError`].
    pub fn new(
        issuer: &str,
        client_id: &str,
        secret: Option<ClientSecret>,
    ) -> Result<Self, ProviderUrlError> {
        if issuer.contains('?') || Place::parse(issuer).is_none() {
            return Err(ProviderUrlError(issuer.to_owned()));
        }
        let (issuer, client_id) = (issuer.to_owned(), client_id.to_owned());
        Ok(Self { issuer, client_id, secret, published: Arc::default() })
    }

    /// Its issuer identifier.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Its host, for people.
    #[must_use]
    pub fn host(&self) -> &str {
        let rest = self.issuer.split_once("://").map_or(self.issuer.as_str(), |(_, rest)| rest);
        rest.split(['/', ':']).next().unwrap_or(rest)
    }

    /// The address at which somebody proves who they are (Core §3.1.2.1), with PKCE.
    ///
    /// # Errors
    /// [`ProviderError`] when the provider does not say where that is.
    pub async fn address(&self, request: Request<'_>) -> Result<String, ProviderError> {
        let known = self.known(None).await?;
        let challenge = digest::digest(&digest::SHA256, request.verifier.as_bytes());
        let query = form(&[
            ("response_type", "code"),
            ("scope", "openid email"),
            ("client_id", &self.client_id),
            ("redirect_uri", request.redirect_uri),
            ("state", request.state),
            ("nonce", request.nonce),
            ("code_challenge", &BASE64_URL_SAFE_NO_PAD.encode(challenge)),
            ("code_challenge_method", "S256"),
        ]);
        let endpoint = &known.metadata.authorization_endpoint;
        let join = if endpoint.contains('?') { '&' } else { '?' };
        Ok(format!("{endpoint}{join}{query}"))
    }

    /// Who came back with this code (Core §3.1.3). `iss` is the parameter of the address that they came back to (RFC 9207).
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn identify(
        &self,
        code: &str,
        iss: Option<&str>,
        request: Request<'_>,
        now: Timestamp,
    ) -> Result<Identity, ProviderError> {
        #[derive(Deserialize)]
        struct Tokens {
            id_token: String,
            access_token: Option<String>,
        }
        let known = self.known(None).await?;
        let named = iss.is_some() || known.metadata.authorization_response_iss_parameter_supported;
        if named && iss != Some(self.issuer.as_str()) {
            return Err(OpenIdError::Issuer.into());
        }
        let body = self.exchange(code, request, &known.metadata).await?;
        let tokens: Tokens = read(&body)?;
        let read =
            |keys: &ProviderKeys| openid::id_token(&tokens.id_token, keys, self.expected(now), request.nonce);
        let identity = self.with_keys(read).await?;
        match (&identity.verified_email, tokens.access_token, &known.metadata.userinfo_endpoint) {
            (None, Some(token), Some(endpoint)) => {
                about(&place(endpoint)?, &Zeroizing::new(token), identity).await
            }
            _ => Ok(identity),
        }
    }

    /// The answer to a code (RFC 6749 §4.1.3), with the secret where the provider takes it.
    async fn exchange(
        &self,
        code: &str,
        request: Request<'_>,
        metadata: &Metadata,
    ) -> Result<Bytes, ProviderError> {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", request.redirect_uri),
            ("code_verifier", request.verifier),
        ];
        let methods = &metadata.token_endpoint_auth_methods_supported;
        let in_form = !methods.is_empty() && !methods.iter().any(|method| method == "client_secret_basic");
        let authorization = match &self.secret {
            Some(secret) if !in_form => Some(self.basic(secret)?),
            secret => {
                fields.push(("client_id", &self.client_id));
                fields.extend(secret.iter().map(|secret| ("client_secret", secret.0.as_str())));
                None
            }
        };
        let (status, body) = place(&metadata.token_endpoint)?.post_form(form(&fields), authorization).await?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        let why = read::<Refusal>(&body).map_or_else(|_| status.to_string(), |refusal| word(&refusal.error));
        Err(ProviderError::Refused(why))
    }

    /// Whose sessions are over, from a logout token.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn logged_out(&self, token: &str, now: Timestamp) -> Result<String, ProviderError> {
        self.with_keys(|keys| openid::logout_token(token, keys, self.expected(now))).await
    }

    /// What happened to whom, from a security event token.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn happened(&self, token: &str, now: Timestamp) -> Result<(String, Happened), ProviderError> {
        self.with_keys(|keys| openid::security_event(token, keys, self.expected(now))).await
    }

    fn expected(&self, now: Timestamp) -> Expected<'_> {
        Expected { issuer: &self.issuer, client_id: &self.client_id, now }
    }

    /// RFC 6749 §2.3.1: both halves form-encoded first.
    fn basic(&self, secret: &ClientSecret) -> Result<HeaderValue, ProviderError> {
        let pair = Zeroizing::new(format!("{}:{}", encoded(&self.client_id), encoded(&secret.0)));
        HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())))
            .map_err(|error| ProviderError::Protocol(error.to_string()))
    }

    /// Reads with the keys that are known, and once more when the provider may have new ones.
    async fn with_keys<T>(
        &self,
        read: impl Fn(&ProviderKeys) -> Result<T, OpenIdError>,
    ) -> Result<T, ProviderError> {
        let known = self.known(None).await?;
        match read(&known.keys) {
            Err(OpenIdError::UnknownKey) if known.read.elapsed() >= AGAIN_AFTER => {
                Ok(read(&self.known(Some(&known)).await?.keys)?)
            }
            other => Ok(other?),
        }
    }

    /// What the provider publishes: kept, unless it is old or `stale`. One reads and the others wait for what it finds, so that
    /// whoever asks without having proved anything makes no crowd at the provider.
    async fn known(&self, stale: Option<&Arc<Known>>) -> Result<Arc<Known>, ProviderError> {
        if let Some(known) = self.published.fresh(stale) {
            return Ok(known);
        }
        let mut failed = self.published.turn.lock().await;
        if let Some(known) = self.published.fresh(stale) {
            return Ok(known);
        }
        if failed.is_some_and(|at| at.elapsed() < AGAIN_AFTER_FAILURE) {
            return Err(ProviderError::Protocol("it did not answer a moment ago".to_owned()));
        }
        let read = self.read_published().await;
        *failed = read.is_err().then(Instant::now);
        let known = Arc::new(read?);
        *self.published.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }

    async fn read_published(&self) -> Result<Known, ProviderError> {
        let well_known = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let metadata: Metadata = read(&fetch(&well_known).await?)?;
        // Discovery §4.3: exactly the issuer that was asked.
        if metadata.issuer != self.issuer {
            return Err(OpenIdError::Issuer.into());
        }
        place(&metadata.authorization_endpoint)?;
        let keys = ProviderKeys::parse(&fetch(&metadata.jwks_uri).await?)?;
        Ok(Known { metadata, keys, read: Instant::now() })
    }
}

/// The address of somebody, from where providers give it that keep ID tokens small (Core §5.3).
async fn about(place: &Place, token: &str, identity: Identity) -> Result<Identity, ProviderError> {
    let bearer = Zeroizing::new(format!("Bearer {token}"));
    let bearer =
        HeaderValue::try_from(bearer.as_str()).map_err(|e| ProviderError::Protocol(e.to_string()))?;
    let (status, body) = place.get(Some(bearer)).await?;
    if status != StatusCode::OK {
        return Err(ProviderError::Protocol(format!("status {status} for its user info")));
    }
    Ok(identity.with_user_info(&body)?)
}

fn place(url: &str) -> Result<Place, ProviderError> {
    Place::parse(url)
        .ok_or_else(|| ProviderError::Protocol("a place in its metadata is no https URL".to_owned()))
}

async fn fetch(url: &str) -> Result<Bytes, ProviderError> {
    match place(url)?.get(None).await? {
        (StatusCode::OK, body) => Ok(body),
        (status, _) => Err(ProviderError::Protocol(format!("status {status} for what it publishes"))),
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, ProviderError> {
    serde_json::from_slice(body).map_err(|error| ProviderError::Protocol(error.to_string()))
}

/// An error code of RFC 6749 §5.2, and nothing else that a page could be made to show.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(64).collect()
}

fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

/// Percent-encoding of everything but unreserved characters (RFC 3986 §2.3).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn an_issuer_is_an_https_url_or_on_this_machine() {
        for issuer in ["https://idp.example", "https://idp.example/realms/a", "http://localhost:8080"] {
            assert_eq!(Provider::new(issuer, "c", None).expect(issuer).issuer(), issuer);
        }
        for issuer in
            ["", "idp.example", "http://idp.example", "https://idp.example?a=b", "https://idp.example#a"]
        {
            assert!(Provider::new(issuer, "c", None).is_err(), "{issuer}");
        }
    }

    #[tokio::test]
    async fn a_crowd_asks_a_provider_that_fails_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
            }
        });
        let provider = Provider::new(&issuer, "c", None).expect("an issuer");
        let crowd: Vec<_> = (0..50)
            .map(|_| {
                let provider = provider.clone();
                tokio::spawn(async move { provider.logged_out("e30.e30.AAAA", Timestamp::from_ms(0)).await })
            })
            .collect();
        for one in crowd {
            assert!(matches!(one.await.expect("no panic"), Err(ProviderError::Protocol(_))));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
