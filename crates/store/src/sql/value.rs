//! Values that queries take and give: integers, texts and bytes are all that either database has to know.

use crate::error::StoreError;
use crate::sql::Row;

/// A value on its way into a query. Borrowed: nothing is copied for the sake of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// What can stand for a parameter.
pub(crate) trait Bind {
    fn bind(&self) -> Value<'_>;
}

/// Numbers that the database can hold as they are.
macro_rules! bind_integers {
    ($($integer:ty),*) => {$(
        impl Bind for $integer {
            fn bind(&self) -> Value<'_> {
                Value::Integer(i64::from(*self))
            }
        }
    )*};
}
bind_integers!(i64, u32, u8, bool);

/// Counts and places. None that exists comes near the largest that a database holds; one that a caller made up is
/// taken for that largest one.
macro_rules! bind_counts {
    ($($count:ty),*) => {$(
        impl Bind for $count {
            fn bind(&self) -> Value<'_> {
                Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
            }
        }
    )*};
}
bind_counts!(u64, usize);

impl Bind for str {
    fn bind(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Bind for String {
    fn bind(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Bind for [u8] {
    fn bind(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<const N: usize> Bind for [u8; N] {
    fn bind(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl Bind for Vec<u8> {
    fn bind(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<T: Bind + ?Sized> Bind for &T {
    fn bind(&self) -> Value<'_> {
        (**self).bind()
    }
}

impl<T: Bind> Bind for Option<T> {
    fn bind(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Bind::bind)
    }
}

/// A value that was put together at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owned {
    Integer(i64),
    Text(String),
}

impl Bind for Owned {
    fn bind(&self) -> Value<'_> {
        match self {
            Self::Integer(integer) => Value::Integer(*integer),
            Self::Text(text) => Value::Text(text),
        }
    }
}

/// The parameters of one query, in their order.
pub(crate) trait Params {
    fn with<R>(&self, f: impl FnOnce(&[Value<'_>]) -> R) -> R;
}

impl<T: Bind, const N: usize> Params for [T; N] {
    fn with<R>(&self, f: impl FnOnce(&[Value<'_>]) -> R) -> R {
        f(&self.each_ref().map(Bind::bind))
    }
}

impl<T: Bind> Params for Vec<T> {
    fn with<R>(&self, f: impl FnOnce(&[Value<'_>]) -> R) -> R {
        f(&self.iter().map(Bind::bind).collect::<Vec<_>>())
    }
}

/// No parameters.
impl Params for () {
    fn with<R>(&self, f: impl FnOnce(&[Value<'_>]) -> R) -> R {
        f(&[])
    }
}

macro_rules! params_of_tuples {
    ($(($($name:ident $at:tt),+))*) => {$(
        impl<$($name: Bind),+> Params for ($($name,)+) {
            fn with<R>(&self, f: impl FnOnce(&[Value<'_>]) -> R) -> R {
                f(&[$(self.$at.bind()),+])
            }
        }
    )*};
}
params_of_tuples! {
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12)
}

/// What can be read from a column.
pub(crate) trait Column: Sized {
    fn read(row: &Row<'_>, at: usize) -> Result<Self, StoreError>;
}

impl Column for i64 {
    fn read(row: &Row<'_>, at: usize) -> Result<Self, StoreError> {
        row.integer(at)?.ok_or_else(|| empty(at))
    }
}

impl Column for String {
    fn read(row: &Row<'_>, at: usize) -> Result<Self, StoreError> {
        row.text(at)?.ok_or_else(|| empty(at))
    }
}

impl Column for Vec<u8> {
    fn read(row: &Row<'_>, at: usize) -> Result<Self, StoreError> {
        row.blob(at)?.ok_or_else(|| empty(at))
    }
}

impl Column for Option<i64> {
    fn read(row: &Row<'_>, at: usize) -> Result<Self, StoreError> {
        row.integer(at)
    }
}

impl Column for Option<String> {
    fn read(row: &Row<'_>, at: usize) -> Result<Self, StoreError> {
        row.text(at)
    }
}

impl Column for Option<u64> {
    fn read(row: &Row<'_>, at: usize) -> Result<Self, StoreError> {
        row.integer(at)?.map(|n| u64::try_from(n).map_err(|_| negative(at, n))).transpose()
    }
}

macro_rules! columns_of_counts {
    ($($count:ty),*) => {$(
        impl Column for $count {
            fn read(row: &Row<'_>, at: usize) -> Result<Self, StoreError> {
                let integer = i64::read(row, at)?;
                Self::try_from(integer).map_err(|_| negative(at, integer))
            }
        }
    )*};
}
columns_of_counts!(u64, u32, usize);

fn empty(at: usize) -> StoreError {
    StoreError::document("row", format!("column {at} is empty"))
}

fn negative(at: usize, integer: i64) -> StoreError {
    StoreError::document("row", format!("column {at} holds {integer}"))
}
