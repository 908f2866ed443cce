//! `cargo xtask cases`: which security cases name a test.
//!
//! `tests/cases.tsv` is the catalogue: id, scope, title. A test names the cases it covers in a comment above it,
//! `// case: TOK-01, TOK-02` (`# case: …` in Python and shell). This chore matches the two. It cannot say whether
//! the test is a good one; it says which cases nobody claims to have tested.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::failure::Failure;
use crate::output;
use crate::tree::{self, SourceFile};

const CATALOGUE: &str = "tests/cases.tsv";

/// The scope of a case that this version must cover. Every other word names the part it waits for.
const HERE: &str = "here";

/// Where tests may be written.
const EXTENSIONS: [&str; 6] = ["rs", "py", "sh", "mjs", "js", "ts"];

/// How much is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// One line per family.
    Families,
    /// Each case with the places that name it.
    Everything,
    /// The cases in scope that nothing names.
    Missing,
}

impl View {
    /// `--missing` wins over `-v`.
    pub(crate) fn from_flags(flags: &[String]) -> Self {
        if flags.iter().any(|flag| flag == "--missing") {
            return Self::Missing;
        }
        if flags.iter().any(|flag| flag == "-v") {
            return Self::Everything;
        }
        Self::Families
    }
}

/// One line of the catalogue.
struct Case {
    id: String,
    scope: String,
    title: String,
}

impl Case {
    fn family(&self) -> &str {
        self.id.split('-').next().unwrap_or(&self.id)
    }

    fn in_scope(&self) -> bool {
        self.scope == HERE
    }
}

/// Where each id is named, as `path:line`.
#[derive(Default)]
struct Claims {
    places: BTreeMap<String, Vec<String>>,
}

/// Prints the state of the catalogue. `Ok(false)` when a test names an id that the catalogue does not have.
pub(crate) fn run(root: &Path, view: View) -> Result<bool, Failure> {
    let catalogue = read_catalogue(root)?;
    let claims = scan(&tree::sources(root)?);
    let unknown = unknown(&catalogue, &claims);
    for (id, place) in &unknown {
        output::line(&format!("{place}: `{id}` is not in {CATALOGUE}"));
    }
    match view {
        View::Families => print_families(&catalogue, &claims),
        View::Everything => print_everything(&catalogue, &claims),
        View::Missing => print_missing(&catalogue, &claims),
    }
    Ok(unknown.is_empty())
}

fn read_catalogue(root: &Path) -> Result<Vec<Case>, Failure> {
    let mut seen = BTreeSet::new();
    let lines = tree::list(root, CATALOGUE)?;
    lines
        .into_iter()
        .map(|(line, text)| {
            let case = parse_case(&text).filter(|case| seen.insert(case.id.clone()));
            case.ok_or_else(|| Failure::List {
                path: root.join(CATALOGUE),
                line,
                why: "expected a new id, a scope and a title with tabs between".to_owned(),
            })
        })
        .collect()
}

fn parse_case(text: &str) -> Option<Case> {
    let mut fields = text.split('\t');
    let (id, scope, title) = (fields.next()?, fields.next()?, fields.next()?);
    let complete = is_id(id) && !scope.is_empty() && !title.is_empty() && fields.next().is_none();
    complete.then(|| Case { id: id.to_owned(), scope: scope.to_owned(), title: title.to_owned() })
}

/// Two to four capital letters, a dash, two digits.
fn is_id(text: &str) -> bool {
    let Some((family, number)) = text.split_once('-') else {
        return false;
    };
    (2..=4).contains(&family.len())
        && family.bytes().all(|b| b.is_ascii_uppercase())
        && number.len() == 2
        && number.bytes().all(|b| b.is_ascii_digit())
}

fn scan(sources: &[SourceFile]) -> Claims {
    let mut claims = Claims::default();
    for file in sources.iter().filter(|file| EXTENSIONS.iter().any(|extension| file.is(extension))) {
        for (number, line) in file.lines() {
            for id in claimed(line) {
                claims.places.entry(id.to_owned()).or_default().push(format!("{}:{number}", file.path));
            }
        }
    }
    claims
}

/// The ids in a `case:` comment; words after an id, up to the comma, are the author's remark.
fn claimed(line: &str) -> impl Iterator<Item = &str> {
    let comment = line.trim_start().trim_start_matches(['/', '!', '#']).trim_start();
    let is_comment = comment.len() < line.trim_start().len();
    let list = comment.strip_prefix("case:").filter(|_| is_comment).unwrap_or_default();
    list.split(',').filter_map(|part| part.split_whitespace().next())
}

fn unknown<'a>(catalogue: &[Case], claims: &'a Claims) -> Vec<(&'a str, &'a str)> {
    let known: BTreeSet<&str> = catalogue.iter().map(|case| case.id.as_str()).collect();
    claims
        .places
        .iter()
        .filter(|(id, _)| !known.contains(id.as_str()))
        .flat_map(|(id, places)| places.iter().map(move |place| (id.as_str(), place.as_str())))
        .collect()
}

/// Cases by family, in the order of the catalogue.
fn families(catalogue: &[Case]) -> Vec<(&str, Vec<&Case>)> {
    let mut families: Vec<(&str, Vec<&Case>)> = Vec::new();
    for case in catalogue {
        match families.iter_mut().find(|(family, _)| *family == case.family()) {
            Some((_, cases)) => cases.push(case),
            None => families.push((case.family(), vec![case])),
        }
    }
    families
}

fn print_families(catalogue: &[Case], claims: &Claims) {
    let (mut covered, mut wanted) = (0, 0);
    for (family, cases) in families(catalogue) {
        let scope: Vec<&&Case> = cases.iter().filter(|case| case.in_scope()).collect();
        let missing: Vec<&str> = scope
            .iter()
            .filter(|case| !claims.places.contains_key(&case.id))
            .map(|case| case.id.as_str())
            .collect();
        let early =
            cases.iter().filter(|case| !case.in_scope() && claims.places.contains_key(&case.id)).count();
        covered += scope.len() - missing.len();
        wanted += scope.len();
        let mut line = format!("{family:<5} {:>2} of {:>2}", scope.len() - missing.len(), scope.len());
        if cases.len() > scope.len() {
            line += &format!("   {:>2} later, {early} of them covered", cases.len() - scope.len());
        }
        if !missing.is_empty() {
            line += &format!("   missing {}", missing.join(" "));
        }
        output::line(&line);
    }
    output::line(&format!("cases: {covered} of {wanted} in scope are named by a test"));
}

fn print_everything(catalogue: &[Case], claims: &Claims) {
    for case in catalogue {
        output::line(&format!("{:<8} {:<11} {}", case.id, case.scope, case.title));
        for place in claims.places.get(&case.id).into_iter().flatten() {
            output::line(&format!("                     {place}"));
        }
    }
}

fn print_missing(catalogue: &[Case], claims: &Claims) {
    for case in catalogue.iter().filter(|case| case.in_scope() && !claims.places.contains_key(&case.id)) {
        output::line(&format!("{:<8} {}", case.id, case.title));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_claim(line: &str, expected: &[&str]) {
        assert_eq!(claimed(line).collect::<Vec<_>>(), expected, "{line:?}");
    }

    #[test]
    fn comments_claim_cases() {
        check_claim(concat!("    // ", "case: TOK-01, TOK-02"), &["TOK-01", "TOK-02"]);
        check_claim(concat!("/// ", "case: SEC-07 (two segments), SEC-08"), &["SEC-07", "SEC-08"]);
        check_claim(concat!("# ", "case: EGR-05"), &["EGR-05"]);
    }

    #[test]
    fn other_text_claims_nothing() {
        check_claim("case: TOK-01", &[]);
        check_claim("// in any case: TOK-01", &[]);
        check_claim("let case = TOK-01;", &[]);
    }

    #[test]
    fn an_id_outside_the_catalogue_is_unknown() {
        let catalogue = [Case { id: "TOK-01".to_owned(), scope: HERE.to_owned(), title: "x".to_owned() }];
        let text = concat!("// ", "case: TOK-01, TOK-99\n").to_owned();
        let claims = scan(&[SourceFile { path: "a.rs".to_owned(), text }]);
        assert_eq!(unknown(&catalogue, &claims), [("TOK-99", "a.rs:1")]);
    }

    #[test]
    fn a_catalogue_line_has_three_fields() {
        for (line, expected) in [
            ("TOK-01\there\ta token without signature", true),
            ("TOK-1\there\ttitle", false),
            ("TOK-01\there", false),
            ("TOK-01\t\ttitle", false),
            ("TOK-01\there\ttitle\tmore", false),
        ] {
            assert_eq!(parse_case(line).is_some(), expected, "{line:?}");
        }
    }

    #[test]
    fn the_catalogue_of_this_tree_can_be_read() {
        let catalogue = read_catalogue(&tree::root()).expect("tests/cases.tsv is well formed");
        assert!(catalogue.iter().any(Case::in_scope));
    }
}
