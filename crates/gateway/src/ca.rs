//! The per-install certificate authority that lets the gateway read what clients encrypt, and the
//! leaf certificates that it shows them. Its key is sealed in the vault and never leaves the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::bounds::{LEAF_DAYS, LEAF_RENEW_DAYS, LEAVES_MAX};
use crate::http::host::Host;

/// Life of the authority's own certificate, in days: ten years, as it is made once per install.
const CA_DAYS: i64 = 3_650;
/// Clocks of clients may be late by this much, in days.
const EARLY_DAYS: i64 = 2;

/// Why a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The library refused.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The key cannot be used for TLS.
    #[error("a key cannot be used: {0}")]
    Key(#[from] rustls::Error),
    /// What the vault holds is not the authority.
    #[error("the stored certificate authority is broken")]
    Stored,
}

/// The certificate authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    leaf_key: KeyPair,
    leaf_key_tls: Arc<dyn rustls::sign::SigningKey>,
    leaves: Mutex<BTreeMap<String, Leaf>>,
}

struct Leaf {
    /// The server's side of TLS that shows it; one for all connections.
    terminates: Arc<rustls::ServerConfig>,
    fresh_until: Instant,
}

impl Ca {
    /// Makes a new authority: its certificate and key as PEM, to be sealed.
    ///
    /// # Errors
    /// [`CaError::Make`].
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "Accredit gateway (this install only)");
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = validity(CA_DAYS);
        let certificate = params.self_signed(&key)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        Ok(Zeroizing::new(format!("{}{}", certificate.pem(), key_pem.as_str()).into_bytes()))
    }

    /// Reads back what [`Self::generate`] made.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn from_sealed(text: &[u8]) -> Result<Self, CaError> {
        let text = std::str::from_utf8(text).map_err(|_| CaError::Stored)?;
        let key_at = text.find("-----BEGIN PRIVATE KEY-----").ok_or(CaError::Stored)?;
        let (certificate_pem, key_pem) = text.split_at(key_at);
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, KeyPair::from_pem(key_pem)?)?;
        // One key for all leaves of this process: a leaf proves the gateway, not the host.
        let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let der = PrivatePkcs8KeyDer::from(leaf_key.serialize_der());
        let leaf_key_tls = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der.into())?;
        Ok(Self {
            issuer,
            certificate_pem: certificate_pem.to_owned(),
            leaf_key,
            leaf_key_tls,
            leaves: Mutex::default(),
        })
    }

    /// The authority's certificate, for clients to trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The server's side of TLS with the certificate shown for a host: HTTP/1.1, and every session from its beginning.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn terminates(&self, host: &Host) -> Result<Arc<rustls::ServerConfig>, CaError> {
        let name = host.to_string();
        let name = name.trim_matches(['[', ']']).to_owned();
        let now = Instant::now();
        if let Some(leaf) = self.leaves().get(&name).filter(|l| now < l.fresh_until) {
            return Ok(leaf.terminates.clone());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(OneHost::new(host, Arc::new(self.make_leaf(&name)?))));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let terminates = Arc::new(config);
        let fresh_days = u64::try_from(LEAF_DAYS).unwrap_or(1) - LEAF_RENEW_DAYS;
        let fresh_until = now + Duration::from_secs(fresh_days * 24 * 3_600);
        let mut leaves = self.leaves();
        if leaves.len() >= LEAVES_MAX {
            leaves.clear();
        }
        leaves.insert(name, Leaf { terminates: terminates.clone(), fresh_until });
        Ok(terminates)
    }

    fn make_leaf(&self, name: &str) -> Result<CertifiedKey, CaError> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, "Accredit gateway");
        params.distinguished_name = subject;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = validity(LEAF_DAYS);
        let certificate = params.signed_by(&self.leaf_key, &self.issuer)?;
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        Ok(CertifiedKey::new(chain, self.leaf_key_tls.clone()))
    }

    fn leaves(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Leaf>> {
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn validity(days: i64) -> (time::OffsetDateTime, time::OffsetDateTime) {
    let now = time::OffsetDateTime::now_utc();
    (now - time::Duration::days(EARLY_DAYS), now + time::Duration::days(days))
}

/// Shows the certificate of exactly one host, and only to a client that asks for that host: the
/// name in TLS must be the name in CONNECT (R2).
#[derive(Debug)]
struct OneHost {
    name: Option<String>,
    shown: Arc<CertifiedKey>,
}

impl OneHost {
    fn new(host: &Host, shown: Arc<CertifiedKey>) -> Self {
        Self { name: host.name().map(str::to_owned), shown }
    }
}

impl ResolvesServerCert for OneHost {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = match (&self.name, hello.server_name()) {
            (Some(name), Some(asked)) => name.eq_ignore_ascii_case(asked),
            // Addresses are not sent in TLS (RFC 6066 §3); a client without the extension is
            // still held to the host of CONNECT by the `Host` field.
            (_, None) => true,
            (None, Some(_)) => false,
        };
        fits.then(|| self.shown.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_reads_back_and_keeps_its_leaves() {
        let sealed = Ca::generate().expect("an authority");
        let ca = Ca::from_sealed(&sealed).expect("the same authority");
        assert!(ca.certificate_pem().contains("BEGIN CERTIFICATE"));
        assert!(!ca.certificate_pem().contains("PRIVATE"));
        let host = Host::parse(b"api.example.com").expect("a host");
        let (first, second) = (ca.terminates(&host).expect("a leaf"), ca.terminates(&host).expect("a leaf"));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(Ca::from_sealed(b"garbage").is_err());
    }

    // case: EGR-14
    #[test]
    fn a_flood_of_names_does_not_grow_the_cache_without_bound() {
        let ca = Ca::from_sealed(&Ca::generate().expect("an authority")).expect("the authority");
        for n in 0..LEAVES_MAX + 10 {
            ca.terminates(&Host::parse(format!("h{n}.example").as_bytes()).expect("a host")).expect("a leaf");
        }
        assert!(ca.leaves().len() <= LEAVES_MAX);
    }
}
