//! One record of the ledger and its only encoding: canonical JSON of typed, allow-listed fields.
//!
//! An [`Entry`] exists only in checked form, so a record that cannot be written, read or told apart from another
//! is refused before anything depends on it. Texts are neutralised on the way in; decoding accepts exactly what encoding writes.

use serde_json::{Map, Value};

use crate::canonical::{self, CanonicalError, INTEGER_MAX};
use crate::hash::{HASH_BYTES, Hash, leaf_hash};
use crate::kind::{Field, ID_BYTES_MAX, IDS_MAX, Kind, NAME_BYTES_MAX, NAMES_MAX};
use crate::text::{self, CAP_BYTES_MIN, CUT_MARK};
use crate::tile::ENTRY_BYTES_MAX;

/// Version of the encoding, in every entry.
pub const ENTRY_VERSION: i64 = 1;
/// The tenant of entries that concern the installation as a whole.
pub const INSTALL_TENANT: &str = "-";
/// Longest part of a refused value that an error repeats, in bytes.
const QUOTED_BYTES_MAX: usize = 64;

/// One checked ledger record.
#[derive(Debug, Clone)]
pub struct Entry {
    kind: &'static Kind,
    at: i64,
    tenant: String,
    body: Map<String, Value>,
}

/// The bytes of an entry: what is stored, hashed and proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedEntry(Vec<u8>);

/// Why a record is refused. All of these are faults of the code that records, or of stored bytes, never of an agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// No kind of this name.
    #[error("`{0}` is not a kind of ledger entry")]
    UnknownKind(String),
    /// The kind has no such field.
    #[error("`{kind}` has no field `{field}`")]
    UnknownField {
        /// Kind of the entry.
        kind: &'static str,
        /// Field that was given.
        field: String,
    },
    /// The kind needs a field that was not given.
    #[error("`{kind}` needs field `{field}`")]
    MissingField {
        /// Kind of the entry.
        kind: &'static str,
        /// Field that is missing.
        field: &'static str,
    },
    /// The value is not of the field's type.
    #[error("field `{field}` of `{kind}` is not {expected}")]
    WrongType {
        /// Kind of the entry.
        kind: &'static str,
        /// Field of the value.
        field: &'static str,
        /// What the field holds.
        expected: &'static str,
    },
    /// The tenant is not an id.
    #[error("tenant `{0}` is not an id")]
    Tenant(String),
    /// The time is before 1970 or beyond 2^53 ms.
    #[error("time {0} is not in milliseconds since 1970")]
    Time(i64),
    /// The record needs more than [`ENTRY_BYTES_MAX`] bytes.
    #[error("entry needs more than {ENTRY_BYTES_MAX} bytes")]
    TooLarge,
    /// The bytes are not canonical JSON.
    #[error(transparent)]
    Canonical(CanonicalError),
    /// The bytes are canonical JSON, and not what encoding an entry writes.
    #[error("not a ledger entry of version {ENTRY_VERSION}")]
    NotAnEntry,
}

/// What an entry is about, for naming it in a report. Read leniently: the bytes may have been tampered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Kind of the entry.
    pub kind: String,
    /// Value of the kind's first field: the decision, task, agent, … it is about.
    pub subject: Option<String>,
}

impl Entry {
    /// A record of this kind. `at` is in milliseconds since 1970; a field that is null counts as not given.
    ///
    /// # Errors
    /// [`EntryError`] when the kind, a field, a type or the tenant is not allowed.
    pub fn new(kind: &str, at: i64, tenant: &str, mut body: Map<String, Value>) -> Result<Self, EntryError> {
        let kind = Kind::find(kind).ok_or_else(|| EntryError::UnknownKind(quoted(kind)))?;
        body.retain(|_, value| !value.is_null());
        for (name, value) in &mut body {
            let slot = kind.slot(name).ok_or_else(|| unknown_field(kind, name))?;
            admit(slot.field, value).map_err(|expected| EntryError::WrongType {
                kind: kind.name,
                field: slot.name,
                expected,
            })?;
        }
        Self::checked(kind, at, tenant, body)
    }

    /// Reads an entry from its bytes; accepts exactly what [`Entry::encode`] writes.
    ///
    /// # Errors
    /// [`EntryError`] naming the first thing that no encoder would have written.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let Value::Object(mut members) = canonical::from_bytes(bytes).map_err(EntryError::from)? else {
            return Err(EntryError::NotAnEntry);
        };
        let mut take = |name: &str| members.remove(name).ok_or(EntryError::NotAnEntry);
        let (version, at, body) = (take("v")?, take("at")?, take("body")?);
        let (kind, tenant) = (take("kind")?, take("tenant")?);
        let (Some(ENTRY_VERSION), Some(at), Value::Object(body)) = (version.as_i64(), at.as_i64(), body)
        else {
            return Err(EntryError::NotAnEntry);
        };
        let (Value::String(kind), Value::String(tenant), true) = (kind, tenant, members.is_empty()) else {
            return Err(EntryError::NotAnEntry);
        };
        let kind = Kind::find(&kind).ok_or_else(|| EntryError::UnknownKind(quoted(&kind)))?;
        for (name, value) in &body {
            let slot = kind.slot(name).ok_or_else(|| unknown_field(kind, name))?;
            recognise(slot.field, value).map_err(|expected| EntryError::WrongType {
                kind: kind.name,
                field: slot.name,
                expected,
            })?;
        }
        Self::checked(kind, at, &tenant, body)
    }

    fn checked(
        kind: &'static Kind,
        at: i64,
        tenant: &str,
        body: Map<String, Value>,
    ) -> Result<Self, EntryError> {
        if !(0..=INTEGER_MAX).contains(&at) {
            return Err(EntryError::Time(at));
        }
        if !is_id(tenant) {
            return Err(EntryError::Tenant(quoted(tenant)));
        }
        let missing = kind.fields.iter().find(|slot| slot.required && !body.contains_key(slot.name));
        if let Some(slot) = missing {
            return Err(EntryError::MissingField { kind: kind.name, field: slot.name });
        }
        Ok(Self { kind, at, tenant: tenant.to_owned(), body })
    }

    /// The canonical bytes, at most [`ENTRY_BYTES_MAX`].
    ///
    /// # Errors
    /// [`EntryError::TooLarge`]; the caps of the fields are such that no kind of the table reaches it.
    pub fn encode(&self) -> Result<EncodedEntry, EntryError> {
        // Members in canonical order: at, body, kind, tenant, v.
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(b"{\"at\":");
        canonical::write_integer(self.at, &mut out);
        out.extend_from_slice(b",\"body\":");
        canonical::write_object(&self.body, &mut out)?;
        out.extend_from_slice(b",\"kind\":");
        canonical::write_string(self.kind.name, &mut out);
        out.extend_from_slice(b",\"tenant\":");
        canonical::write_string(&self.tenant, &mut out);
        out.extend_from_slice(b",\"v\":");
        canonical::write_integer(ENTRY_VERSION, &mut out);
        out.push(b'}');
        if out.len() > ENTRY_BYTES_MAX { Err(EntryError::TooLarge) } else { Ok(EncodedEntry(out)) }
    }

    /// Dotted name of the kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind.name
    }

    /// When it happened, in milliseconds since 1970.
    #[must_use]
    pub const fn at(&self) -> i64 {
        self.at
    }

    /// The tenant it belongs to, or [`INSTALL_TENANT`].
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The fields.
    #[must_use]
    pub const fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// The text of a field, if it is given and a text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.body.get(field)?.as_str()
    }

    /// The id or name of what the entry is about: the kind's first field.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.text(self.kind.fields.first()?.name)
    }
}

impl EncodedEntry {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, owned.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The entry's leaf in the tree (RFC 6962 §2.1).
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.0)
    }
}

impl From<CanonicalError> for EntryError {
    fn from(error: CanonicalError) -> Self {
        match error {
            CanonicalError::TooLarge => Self::TooLarge,
            other => Self::Canonical(other),
        }
    }
}

/// Names an entry from bytes that may have been tampered with; `None` when they do not even say what they are.
#[must_use]
pub fn describe(bytes: &[u8]) -> Option<Described> {
    let value: Value = serde_json::from_slice(bytes.get(..ENTRY_BYTES_MAX).unwrap_or(bytes)).ok()?;
    let kind = value.get("kind")?.as_str()?;
    let first = Kind::find(kind).and_then(|kind| kind.fields.first());
    let subject = first.and_then(|slot| value.get("body")?.get(slot.name)?.as_str());
    Some(Described { kind: quoted(kind), subject: subject.map(|s| text::neutralise(s, ID_BYTES_MAX)) })
}

/// Checks a new value and neutralises texts in place; fails with what the field holds.
fn admit(field: Field, value: &mut Value) -> Result<(), &'static str> {
    match (field, &mut *value) {
        (Field::Name, Value::String(text)) => soften(text, NAME_BYTES_MAX),
        (Field::Text(cap), Value::String(text)) => soften(text, cap),
        (Field::Names, Value::Array(items)) => soften_all(items, NAMES_MAX, NAME_BYTES_MAX)?,
        (Field::Texts { cap_bytes, most }, Value::Array(items)) => soften_all(items, most, cap_bytes)?,
        _ => return recognise(field, value),
    }
    Ok(())
}

fn soften(text: &mut String, cap_bytes: usize) {
    *text = text::neutralise_owned(std::mem::take(text), cap_bytes);
}

fn soften_all(items: &mut Vec<Value>, items_max: usize, cap_bytes: usize) -> Result<(), &'static str> {
    if items.len() > items_max {
        items.truncate(items_max - 1);
        items.push(Value::from(CUT_MARK));
        // The mark itself is ours: everything before it is neutralised below.
        return items.iter_mut().take(items_max - 1).try_for_each(|item| soften_item(item, cap_bytes));
    }
    items.iter_mut().try_for_each(|item| soften_item(item, cap_bytes))
}

fn soften_item(item: &mut Value, cap_bytes: usize) -> Result<(), &'static str> {
    let Value::String(text) = item else { return Err("a list of texts") };
    soften(text, cap_bytes);
    Ok(())
}

/// Checks that a value is what the field stores; fails with what that is.
fn recognise(field: Field, value: &Value) -> Result<(), &'static str> {
    let safe = |item: &Value, cap: usize| {
        item.as_str().is_some_and(|text| text.len() <= cap.max(CAP_BYTES_MIN) && text::is_safe(text))
    };
    let list = |items_max: usize, fits: &dyn Fn(&Value) -> bool| {
        value.as_array().is_some_and(|items| items.len() <= items_max && items.iter().all(fits))
    };
    let (fits, expected) = match field {
        Field::Id => (value.as_str().is_some_and(is_id), "an id"),
        Field::Ids => (list(IDS_MAX, &|item| item.as_str().is_some_and(is_id)), "a list of ids"),
        Field::Name => (safe(value, NAME_BYTES_MAX), "a name"),
        Field::Names => (list(NAMES_MAX, &|item| safe(item, NAME_BYTES_MAX)), "a list of names"),
        Field::Text(cap) => (safe(value, cap), "a text"),
        Field::Texts { cap_bytes, most } => (list(most, &|item| safe(item, cap_bytes)), "a list of texts"),
        Field::Integer => (value.as_i64().is_some_and(is_safe_integer), "an integer"),
        Field::Boolean => (value.is_boolean(), "true or false"),
        Field::Digest => (value.as_str().is_some_and(is_digest), "a digest in 64 hexadecimal digits"),
        Field::OneOf(words) => (value.as_str().is_some_and(|word| words.contains(&word)), "one of its words"),
    };
    if fits { Ok(()) } else { Err(expected) }
}

fn is_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\' | b'<' | b'>' | b'`');
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_digest(text: &str) -> bool {
    text.len() == 2 * HASH_BYTES && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_safe_integer(integer: i64) -> bool {
    integer.unsigned_abs() <= INTEGER_MAX.unsigned_abs()
}

fn unknown_field(kind: &'static Kind, name: &str) -> EntryError {
    EntryError::UnknownField { kind: kind.name, field: quoted(name) }
}

fn quoted(text: &str) -> String {
    text::neutralise(text, QUOTED_BYTES_MAX)
}
