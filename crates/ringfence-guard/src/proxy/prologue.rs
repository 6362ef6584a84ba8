//! What the guard says to Postgres before a client's words, and the exact replies it expects.
//!
//! The replies are also a barrier: until Postgres has answered precisely this, nothing it says is passed on. Whatever an
//! earlier exchange may have left in the pipe ends the connection instead of reaching a client.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};
use ringfence_context::DatabaseContext;

use super::{reply::message, startup::Settings};

/// Replies expected to what was written, by their type; a command's completion by its tag.
#[derive(Debug, Default)]
pub(super) struct Expected {
    replies: VecDeque<Reply>,
}

/// One expected reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// `CommandComplete` with this tag.
    Complete(&'static str),
    /// Any message of this type.
    Tag(u8),
    /// `ReadyForQuery` outside a transaction.
    Idle,
    /// Like `Tag`, for the part whose failure is about the client's context and not about the connection.
    Context(u8),
}

impl Expected {
    pub(super) fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    /// Takes the next expected reply.
    pub(super) fn next(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    pub(super) fn clear(&mut self) {
        self.replies.clear();
    }

    pub(super) fn expect(&mut self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.extend(replies);
    }
}

/// The replies to a query of one value.
const SELECTED: &[Reply] = &[Reply::Tag(b'T'), Reply::Tag(b'D'), Reply::Complete("SELECT 1")];

/// Locks by number, where the application's role may hold any (`doors.sql`).
const UNLOCK: (&str, &[Reply]) = ("SELECT pg_catalog.pg_advisory_unlock_all()", SELECTED);

/// What `DISCARD ALL` is documented to be equivalent to, without `DISCARD PLANS`: what is left of those when all statements
/// are gone belongs to functions, holds no tenant's data, and is what makes `context_set` fast. And what it leaves: where
/// `random()` goes on from, which a client can choose.
const CLEAN: &[(&str, &[Reply])] = &[
    ("RESET SESSION AUTHORIZATION", &[Reply::Complete("RESET")]),
    ("RESET ALL", &[Reply::Complete("RESET")]),
    ("DEALLOCATE ALL", &[Reply::Complete("DEALLOCATE ALL")]),
    ("CLOSE ALL", &[Reply::Complete("CLOSE CURSOR ALL")]),
    ("UNLISTEN *", &[Reply::Complete("UNLISTEN")]),
    (
        "SELECT pg_catalog.setseed(('x' || pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''))::bit(48)::bigint \
         / 281474976710656.0)",
        SELECTED,
    ),
    ("DISCARD TEMP", &[Reply::Complete("DISCARD TEMP")]),
    ("DISCARD SEQUENCES", &[Reply::Complete("DISCARD SEQUENCES")]),
];

/// Resets everything a session of Postgres keeps. `locks`: whether there may be locks by number among it.
pub(super) fn clean(out: &mut BytesMut, expected: &mut Expected, locks: bool) {
    message(out, b'Q', |body| {
        for (sql, replies) in CLEAN.iter().chain(locks.then_some(&UNLOCK)) {
            body.extend_from_slice(sql.as_bytes());
            body.put_u8(b';');
            expected.expect(replies.iter().copied());
        }
        body.put_u8(0);
    });
    expected.expect([Reply::Idle]);
}

/// Sets what a session has set, on a connection where nothing is.
pub(super) fn set(out: &mut BytesMut, expected: &mut Expected, settings: &Settings) {
    message(out, b'Q', |body| {
        for (name, value) in settings.iter() {
            // A value that is followed has no quote in it and no backslash.
            body.extend_from_slice(format!("SET {name} TO '{value}';").as_bytes());
            expected.expect([Reply::Complete("SET")]);
        }
        body.put_u8(0);
    });
    expected.expect([Reply::Idle]);
}

/// Gives the session to a tenant, or renews that, in a transaction of its own: calls the function `context_set` as such
/// (`FunctionCall`), so that there is no statement that a client could take the place of, and nothing to plan. `writable`:
/// whether it is certain that transactions of this session are by default as this one: it writes, and sees a key that was taken
/// away since it began, which one that reads repeatably would not.
pub(super) fn context(
    out: &mut BytesMut,
    expected: &mut Expected,
    context: &DatabaseContext,
    context_set: u32,
    writable: bool,
) {
    if !writable {
        query(out, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
        expected.expect([Reply::Complete("BEGIN"), Reply::Tag(b'Z')]);
    }
    let (tenant, token, token_exp, valid_until, tag) = context.arguments();
    let arguments: [&[u8]; 5] =
        [tenant.as_bytes(), token.as_bytes(), &token_exp.to_be_bytes(), &valid_until.to_be_bytes(), tag];
    message(out, b'F', |body| {
        body.put_u32(context_set);
        values(body, &arguments);
        body.put_i16(BINARY);
    });
    expected.expect([Reply::Context(b'V')]);
    if writable {
        expected.expect([Reply::Idle]);
    } else {
        query(out, "COMMIT");
        expected.expect([Reply::Tag(b'Z'), Reply::Complete("COMMIT"), Reply::Idle]);
    }
}

/// Closes a statement, which need not be there.
pub(super) fn close(out: &mut BytesMut, name: &str) {
    message(out, b'C', |body| {
        body.put_u8(b'S');
        cstring(body, name);
    });
}

/// Prepares under a name what a client's `Parse` said after it.
pub(super) fn parse_body(out: &mut BytesMut, name: &str, rest: &[u8]) {
    message(out, b'P', |body| {
        cstring(body, name);
        body.extend_from_slice(rest);
    });
}

/// A message that fails, in every state of a transaction.
pub(super) fn fail(out: &mut BytesMut) {
    message(out, b'B', |body| {
        cstring(body, "");
        cstring(body, "ringfence.none");
        body.extend_from_slice(&[0; 6]);
    });
}

pub(super) fn query(out: &mut BytesMut, sql: &str) {
    message(out, b'Q', |body| cstring(body, sql));
}

pub(super) fn sync(out: &mut BytesMut) {
    message(out, b'S', |_| ());
}

pub(super) fn flush(out: &mut BytesMut) {
    message(out, b'H', |_| ());
}

/// The binary format of values.
const BINARY: i16 = 1;

fn values(body: &mut BytesMut, values: &[&[u8]]) {
    body.put_i16(1);
    body.put_i16(BINARY);
    body.put_u16(u16::try_from(values.len()).unwrap_or(u16::MAX));
    for value in values {
        body.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
        body.extend_from_slice(value);
    }
}

fn cstring(body: &mut BytesMut, text: &str) {
    body.extend_from_slice(text.split('\0').next().unwrap_or_default().as_bytes());
    body.put_u8(0);
}
