//! What there is to copy: the tables of the embedded store, as its file describes them.

use rusqlite::Connection;

use crate::error::StoreError;

/// A table, and its columns that are copied.
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Rows are counted, and keep their order, but not their numbers: each database counts by itself.
    pub(super) counted: bool,
}

pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
    Blob,
}

/// The column that counts rows.
pub(super) const COUNTER: &str = "n";

impl Table {
    /// The names of the columns, with commas between.
    pub(super) fn list(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        names.join(", ")
    }

    /// The query that gives the rows in the order in which they are put in again. `counted`: whether the database that is
    /// asked counts them.
    pub(super) fn select(&self, counted: bool) -> String {
        let (list, name) = (self.list(), &self.name);
        match (counted, name.as_str()) {
            (true, _) => format!("SELECT {list} FROM \"{name}\" ORDER BY {COUNTER}"),
            (false, "entry") => format!("SELECT {list} FROM entry ORDER BY seq"),
            (false, _) => format!("SELECT {list} FROM \"{name}\""),
        }
    }
}

/// Every table, those that others refer to first: in the order in which the schema made them.
pub(super) fn tables(connection: &Connection) -> Result<Vec<Table>, StoreError> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
        AND name <> 'migration' ORDER BY rowid";
    let names = connection
        .prepare(sql)?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    names.into_iter().map(|name| table(connection, name)).collect()
}

fn table(connection: &Connection, name: String) -> Result<Table, StoreError> {
    let mut statement = connection.prepare("SELECT name, type FROM pragma_table_info(?1) ORDER BY cid")?;
    let described = statement
        .query_map([&name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut columns = Vec::new();
    let mut counted = false;
    for (column, kind) in described {
        let kind = match kind.as_str() {
            "INTEGER" => Kind::Integer,
            "TEXT" => Kind::Text,
            "BLOB" => Kind::Blob,
            other => return Err(StoreError::document("schema", format!("{name}.{column} is {other}"))),
        };
        if column == COUNTER {
            counted = true;
        } else {
            columns.push(Column { name: column, kind });
        }
    }
    Ok(Table { name, columns, counted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_with_those_that_they_refer_to_before_them() {
        let mut connection = Connection::open_in_memory().expect("memory");
        crate::sqlite::migrate(&mut connection).expect("a schema");
        let tables = tables(&connection).expect("tables");
        let place = |name: &str| tables.iter().position(|table| table.name == name).expect(name);
        for (first, second) in
            [("agent", "agent_key"), ("resource", "resource_endpoint"), ("policy_set", "policy_head")]
        {
            assert!(place(first) < place(second), "{first} before {second}");
        }
        let entry = &tables[place("entry")];
        assert!(!entry.counted && entry.list().starts_with("\"seq\", \"tenant\""), "{}", entry.list());
        let task = &tables[place("task")];
        assert!(task.counted && !task.list().contains("\"n\""), "{}", task.list());
        assert!(tables.iter().all(|table| table.name != "migration"));
    }
}
