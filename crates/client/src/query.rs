//! Query strings from the query types of the API: flat, absent fields left out.

use std::fmt::Write as _;

use serde::Serialize;

use crate::error::CallError;

/// `path`, with the fields of `query` behind it.
///
/// # Errors
/// [`CallError::Request`] when the query is not a flat object.
pub(crate) fn with_query<Q: Serialize>(path: &str, query: &Q) -> Result<String, CallError> {
    let not_flat = || CallError::Request("a query holds texts, numbers and switches only".to_owned());
    let value = serde_json::to_value(query).map_err(|e| CallError::Request(e.to_string()))?;
    let mut out = path.to_owned();
    // By name: how the map orders its fields depends on the features that the whole build asks for.
    let fields: std::collections::BTreeMap<_, _> = value.as_object().ok_or_else(not_flat)?.iter().collect();
    for (name, value) in fields {
        let text = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Number(n) => n.to_string(),
            serde_json::Value::Bool(b) => b.to_string(),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => return Err(not_flat()),
        };
        out.push(if out.contains('?') { '&' } else { '?' });
        out += &format!("{}={}", encode(name), encode(&text));
    }
    Ok(out)
}

/// A text as one segment of a path or one part of a query (RFC 3986 §2.1, unreserved characters stay).
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use accredit_api::audit::AuditQuery;

    #[test]
    fn absent_fields_are_left_out_and_present_ones_escaped() {
        let query = AuditQuery {
            since: Some("2026-11-22T09:00:00Z".to_owned()),
            limit: Some(5),
            ..AuditQuery::default()
        };
        let path = with_query("/v1/audit", &query).expect("a flat query");
        assert_eq!(path, "/v1/audit?limit=5&since=2026-11-22T09%3A00%3A00Z");
        assert_eq!(with_query("/v1/audit", &AuditQuery::default()).expect("an empty query"), "/v1/audit");
    }

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(encode("../x?y#z/é"), "..%2Fx%3Fy%23z%2F%C3%A9");
    }
}
