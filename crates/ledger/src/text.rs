//! Texts from outside, made safe to keep and to show: one text can never look like, or become, two records.
//!
//! Characters that end a line, move the cursor, change direction or cannot be seen become a visible
//! `\u{202e}`, and a text beyond its cap ends in [`CUT_MARK`]. Both are unambiguous: a text that already holds such a
//! spelling has it escaped, so what was written can always be told from what was meant.
//! Not here: secrets. A text that may hold one must never come this far.

use std::fmt::Write as _;

/// Ends a text that was longer than its cap.
pub const CUT_MARK: &str = "…(cut)";
/// Longest escape in bytes (`\u{10ffff}`).
const ESCAPE_BYTES_MAX: usize = 10;
/// Shortest cap in bytes that holds one escape and the mark.
pub const CAP_BYTES_MIN: usize = CUT_MARK.len() + ESCAPE_BYTES_MAX;

/// The safe form of a text, at most `cap_bytes` long (and never less than [`CAP_BYTES_MIN`] of room).
///
/// Work is bounded by the cap, not by the length of the text.
#[must_use]
pub fn neutralise(text: &str, cap_bytes: usize) -> String {
    let cap_bytes = cap_bytes.max(CAP_BYTES_MIN);
    let mut out = String::with_capacity(text.len().min(cap_bytes));
    // Where to cut if the rest does not fit: the last border of a character or escape that leaves room for the mark.
    let mut cut_at = 0;
    for (at, c) in text.char_indices() {
        if must_escape(c, &text[at + c.len_utf8()..]) {
            write!(out, "\\u{{{:x}}}", u32::from(c)).expect("writing to a string cannot fail");
        } else {
            out.push(c);
        }
        if out.len() > cap_bytes {
            out.truncate(cut_at);
            out.push_str(CUT_MARK);
            return out;
        }
        if out.len() <= cap_bytes - CUT_MARK.len() {
            cut_at = out.len();
        }
    }
    out
}

/// [`neutralise`] for a text that owns its memory; a plain one is returned as it came.
#[must_use]
pub fn neutralise_owned(text: String, cap_bytes: usize) -> String {
    let plain = text.len() <= cap_bytes && text.bytes().all(|b| matches!(b, 0x20..=0x7e) && b != b'\\');
    if plain { text } else { neutralise(&text, cap_bytes) }
}

/// The safe form of bytes that should have been UTF-8; what is not becomes U+FFFD.
#[must_use]
pub fn neutralise_bytes(bytes: &[u8], cap_bytes: usize) -> String {
    // Four bytes per character at most: more input than this cannot change the output.
    let enough = bytes.len().min(cap_bytes.max(CAP_BYTES_MIN).saturating_mul(4));
    neutralise(&String::from_utf8_lossy(&bytes[..enough]), cap_bytes)
}

/// Whether a text holds no character that [`neutralise`] would have made visible.
#[must_use]
pub fn is_safe(text: &str) -> bool {
    !text.chars().any(is_dangerous)
}

fn must_escape(c: char, rest: &str) -> bool {
    match c {
        '\\' => rest.starts_with("u{"),
        '…' => rest.starts_with("(cut)"),
        _ => is_dangerous(c),
    }
}

/// Line ends, control and format characters, invisible ones, direction marks, tags and noncharacters.
fn is_dangerous(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'          // C0 (with ANSI's ESC), DEL, C1
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}' // soft hyphen, joiners, invisible fillers
        | '\u{200b}'..='\u{200f}'                          // zero width, direction marks
        | '\u{2028}'..='\u{202e}'                          // line and paragraph separator, bidi overrides
        | '\u{2060}'..='\u{206f}'                          // invisible operators, bidi isolates
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}') // musical format, tags, variation selectors
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(neutralise(text, 64), expected);
        assert_eq!(neutralise_owned(text.to_owned(), 64), expected);
    }

    // case: AUD-09
    #[test]
    fn characters_that_could_forge_a_record_become_visible() {
        check("rotate keys, then deploy", "rotate keys, then deploy");
        check("déjà vu 完了", "déjà vu 完了");
        check("a\nb\r\0", r"a\u{a}b\u{d}\u{0}");
        check("\u{1b}[31mred", r"\u{1b}[31mred");
        check("x\u{2028}y\u{2029}", r"x\u{2028}y\u{2029}");
        check("\u{202e}txt.exe\u{2066}", r"\u{202e}txt.exe\u{2066}");
        check("ze\u{200b}ro\u{feff}", r"ze\u{200b}ro\u{feff}");
        check("\u{e0041}", r"\u{e0041}");
        check(r"C:\users", r"C:\users");
    }

    // case: AUD-09
    #[test]
    fn a_text_cannot_imitate_an_escape_or_the_cut_mark() {
        check(r"\u{202e}", r"\u{5c}u{202e}");
        check("all…(cut)", r"all\u{2026}(cut)");
        check("and so on…", "and so on…");
    }

    // case: AUD-09
    #[test]
    fn a_text_over_its_cap_says_so_and_never_splits_a_character() {
        assert_eq!(neutralise(&"x".repeat(64), 64), "x".repeat(64));
        assert_eq!(neutralise(&"x".repeat(65), 64), format!("{}{CUT_MARK}", "x".repeat(56)));
        assert_eq!(neutralise(&"é".repeat(40), 64), format!("{}{CUT_MARK}", "é".repeat(28)));
        assert_eq!(neutralise(&"\n".repeat(40), 64), format!("{}{CUT_MARK}", r"\u{a}".repeat(11)));
        assert_eq!(neutralise(&"y".repeat(1 << 20), 64).len(), 64);
        assert_eq!(neutralise_bytes(b"bad \xff\xfe end", 64), "bad \u{fffd}\u{fffd} end");
        assert_eq!(neutralise_bytes(&[0xff; 1 << 20], 64).len(), 62);
    }

    proptest! {
        // case: AUD-09
        #[test]
        fn every_text_comes_out_safe_and_within_its_cap(text in any::<String>(), cap in 0_usize..80) {
            let safe = neutralise(&text, cap);
            prop_assert!(is_safe(&safe));
            prop_assert!(safe.len() <= cap.max(CAP_BYTES_MIN));
        }

        #[test]
        fn different_texts_that_fit_stay_different(a in "[a\\\\u{}0-9\n…(cut)]{0,8}", b in "[a\\\\u{}0-9\n…(cut)]{0,8}") {
            prop_assert_eq!(a == b, neutralise(&a, 4096) == neutralise(&b, 4096));
        }
    }
}
