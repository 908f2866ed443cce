//! Secrets that must never show, and the search for them: in every spelling, in bytes, files, processes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use memchr::memmem::Finder;

/// Bytes of a process's memory that are read at a time.
const MEMORY_STEP: usize = 1024 * 1024;
/// Largest mapping that is read, in bytes: what is larger is address space that a runtime has reserved.
const MAPPING_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Largest file that is searched, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// One secret in all the spellings in which it could come out.
pub struct Canary {
    name: String,
    needles: Vec<(String, Finder<'static>)>,
}

/// Where a secret was found, and how it was spelt. It never holds the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// What the secret is called.
    pub canary: String,
    /// In which spelling.
    pub spelling: String,
    /// Where.
    pub place: String,
}

impl Canary {
    /// The spellings of this secret.
    ///
    /// # Panics
    /// When the value is too short to be told from noise.
    #[must_use]
    pub fn new(name: &str, value: &str) -> Self {
        assert!(value.len() >= 16, "a canary of {} bytes would be found by chance", value.len());
        let bytes = value.as_bytes();
        let mut spellings = vec![
            ("raw".to_owned(), value.to_owned()),
            ("hex".to_owned(), hex(bytes, false)),
            ("HEX".to_owned(), hex(bytes, true)),
            ("percent".to_owned(), percent(bytes, |_| true)),
            (
                "percent (reserved only)".to_owned(),
                percent(bytes, |b| !b.is_ascii_alphanumeric() && !b"-._~".contains(&b)),
            ),
            ("json".to_owned(), serde_json::Value::from(value).to_string().trim_matches('"').to_owned()),
        ];
        for phase in 0..3 {
            spellings.push((format!("base64, phase {phase}"), base64(&BASE64_STANDARD_NO_PAD, bytes, phase)));
            spellings
                .push((format!("base64url, phase {phase}"), base64(&BASE64_URL_SAFE_NO_PAD, bytes, phase)));
        }
        spellings.sort_by(|a, b| a.1.cmp(&b.1));
        spellings.dedup_by(|a, b| a.1 == b.1);
        let needles =
            spellings.into_iter().map(|(name, text)| (name, Finder::new(text.as_bytes()).into_owned()));
        Self { name: name.to_owned(), needles: needles.collect() }
    }

    /// Every spelling that occurs in these bytes.
    pub fn search<'a>(&'a self, bytes: &'a [u8], place: &'a str) -> impl Iterator<Item = Leak> + 'a {
        let found = self.needles.iter().filter(move |(_, needle)| needle.find(bytes).is_some());
        found.map(move |(spelling, _)| Leak {
            canary: self.name.clone(),
            spelling: spelling.clone(),
            place: place.to_owned(),
        })
    }

    fn longest(&self) -> usize {
        self.needles.iter().map(|(_, needle)| needle.needle().len()).max().unwrap_or(0)
    }
}

/// Every secret that occurs in these bytes.
#[must_use]
pub fn in_bytes(canaries: &[Canary], bytes: &[u8], place: &str) -> Vec<Leak> {
    canaries.iter().flat_map(|canary| canary.search(bytes, place)).collect()
}

/// Every secret in the files below `dir`. Files that go away while they are read have gone.
#[must_use]
pub fn in_tree(canaries: &[Canary], dir: &Path) -> Vec<Leak> {
    let mut leaks = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            match kind {
                Ok(kind) if kind.is_dir() => left.push(path),
                Ok(kind) if kind.is_file() => {
                    let small = entry.metadata().is_ok_and(|metadata| metadata.len() <= FILE_BYTES_MAX);
                    assert!(small, "{} is too large to be searched", path.display());
                    let bytes = std::fs::read(&path).unwrap_or_default();
                    leaks.extend(in_bytes(canaries, &bytes, &path.display().to_string()));
                }
                _ => {}
            }
        }
    }
    leaks
}

/// Every secret in the environment, the command line and the writable memory of a process. Gives what was found and
/// how many bytes were looked at: a search that saw nothing proves nothing.
#[must_use]
pub fn in_process(canaries: &[Canary], pid: u32) -> (Vec<Leak>, u64) {
    let mut leaks = Vec::new();
    let mut seen = 0;
    for what in ["environ", "cmdline"] {
        let mut bytes = Vec::new();
        let read =
            File::open(format!("/proc/{pid}/{what}")).and_then(|mut file| file.read_to_end(&mut bytes));
        if read.is_ok() {
            seen += bytes.len() as u64;
            leaks.extend(in_bytes(canaries, &bytes, &format!("{what} of process {pid}")));
        }
    }
    let (Ok(maps), Ok(memory)) =
        (std::fs::read_to_string(format!("/proc/{pid}/maps")), File::open(format!("/proc/{pid}/mem")))
    else {
        return (leaks, seen);
    };
    let overlap = canaries.iter().map(Canary::longest).max().unwrap_or(0);
    for (start, end, name) in maps.lines().filter_map(writable) {
        let place = format!("memory of process {pid}, {name}");
        let mut at = start;
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(MEMORY_STEP).min(MEMORY_STEP + overlap);
            let mut bytes = vec![0; want];
            let Ok(got) = memory.read_at(&mut bytes, at) else { break };
            seen += got as u64;
            leaks.extend(in_bytes(canaries, &bytes[..got], &place));
            if got <= overlap || want <= overlap {
                break;
            }
            at += (got - overlap) as u64;
            if at + overlap as u64 >= end {
                break;
            }
        }
    }
    leaks.dedup();
    (leaks, seen)
}

/// Start, end and name of a mapping that the process can write, and so could have put a secret into.
fn writable(line: &str) -> Option<(u64, u64, String)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, mode) = (fields.next()?, fields.next()?);
    let name = fields.nth(3).unwrap_or("anonymous").to_owned();
    let (start, end) = range.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let fits = mode.starts_with("rw") && end - start <= MAPPING_BYTES_MAX && !name.starts_with("[v");
    fits.then_some((start, end, name))
}

fn hex(bytes: &[u8], upper: bool) -> String {
    bytes.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect()
}

fn percent(bytes: &[u8], escape: impl Fn(u8) -> bool) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        if escape(*byte) {
            write!(text, "%{byte:02X}").expect("a string takes everything");
        } else {
            text.push(char::from(*byte));
        }
        text
    })
}

/// The characters that do not depend on what stands before and after, when `phase` bytes stand before.
fn base64(engine: &impl Engine, bytes: &[u8], phase: usize) -> String {
    let text = engine.encode([&vec![0; phase], bytes].concat());
    let before = (phase * 8).div_ceil(6);
    let after = (phase + bytes.len()) * 8 / 6;
    text[before..after].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

    const VALUE: &str = "sk_live_Zm9v/YmFy+key~1";

    fn found(text: &str) -> bool {
        !in_bytes(&[Canary::new("key", VALUE)], text.as_bytes(), "here").is_empty()
    }

    #[test]
    fn every_spelling_is_found_wherever_it_stands() {
        assert!(found(&format!("x={VALUE}&")));
        assert!(found(&hex(VALUE.as_bytes(), false)));
        assert!(found(&hex(VALUE.as_bytes(), true)));
        assert!(found(&percent(VALUE.as_bytes(), |b| b == b'/' || b == b'+')));
        for user in ["", "a", "ab", "abc", "x-access-token"] {
            assert!(found(&BASE64_STANDARD.encode(format!("{user}:{VALUE}"))), "{user}");
            assert!(found(&BASE64_URL_SAFE.encode(format!("{user}:{VALUE};{user}"))), "{user}");
        }
        assert!(!found("sk_live_Zm9v/YmFy+key~2 and something else"));
    }

    #[test]
    fn a_secret_in_the_memory_of_a_process_is_found() {
        let secret = format!("{VALUE}{}", std::process::id());
        let held = secret.clone();
        let (leaks, seen) = in_process(&[Canary::new("held", &secret)], std::process::id());
        assert!(leaks.iter().any(|leak| leak.place.starts_with("memory")), "{leaks:?}");
        assert!(seen > 4096);
        drop(held);
    }

    #[test]
    fn a_secret_in_a_file_below_a_directory_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("below")).expect("a directory");
        std::fs::write(dir.path().join("below/file"), format!("..{VALUE}..")).expect("a file");
        let leaks = in_tree(&[Canary::new("key", VALUE)], dir.path());
        assert_eq!(leaks.len(), 1, "{leaks:?}");
        assert!(leaks[0].place.ends_with("below/file"));
    }
}
