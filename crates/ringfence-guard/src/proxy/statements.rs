//! Prepared statements: as a client named them, and as a server connection has them.
//!
//! A client keeps its names whichever connection it gets; a connection has each statement once, under a name made of its
//! text, so that all sessions of a tenant share the plan. What a connection lacks is prepared on it before it is used.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use ringfence_context::{key::sha256, limits};

use super::{statement::Effects, token_use};

/// A statement's name on server connections: 128 bits of the SHA-256 of its text and argument types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ServerName([u8; 16]);

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ringfence.{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A statement a client has prepared under a name.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) name: ServerName,
    /// What follows the name in `Parse`: the text, a zero, the types of its arguments.
    pub(super) body: Bytes,
    /// What running it may do to a session.
    pub(super) effects: Effects,
    /// Whether it is the guard's to answer.
    pub(super) is_token_use: bool,
}

impl Statement {
    pub(super) fn new(body: &[u8]) -> Arc<Self> {
        let name = sha256(body).first_chunk().copied().unwrap_or_default();
        Arc::new(Self {
            name: ServerName(name),
            body: Bytes::copy_from_slice(body),
            effects: Effects::of(body, true),
            is_token_use: token_use::is_statement(body),
        })
    }
}

/// More than one client may have prepared at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// One client's statements.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    named: HashMap<Box<[u8]>, Arc<Statement>>,
    /// What follows the name in the `Parse` of the unnamed statement, where it is not too long to keep.
    pub(super) unnamed: Option<Bytes>,
    bytes: usize,
}

impl Prepared {
    pub(super) fn get(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.named.get(name)
    }

    /// Keeps a statement under a name that is free.
    pub(super) fn put(&mut self, name: &[u8], statement: Arc<Statement>) -> Result<(), TooMany> {
        let bytes = self.bytes + name.len() + statement.body.len();
        if self.named.len() >= limits::PG_STATEMENTS || bytes > limits::PG_STATEMENTS_BYTES {
            return Err(TooMany);
        }
        self.bytes = bytes;
        self.named.insert(name.into(), statement);
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        let statement = self.named.remove(name)?;
        self.bytes -= name.len() + statement.body.len();
        Some(statement)
    }

    /// Whether nothing has a name.
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What is prepared on one server connection.
#[derive(Debug, Default)]
pub(super) struct Planned {
    names: HashSet<ServerName>,
    in_order: VecDeque<ServerName>,
}

impl Planned {
    pub(super) fn has(&self, name: ServerName) -> bool {
        self.names.contains(&name)
    }

    /// Notes one more, and says which is to be closed for it.
    pub(super) fn add(&mut self, name: ServerName) -> Option<ServerName> {
        if !self.names.insert(name) {
            return None;
        }
        self.in_order.push_back(name);
        if self.names.len() <= limits::PG_STATEMENTS_PER_CONNECTION {
            return None;
        }
        let first = self.in_order.pop_front()?;
        self.names.remove(&first);
        Some(first)
    }

    pub(super) fn remove(&mut self, name: ServerName) {
        if self.names.remove(&name) {
            self.in_order.retain(|other| *other != name);
        }
    }

    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.in_order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reject_pg_statements() {
        let mut prepared = Prepared::default();
        let one = Statement::new(b"SELECT 1\0\0\0");
        for n in 0..limits::PG_STATEMENTS {
            assert_eq!(prepared.put(n.to_string().as_bytes(), Arc::clone(&one)), Ok(()));
        }
        assert_eq!(prepared.put(b"more", Arc::clone(&one)), Err(TooMany));
        assert!(prepared.remove(b"7").is_some() && prepared.remove(b"7").is_none());
        assert_eq!(prepared.put(b"more", one), Ok(()));
    }

    #[test]
    fn reject_pg_statements_bytes() {
        let mut prepared = Prepared::default();
        let large = Statement::new(&vec![b' '; limits::PG_STATEMENT_BYTES]);
        let fit = limits::PG_STATEMENTS_BYTES / (limits::PG_STATEMENT_BYTES + 2);
        for n in 0..fit {
            assert_eq!(prepared.put(format!("{n:02}").as_bytes(), Arc::clone(&large)), Ok(()));
        }
        assert_eq!(prepared.put(b"zz", Arc::clone(&large)), Err(TooMany));
        prepared.clear();
        assert_eq!(prepared.put(b"zz", large), Ok(()));
    }

    #[test]
    fn reject_pg_statements_per_connection() {
        let name = |n: usize| Statement::new(n.to_string().as_bytes()).name;
        let mut planned = Planned::default();
        for n in 0..limits::PG_STATEMENTS_PER_CONNECTION {
            assert_eq!(planned.add(name(n)), None);
        }
        assert_eq!(planned.add(name(3)), None);
        planned.remove(name(0));
        assert_eq!(planned.add(name(0)), None);
        assert_eq!(planned.add(name(9999)), Some(name(1)));
        assert!(!planned.has(name(1)) && planned.has(name(0)));
    }

    #[test]
    fn a_name_is_its_text_and_types() {
        let (one, other) =
            (Statement::new(b"SELECT $1\0\0\0"), Statement::new(b"SELECT $1\0\0\x01\0\0\0\x17"));
        assert_ne!(one.name, other.name);
        assert_eq!(one.name, Statement::new(b"SELECT $1\0\0\0").name);
        assert_eq!(one.name.to_string().len(), "ringfence.".len() + 32);
    }
}
