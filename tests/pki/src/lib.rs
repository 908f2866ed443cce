//! Throw-away certificate authorities for what the tests start. Their keys live as long as the process and protect nothing.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::{Duration, OffsetDateTime};

/// Life of an authority and of its certificates, in days.
const DAYS: i64 = 30;

/// What is wrong with a certificate, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It ended yesterday.
    Expired,
    /// Nobody signed it but its own key.
    SelfSigned,
}

/// A certificate and the key to it, as text.
pub struct Pem {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// One authority.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Pki {
    /// A new authority.
    ///
    /// # Errors
    /// When the library cannot make it.
    pub fn new() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = named("Throw-away authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(params, key), pem: certificate.pem() })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// How a TLS server shows a certificate for these names and addresses.
    ///
    /// # Errors
    /// When the library cannot make the certificate.
    ///
    /// # Panics
    /// When TLS refuses a key that was just made for it.
    pub fn server(&self, names: &[String], flaw: Flaw) -> Result<Arc<rustls::ServerConfig>, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = serving(names)?;
        if flaw == Flaw::Expired {
            params.not_before = OffsetDateTime::now_utc() - Duration::days(3);
            params.not_after = OffsetDateTime::now_utc() - Duration::days(1);
        }
        let certificate = match flaw {
            Flaw::SelfSigned => params.self_signed(&key)?,
            Flaw::None | Flaw::Expired => params.signed_by(&key, &self.issuer)?,
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .expect("a certificate and the key that it was made for belong together");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A certificate for these names and addresses as files of a server.
    ///
    /// # Errors
    /// When the library cannot make it.
    pub fn server_pem(&self, names: &[String]) -> Result<Pem, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = serving(names)?.signed_by(&key, &self.issuer)?;
        Ok(Pem { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn serving(names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = named("Sample service");
    params.subject_alt_names = CertificateParams::new(names.to_vec())?.subject_alt_names;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn named(common_name: &str) -> CertificateParams {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(DAYS);
    params
}
