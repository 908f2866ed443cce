//! One TOML file, read key by key. A key that nobody asked for is an error that names the nearest one that somebody
//! did; `ACCREDIT_SECTION__KEY` in the environment stands above the file.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::references;

/// Environment variables with this beginning and `__` inside stand for keys.
const OVERRIDE_PREFIX: &str = "ACCREDIT_";

/// What is wrong with a configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// `file:line`, the file alone, or the environment variable.
    place: String,
    /// Dotted path of the key; empty for the document as a whole.
    field: String,
    why: String,
    help: Option<String>,
}

impl ConfigError {
    /// What to do about it, where that is known.
    pub(crate) fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// An error about a whole file.
    pub(crate) fn of_file(file: &str, why: impl fmt::Display) -> Self {
        Self { place: file.to_owned(), field: String::new(), why: why.to_string(), help: None }
    }

    /// The same error with what to do about it.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.field.is_empty() {
            write!(f, "`{}`: ", self.field)?;
        }
        f.write_str(&self.why)
    }
}

/// Reads a document with `reader`, then refuses whatever nobody asked for. `file` is for errors.
///
/// # Errors
/// The first [`ConfigError`], by place in the file.
pub(crate) fn read<T>(
    file: &str,
    text: &str,
    environment: &BTreeMap<String, String>,
    reader: impl FnOnce(&mut Section<'_>) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    let context = Context {
        file,
        text,
        environment,
        overrides: overrides(environment),
        used: RefCell::default(),
        asked: RefCell::default(),
    };
    let document = DeTable::parse(text).map_err(|e| context.error(e.span(), "", e.message()))?;
    let mut root =
        Section { context: &context, path: String::new(), table: Some(document.get_ref()), asked: vec![] };
    let value = reader(&mut root)?;
    root.finish()?;
    context.refuse_unused_overrides()?;
    Ok(value)
}

/// Variables such as `ACCREDIT_SERVER__LISTEN`, by the key that they stand for.
fn overrides(environment: &BTreeMap<String, String>) -> BTreeMap<String, (String, String)> {
    let key = |name: &str| Some(name.strip_prefix(OVERRIDE_PREFIX)?.to_ascii_lowercase().replace("__", "."));
    environment
        .iter()
        .filter(|(name, _)| name.contains("__"))
        .filter_map(|(name, value)| Some((key(name)?, (name.clone(), value.clone()))))
        .collect()
}

struct Context<'a> {
    file: &'a str,
    text: &'a str,
    environment: &'a BTreeMap<String, String>,
    overrides: BTreeMap<String, (String, String)>,
    /// Overrides that a reader took.
    used: RefCell<BTreeSet<String>>,
    /// Every key that a reader asked for, by path.
    asked: RefCell<BTreeSet<String>>,
}

impl Context<'_> {
    fn error(&self, span: Option<Range<usize>>, field: &str, why: impl fmt::Display) -> ConfigError {
        let line = span.map(|s| self.text[..s.start.min(self.text.len())].matches('\n').count() + 1);
        let place = line.map_or_else(|| self.file.to_owned(), |n| format!("{}:{n}", self.file));
        ConfigError { place, field: field.to_owned(), why: why.to_string(), help: None }
    }

    fn refuse_unused_overrides(&self) -> Result<(), ConfigError> {
        let used = self.used.borrow();
        let Some((key, (variable, _))) = self.overrides.iter().find(|(key, _)| !used.contains(*key)) else {
            return Ok(());
        };
        let asked = self.asked.borrow();
        let help = nearest(key, asked.iter().map(String::as_str))
            .map(|k| format!("did you mean {OVERRIDE_PREFIX}{}?", k.to_ascii_uppercase().replace('.', "__")));
        let why = "there is no such setting".to_owned();
        Err(ConfigError { place: variable.clone(), field: key.clone(), why, help })
    }
}

/// A text and, when it comes from the file, where it stands there.
type Placed = (String, Option<Range<usize>>);

/// A table of the document. Whoever has read all of its keys calls [`Section::finish`].
pub(crate) struct Section<'a> {
    context: &'a Context<'a>,
    path: String,
    table: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The text under a key, with references followed.
    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        self.parsed(key, |text| Ok::<_, String>(text.to_owned()))
    }

    /// The text under a key as it stands, references and all.
    pub(crate) fn raw(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        match self.raw_text(key)? {
            Some((text, span)) if references::looks_like_secret(&text) => {
                Err(self.wrong(span, key, references::ReferenceError::LooksLikeSecret))
            }
            found => Ok(found.map(|(text, _)| text)),
        }
    }

    /// The text under a key as it stands in the file itself; none when it comes from elsewhere.
    pub(crate) fn literal(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        let found =
            self.raw_text(key)?.filter(|(text, span)| span.is_some() && !references::is_reference(text));
        Ok(found.map(|(text, _)| text))
    }

    /// The text under a key, parsed into what it means.
    pub(crate) fn parsed<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((text, span)) = self.raw_text(key)? else { return Ok(None) };
        let text = references::resolve(&text, self.context.environment)
            .map_err(|e| self.wrong(span.clone(), key, e))?;
        parse(&text).map(Some).map_err(|e| self.wrong(span, key, e))
    }

    /// The reference under a key whose value is a secret, as it stands. It must lead to something, and nothing else than a
    /// reference may stand there.
    pub(crate) fn reference(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        let Some((text, span)) = self.raw_text(key)? else { return Ok(None) };
        if !references::is_reference(&text) {
            let why = "a secret stands elsewhere: write ${env:NAME} or ${file:/path}";
            return Err(self.wrong(span, key, why));
        }
        references::resolve(&text, self.context.environment).map_err(|e| self.wrong(span, key, e))?;
        Ok(Some(text))
    }

    /// The text under a key that is public although it looks random, such as a verifier key, parsed into what it means.
    pub(crate) fn public<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((text, span)) = self.raw_text(key)? else { return Ok(None) };
        let text = if references::is_reference(&text) {
            references::resolve(&text, self.context.environment)
                .map_err(|e| self.wrong(span.clone(), key, e))?
        } else {
            text
        };
        parse(text.trim()).map(Some).map_err(|e| self.wrong(span, key, e))
    }

    /// The switch under a key; in the environment `true` or `false`.
    pub(crate) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        let found = self.value(key);
        let path = self.path_of(key);
        if let Some((_, value)) = self.context.overrides.get(&path) {
            self.context.used.borrow_mut().insert(path);
            return value
                .parse()
                .map(Some)
                .map_err(|_| self.wrong(None, key, format!("`{value}` is not true or false")));
        }
        let Some(value) = found else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(flag) => Ok(Some(*flag)),
            _ => Err(self.expected(value, key, "true or false")),
        }
    }

    /// The list of texts under a key, each parsed into what it means.
    pub(crate) fn list<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.expected(value, key, "a list of texts"));
        };
        let one = |item: &Spanned<DeValue<'_>>| {
            let DeValue::String(text) = item.get_ref() else {
                return Err(self.expected(item, key, "a text"));
            };
            let wrong = |why: &dyn fmt::Display| self.wrong(Some(item.span()), key, why);
            let text = references::resolve(text, self.context.environment).map_err(|e| wrong(&e))?;
            parse(&text).map_err(|e| wrong(&e))
        };
        array.iter().map(one).collect()
    }

    /// The table under a key; empty when it is not there.
    pub(crate) fn section(&mut self, key: &'static str) -> Result<Section<'a>, ConfigError> {
        let path = self.path_of(key);
        let table = match self.value(key) {
            None => None,
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => Some(table),
                _ => return Err(self.expected(value, key, "a table")),
            },
        };
        Ok(Section { context: self.context, path, table, asked: vec![] })
    }

    /// The list of tables under a key (`[[key]]`).
    pub(crate) fn sections(&mut self, key: &'static str) -> Result<Vec<Section<'a>>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.expected(value, key, "a list of tables"));
        };
        let one = |(i, item): (usize, &'a Spanned<DeValue<'a>>)| {
            let DeValue::Table(table) = item.get_ref() else {
                return Err(self.expected(item, key, "a table"));
            };
            let path = format!("{}[{i}]", self.path_of(key));
            Ok(Section { context: self.context, path, table: Some(table), asked: vec![] })
        };
        array.iter().enumerate().map(one).collect()
    }

    /// Whether the file or the environment says anything here.
    pub(crate) fn is_present(&self) -> bool {
        let inside = format!("{}.", self.path);
        self.table.is_some() || self.context.overrides.keys().any(|key| key.starts_with(&inside))
    }

    /// The value of a key that must be there.
    pub(crate) fn required<T>(&self, key: &'static str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| self.wrong(None, key, "it is missing"))
    }

    /// An error about a key of this table.
    pub(crate) fn wrong(
        &self,
        span: Option<Range<usize>>,
        key: &'static str,
        why: impl fmt::Display,
    ) -> ConfigError {
        let span = span.or_else(|| self.value_of(key).map(Spanned::span));
        self.context.error(span, &self.path_of(key), why)
    }

    /// Refuses every key that nobody asked for.
    pub(crate) fn finish(self) -> Result<(), ConfigError> {
        let keys = self.table.iter().flat_map(|t| t.keys());
        let Some(unknown) = keys.into_iter().find(|k| !self.asked.contains(&k.get_ref().as_ref())) else {
            return Ok(());
        };
        let name = unknown.get_ref();
        let field = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        let help = nearest(name, self.asked.iter().copied())
            .map(|k| format!("did you mean `{k}`?"))
            .unwrap_or_else(|| format!("known here: {}", self.asked.join(", ")));
        Err(self.context.error(Some(unknown.span()), &field, "unknown key").with_help(help))
    }

    fn raw_text(&mut self, key: &'static str) -> Result<Option<Placed>, ConfigError> {
        let path = self.path_of(key);
        let found = self.value(key);
        if let Some((_, value)) = self.context.overrides.get(&path) {
            self.context.used.borrow_mut().insert(path);
            return Ok(Some((value.clone(), None)));
        }
        let Some(value) = found else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text) => Ok(Some((text.to_string(), Some(value.span())))),
            _ => Err(self.expected(value, key, "a text")),
        }
    }

    /// Notes that the key is known, and looks it up.
    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.context.asked.borrow_mut().insert(self.path_of(key));
        self.value_of(key)
    }

    fn value_of(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.get(key)
    }

    fn expected(&self, value: &Spanned<DeValue<'_>>, key: &'static str, what: &str) -> ConfigError {
        let why = format!("expected {what}, found {}", value.get_ref().type_str());
        self.wrong(Some(value.span()), key, why)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_listen(text: &str, environment: &[(&str, &str)]) -> Result<Option<String>, ConfigError> {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        read("a.toml", text, &environment, |root| {
            let mut server = root.section("server")?;
            let listen = server.text("listen")?;
            server.text("gateway")?;
            server.finish()?;
            Ok(listen)
        })
    }

    #[track_caller]
    fn refuses(text: &str, environment: &[(&str, &str)], message: &str, help: Option<&str>) {
        let error = read_listen(text, environment).expect_err(text);
        assert_eq!((error.to_string().as_str(), error.help()), (message, help));
    }

    // case: ADM-05
    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_known_one() {
        refuses(
            "[server]\nlisten = \"a\"\nlissten = \"b\"\n",
            &[],
            "a.toml:3: `server.lissten`: unknown key",
            Some("did you mean `listen`?"),
        );
        refuses("[servers]\n", &[], "a.toml:1: `servers`: unknown key", Some("did you mean `server`?"));
        refuses(
            "[server]\nzzzzzzzz = 1",
            &[],
            "a.toml:2: `server.zzzzzzzz`: unknown key",
            Some("known here: listen, gateway"),
        );
        refuses(
            "",
            &[("ACCREDIT_SERVER__LISTN", "x")],
            "ACCREDIT_SERVER__LISTN: `server.listn`: there is no such setting",
            Some("did you mean ACCREDIT_SERVER__LISTEN?"),
        );
    }

    #[test]
    fn a_wrong_type_and_a_wrong_reference_name_the_field() {
        refuses(
            "[server]\nlisten = 9748",
            &[],
            "a.toml:2: `server.listen`: expected a text, found integer",
            None,
        );
        refuses("server = 1", &[], "a.toml:1: `server`: expected a table, found integer", None);
        refuses(
            "\n[server]\nlisten = \"${env:NONE}\"",
            &[],
            "a.toml:3: `server.listen`: the environment variable `NONE` is not set",
            None,
        );
    }

    #[test]
    fn broken_syntax_names_its_line() {
        let error = read_listen("[server]\nlisten = \n", &[]).expect_err("no value");
        assert!(error.to_string().starts_with("a.toml:2: "), "{error}");
    }

    #[test]
    fn the_environment_stands_above_the_file() {
        let both = read_listen("[server]\nlisten = \"file\"", &[("ACCREDIT_SERVER__LISTEN", "environment")]);
        assert_eq!(both, Ok(Some("environment".to_owned())));
        assert_eq!(read_listen("", &[("ACCREDIT_SERVER__LISTEN", "x")]), Ok(Some("x".to_owned())));
        assert_eq!(read_listen("", &[("ACCREDIT_SOCKET", "/x")]), Ok(None));
    }
}
