//! Which known word a misspelt one is nearest to.

/// Edits beyond which two words have nothing to do with each other.
const EDITS_MAX: usize = 3;

/// The known word with the fewest edits to `word`, if any is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|k| (edits(word, k), k));
    scored.filter(|(n, k)| *n <= EDITS_MAX.min(k.len() / 2 + 1)).min().map(|(_, k)| k)
}

/// Insertions, removals and replacements between two words (Levenshtein's distance).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        let known = ["listen", "gateway", "database", "seal", "url"];
        for (word, expected) in [
            ("lisen", Some("listen")),
            ("gate_way", Some("gateway")),
            ("databse", Some("database")),
            ("sael", Some("seal")),
            ("uri", Some("url")),
            ("completely_else", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
