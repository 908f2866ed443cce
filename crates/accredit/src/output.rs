//! The only place that prints. Data goes to stdout, words to stderr; a table for people, `-o json` and `-o jsonl`
//! for programs. What comes from agents or upstreams is neutralised before it reaches a terminal.

use std::io::{IsTerminal as _, Write as _};

use accredit_ledger::text::neutralise;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

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
    ) {
        match self.format {
            Format::Json => json(&items),
            Format::Jsonl => items.iter().for_each(json_line),
            Format::Table if items.is_empty() => self.say(empty),
            Format::Table => write_out(&table(columns, items.iter().map(row))),
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
    ) {
        match self.format {
            Format::Json => json(page),
            Format::Jsonl | Format::Table => self.list(items, columns, row, empty),
        }
    }

    /// One thing: labelled lines, or the thing itself.
    pub(crate) fn one<T: Serialize>(self, thing: &T, lines: impl FnOnce(&T) -> Vec<Line>) {
        match self.format {
            Format::Json => json(thing),
            Format::Jsonl => json_line(thing),
            Format::Table => write_out(&details(&lines(thing))),
        }
    }

    /// Data that is text already: a completion script, a policy, a document.
    pub(crate) fn text(self, text: &str) {
        write_out(text);
    }

    /// One line of data that arrives over time.
    pub(crate) fn line<T: Serialize>(self, thing: &T, line: impl FnOnce(&T) -> String) {
        match self.format {
            Format::Json | Format::Jsonl => json_line(thing),
            Format::Table => write_out(&(line(thing) + "\n")),
        }
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
        if self.is_json() {
            let _ = writeln!(std::io::stderr(), "{}", failure.to_json());
            return;
        }
        failure.lines().iter().for_each(|line| write_err(line));
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

fn json<T: Serialize + ?Sized>(thing: &T) {
    match serde_json::to_string_pretty(thing) {
        Ok(text) => write_out(&(text + "\n")),
        Err(error) => write_err(&format!("error: the answer could not be printed: {error}")),
    }
}

fn json_line<T: Serialize>(thing: &T) {
    match serde_json::to_string(thing) {
        Ok(text) => write_out(&(text + "\n")),
        Err(error) => write_err(&format!("error: the answer could not be printed: {error}")),
    }
}

/// A reader that has gone (`| head`) is no failure of ours.
fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
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
