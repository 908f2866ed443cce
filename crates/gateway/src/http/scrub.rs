//! Takes a secret out of what an upstream sends back: in header fields, and in bodies as they stream.
//!
//! It finds the secret and the forms in which upstreams echo it (base64 at each alignment, Basic
//! credentials, hexadecimal, percent, JSON and HTML escapes, changed case) and overwrites every byte of
//! each occurrence with `*`, so that lengths stay true. Bytes that cannot be the start of an occurrence
//! pass at once. It does not see through compression, nor forms that it does not know.
//!
//! The search is Aho and Corasick's automaton, written out here because its table spells the secret and
//! must be wiped from memory when it is dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderValue;
use zeroize::{Zeroize, Zeroizing};

/// Shortest secret in bytes that is looked for: shorter ones occur by chance.
pub const SECRET_BYTES_MIN: usize = 8;

/// Longest secret in bytes: half of what upstreams commonly take in one field; the table of its forms
/// stays below 8 MiB.
pub const SECRET_BYTES_MAX: usize = 4 * 1024;

/// What an occurrence is overwritten with.
const MARK: u8 = b'*';

/// Why a secret cannot be looked for; without a search it must not be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NeedleError {
    /// Shorter than [`SECRET_BYTES_MIN`].
    #[error("the secret is shorter than {SECRET_BYTES_MIN} bytes")]
    TooShort,
    /// Longer than [`SECRET_BYTES_MAX`].
    #[error("the secret is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong,
}

/// A secret to look for.
#[derive(Clone, Copy)]
pub struct Protected<'a> {
    /// The secret, without scheme or user.
    pub secret: &'a [u8],
    /// The user beside which it stands in Basic credentials (RFC 7617), if it does.
    pub basic_user: Option<&'a [u8]>,
}

/// Everything that must not come back, in one table; wiped when dropped, never printed or copied.
///
/// Building it costs some fifteen steps per byte of the secret, so it is made once per version of a
/// secret and shared, not once per response.
pub struct Needles {
    nodes: Zeroizing<Vec<Node>>,
    /// The children of the root, by byte; 0 is none.
    root: Zeroizing<[u32; 256]>,
}

/// One state: the texts that are looked for share their beginnings. Index 0 is the root.
#[derive(Default, Zeroize)]
struct Node {
    byte: u8,
    first_child: u32,
    next_sibling: u32,
    /// The state of the longest proper suffix.
    fail: u32,
    depth: u32,
    /// Length of the longest text that ends here, or 0.
    matched: u32,
}

const ROOT: u32 = 0;

impl Needles {
    /// The table for these secrets and the forms in which they may come back.
    ///
    /// # Errors
    /// [`NeedleError`] when a secret has no length that can be looked for.
    pub fn of(protected: &[Protected<'_>]) -> Result<Self, NeedleError> {
        let mut texts = Vec::new();
        for one in protected {
            if one.secret.len() < SECRET_BYTES_MIN {
                return Err(NeedleError::TooShort);
            }
            if one.secret.len() > SECRET_BYTES_MAX {
                return Err(NeedleError::TooLong);
            }
            add_forms(one, &mut texts);
        }
        texts.sort_unstable_by(|a: &Text, b| a[..].cmp(&b[..]));
        texts.dedup_by(|a, b| a[..] == b[..]);
        Ok(Self::build(&texts))
    }

    /// Overwrites every occurrence in a complete text; gives the result and how many there were, or
    /// `None` when there are none.
    pub fn scrub(&self, text: &[u8]) -> Option<(Vec<u8>, u64)> {
        let mut masked: Option<Vec<u8>> = None;
        let mut found = 0;
        self.scan(ROOT, text, |end, bytes| {
            masked.get_or_insert_with(|| text.to_vec())[end - bytes..end].fill(MARK);
            found += 1;
        });
        masked.map(|masked| (masked, found))
    }

    /// As [`scrub`](Self::scrub), for the value of a field.
    pub fn scrub_value(&self, value: &HeaderValue) -> Option<(HeaderValue, u64)> {
        let (masked, found) = self.scrub(value.as_bytes())?;
        let masked = HeaderValue::from_maybe_shared(Bytes::from(masked));
        Some((masked.expect("marks in place of visible bytes are visible"), found))
    }

    fn build(texts: &[Zeroizing<Vec<u8>>]) -> Self {
        // Room for all, so that the table never moves and leaves a copy behind.
        let mut nodes = Vec::with_capacity(1 + texts.iter().map(|text| text.len()).sum::<usize>());
        nodes.push(Node::default());
        let mut needles = Needles { nodes: Zeroizing::new(nodes), root: Zeroizing::new([0; 256]) };
        for text in texts {
            needles.insert(text);
        }
        needles.link();
        needles
    }

    fn insert(&mut self, text: &[u8]) {
        let mut state = ROOT;
        for &byte in text {
            state = self.child(state, byte).unwrap_or_else(|| self.add_child(state, byte));
        }
        let depth = self.node(state).depth;
        self.nodes[state as usize].matched = depth;
    }

    fn add_child(&mut self, parent: u32, byte: u8) -> u32 {
        let index = u32::try_from(self.nodes.len()).expect("secrets are bounded far below 2^32 bytes");
        let &Node { first_child, depth, .. } = self.node(parent);
        self.nodes.push(Node { byte, next_sibling: first_child, depth: depth + 1, ..Node::default() });
        self.nodes[parent as usize].first_child = index;
        if parent == ROOT {
            self.root[usize::from(byte)] = index;
        }
        index
    }

    /// Sets the suffix links, shallow states first.
    fn link(&mut self) {
        let mut queue = VecDeque::from([ROOT]);
        while let Some(state) = queue.pop_front() {
            let mut child = self.node(state).first_child;
            while child != 0 {
                let &Node { byte, next_sibling, matched, .. } = self.node(child);
                let fail = if state == ROOT { ROOT } else { self.step(self.node(state).fail, byte) };
                let inherited = self.node(fail).matched;
                let node = &mut self.nodes[child as usize];
                node.fail = fail;
                node.matched = matched.max(inherited);
                queue.push_back(child);
                child = next_sibling;
            }
        }
    }

    fn node(&self, state: u32) -> &Node {
        &self.nodes[state as usize]
    }

    fn child(&self, state: u32, byte: u8) -> Option<u32> {
        if state == ROOT {
            let child = self.root[usize::from(byte)];
            return (child != 0).then_some(child);
        }
        let mut child = self.node(state).first_child;
        while child != 0 && self.node(child).byte != byte {
            child = self.node(child).next_sibling;
        }
        (child != 0).then_some(child)
    }

    fn step(&self, mut state: u32, byte: u8) -> u32 {
        loop {
            if let Some(child) = self.child(state, byte) {
                return child;
            }
            if state == ROOT {
                return ROOT;
            }
            state = self.node(state).fail;
        }
    }

    /// Walks over `text` from `state`; calls `on_match` with the end of each occurrence in `text` and the
    /// length of the longest one ending there. The state it gives has children or is the root, so its
    /// depth is the length of the longest suffix that may still become an occurrence.
    fn scan(&self, mut state: u32, text: &[u8], mut on_match: impl FnMut(usize, usize)) -> u32 {
        for (at, &byte) in text.iter().enumerate() {
            state = self.step(state, byte);
            let matched = self.node(state).matched;
            if matched != 0 {
                on_match(at + 1, matched as usize);
            }
            while state != ROOT && self.node(state).first_child == 0 {
                state = self.node(state).fail;
            }
        }
        state
    }
}

/// Scrubs one body as it streams. What it holds back is only what may still become an occurrence.
pub struct Scrubber {
    needles: Arc<Needles>,
    state: u32,
    /// The bytes that led to `state`, marks in them where an occurrence has already ended.
    held: Zeroizing<Vec<u8>>,
    found: u64,
}

impl Scrubber {
    /// A scrubber for one body.
    pub fn new(needles: Arc<Needles>) -> Self {
        Scrubber { needles, state: ROOT, held: Zeroizing::new(Vec::new()), found: 0 }
    }

    /// Takes the next piece and gives what may be passed on, which is empty when all must wait. A piece
    /// without any beginning of a secret comes back as it is, uncopied.
    pub fn push(&mut self, piece: Bytes) -> Bytes {
        let held = self.held.len();
        let mut masked = (held > 0).then(|| [&self.held[..], &piece[..]].concat());
        let found = &mut self.found;
        self.state = self.needles.scan(self.state, &piece, |end, bytes| {
            let end = held + end;
            masked.get_or_insert_with(|| piece.to_vec())[end - bytes..end].fill(MARK);
            *found += 1;
        });
        let ready = masked.map_or(piece, Bytes::from);
        let hold = self.needles.node(self.state).depth as usize;
        let pass = ready.len() - hold;
        self.held = Zeroizing::new(ready[pass..].to_vec());
        ready.slice(..pass)
    }

    /// Gives what was held back, at the end of the body.
    pub fn finish(&mut self) -> Bytes {
        self.state = ROOT;
        Bytes::from(std::mem::take(&mut *self.held))
    }

    /// How many occurrences have been overwritten.
    pub fn found(&self) -> u64 {
        self.found
    }
}

type Text = Zeroizing<Vec<u8>>;

fn add_forms(protected: &Protected<'_>, texts: &mut Vec<Text>) {
    let secret = protected.secret;
    texts.push(Zeroizing::new(secret.to_vec()));
    // Field names come back in lower case, CGI variables in upper case.
    texts.push(Zeroizing::new(secret.to_ascii_lowercase()));
    texts.push(Zeroizing::new(secret.to_ascii_uppercase()));
    for alphabet in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        (0..3).for_each(|phase| texts.push(base64_inside(alphabet, phase, secret)));
        if let Some(user) = protected.basic_user {
            let pair = Zeroizing::new([user, b":", secret].concat());
            texts.push(base64_inside(alphabet, 0, &pair));
        }
    }
    texts.push(escaped(secret, |byte, out| push_hex(byte, HEX_LOWER, out)));
    texts.push(escaped(secret, |byte, out| push_hex(byte, HEX_UPPER, out)));
    for digits in [HEX_LOWER, HEX_UPPER] {
        texts.push(escaped(secret, |byte, out| push_percent(byte, b"-._~", digits, out)));
        texts.push(escaped(secret, |byte, out| push_percent(byte, b"-._~!'()*", digits, out)));
        texts.push(escaped(secret, |byte, out| push_form(byte, digits, out)));
    }
    texts.push(escaped(secret, |byte, out| push_json(byte, b"", out)));
    texts.push(escaped(secret, |byte, out| push_json(byte, b"/", out)));
    texts.push(escaped(secret, |byte, out| push_json(byte, b"<>&", out)));
    texts.push(escaped(secret, push_html));
}

/// The base64 characters that `text` alone determines when `phase` bytes (0 to 2) stand before it in
/// its group of three.
fn base64_inside(alphabet: &GeneralPurpose, phase: usize, text: &[u8]) -> Text {
    let shifted = Zeroizing::new([&[0; 3][..phase], text].concat());
    let mut encoded = Zeroizing::new(vec![0; shifted.len().div_ceil(3) * 4]);
    let written = alphabet.encode_slice(&shifted[..], &mut encoded[..]);
    written.expect("four characters fit for every three bytes");
    let (start, end) = ((phase * 8).div_ceil(6), shifted.len() * 8 / 6);
    Zeroizing::new(encoded[start..end].to_vec())
}

const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Most bytes that one byte becomes in any of the forms: `&quot;`, `\u003c`.
const ESCAPED_BYTES_MAX: usize = 6;

fn escaped(secret: &[u8], push: impl Fn(u8, &mut Vec<u8>)) -> Text {
    // Room for the longest form, so that the buffer never moves and leaves a copy behind.
    let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * ESCAPED_BYTES_MAX));
    secret.iter().for_each(|&byte| push(byte, &mut out));
    out
}

fn push_hex(byte: u8, digits: &[u8; 16], out: &mut Vec<u8>) {
    out.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
}

fn push_percent(byte: u8, plain: &[u8], digits: &[u8; 16], out: &mut Vec<u8>) {
    if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
        return out.push(byte);
    }
    out.push(b'%');
    push_hex(byte, digits, out);
}

/// `application/x-www-form-urlencoded` (WHATWG URL §5.2).
fn push_form(byte: u8, digits: &[u8; 16], out: &mut Vec<u8>) {
    if byte == b' ' {
        return out.push(b'+');
    }
    push_percent(byte, b"-._*", digits, out);
}

/// RFC 8259 §7, with the characters of `more` escaped as well: `/` as `\/`, others by number.
fn push_json(byte: u8, more: &[u8], out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend([b'\\', byte]),
        b'/' if more.contains(&byte) => out.extend(b"\\/"),
        b'\t' => out.extend(b"\\t"),
        _ if more.contains(&byte) || byte.is_ascii_control() => {
            out.extend(b"\\u00");
            push_hex(byte, HEX_LOWER, out);
        }
        _ => out.push(byte),
    }
}

fn push_html(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'&' => out.extend(b"&amp;"),
        b'<' => out.extend(b"&lt;"),
        b'>' => out.extend(b"&gt;"),
        b'"' => out.extend(b"&quot;"),
        b'\'' => out.extend(b"&#39;"),
        _ => out.push(byte),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    const SECRET: &[u8] = b"s3cr3t/\"<+>&-VALUE";

    fn needles(user: Option<&[u8]>) -> Needles {
        Needles::of(&[Protected { secret: SECRET, basic_user: user }]).expect("long enough")
    }

    fn exact(texts: &[Vec<u8>]) -> Needles {
        let texts: Vec<Text> = texts.iter().map(|text| Zeroizing::new(text.clone())).collect();
        Needles::build(&texts)
    }

    fn stream(needles: Needles, pieces: &[&[u8]]) -> (Vec<u8>, u64) {
        let mut scrubber = Scrubber::new(Arc::new(needles));
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&scrubber.push(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&scrubber.finish());
        (out, scrubber.found())
    }

    /// The plainest possible statement of what scrubbing means.
    fn reference(texts: &[Vec<u8>], input: &[u8]) -> (Vec<u8>, u64) {
        let mut out = input.to_vec();
        let mut found = 0;
        for end in 1..=input.len() {
            let ending = texts.iter().filter(|text| input[..end].ends_with(text)).map(Vec::len).max();
            if let Some(bytes) = ending {
                out[end - bytes..end].fill(MARK);
                found += 1;
            }
        }
        (out, found)
    }

    // case: SEC-06, SEC-07, SEC-08
    #[test]
    fn every_known_form_of_a_secret_is_overwritten() {
        let standard = |text: &[u8]| base64::engine::general_purpose::STANDARD.encode(text);
        let url = |text: &[u8]| base64::engine::general_purpose::URL_SAFE.encode(text);
        let with = |before: &str| [before.as_bytes(), SECRET, b" and more"].concat();
        let whole = [
            "s3cr3t/\"<+>&-VALUE",
            "S3CR3T/\"<+>&-VALUE",
            "s3cr3t/\"<+>&-value",
            "s3cr3t%2F%22%3C%2B%3E%26-VALUE",
            "s3cr3t%2f%22%3c%2b%3e%26-VALUE",
            "7333637233742f223c2b3e262d56414c5545",
            "7333637233742F223C2B3E262D56414C5545",
            r#"s3cr3t/\"<+>&-VALUE"#,
            r#"s3cr3t\/\"<+>&-VALUE"#,
            r#"s3cr3t/\"\u003c+\u003e\u0026-VALUE"#,
            "s3cr3t/&quot;&lt;+&gt;&amp;-VALUE",
        ];
        let needles = needles(Some(b"me"));
        for form in whole {
            let (scrubbed, _) =
                needles.scrub(format!("<{form}>").as_bytes()).unwrap_or_else(|| panic!("{form}"));
            assert_eq!(String::from_utf8_lossy(&scrubbed), format!("<{}>", "*".repeat(form.len())));
        }
        let inside = [
            standard(&with("")),
            standard(&with("1")),
            standard(&with("12")),
            url(&with("Bearer ")),
            url(&with("Bearer a")),
            url(&with("Bearer ab")),
        ];
        for text in inside {
            let (scrubbed, found) = needles.scrub(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            // Of the 24 characters, those at the ends may be shared with what stands beside the secret.
            let marks = scrubbed.iter().filter(|&&byte| byte == MARK).count();
            assert!(found == 1 && (22..=24).contains(&marks) && scrubbed.len() == text.len(), "{text}");
        }
    }

    // case: SEC-08
    #[test]
    fn basic_credentials_are_overwritten_whole() {
        let echoed = base64::engine::general_purpose::STANDARD.encode([b"me:".as_slice(), SECRET].concat());
        let (scrubbed, _) = needles(Some(b"me")).scrub(echoed.as_bytes()).expect("found");
        assert_eq!(scrubbed, vec![MARK; echoed.len()]);
    }

    // case: SEC-07
    #[test]
    fn a_secret_split_at_any_place_is_overwritten() {
        let text = [b"data: {\"key\":\"".as_slice(), SECRET, b"\"}\n\n"].concat();
        let whole = stream(needles(None), &[&text]);
        assert_eq!(whole.1, 1);
        for cut in 0..=text.len() {
            let (first, second) = text.split_at(cut);
            assert_eq!(stream(needles(None), &[first, second]), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(stream(needles(None), &single), whole);
    }

    // case: SEC-07
    #[test]
    fn a_stream_does_not_wait_for_what_cannot_become_a_secret() {
        let mut scrubber = Scrubber::new(Arc::new(needles(None)));
        let event = Bytes::from_static(b"data: hello\n\n");
        let passed = scrubber.push(event.clone());
        assert_eq!(passed, event);
        assert_eq!(passed.as_ptr(), event.as_ptr(), "passed on without a copy");
        assert_eq!(scrubber.push(Bytes::from_static(b"data: s3cr")), "data: ");
        assert_eq!(scrubber.push(Bytes::from_static(b"et\n")), "s3cret\n");
        assert_eq!(scrubber.push(Bytes::copy_from_slice(SECRET)), "******************");
        assert_eq!((scrubber.found(), scrubber.finish()), (1, Bytes::new()));
    }

    #[test]
    fn a_secret_without_a_usable_length_is_refused() {
        let of = |secret: &[u8]| Needles::of(&[Protected { secret, basic_user: None }]).err();
        assert_eq!(of(&[b'x'; SECRET_BYTES_MIN - 1]), Some(NeedleError::TooShort));
        assert_eq!(of(&[b'x'; SECRET_BYTES_MIN]), None);
        assert_eq!(of(&[b'x'; SECRET_BYTES_MAX]), None);
        assert_eq!(of(&[b'x'; SECRET_BYTES_MAX + 1]), Some(NeedleError::TooLong));
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn scrubbing_a_stream_is_scrubbing_the_whole(
            texts in proptest::collection::vec("[ab]{1,6}".prop_map(String::into_bytes), 1..5),
            input in "[abc]{0,60}".prop_map(String::into_bytes),
            cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect();
            let expected = reference(&texts, &input);
            prop_assert_eq!(&stream(exact(&texts), &pieces), &expected);
            let whole = exact(&texts).scrub(&input).unwrap_or((input, 0));
            prop_assert_eq!(whole, expected);
        }

        #[test]
        fn no_more_is_held_back_than_may_become_a_secret(
            texts in proptest::collection::vec("[ab]{1,6}".prop_map(String::into_bytes), 1..5),
            input in "[abc]{0,40}".prop_map(String::into_bytes),
        ) {
            let mut scrubber = Scrubber::new(Arc::new(exact(&texts)));
            let passed = scrubber.push(Bytes::from(input.clone())).len();
            let may_grow = |held: usize| texts.iter().any(|text| {
                held < text.len() && text.starts_with(&input[input.len() - held..])
            });
            let expected = (1..=input.len()).rev().find(|&held| may_grow(held)).unwrap_or(0);
            prop_assert_eq!(input.len() - passed, expected);
        }
    }
}
