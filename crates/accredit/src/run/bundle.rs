//! The certificate bundle of one run: the system's authorities, those that the surrounding network already needs, and
//! the gateway's own. A bundle of ours alone would break whatever does not go through the gateway.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Where operating systems keep their bundle, the first that is there counts.
const SYSTEM: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",   // older RHEL
    "/etc/ssl/ca-bundle.pem",             // SUSE
    "/etc/ssl/cert.pem",                  // Alpine
    "/usr/local/share/certs/ca-root-nss.crt", // FreeBSD
];

/// Variables in which a network that ends TLS itself names its bundle.
const SURROUNDING: [&str; 10] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "DENO_CERT",
    "NIX_SSL_CERT_FILE",
];

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// Largest bundle file that is read, in bytes; the system's has about 230 kB.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Certificates in the order in which they were found, each once.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    certificates: Vec<Vec<u8>>,
    seen: BTreeSet<Vec<u8>>,
}

impl Bundle {
    /// The bundle of a run: the system's, what `variable` names, and the gateway's authority.
    pub(crate) fn collect(variable: impl Fn(&str) -> Option<String>, gateway_pem: &str) -> Self {
        let mut bundle = Self::default();
        let system = SYSTEM.iter().map(Path::new).find_map(read);
        bundle.add(&system.unwrap_or_default());
        let named: BTreeSet<PathBuf> =
            SURROUNDING.iter().filter_map(|name| variable(name)).map(PathBuf::from).collect();
        for path in named {
            bundle.add(&read(&path).unwrap_or_default());
        }
        bundle.add(gateway_pem);
        bundle
    }

    /// Adds every certificate of a PEM text. Anything else in it, such as a private key, is left out.
    pub(crate) fn add(&mut self, pem: &str) {
        for block in pem.split(BEGIN).skip(1).filter_map(|rest| rest.split_once(END)).map(|(body, _)| body) {
            let body: String = block.split_ascii_whitespace().collect();
            let Ok(der) = BASE64_STANDARD.decode(body) else { continue };
            if self.seen.insert(der.clone()) {
                self.certificates.push(der);
            }
        }
    }

    /// The certificates as PEM.
    pub(crate) fn to_pem(&self) -> String {
        self.certificates.iter().map(|der| pem(der)).collect()
    }

    /// The certificates as DER.
    pub(crate) fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }
}

fn pem(der: &[u8]) -> String {
    let body = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap_or_default()).collect();
    format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
}

fn read(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok().filter(|m| m.is_file() && m.len() <= FILE_BYTES_MAX)?;
    let _ = metadata;
    std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> String {
        format!("# a comment\n{BEGIN}\n{}\n{END}\n", BASE64_STANDARD.encode(text))
    }

    // case: SEC-01
    #[test]
    fn the_bundle_holds_the_systems_authorities_the_networks_and_ours_and_no_private_key() {
        let dir = tempfile::tempdir().expect("a directory");
        let corporate = dir.path().join("corporate.pem");
        let key = concat!("-----BEGIN ", "PRIVATE KEY-----\nAAAA\n-----END ", "PRIVATE KEY-----\n");
        std::fs::write(&corporate, block("corporate") + key + &block("corporate")).expect("a file");
        let variable = |name: &str| (name == "REQUESTS_CA_BUNDLE").then(|| corporate.display().to_string());
        let bundle = Bundle::collect(variable, &block("gateway"));
        let system = SYSTEM.iter().map(Path::new).find_map(read).unwrap_or_default();
        assert_eq!(bundle.certificates().len(), unique(&system) + 2);
        assert!(bundle.certificates().ends_with(&[b"corporate".to_vec(), b"gateway".to_vec()]));
        let pem = bundle.to_pem();
        assert!(!pem.contains("PRIVATE"));
        let mut again = Bundle::default();
        again.add(&pem);
        assert_eq!(again.certificates(), bundle.certificates());
    }

    fn unique(pem: &str) -> usize {
        let mut bundle = Bundle::default();
        bundle.add(pem);
        bundle.certificates().len()
    }
}
