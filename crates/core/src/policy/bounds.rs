//! Whether a text is shallow enough to be given to the parser at all.
//!
//! Cedar's parser and validator walk expressions recursively: a long enough chain such as
//! `1+1+1+…` in one policy ends the whole process. So each policy is measured before it is parsed,
//! by the two things that the grammar reads before anything else: strings and comments.

/// Deepest nesting of brackets, and most `if`s, in one policy.
pub const NESTING_MAX: usize = 32;
/// Longest policy in bytes, comments aside: chains nest without brackets, two bytes a level. Keeps
/// the deepest expression well within a stack of 2 MiB, unoptimised.
pub const POLICY_BYTES_MAX: usize = 8 * 1_024;

/// What is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMuch {
    Nested,
    Long,
}

impl TooMuch {
    pub(crate) fn message(self) -> String {
        match self {
            Self::Nested => format!("expressions are nested more than {NESTING_MAX} deep"),
            Self::Long => format!("a policy is longer than {POLICY_BYTES_MAX} bytes"),
        }
    }
}

/// The first byte at which a policy of this text is too much for the parser.
pub(crate) fn exceeded(text: &str) -> Option<(usize, TooMuch)> {
    let bytes = text.as_bytes();
    let (mut at, mut long, mut depth, mut ifs) = (0, 0_usize, 0_usize, 0_usize);
    while let Some(byte) = bytes.get(at) {
        let next = match byte {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at = end_of_comment(bytes, at);
                continue;
            }
            b'"' => end_of_string(bytes, at),
            _ => at + 1,
        };
        long += next - at;
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b';' => (long, depth, ifs) = (0, 0, 0),
            b'i' if is_if(bytes, at) => ifs += 1,
            _ => {}
        }
        if depth > NESTING_MAX || ifs > NESTING_MAX {
            return Some((at, TooMuch::Nested));
        }
        if long > POLICY_BYTES_MAX {
            return Some((at, TooMuch::Long));
        }
        at = next;
    }
    None
}

fn end_of_comment(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(bytes.len(), |n| from + n)
}

/// The place after the string that begins here; the end of the text when it is never closed.
fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn is_if(bytes: &[u8], at: usize) -> bool {
    let of_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let begins = at.checked_sub(1).and_then(|before| bytes.get(before)).is_none_or(|b| !of_word(b));
    bytes[at..].starts_with(b"if") && begins && bytes.get(at + 2).is_none_or(|b| !of_word(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_parser_would_walk_is_counted() {
        let check = |text: &str, expected: Option<TooMuch>| {
            assert_eq!(exceeded(text).map(|e| e.1), expected, "{:.60}", text)
        };
        let (open, long) = ("(".repeat(NESTING_MAX + 1), "x".repeat(POLICY_BYTES_MAX));
        check(&open[1..], None);
        check(&open, Some(TooMuch::Nested));
        check(&format!("// {open}\n"), None);
        check(&format!("// {open}\r{open}"), Some(TooMuch::Nested));
        check(&format!("\"{open}\""), None);
        check(&format!("\"\\\"{open}\""), None);
        check(&format!("\"\\\\\"{open}"), Some(TooMuch::Nested));
        check(&format!("{};{};", &open[1..], &open[1..]), None);
        check(&"if ".repeat(NESTING_MAX + 1), Some(TooMuch::Nested));
        check(&"notify _if ifs ".repeat(NESTING_MAX + 1), None);
        check(&long, None);
        check(&format!("{long}y"), Some(TooMuch::Long));
        check(&format!("{long};{long}"), None);
        check(&format!("{long}//{long}\n;"), Some(TooMuch::Long));
        check(&format!("{}//{long}\n;", &long[1..]), None);
        check(&format!("\"{long}"), Some(TooMuch::Long));
        check(&format!("\";\"{}", &long[1..]), Some(TooMuch::Long));
    }
}
