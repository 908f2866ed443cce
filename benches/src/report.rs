//! Tables of figures, on the terminal and in one file a day and machine.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::{Failure, Scale, machine};

/// One table.
pub(crate) struct Table {
    title: String,
    notes: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub(crate) fn new(title: impl Into<String>, heads: &[&str]) -> Self {
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        Self { title: title.into(), notes: Vec::new(), rows: vec![heads] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// A line below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The first column to the left, figures to the right.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let wide = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| wide(column).unwrap_or(0)).collect();
        let mut text = format!("{}\n", self.title);
        for row in &self.rows {
            let cell = |(at, width): (usize, &usize)| {
                let cell = row.get(at).map_or("", String::as_str);
                if at == 0 { format!("  {cell:<width$}") } else { format!("  {cell:>width$}") }
            };
            let line: String = widths.iter().enumerate().map(cell).collect();
            text.push_str(line.trim_end());
            text.push('\n');
        }
        for note in &self.notes {
            text.push_str(&format!("  {note}\n"));
        }
        text
    }
}

/// All tables of one run.
pub(crate) struct Report {
    path: PathBuf,
    text: String,
}

impl Report {
    /// A report into `<date>-<machine>.txt` below this directory; a run on the same day adds to it.
    pub(crate) fn open(directory: &Path, scale: Scale) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory)?;
        let now = machine::now().to_string();
        let date = now.get(..10).unwrap_or("undated");
        let kind = if scale.quick || cfg!(debug_assertions) { "-smoke" } else { "" };
        let path = directory.join(format!("{date}-{}{kind}.txt", machine::name()));
        let mut report = Self { path, text: String::new() };
        report.put(&format!("run at {now}\n{}\n", machine::description()));
        Ok(report)
    }

    /// Shows a table and keeps it.
    pub(crate) fn add(&mut self, table: &Table) {
        self.put(&table.text());
    }

    fn put(&mut self, text: &str) {
        say(text);
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Writes the file.
    pub(crate) fn close(self) -> Result<(), Failure> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(self.text.as_bytes())?;
        say(&format!("written to {}", self.path.display()));
        Ok(())
    }
}

/// Says something to whoever is watching.
pub(crate) fn say(text: &str) {
    // Nobody watching is no reason to stop.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Says what went wrong.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "accredit-benches: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_below_their_heads() {
        let mut table = Table::new("Rates", &["proxy", "req/s"]);
        table.row(["floor".to_owned(), "31,600".to_owned()]);
        table.row(["a long name".to_owned(), "7".to_owned()]);
        table.note("medians");
        assert_eq!(
            table.text(),
            "Rates\n  proxy         req/s\n  floor        31,600\n  a long name       7\n  medians\n"
        );
    }
}
