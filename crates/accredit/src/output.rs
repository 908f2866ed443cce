//! The only place that prints. Data goes to stdout, words to stderr; a table for people, `-o json` and `-o jsonl`
//! for programs. What comes from agents or upstreams is neutralised before it reaches a terminal.

use std::io::{IsTerminal as _, Write as _};

use accredit_ledger::text::neutralise;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;

/// Longest cell or line on a terminal, in bytes: a boundary of 64 grants still shows its start.
const CELL_BYTES_MAX: usize = 2_048;

/// What data is printed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
}

/// Where and how a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    quiet: bool,
}

/// Whether data went where it was to go. Without that, a command has nothing left to do.
pub(crate) type Written = Result<(), Failure>;

/// One label and its text: a line of a detail view.
pub(crate) type Line = (&'static str, String);

impl Output {
    /// Prints in this format; `quiet` drops everything but data and errors.
    pub(crate) const fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// Whether a program reads the output.
    pub(crate) fn is_json(self) -> bool {
        self.format != Format::Table
    }

    /// A list: a table with these columns, or the items themselves. `empty` teaches the next command.
    pub(crate) fn list<T: Serialize>(
        self,
        items: &[T],
        columns: &[&str],
        row: impl Fn(&T) -> Vec<String>,
        empty: &str,
    ) -> Written {
        match self.format {
            Format::Json => self.json(&items),
            Format::Jsonl => items.iter().try_for_each(|item| self.json_line(item)),
            Format::Table if items.is_empty() => {
                self.say(empty);
                Ok(())
            }
            Format::Table => self.text(&table(columns, items.iter().map(row))),
        }
    }

    /// A list of which a program also wants what stands around it, such as where to go on.
    pub(crate) fn page<P: Serialize, T: Serialize>(
        self,
        page: &P,
        items: &[T],
        columns: &[&str],
        row: impl Fn(&T) -> Vec<String>,
        empty: &str,
    ) -> Written {
        match self.format {
            Format::Json => self.json(page),
            Format::Jsonl | Format::Table => self.list(items, columns, row, empty),
        }
    }

    /// One thing: labelled lines, or the thing itself.
    pub(crate) fn one<T: Serialize>(self, thing: &T, lines: impl FnOnce(&T) -> Vec<Line>) -> Written {
        match self.format {
            Format::Json => self.json(thing),
            Format::Jsonl => self.json_line(thing),
            Format::Table => self.text(&details(&lines(thing))),
        }
    }

    /// Data that is text already: a completion script, a policy, a document.
    pub(crate) fn text(self, text: &str) -> Written {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::reader_gone(),
            _ => Failure::new(Exit::Error, "file", "what was asked for could not be written", error)
                .todo("make room where the output goes, and repeat it"),
        })
    }

    /// One line of data that arrives over time.
    pub(crate) fn line<T: Serialize>(self, thing: &T, line: impl FnOnce(&T) -> String) -> Written {
        match self.format {
            Format::Json | Format::Jsonl => self.json_line(thing),
            Format::Table => self.text(&(line(thing) + "\n")),
        }
    }

    /// One thing as labelled lines on stderr, for a person who is about to answer.
    pub(crate) fn told<T>(self, thing: &T, lines: impl FnOnce(&T) -> Vec<Line>) {
        let _ = write!(std::io::stderr(), "{}", details(&lines(thing)));
    }

    /// A line that a person types; `None` where nobody does.
    pub(crate) fn prompt(self, question: &str) -> Option<String> {
        let _ = write!(std::io::stderr(), "{}", neutralise(question, CELL_BYTES_MAX));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).ok().filter(|bytes| *bytes > 0).map(|_| answer)
    }

    /// Words for a person, on stderr; not under `--quiet`.
    pub(crate) fn say(self, words: &str) {
        if !self.quiet {
            write_err(words);
        }
    }

    /// Words that must be seen even under `--quiet`.
    pub(crate) fn warn(self, words: &str) {
        write_err(words);
    }

    /// Words that the next ones replace; only where a person watches.
    pub(crate) fn progress(self, words: &str) {
        if !self.quiet && std::io::stderr().is_terminal() {
            let _ = write!(std::io::stderr(), "\r\x1b[K{words}");
        }
    }

    /// Why the command did not do what was asked.
    pub(crate) fn failure(self, failure: &Failure) {
        if failure.exit() == Exit::ReaderGone {
            return;
        }
        if self.is_json() {
            let _ = writeln!(std::io::stderr(), "{}", failure.to_json());
            return;
        }
        failure.lines().iter().for_each(|line| write_err(line));
    }

    fn json<T: Serialize + ?Sized>(self, thing: &T) -> Written {
        self.document(serde_json::to_string_pretty(thing))
    }

    fn json_line<T: Serialize>(self, thing: &T) -> Written {
        self.document(serde_json::to_string(thing))
    }

    fn document(self, text: serde_json::Result<String>) -> Written {
        let text =
            text.map_err(|e| Failure::new(Exit::Error, "protocol", "the answer could not be printed", e))?;
        self.text(&(text + "\n"))
    }

    /// Asks a person; `false` where none is there to answer.
    pub(crate) fn confirm(self, question: &str) -> bool {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return false;
        }
        let _ = write!(std::io::stderr(), "{} [y/N] ", neutralise(question, CELL_BYTES_MAX));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
    }
}

/// A text from outside as one safe line.
pub(crate) fn safe(text: &str) -> String {
    neutralise(text, CELL_BYTES_MAX)
}

fn write_err(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Columns without lines between them; folded only where a person looks at a terminal.
fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let folds = std::io::stdout().is_terminal();
    table.set_content_arrangement(if folds {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    table.set_header(columns.iter().map(|c| c.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| safe(cell)));
    }
    let lines = table.lines().map(|line| line.trim_end().trim_start_matches(' ').to_owned() + "\n");
    lines.collect()
}

/// Labels on the left, all texts starting in one column; a text of several lines stays in its column.
fn details(lines: &[Line]) -> String {
    let width = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (label, text) in lines {
        for (i, part) in text.lines().enumerate() {
            let shown = if i == 0 { label } else { "" };
            out += format!("{shown:<width$}  {}", safe(part)).trim_end();
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // case: AUD-09
    #[test]
    fn what_an_agent_wrote_cannot_drive_the_terminal() {
        let shown = table(&["purpose"], [vec!["\u{1b}[2Jfix\u{202e}\nroot".to_owned()]].into_iter());
        assert_eq!(shown, "PURPOSE\n\\u{1b}[2Jfix\\u{202e}\\u{a}root\n");
        let shown = details(&[("purpose", "a\u{7}".to_owned()), ("by", "ana".to_owned())]);
        assert_eq!(shown, "purpose  a\\u{7}\nby       ana\n");
    }

    #[test]
    fn a_table_has_one_line_for_each_row() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["bb".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["name", "n"], rows.into_iter()), "NAME  N\na     1\nbb    2\n");
    }
}
