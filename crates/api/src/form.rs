//! The forms of texts in requests, as the description names them: patterns and lengths, written once.
//!
//! They describe and hold nothing: the server parses each text into a strict type of its own. What a form cannot say
//! (bytes instead of characters, a key that is a point of its curve) is answered 422 instead of 400.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

/// Names: no `..`, so that no name climbs anywhere.
const NAME: &str = r"^[a-z0-9](\.?[a-z0-9_-])*\.?$";
/// A person or a team; the name of neither holds a capital.
const OWNER: &str = r"^(team:[a-z0-9._+-]+|[a-z0-9._+-]+@[a-z0-9._+-]+)$";
const OWNER_OR_NONE: &str = r"^(team:[a-z0-9._+-]+|[a-z0-9._+-]+@[a-z0-9._+-]+)?$";
const PERSON_OR_NONE: &str = r"^([a-z0-9._+-]+@[a-z0-9._+-]+)?$";
const PERSON: &str = r"^[a-z0-9._+-]+@[a-z0-9._+-]+$";
/// 128 bits in base32: the last of 26 digits carries three of them, so it is one of eight.
const TASK_ID: &str = "^t_[a-z2-7]{25}[aeimquy4]$";
const FINDING_ID: &str = "^f_[a-z2-7]{25}[aeimquy4]$";
const REQUEST_ID: &str = "^r_[a-z2-7]{25}[aeimquy4]$";
/// One line: no control, bidirectional, invisible or private character, and not white space alone.
const LINE: &str = concat!(
    r"^[\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]*",
    r"[^\u0000-\u0020\u007f-\u00a0\u00ad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u2069\u3000\ue000-\uf8ff\ufeff\ufff9-\ufffb]",
    r"[^\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ue000-\uf8ff\ufeff\ufff9-\ufffb]*$",
);
/// Labels of 1 to 63 characters, or an IPv6 address in brackets; no pattern, no path.
const ENDPOINT: &str = concat!(
    r"^(https?://)?(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*)",
    r"(:[1-9][0-9]{0,4})?$",
);

/// Characters of the longest name.
const NAME_MAX: usize = 63;
/// Characters of an id: a letter, `_` and 26 digits.
const ID_CHARS: usize = 28;
/// Characters of the longest value, with the line break that files end with.
pub const SECRET_CHARS_MAX: usize = 4096;
/// Digits of the largest place: one less than those of 2^53, which every JSON reader can hold.
pub const PLACE_DIGITS_MAX: usize = 15;
/// Characters of the longest cursor of a list by name: that of owners.
pub const NAME_CURSOR_CHARS_MAX: usize = 200;

fn text(about: &str, pattern: &str, min: usize, max: usize) -> Schema {
    let object = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .description(Some(about))
        .pattern(Some(pattern))
        .min_length(Some(min))
        .max_length(Some(max));
    Schema::Object(object.build())
}

macro_rules! forms {
    ($($name:ident = $pattern:expr, $min:expr, $max:expr, $about:literal;)*) => {$(
        #[doc = $about]
        #[derive(Debug)]
        pub enum $name {}
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::T(text($about, $pattern, $min, $max))
            }
        }
        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )*};
}

forms! {
    Name = NAME, 1, NAME_MAX, "Lower-case letters, digits, `.`, `_` and `-`; first a letter or digit; no `..`.";
    OwnerName = OWNER, 3, 200, "`person@organisation` or `team:name`, in lower case.";
    OwnerNameOrNone = OWNER_OR_NONE, 0, 200, "`person@organisation` or `team:name`, in lower case; empty: none.";
    PersonName = PERSON, 3, 200, "`person@organisation`, in lower case.";
    PersonNameOrNone = PERSON_OR_NONE, 0, 200, "`person@organisation`, in lower case; empty: none.";
    GroupName = r"^[a-z0-9][a-z0-9._-]*$", 1, NAME_MAX, "A group of people, such as `payments`; not the name of a role.";
    TaskId = TASK_ID, ID_CHARS, ID_CHARS, "The id of a task.";
    RequestId = REQUEST_ID, ID_CHARS, ID_CHARS, "The id of a request.";
    FindingId = FINDING_ID, ID_CHARS, ID_CHARS, "The id of a finding.";
    Line = LINE, 1, 300, "One line of printable text, at most 300 bytes in UTF-8.";
    ShortLine = LINE, 1, 200, "One line of printable text, at most 200 bytes in UTF-8.";
    Endpoint = ENDPOINT, 1, 270, "`host`, `host:port`, `https://host[:port]` or `http://host[:port]`, exact and in lower case.";
    PublicKeyText = r"^\s*(-----BEGIN PUBLIC KEY-----|\{)", 1, 2048, "A public key (P-256 or Ed25519): PEM, or a JWK as JSON text.";
    CertificatesPem = r"^\s*-----BEGIN CERTIFICATE-----", 1, 65536, "One or more certificates in PEM.";
    CertificatesPemOrNone = r"^(\s*-----BEGIN CERTIFICATE-----|$)", 0, 65536, "One or more certificates in PEM; empty: none.";
    GrantText = r"^\s*[a-z0-9][a-z0-9._-]*\s*:\s*\S", 3, 256, "`RESOURCE: WHAT [PATH] [LIMIT…]`, such as `github: GET /repos/acme/** calls<=5`.";
    SecretText = r"^[!-~]{8,}(\r?\n)?$", 8, SECRET_CHARS_MAX, "8 to 4096 visible ASCII characters; one line break at the end is cut.";
    NameCursor = r"^[a-z0-9._:@+-]+$", 1, NAME_CURSOR_CHARS_MAX, "The `next` of the page before.";
    PlaceCursor = "^(0|[1-9][0-9]*)$", 1, PLACE_DIGITS_MAX, "The `next` of the page before.";
    KindName = r"^[a-z_]+(\.[a-z_]+)*$", 1, 64, "The kind of an entry, such as `action.decided`.";
    OutcomeName = "^[a-z_]+$", 1, 32, "A word for an outcome, such as `deny`.";
    Method = "^[A-Z]{1,20}$", 1, 20, "An HTTP method in capitals.";
    RequestPath = "^/[!-~]*$", 1, 2048, "A path from its first `/`.";
    Base64Url = "^[A-Za-z0-9_-]+$", 1, 4096, "Bytes in base64url, without padding.";
    DigestHex = "^[0-9a-f]{64}$", 64, 64, "SHA-256, 64 lower-case hexadecimal digits.";
}
