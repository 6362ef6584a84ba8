//! Which rows were changed since both copies were compared, so that at the end no others need be.

use std::collections::{BTreeMap, HashSet};

use super::TableRows;

/// So many bytes of keys are remembered.
const MOST_BYTES: usize = 64 << 20;

/// So many rows are counted again in the end: some tens of milliseconds.
const COUNTED: i64 = 200_000;

/// What a key takes beside its text.
const OVERHEAD: usize = 64;

/// The keys, by their table's name.
#[derive(Debug, Default)]
pub(super) struct Touched {
    tables: BTreeMap<String, TouchedTable>,
    /// How many rows each table had when both copies were compared.
    rows: BTreeMap<String, i64>,
    bytes: usize,
}

/// Those of one table.
#[derive(Debug, Default)]
pub(super) struct TouchedTable {
    /// Values of the key's columns, as text.
    pub(super) keys: HashSet<Vec<Box<str>>>,
    /// Whether all rows are meant.
    pub(super) whole: bool,
}

impl Touched {
    /// None, since both copies were compared and had these rows.
    pub(super) fn since(compared: &[TableRows]) -> Self {
        let rows = compared.iter().map(|table| (table.table.clone(), table.rows)).collect();
        Self { rows, ..Self::default() }
    }

    /// How many rows a table had then, where they are too many to be counted again while everybody waits.
    pub(super) fn many(&self, table: &str) -> Option<i64> {
        self.rows.get(table).copied().filter(|rows| *rows > COUNTED)
    }

    /// Remembers a key.
    pub(super) fn add(&mut self, table: &str, key: Vec<Box<str>>) {
        let text: usize = key.iter().map(|part| part.len().saturating_add(OVERHEAD)).sum();
        let entry = self.table(table);
        if !entry.whole && entry.keys.insert(key) {
            self.bytes = self.bytes.saturating_add(text);
        }
    }

    /// Remembers that all rows are meant.
    pub(super) fn add_all(&mut self, table: &str) {
        let entry = self.table(table);
        entry.whole = true;
        entry.keys.clear();
    }

    /// Whether more are there than are remembered.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > MOST_BYTES
    }

    /// Of one table, if there are any.
    pub(super) fn of(&self, table: &str) -> Option<&TouchedTable> {
        self.tables.get(table)
    }

    fn table(&mut self, table: &str) -> &mut TouchedTable {
        self.tables.entry(table.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_once_and_all_rows_are_more_than_some() {
        let mut touched = Touched::default();
        let key = |text: &str| vec![Box::from(text)];
        touched.add("t", key("a"));
        let once = touched.bytes;
        touched.add("t", key("a"));
        assert_eq!(touched.bytes, once);
        touched.add("u", key("b"));
        touched.add_all("t");
        touched.add("t", key("c"));
        assert!(touched.of("t").is_some_and(|table| table.whole && table.keys.is_empty()));
        assert!(touched.of("u").is_some_and(|table| !table.whole && table.keys.len() == 1));
        assert!(touched.of("v").is_none() && !touched.is_full());
    }

    #[test]
    fn reject_more_keys_than_memory_is_for() {
        let mut touched = Touched::default();
        let one = 1 << 10;
        for number in 0..MOST_BYTES / one {
            let key = format!("{number:0width$}", width = one - OVERHEAD);
            touched.add("t", vec![key.into()]);
        }
        assert_eq!(touched.bytes, MOST_BYTES);
        assert!(!touched.is_full());
        touched.add("t", vec![Box::from("")]);
        assert!(touched.is_full());
    }
}
