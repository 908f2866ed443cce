//! What a task may touch: grants of effect × resource/operation × limits.
//!
//! The text form of a grant is `RESOURCE: WHAT [PATH] [LIMIT…]`, for example
//! `github: GET /repos/acme/**`, `github: write POST /repos/acme/*/pulls calls<=5`, `billing: *`.
//!
//! * `WHAT` is `*`, or words joined by `|`: effects (`read`), methods (`GET`) or operation names.
//! * `PATH` starts with `/`: `*` stands for any bytes but `/`, `**` for any bytes. None: every path.
//! * limits: `calls<=N`, `bytes<=N` (`KB`, `MB`, `GB` of 1,000), `for<=N` seconds (`s`, `m`, `h`)
//!   counted from the start of the task.
//!
//! Grants are compared structurally, never as texts put together.

use std::collections::BTreeSet;
use std::fmt;

use accredit_identity::id::{OperationName, ResourceName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::effect::Effect;

/// Most grants in one half of a boundary: a person must be able to read it.
pub const GRANTS_MAX: usize = 32;
/// Longest text of one grant, in bytes.
pub const GRANT_BYTES_MAX: usize = 256;
/// Most steps that finding out takes whether one pattern is within another. People's patterns take a few dozen.
const CONTAINED_STATES_MAX: usize = 10_000;

/// Why a text is not a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Longer than [`GRANT_BYTES_MAX`].
    #[error("a grant is at most {GRANT_BYTES_MAX} bytes long")]
    TooLong,
    /// No `RESOURCE:` in front.
    #[error("`{0}` does not start with `RESOURCE:`")]
    NoResource(String),
    /// The resource is not a name.
    #[error("`{0}` is not a resource name")]
    Resource(String),
    /// Nothing says what is granted.
    #[error("nothing is granted: write `*`, effects, methods or operations after the colon")]
    Nothing,
    /// A word that is neither an effect, a method nor an operation.
    #[error(
        "`{0}` is neither an effect (read, write, delete, execute, admin), a method in capitals, nor an operation name"
    )]
    Word(String),
    /// The path pattern is not one.
    #[error(
        "`{0}` is not a path pattern: it starts with `/` and holds no `?`, `#`, `%2f`, empty or dot segment"
    )]
    Path(String),
    /// The limit is not one.
    #[error("`{0}` is not a limit: use calls<=N, bytes<=N[KB|MB|GB] or for<=N[s|m|h]")]
    Limit(String),
    /// The same limit twice.
    #[error("the limit `{0}` stands twice")]
    LimitTwice(&'static str),
    /// More than [`GRANTS_MAX`].
    #[error("a boundary holds at most {GRANTS_MAX} grants")]
    TooMany,
}

/// One word of what a grant covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Everything with this effect.
    Effect(Effect),
    /// Every request with this method.
    Method(String),
    /// One named operation.
    Operation(OperationName),
}

impl What {
    fn parse(word: &str) -> Result<Self, GrantError> {
        let no = || GrantError::Word(word.to_owned());
        if let Some(effect) = Effect::parse(word) {
            return Ok(Self::Effect(effect));
        }
        if !word.is_empty() && word.len() <= 20 && word.bytes().all(|b| b.is_ascii_uppercase()) {
            return Effect::of_method(word).map(|_| Self::Method(word.to_owned())).ok_or_else(no);
        }
        if word.contains('.') {
            OperationName::parse(word).map(Self::Operation).map_err(|_| no())
        } else {
            Err(no())
        }
    }

    fn covers(&self, asked: &Asked<'_>) -> bool {
        match self {
            Self::Effect(effect) => *effect == asked.effect,
            Self::Method(method) => method == asked.method,
            Self::Operation(name) => name == asked.operation,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Effect(e) => e.fmt(f),
            Self::Method(m) => f.write_str(m),
            Self::Operation(o) => o.fmt(f),
        }
    }
}

/// A pattern over request paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathPattern(String);

impl PathPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`GrantError::Path`] when it could never match a path that the gateway sends.
    pub fn parse(text: &str) -> Result<Self, GrantError> {
        let lower = text.to_ascii_lowercase();
        let hidden = ["%2f", "%5c", "%00", "%2e"].iter().any(|h| lower.contains(h));
        let odd = text.bytes().any(|b| b <= b' ' || b >= 0x7f || matches!(b, b'?' | b'#' | b'\\'));
        let dotted = text.split('/').any(|s| s == "." || s == "..");
        let bad =
            !text.starts_with('/') || hidden || odd || dotted || text.contains("//") || text.contains("***");
        if bad { Err(GrantError::Path(text.to_owned())) } else { Ok(Self(text.to_owned())) }
    }

    /// Whether the path is within the pattern. Linear in path × number of stars.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        glob(self.0.as_bytes(), path.as_bytes())
    }

    /// Whether every path within this pattern is within the other. What would take too long to find out is not.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        contained(self.0.as_bytes(), other.0.as_bytes())
    }

    /// The text of the pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `*`: any bytes but `/`; `**`: any bytes. Set of reachable pattern positions, one pass over the path.
fn glob(pattern: &[u8], path: &[u8]) -> bool {
    let mut reach = vec![false; pattern.len() + 1];
    reach[0] = true;
    skip_stars(pattern, &mut reach);
    for &byte in path {
        reach = step(pattern, &reach, byte);
    }
    reach[pattern.len()]
}

/// The positions of a pattern that are reachable after one more byte.
fn step(pattern: &[u8], reach: &[bool], byte: u8) -> Vec<bool> {
    let mut next = vec![false; pattern.len() + 1];
    for at in (0..pattern.len()).filter(|&at| reach[at]) {
        match star(pattern, at) {
            Some((_, true)) => next[at] = true,
            Some((_, false)) => next[at] |= byte != b'/',
            None if pattern[at] == byte => next[at + 1] = true,
            None => {}
        }
    }
    skip_stars(pattern, &mut next);
    next
}

/// Whether every path of `inner` is one of `outer`: both are walked at once, over each byte that tells them apart.
fn contained(inner: &[u8], outer: &[u8]) -> bool {
    let mut bytes: BTreeSet<u8> = inner.iter().chain(outer).copied().filter(|b| *b != b'*').collect();
    bytes.insert(b'/');
    // One that stands in neither of them stands for all such.
    bytes.extend((b'!'..=b'~').find(|b| *b != b'*' && !bytes.contains(b)));
    let start = |pattern: &[u8]| {
        let mut reach = vec![false; pattern.len() + 1];
        reach[0] = true;
        skip_stars(pattern, &mut reach);
        reach
    };
    let mut seen = BTreeSet::from([(start(inner), start(outer))]);
    let mut open: Vec<_> = seen.iter().cloned().collect();
    while let Some((a, b)) = open.pop() {
        if a[inner.len()] && !b[outer.len()] {
            return false;
        }
        for byte in &bytes {
            let next = (step(inner, &a, *byte), step(outer, &b, *byte));
            if next.0.contains(&true) && seen.insert(next.clone()) {
                if seen.len() > CONTAINED_STATES_MAX {
                    return false;
                }
                open.push(next);
            }
        }
    }
    true
}

/// The length of the star at this place and whether it crosses `/`.
fn star(pattern: &[u8], at: usize) -> Option<(usize, bool)> {
    match (pattern.get(at), pattern.get(at + 1)) {
        (Some(b'*'), Some(b'*')) => Some((2, true)),
        (Some(b'*'), _) => Some((1, false)),
        _ => None,
    }
}

fn skip_stars(pattern: &[u8], reach: &mut [bool]) {
    for at in 0..pattern.len() {
        if let (true, Some((length, _))) = (reach[at], star(pattern, at)) {
            reach[at + length] = true;
        }
    }
}

/// Upper bounds of one grant. `None`: not limited here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Calls that may be made under the grant.
    pub calls_max: Option<u64>,
    /// Bytes of bodies, both ways together, that may pass under the grant.
    pub bytes_max: Option<u64>,
    /// Seconds from the start of the task during which the grant holds.
    pub within_s: Option<u64>,
}

impl Limits {
    /// Whether uses are counted because of them.
    #[must_use]
    pub const fn are_counted(&self) -> bool {
        self.calls_max.is_some() || self.bytes_max.is_some()
    }

    /// Whether nothing is bounded higher than there. What is not bounded here is bounded by what is left there.
    fn within(&self, other: &Self) -> bool {
        let lower = |own: Option<u64>, other: Option<u64>| match (own, other) {
            (Some(own), Some(other)) => own <= other,
            _ => true,
        };
        lower(self.calls_max, other.calls_max)
            && lower(self.bytes_max, other.bytes_max)
            && lower(self.within_s, other.within_s)
    }

    fn add(&mut self, text: &str) -> Result<(), GrantError> {
        let bad = || GrantError::Limit(text.to_owned());
        let (name, value) = text.split_once("<=").ok_or_else(bad)?;
        let (slot, word, units): (_, _, &[(&str, u64)]) = match name {
            "calls" => (&mut self.calls_max, "calls", &[("", 1)]),
            "bytes" => (
                &mut self.bytes_max,
                "bytes",
                &[("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("", 1)],
            ),
            "for" => (&mut self.within_s, "for", &[("s", 1), ("m", 60), ("h", 3_600)]),
            _ => return Err(bad()),
        };
        let number = units.iter().find_map(|(unit, factor)| {
            let digits = value.strip_suffix(unit)?;
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok()?.checked_mul(*factor)).flatten()
        });
        match slot.replace(number.ok_or_else(bad)?) {
            None => Ok(()),
            Some(_) => Err(GrantError::LimitTwice(word)),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(n) = self.calls_max {
            write!(f, " calls<={n}")?;
        }
        if let Some(n) = self.bytes_max {
            write!(f, " bytes<={n}")?;
        }
        if let Some(n) = self.within_s {
            write!(f, " for<={n}s")?;
        }
        Ok(())
    }
}

/// One grant of a boundary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    resource: ResourceName,
    what: Option<Vec<What>>,
    path: Option<PathPattern>,
    limits: Limits,
}

/// What is asked of a boundary.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The resource of the action.
    pub resource: &'a ResourceName,
    /// Its operation.
    pub operation: &'a OperationName,
    /// The effect of that operation.
    pub effect: Effect,
    /// Method of the request.
    pub method: &'a str,
    /// Path of the request, as it will be sent.
    pub path: &'a str,
}

impl Grant {
    /// Parses the text form.
    ///
    /// # Errors
    /// [`GrantError`] naming the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, GrantError> {
        if text.len() > GRANT_BYTES_MAX {
            return Err(GrantError::TooLong);
        }
        let (resource, rest) = text.split_once(':').ok_or_else(|| GrantError::NoResource(text.to_owned()))?;
        let resource =
            ResourceName::parse(resource.trim()).map_err(|_| GrantError::Resource(resource.to_owned()))?;
        let mut words = rest.split_ascii_whitespace().peekable();
        let mut what: Option<Vec<What>> = match words.next() {
            None => return Err(GrantError::Nothing),
            Some("*") => None,
            Some(word) => Some(word.split('|').map(What::parse).collect::<Result<_, _>>()?),
        };
        // `write POST /x`: an effect narrowed by a method reads naturally; both must hold, and the
        // method decides, because a method has one effect unless an operation renames it.
        if let Some(methods) = words.next_if(|w| w.bytes().all(|b| b.is_ascii_uppercase() || b == b'|')) {
            what = Some(methods.split('|').map(What::parse).collect::<Result<_, _>>()?);
        }
        let path = match words.next_if(|w| w.starts_with('/') || *w == "*") {
            None | Some("*" | "/**") => None,
            Some(pattern) => Some(PathPattern::parse(pattern)?),
        };
        let mut limits = Limits::default();
        words.try_for_each(|word| limits.add(word))?;
        Ok(Self { resource, what, path, limits })
    }

    /// The grant of everything on a resource, without limits: `RESOURCE: *`.
    #[must_use]
    pub fn whole(resource: &ResourceName) -> Self {
        Self { resource: resource.clone(), what: None, path: None, limits: Limits::default() }
    }

    /// The resource that the grant is about.
    #[must_use]
    pub fn resource(&self) -> &ResourceName {
        &self.resource
    }

    /// The limits of the grant.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The effects that the grant can have, for a policy to look at.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        let Some(what) = &self.what else { return Effect::ALL.to_vec() };
        let of = |w: &What| match w {
            What::Effect(e) => vec![*e],
            What::Method(m) => Effect::of_method(m).into_iter().collect(),
            What::Operation(_) => Effect::ALL.to_vec(),
        };
        let found: Vec<Effect> = what.iter().flat_map(of).collect();
        Effect::ALL.into_iter().filter(|e| found.contains(e)).collect()
    }

    /// Whether everything that this grant covers, the other covers, and no limit is higher. Compared by structure: a
    /// method is not within an effect, because an operation may have another effect than its method.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        let what = match (&self.what, &other.what) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(other)) => own.iter().all(|word| other.contains(word)),
        };
        let path = match (&self.path, &other.path) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(other)) => own.within(other),
        };
        self.resource == other.resource && what && path && self.limits.within(&other.limits)
    }

    /// Whether the grant is about this action. Limits are not looked at.
    #[must_use]
    pub fn covers(&self, asked: &Asked<'_>) -> bool {
        self.resource == *asked.resource
            && self.what.as_ref().is_none_or(|what| what.iter().any(|w| w.covers(asked)))
            && self.path.as_ref().is_none_or(|p| p.matches(asked.path))
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.resource)?;
        match &self.what {
            None => f.write_str("*")?,
            Some(what) => {
                for (i, w) in what.iter().enumerate() {
                    write!(f, "{}{w}", if i == 0 { "" } else { "|" })?;
                }
            }
        }
        if let Some(path) = &self.path {
            write!(f, " {}", path.as_str())?;
        }
        self.limits.fmt(f)
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// What a task may touch, in two halves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boundary {
    /// What the task may do itself.
    pub usable: Vec<Grant>,
    /// What it may hand down to another agent.
    #[serde(default)]
    pub delegable: Vec<Grant>,
}

impl Boundary {
    /// The boundary whose usable half is made of these texts.
    ///
    /// # Errors
    /// The first text that is not a grant, with its reason.
    pub fn parse<'a>(usable: impl IntoIterator<Item = &'a str>) -> Result<Self, (String, GrantError)> {
        let mut grants = Vec::new();
        for text in usable {
            if grants.len() == GRANTS_MAX {
                return Err((text.to_owned(), GrantError::TooMany));
            }
            grants.push(Grant::parse(text).map_err(|e| (text.to_owned(), e))?);
        }
        Ok(Self { usable: grants, delegable: Vec::new() })
    }

    /// The same with a half that may be handed down.
    ///
    /// # Errors
    /// The first text that is not a grant, with its reason.
    pub fn with_delegable<'a>(
        self,
        delegable: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, (String, GrantError)> {
        Ok(Self { delegable: Self::parse(delegable)?.usable, ..self })
    }

    /// The first grant, of either half, that a task with this boundary could not have handed down by one that may hand
    /// down `delegable`.
    #[must_use]
    pub fn beyond(&self, delegable: &[Grant]) -> Option<&Grant> {
        let all = self.usable.iter().chain(&self.delegable);
        all.into_iter().find(|grant| !delegable.iter().any(|held| grant.within(held)))
    }

    /// The place of a delegable grant among all grants of a boundary, for figures about its use: after every usable one.
    #[must_use]
    pub const fn place_of_delegable(delegable: usize) -> usize {
        GRANTS_MAX + delegable
    }

    /// The usable grants about this action, with their places in the list.
    pub fn covering<'a>(&'a self, asked: &'a Asked<'a>) -> impl Iterator<Item = (usize, &'a Grant)> + 'a {
        self.usable.iter().enumerate().filter(|(_, g)| g.covers(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(grant: &str, method: &str, path: &str) -> bool {
        let effect = Effect::of_method(method).expect("a method that the gateway carries");
        let resource = ResourceName::parse("github").expect("a name");
        let operation = OperationName::parse("http.x").expect("a name");
        let asked = Asked { resource: &resource, operation: &operation, effect, method, path };
        Grant::parse(grant).expect(grant).covers(&asked)
    }

    #[test]
    fn a_grant_covers_what_it_says() {
        assert!(covers("github: *", "DELETE", "/x"));
        assert!(covers("github: GET *", "GET", "/x/y"));
        assert!(covers("github: read", "HEAD", "/x"));
        assert!(covers("github: write POST /repos/acme/*/pulls", "POST", "/repos/acme/shop/pulls"));
        assert!(covers("github: GET|PUT /a/**", "PUT", "/a/b/c"));
        assert!(!covers("github: write POST /repos/acme/*/pulls", "PUT", "/repos/acme/shop/pulls"));
        assert!(!covers("github: GET /repos/*", "GET", "/repos/a/b"));
        assert!(!covers("github: GET /repos/*", "GET", "/repos"));
        assert!(!covers("github: read", "POST", "/x"));
        assert!(!covers("other: *", "GET", "/x"));
    }

    // case: DEL-06, HTTP-14
    #[test]
    fn what_is_not_a_grant_is_refused() {
        let bad = [
            "",
            "github",
            "github:",
            "GitHub: GET *",
            "*: GET *",
            "github: get",
            "github: TRACE",
            "github: CONNECT /",
            "github: GET repos",
            "github: GET /a/../b",
            "github: GET /a//b",
            "github: GET /a%2fb",
            "github: GET /a?b",
            "github: GET /a calls<=-1",
            "github: GET /a calls<=1 calls<=2",
            "github: GET /a speed<=1",
            "github: GET /a ***",
        ];
        for bad in bad {
            assert!(Grant::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_grant_reads_back_from_its_text() {
        for text in
            ["github: *", "github: read|GET /a/*/b calls<=5 bytes<=2MB for<=10m", "git: git.push /x.git/**"]
        {
            let grant = Grant::parse(text).expect(text);
            assert_eq!(Grant::parse(&grant.to_string()).expect("its own text"), grant);
        }
    }

    fn within(inner: &str, outer: &str) -> bool {
        Grant::parse(inner).expect(inner).within(&Grant::parse(outer).expect(outer))
    }

    // case: DEL-01, DEL-06
    #[test]
    fn a_grant_is_within_another_only_where_that_is_certain() {
        for (inner, outer) in [
            ("github: GET /a", "github: GET /a"),
            ("github: GET /a/b", "github: GET /a/*"),
            ("github: GET /a/*/c", "github: GET /a/**"),
            ("github: GET /a/*", "github: GET|POST /**"),
            ("github: GET /a/*x*", "github: GET /a/*"),
            ("github: GET /*/b", "github: *"),
            ("github: read", "github: read|write"),
            ("github: GET /a calls<=2", "github: GET /a calls<=5"),
            ("github: GET /a calls<=2", "github: GET /a"),
            // What is left of the five is the bound.
            ("github: GET /a", "github: GET /a calls<=5"),
        ] {
            assert!(within(inner, outer), "{inner} within {outer}");
        }
        for (inner, outer) in [
            ("gitlab: GET /a", "github: GET /a"),
            ("github: *", "github: GET"),
            ("github: GET", "github: GET /**/a"),
            ("github: GET /a/**", "github: GET /a/*"),
            ("github: GET /a*", "github: GET /a"),
            ("github: GET /a/", "github: GET /a"),
            ("github: GET /A", "github: GET /a"),
            ("github: GET /a/*", "github: GET /a/b*"),
            ("github: GET /*/*", "github: GET /*"),
            ("github: GET|POST", "github: GET"),
            ("github: write", "github: read"),
            // A search is a POST that reads: the method says nothing about the effect.
            ("github: GET", "github: read"),
            ("github: read", "github: GET|HEAD"),
            ("github: GET /a calls<=6", "github: GET /a calls<=5"),
            ("github: GET /a bytes<=2MB", "github: GET /a bytes<=1MB"),
            ("github: GET /a for<=2h", "github: GET /a for<=1h"),
        ] {
            assert!(!within(inner, outer), "{inner} within {outer}");
        }
    }

    /// Numbers that look drawn and are the same each time.
    struct Draw(u64);

    impl Draw {
        fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            words[usize::try_from(self.0 >> 33).expect("a small number") % words.len()]
        }

        fn text(&mut self, words: &[&str]) -> String {
            let long = self.of(&["1", "2", "3", "4"]).parse().expect("a number");
            let parts: Vec<&str> = (0..long).map(|_| self.of(words)).collect();
            format!("/{}", parts.join(self.of(&["/", "", "/"])))
        }
    }

    // case: DEL-01, DEL-06
    #[test]
    fn what_is_within_covers_nothing_that_the_other_does_not() {
        let mut draw = Draw(1);
        let (mut contained, mut told_apart) = (0, 0);
        for _ in 0..20_000 {
            let (inner, outer) =
                (draw.text(&["a", "b", "*", "**", "a*", "*b"]), draw.text(&["a", "*", "**", "a*"]));
            let (Ok(inner), Ok(outer)) = (PathPattern::parse(&inner), PathPattern::parse(&outer)) else {
                continue;
            };
            let is_within = inner.within(&outer);
            contained += usize::from(is_within);
            let mut outside = false;
            for _ in 0..20 {
                let path = draw.text(&["a", "b", "ab", "x"]);
                outside |= inner.matches(&path) && !outer.matches(&path);
            }
            told_apart += usize::from(outside);
            assert!(!(is_within && outside), "{} within {}", inner.as_str(), outer.as_str());
        }
        assert!(contained > 1_000 && told_apart > 1_000, "{contained} {told_apart}");
    }

    #[test]
    fn finding_out_takes_a_bounded_time() {
        let hard = PathPattern::parse(&format!("/{}", "*a".repeat(80))).expect("a pattern");
        let harder = PathPattern::parse(&format!("/{}/b", "**a".repeat(50))).expect("a pattern");
        assert!(!hard.within(&harder));
    }

    #[test]
    fn a_boundary_goes_beyond_with_its_first_grant_that_does() {
        let delegable = Boundary::parse(["github: GET /a/**", "billing: *"]).expect("grants").usable;
        let boundary = |usable: &[&str], delegable: &[&str]| {
            let usable = Boundary::parse(usable.iter().copied()).expect("grants");
            usable.with_delegable(delegable.iter().copied()).expect("grants")
        };
        let beyond = |b: Boundary| b.beyond(&delegable).map(ToString::to_string);
        assert_eq!(beyond(boundary(&["github: GET /a/b", "billing: read"], &["billing: GET"])), None);
        assert_eq!(beyond(boundary(&["github: GET /b"], &[])).as_deref(), Some("github: GET /b"));
        assert_eq!(beyond(boundary(&["billing: *"], &["github: *"])).as_deref(), Some("github: *"));
    }

    #[test]
    fn stars_do_not_cost_exponential_time() {
        let pattern = PathPattern::parse(&"/*a".repeat(60)).expect("a pattern");
        assert!(!pattern.matches(&"/a".repeat(2_000)));
    }
}
