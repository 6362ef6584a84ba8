//! What the guard says to Postgres before a client's words, and the exact replies it expects.
//!
//! The replies are also a barrier: until Postgres has answered precisely this, nothing it says is passed on. Whatever an
//! earlier exchange may have left in the pipe ends the connection instead of reaching a client.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};
use ringfence_context::DatabaseContext;

use super::reply::message;

/// The name of the prepared statement. A client may drop or replace it on its own lease: its context is then not renewed
/// and expires. It is closed and prepared anew before another client comes.
const STATEMENT: &str = "ringfence.context";

const CONTEXT_SQL: &str = "SELECT ringfence.context_set($1, $2, $3, $4, $5)";

/// Type oids of `text`, `int8` and `bytea` (Postgres: `pg_type.dat`).
const ARGUMENT_TYPES: [i32; 5] = [25, 25, 20, 20, 17];

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
    /// Like `Tag`, for the part whose failure is about what the client asked for at start-up.
    Setting(u8),
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

    /// What is expected next.
    pub(super) fn peek(&self) -> Option<Reply> {
        self.replies.front().copied()
    }

    pub(super) fn expect(&mut self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.extend(replies);
    }
}

/// What `DISCARD ALL` is documented to be equivalent to, without `DISCARD PLANS`: plans hold no tenant's data (a policy's
/// tenant is looked up anew in each query), and planning `context_set` again would cost more than all the rest.
const CLEAN: &[(&str, &[Reply])] = &[
    ("RESET SESSION AUTHORIZATION", &[Reply::Complete("RESET")]),
    ("RESET ALL", &[Reply::Complete("RESET")]),
    ("DEALLOCATE ALL", &[Reply::Complete("DEALLOCATE ALL")]),
    ("CLOSE ALL", &[Reply::Complete("CLOSE CURSOR ALL")]),
    ("UNLISTEN *", &[Reply::Complete("UNLISTEN")]),
    (
        "SELECT pg_catalog.pg_advisory_unlock_all()",
        &[Reply::Tag(b'T'), Reply::Tag(b'D'), Reply::Complete("SELECT 1")],
    ),
    ("DISCARD TEMP", &[Reply::Complete("DISCARD TEMP")]),
    ("DISCARD SEQUENCES", &[Reply::Complete("DISCARD SEQUENCES")]),
];

/// Resets everything a session of Postgres keeps, and prepares our statement again.
pub(super) fn clean(out: &mut BytesMut, expected: &mut Expected) {
    message(out, b'Q', |body| {
        for (sql, replies) in CLEAN {
            body.extend_from_slice(sql.as_bytes());
            body.put_u8(b';');
            expected.expect(replies.iter().copied());
        }
        body.put_u8(0);
    });
    expected.expect([Reply::Idle]);
    prepare(out);
    sync(out);
    expected.expect([Reply::Tag(b'3'), Reply::Tag(b'1'), Reply::Idle]);
}

/// Applies what a client asked for at start-up.
pub(super) fn settings(out: &mut BytesMut, expected: &mut Expected, settings: &[(&'static str, String)]) {
    if settings.is_empty() {
        return;
    }
    for (name, value) in settings {
        parse(out, "", "SELECT pg_catalog.set_config($1, $2, false)", &[25, 25]);
        bind(out, "", &[name.as_bytes(), value.as_bytes()], 0);
        execute(out);
        expected.expect([b'1', b'2', b'D', b'C'].map(Reply::Setting));
    }
    sync(out);
    expected.expect([Reply::Idle]);
}

/// Gives the session to a tenant, or renews that, in a transaction of its own. `writable`: whether it is certain that
/// transactions of this session may write by default, as this one does.
pub(super) fn context(
    out: &mut BytesMut,
    expected: &mut Expected,
    context: &DatabaseContext,
    prepared: bool,
    writable: bool,
) {
    if !writable {
        query(out, "BEGIN READ WRITE");
        expected.expect([Reply::Complete("BEGIN"), Reply::Tag(b'Z')]);
    }
    if !prepared {
        prepare(out);
        expected.expect([Reply::Context(b'3'), Reply::Context(b'1')]);
    }
    let (tenant, token, token_exp, valid_until, tag) = context.arguments();
    let arguments: [&[u8]; 5] =
        [tenant.as_bytes(), token.as_bytes(), &token_exp.to_be_bytes(), &valid_until.to_be_bytes(), tag];
    bind(out, STATEMENT, &arguments, 1);
    execute(out);
    sync(out);
    expected.expect([Reply::Context(b'2'), Reply::Context(b'D'), Reply::Context(b'C')]);
    if writable {
        expected.expect([Reply::Idle]);
    } else {
        query(out, "COMMIT");
        expected.expect([Reply::Tag(b'Z'), Reply::Complete("COMMIT"), Reply::Idle]);
    }
}

/// Prepares our statement, whatever had its name.
pub(super) fn prepare(out: &mut BytesMut) {
    close(out, STATEMENT);
    parse(out, STATEMENT, CONTEXT_SQL, &ARGUMENT_TYPES);
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
    bind(out, "ringfence.none", &[], 0);
}

pub(super) fn query(out: &mut BytesMut, sql: &str) {
    message(out, b'Q', |body| cstring(body, sql));
}

pub(super) fn sync(out: &mut BytesMut) {
    message(out, b'S', |_| ());
}

fn parse(out: &mut BytesMut, name: &str, sql: &str, types: &[i32]) {
    message(out, b'P', |body| {
        cstring(body, name);
        cstring(body, sql);
        body.put_u16(u16::try_from(types.len()).unwrap_or(u16::MAX));
        for oid in types {
            body.put_i32(*oid);
        }
    });
}

/// `format`: of all arguments, 0 text and 1 binary.
fn bind(out: &mut BytesMut, name: &str, arguments: &[&[u8]], format: i16) {
    message(out, b'B', |body| {
        cstring(body, "");
        cstring(body, name);
        body.put_i16(1);
        body.put_i16(format);
        body.put_u16(u16::try_from(arguments.len()).unwrap_or(u16::MAX));
        for argument in arguments {
            body.put_i32(i32::try_from(argument.len()).unwrap_or(i32::MAX));
            body.extend_from_slice(argument);
        }
        body.put_i16(0);
    });
}

fn execute(out: &mut BytesMut) {
    message(out, b'E', |body| {
        cstring(body, "");
        body.put_i32(0);
    });
}

fn cstring(body: &mut BytesMut, text: &str) {
    body.extend_from_slice(text.split('\0').next().unwrap_or_default().as_bytes());
    body.put_u8(0);
}
