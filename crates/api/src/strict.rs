//! Reading requests as strictly, and as widely, as the description says: an object is written as an object, and a
//! whole number may be written as `5.0` (JSON Schema, *Validation*, §6.1.1).
//!
//! Left to itself, `serde` also reads an object from an array of its fields, and no number with a point as whole.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// 2^53: the largest whole number up to which a double holds every one.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// An object, written as one.
///
/// # Errors
/// When it is something else, or does not fit.
pub fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_map(Object(PhantomData))
}

struct AsObject<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AsObject<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        object(from).map(Self)
    }
}

/// An object, written as one; `null` is none.
pub(crate) fn object_opt<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<AsObject<T>>::deserialize(from)?.map(|found| found.0))
}

struct Objects<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut found = Vec::new();
        while let Some(AsObject(item)) = items.next_element()? {
            found.push(item);
        }
        Ok(found)
    }
}

/// Objects, each written as one.
pub(crate) fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(Objects(PhantomData))
}

struct Whole(u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
                Ok(number)
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<u64, E> {
                let fits = number.fract() == 0.0 && (0.0..=WHOLE_MAX).contains(&number);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "it is whole and within 0 to 2^53"
                )]
                fits.then_some(number as u64).ok_or_else(|| E::custom("not a whole number"))
            }
        }
        from.deserialize_u64(Number).map(Self)
    }
}

fn narrow<T: TryFrom<u64>, E: Error>(number: Whole) -> Result<T, E> {
    T::try_from(number.0).map_err(|_| E::custom("the number is too large"))
}

/// A whole number, however it is written.
pub(crate) fn whole<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    narrow(Whole::deserialize(from)?)
}

/// A whole number, however it is written; `null` is none.
pub(crate) fn whole_opt<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::<Whole>::deserialize(from)?.map(narrow).transpose()
}

#[cfg(test)]
mod tests {
    use crate::agent::{CreateJoinToken, RegisterAgent};
    use crate::credential::AddCredential;
    use crate::policy::CheckPolicies;
    use crate::revoke::Revoke;

    use super::*;

    fn read<T: Deserialize<'static>>(text: &'static str) -> Option<T> {
        let mut from = serde_json::Deserializer::from_str(text);
        object(&mut from).ok().filter(|_| from.end().is_ok())
    }

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        let ttl = |text| read::<CreateJoinToken>(text).map(|t| t.ttl_s);
        for (text, wanted) in [
            (r#"{"ttl_s":60}"#, Some(Some(60))),
            (r#"{"ttl_s":60.0}"#, Some(Some(60))),
            (r#"{"ttl_s":6e1}"#, Some(Some(60))),
            (r#"{"ttl_s":null}"#, Some(None)),
            (r#"{}"#, Some(None)),
            (r#"{"ttl_s":60.5}"#, None),
            (r#"{"ttl_s":-1}"#, None),
            (r#"{"ttl_s":-1.0}"#, None),
            (r#"{"ttl_s":1e300}"#, None),
            (r#"{"ttl_s":"60"}"#, None),
            (r#"{"ttl_s":true}"#, None),
        ] {
            assert_eq!(ttl(text), wanted, "{text}");
        }
        let agent = r#"{"name":"a","kind":"job","environment":"p","owner":"team:a","socket_uid":4294967296}"#;
        assert!(read::<RegisterAgent>(agent).is_none());
    }

    #[test]
    fn an_object_is_not_read_from_an_array() {
        assert!(read::<CheckPolicies>(r#"{"files":[{"name":"a","text":""}]}"#).is_some());
        assert!(read::<CheckPolicies>(r#"{"files":[["a",""]]}"#).is_none());
        assert!(read::<CheckPolicies>(r#"[[]]"#).is_none());
        assert!(read::<CreateJoinToken>("[60]").is_none());
        let credential =
            |placement| format!(r#"{{"name":"c","resource":"r","owner":"team:a","placement":{placement}}}"#);
        let good = credential(r#"{"in":"header","field":"x-key"}"#);
        assert!(read::<AddCredential>(Box::leak(good.into_boxed_str())).is_some());
        let bad = credential(r#"["header","x-key",""]"#);
        assert!(read::<AddCredential>(Box::leak(bad.into_boxed_str())).is_none());
        assert!(read::<Revoke>(r#"{"target":{"all":null}}"#).is_none());
        assert!(read::<Revoke>(r#"{"target":"all"}"#).is_some());
    }
}
