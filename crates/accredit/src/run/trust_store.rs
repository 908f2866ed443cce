//! The bundle as a Java key store (JKS), the one form that every Java reads without a password: opened without one, its
//! trailing digest is not looked at, and it holds nothing but public certificates.

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
/// Tag of an entry that is a trusted certificate.
const TRUSTED: u32 = 2;
/// Bytes of the digest at the end, left zero.
const DIGEST_BYTES: usize = 20;

/// A key store with these certificates (DER).
pub(crate) fn encode(certificates: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let count = u32::try_from(certificates.len()).unwrap_or(u32::MAX);
    [MAGIC, VERSION, count].iter().for_each(|n| out.extend_from_slice(&n.to_be_bytes()));
    for (i, der) in certificates.iter().enumerate() {
        out.extend_from_slice(&TRUSTED.to_be_bytes());
        text(&mut out, &format!("ca-{i}"));
        out.extend_from_slice(&0_u64.to_be_bytes()); // when it was added: never shown
        text(&mut out, "X.509");
        out.extend_from_slice(&u32::try_from(der.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(der);
    }
    out.extend_from_slice(&[0; DIGEST_BYTES]);
    out
}

/// A length of two bytes and ASCII, which is its own "modified UTF-8".
fn text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("aliases are a few bytes long");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_store_has_its_magic_its_count_and_each_certificate() {
        let store = encode(&[b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(store[..12], [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 2]);
        let entry =
            [&[0, 0, 0, 2, 0, 4][..], b"ca-1", &[0; 8], &[0, 5], b"X.509", &[0, 0, 0, 3], b"two", &[0; 20]]
                .concat();
        assert!(store.ends_with(&entry));
    }
}
