//! The statements that make one change at the target, and values as they are sent to it.
//!
//! It guarantees that each names the tenant in its WHERE, and a row by its whole key. Values are sent as the source wrote them, in
//! text: which type that is, is the target's column's.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use ringfence_context::TenantId;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use super::{
    pgoutput::{DecodeError, Value},
    plan::Table,
};

/// A value in text, whatever its type; or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(Option<Box<str>>);

impl Text {
    pub(super) fn new(text: &str) -> Self {
        Self(Some(text.into()))
    }
}

impl ToSql for Text {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.put_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// What a statement does, so that it is prepared once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    Insert,
    Delete,
    /// With which columns are not told.
    Update(Vec<bool>),
    Empty,
}

/// One row's change: what is to be done, and with which values.
pub(super) struct Change {
    pub(super) shape: Shape,
    pub(super) values: Vec<Text>,
}

/// `$1` and so on.
fn parameter(at: usize) -> String {
    format!("${}", at.saturating_add(1))
}

impl Shape {
    /// As SQL.
    pub(super) fn sql(&self, table: &Table) -> String {
        match self {
            Self::Empty => format!("DELETE FROM {} WHERE {} = $1", table.target, table.tenant_sql),
            Self::Delete => format!("DELETE FROM {} WHERE {}", table.target, row(table, 0)),
            Self::Insert => {
                let all: Vec<String> = (0..table.columns.len()).map(parameter).collect();
                let (list, values) = (table.list(), all.join(", "));
                format!("INSERT INTO {} ({list}) OVERRIDING SYSTEM VALUE VALUES ({values})", table.target)
            }
            Self::Update(untold) if table.columns.iter().any(|column| column.target.always) => {
                replace(table, untold)
            }
            Self::Update(untold) => {
                let told = table.columns.iter().zip(untold).filter(|(_, untold)| !**untold);
                let set: Vec<String> = told
                    .enumerate()
                    .map(|(at, (column, _))| format!("{} = {}", column.source.sql, parameter(at)))
                    .collect();
                format!("UPDATE {} SET {} WHERE {}", table.target, set.join(", "), row(table, set.len()))
            }
        }
    }
}

/// The row of the tenant with the key that the parameters from `first` on are; the tenant comes last.
fn row(table: &Table, first: usize) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (_, column) in table.keys() {
        let at = first.saturating_add(parts.len());
        parts.push(format!("{} {} {}", column.source.sql, column.target.equals, parameter(at)));
    }
    let at = first.saturating_add(parts.len());
    parts.push(format!("{} = {}", table.tenant_sql, parameter(at)));
    parts.join(" AND ")
}

/// An UPDATE of a table one of whose columns is `GENERATED ALWAYS AS IDENTITY`, and so for no UPDATE to write.
fn replace(table: &Table, untold: &[bool]) -> String {
    let mut values: Vec<String> = Vec::new();
    let mut told: usize = 0;
    for (column, untold) in table.columns.iter().zip(untold) {
        if *untold {
            values.push(format!("gone.{}", column.source.sql));
        } else {
            values.push(format!("{}::{}", parameter(told), column.target.type_sql));
            told = told.saturating_add(1);
        }
    }
    format!(
        "WITH gone AS (DELETE FROM {0} WHERE {1} RETURNING *)
         INSERT INTO {0} ({2}) OVERRIDING SYSTEM VALUE SELECT {3} FROM gone",
        table.target,
        row(table, told),
        table.list(),
        values.join(", ")
    )
}

impl Change {
    pub(super) fn insert(new: &[Value<'_>]) -> Self {
        Self { shape: Shape::Insert, values: new.iter().filter_map(text).collect() }
    }

    pub(super) fn delete(key: &[Box<str>], tenant: &TenantId) -> Self {
        Self { shape: Shape::Delete, values: found_by(key, tenant).collect() }
    }

    pub(super) fn update(key: &[Box<str>], new: &[Value<'_>], tenant: &TenantId) -> Self {
        let untold = new.iter().map(|value| *value == Value::Unchanged).collect();
        let values = new.iter().filter_map(text).chain(found_by(key, tenant)).collect();
        Self { shape: Shape::Update(untold), values }
    }

    pub(super) fn empty(tenant: &TenantId) -> Self {
        Self { shape: Shape::Empty, values: vec![Text::new(tenant.as_str())] }
    }
}

fn text(value: &Value<'_>) -> Option<Text> {
    match value {
        Value::Null => Some(Text(None)),
        Value::Text(text) => Some(Text::new(text)),
        Value::Unchanged => None,
    }
}

fn found_by(key: &[Box<str>], tenant: &TenantId) -> impl Iterator<Item = Text> {
    key.iter().map(|part| Text::new(part)).chain([Text::new(tenant.as_str())])
}

/// What identifies a row.
///
/// # Errors
/// Where the WAL does not tell it.
pub(super) fn key(table: &Table, row: &[Value<'_>]) -> Result<Vec<Box<str>>, DecodeError> {
    let part = |(at, _): (usize, _)| match row.get(at) {
        Some(Value::Text(text)) => Ok(Box::from(*text)),
        _ => Err(DecodeError),
    };
    table.keys().map(part).collect()
}
