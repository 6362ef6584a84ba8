//! What `pgoutput` says of a committed transaction, read from its bytes.
//!
//! Strict: a message is read whole and with nothing after it, or refused. No bytes make it panic, and none make it reserve memory
//! that they do not fill. Follows "Logical Replication Message Formats" in Postgres' documentation, `proto_version` 1, whose
//! writer is `src/backend/replication/logical/proto.c`. What was decided of the crates that do this:
//! `docs/decisions/2026-11-28-tenant-move.md`.

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A transaction begins, of which it is known when it was committed.
    Begin {
        /// Where its commit is in the WAL.
        commit: u64,
        /// The lower half of its id.
        xid: u32,
    },
    /// It ends.
    Commit {
        /// Where the WAL goes on after it.
        end: u64,
    },
    /// What a table is like, before its first row.
    Relation(Relation<'a>),
    /// A new row.
    Insert {
        /// Its table.
        relation: u32,
        /// The row.
        new: Vec<Value<'a>>,
    },
    /// A changed row.
    Update {
        /// Its table.
        relation: u32,
        /// Its key before, where that changed or could not be told otherwise; or the whole row.
        old: Option<Vec<Value<'a>>>,
        /// The row.
        new: Vec<Value<'a>>,
    },
    /// A row that is gone.
    Delete {
        /// Its table.
        relation: u32,
        /// Its key, or the whole row.
        old: Vec<Value<'a>>,
    },
    /// Tables without rows.
    Truncate {
        /// Those tables.
        relations: Vec<u32>,
    },
    /// What changes no row: a type's name, an origin.
    Other,
}

/// A table, as it was when its row was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Relation<'a> {
    /// How the transaction's rows call it.
    pub(super) id: u32,
    /// Its schema; `pg_catalog` is empty.
    pub(super) schema: &'a str,
    /// Its name.
    pub(super) name: &'a str,
    /// Its columns, but for generated ones.
    pub(super) columns: Vec<RelationColumn<'a>>,
}

/// A column of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RelationColumn<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its type's oid, at the source.
    pub(super) kind: u32,
    /// Its type's modifier.
    pub(super) modifier: i32,
}

/// A column's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// None; or not part of the key.
    Null,
    /// A large value that did not change, and is not told.
    Unchanged,
    /// As its type writes it.
    Text(&'a str),
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the slot says can't be read: this Postgres speaks another version of pgoutput than 1")]
pub struct DecodeError;

/// Reads one message.
///
/// # Errors
/// [`DecodeError`] where it is not one, whole.
pub(super) fn read(bytes: &[u8]) -> Result<Message<'_>, DecodeError> {
    let mut rest = Rest(bytes);
    let message = match rest.byte()? {
        b'B' => {
            let commit = rest.u64()?;
            rest.take(8)?;
            Message::Begin { commit, xid: rest.u32()? }
        }
        b'C' => {
            rest.take(1 + 8)?;
            let end = rest.u64()?;
            rest.take(8)?;
            Message::Commit { end }
        }
        b'R' => Message::Relation(rest.relation()?),
        b'I' => {
            let relation = rest.u32()?;
            rest.expect(b'N')?;
            Message::Insert { relation, new: rest.tuple()? }
        }
        b'U' => {
            let relation = rest.u32()?;
            let mut kind = rest.byte()?;
            let mut old = None;
            if matches!(kind, b'K' | b'O') {
                old = Some(rest.tuple()?);
                kind = rest.byte()?;
            }
            if kind != b'N' {
                return Err(DecodeError);
            }
            Message::Update { relation, old, new: rest.tuple()? }
        }
        b'D' => {
            let relation = rest.u32()?;
            if !matches!(rest.byte()?, b'K' | b'O') {
                return Err(DecodeError);
            }
            Message::Delete { relation, old: rest.tuple()? }
        }
        b'T' => {
            let count = rest.u32()?;
            rest.take(1)?;
            let mut relations = Vec::new();
            for _ in 0..count {
                relations.push(rest.u32()?);
            }
            Message::Truncate { relations }
        }
        b'Y' => {
            rest.take(4)?;
            rest.text()?;
            rest.text()?;
            Message::Other
        }
        b'O' => {
            rest.take(8)?;
            rest.text()?;
            Message::Other
        }
        _ => return Err(DecodeError),
    };
    if rest.0.is_empty() { Ok(message) } else { Err(DecodeError) }
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(DecodeError)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    fn expect(&mut self, byte: u8) -> Result<(), DecodeError> {
        if self.byte()? == byte { Ok(()) } else { Err(DecodeError) }
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A name, which ends in a zero byte.
    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(DecodeError)?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError)?;
        self.take(1)?;
        Ok(text)
    }

    fn relation(&mut self) -> Result<Relation<'a>, DecodeError> {
        let (id, schema, name) = (self.u32()?, self.text()?, self.text()?);
        // What identifies its rows: read from the catalogue instead.
        self.take(1)?;
        let mut columns = Vec::new();
        for _ in 0..self.u16()? {
            // Whether it is part of the key.
            self.take(1)?;
            let (name, kind) = (self.text()?, self.u32()?);
            columns.push(RelationColumn { name, kind, modifier: self.array().map(i32::from_be_bytes)? });
        }
        Ok(Relation { id, schema, name, columns })
    }

    fn tuple(&mut self) -> Result<Vec<Value<'a>>, DecodeError> {
        let mut values = Vec::new();
        for _ in 0..self.u16()? {
            values.push(match self.byte()? {
                b'n' => Value::Null,
                b'u' => Value::Unchanged,
                b't' => {
                    let length = usize::try_from(self.u32()?).map_err(|_| DecodeError)?;
                    Value::Text(std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError)?)
                }
                _ => return Err(DecodeError),
            });
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TUPLE: &[u8] = b"\0\x03t\0\0\0\x02hinu";

    fn joined(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    fn messages() -> Vec<Vec<u8>> {
        vec![
            joined(&[b"B", &7_u64.to_be_bytes(), &[0; 8], &9_u32.to_be_bytes()]),
            joined(&[b"C\0", &[0; 8], &8_u64.to_be_bytes(), &[0; 8]]),
            joined(&[b"R", &1_u32.to_be_bytes(), b"s\0t\0d\0\x01\x01id\0\0\0\0\x17\xff\xff\xff\xff"]),
            joined(&[b"I", &1_u32.to_be_bytes(), b"N", TUPLE]),
            joined(&[b"U", &1_u32.to_be_bytes(), b"N", TUPLE]),
            joined(&[b"U", &1_u32.to_be_bytes(), b"K", TUPLE, b"N", TUPLE]),
            joined(&[b"D", &1_u32.to_be_bytes(), b"O", TUPLE]),
            joined(&[b"T", &2_u32.to_be_bytes(), b"\0", &1_u32.to_be_bytes(), &2_u32.to_be_bytes()]),
            b"Y\0\0\0\x01s\0kind\0".to_vec(),
            b"O\0\0\0\0\0\0\0\x01origin\0".to_vec(),
        ]
    }

    #[test]
    fn each_message_is_what_postgres_documents() {
        let row = || vec![Value::Text("hi"), Value::Null, Value::Unchanged];
        let column = RelationColumn { name: "id", kind: 23, modifier: -1 };
        let expected = [
            Message::Begin { commit: 7, xid: 9 },
            Message::Commit { end: 8 },
            Message::Relation(Relation { id: 1, schema: "s", name: "t", columns: vec![column] }),
            Message::Insert { relation: 1, new: row() },
            Message::Update { relation: 1, old: None, new: row() },
            Message::Update { relation: 1, old: Some(row()), new: row() },
            Message::Delete { relation: 1, old: row() },
            Message::Truncate { relations: vec![1, 2] },
            Message::Other,
            Message::Other,
        ];
        for (bytes, expected) in messages().iter().zip(expected) {
            assert_eq!(read(bytes), Ok(expected));
        }
    }

    #[test]
    fn reject_a_message_that_is_cut_or_goes_on() {
        for whole in messages() {
            for length in 0..whole.len() {
                assert_eq!(read(&whole[..length]), Err(DecodeError), "{length} of {whole:?}");
            }
            assert_eq!(read(&joined(&[&whole, b"\0"])), Err(DecodeError), "{whole:?} and more");
        }
    }

    #[test]
    fn reject_what_is_of_no_kind_or_no_text() {
        for bytes in [
            &b"S\0\0\0\x01\x01"[..],
            b"I\0\0\0\x01O\0\0",
            b"U\0\0\0\x01K\0\0K\0\0",
            b"D\0\0\0\x01N\0\0",
            b"I\0\0\0\x01N\0\x01b\0\0\0\0",
            b"I\0\0\0\x01N\0\x01t\0\0\0\x01\xff",
            b"T\xff\xff\xff\xff\0",
        ] {
            assert_eq!(read(bytes), Err(DecodeError), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            kind in proptest::sample::select(b"BCRIUDTYO".to_vec()),
            at in any::<prop::sample::Index>(), change in any::<u8>(),
        ) {
            let _ = read(&bytes);
            let _ = read(&joined(&[&[kind], &bytes]));
            for mut message in messages() {
                let at = at.index(message.len());
                message[at] = change;
                let _ = read(&message);
            }
        }
    }
}
