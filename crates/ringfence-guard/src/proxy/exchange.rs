//! The conversation of one client with one server connection, as a state machine over buffers: no I/O, no clock.
//!
//! Follows Postgres' documentation, "Message Flow". One batch at a time: after a `Query`, `Sync` or `FunctionCall` nothing
//! more of the client is passed on until `ReadyForQuery`, so that whoever has the connection is asked for before every
//! transaction. While an answer to our own words is expected nothing of the client is passed on either. Frames pass as
//! they are and in pieces; of most only the first bytes are looked at. Names of prepared statements are exchanged on the
//! way: see [`super::statements`].

mod fuzzed;
mod kept;
mod names;
mod owed;
#[cfg(test)]
mod tests;

use bytes::{Buf, Bytes, BytesMut};
use ringfence_context::limits;

pub use self::fuzzed::converse;
use self::owed::{Answer, Owed, Undo};
use super::{
    frame::{self, BadFrame, HEAD_BYTES, Head},
    prologue::{self, Expected, Reply},
    reply::{self, Failure},
    statement::{self, Effects},
    statements::{Planned, Prepared},
    token_use,
};

/// How a transaction stands, as `ReadyForQuery` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Idle,
    InTransaction,
    Failed,
}

/// What keeps the client's next message from passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes, of the client or the server.
    Wait,
    /// A transaction is about to begin: whose is it?
    Context,
    /// The client has said goodbye.
    Goodbye,
    /// Postgres has answered everything; the transaction stands so.
    Ready(Status),
}

/// Why the conversation can't go on. The server connection is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The client broke the protocol.
    Client,
    /// Postgres said something that does not belong here.
    Server,
    /// Postgres did not accept the context, or the client has cancelled; [`Exchange::refusal`] is what it said.
    Context,
}

/// Where an error of Postgres has said its SQLSTATE: behind two words for how severe it is, one of them translated.
const SQLSTATE_WITHIN: usize = 256;

/// What ends a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    /// `Query` or `FunctionCall`.
    Call,
    Sync,
}

/// Where the pieces of a frame that has not passed whole are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Pass(usize),
    Drop(usize),
}

impl Rest {
    const NONE: Self = Self::Pass(0);

    fn is_none(self) -> bool {
        matches!(self, Self::Pass(0) | Self::Drop(0))
    }

    /// Moves what is there of the frame.
    fn carry_on(&mut self, from: &mut BytesMut, to: &mut BytesMut) {
        match self {
            Self::Pass(rest) => {
                let count = (*rest).min(from.len());
                frame::pass(from, to, count);
                *rest -= count;
            }
            Self::Drop(rest) => {
                let count = (*rest).min(from.len());
                from.advance(count);
                *rest -= count;
            }
        }
    }
}

/// One client and one server connection, from the first message to the end of the lease.
#[derive(Debug)]
pub(super) struct Exchange {
    expected: Expected,
    owed: Owed,
    delimiter: Option<Delimiter>,
    status: Status,
    /// It is known whose transaction this is.
    context: bool,
    /// There was an error: Postgres ignores everything until a Sync.
    skipping: bool,
    /// What the server owes was asked for.
    flushed: bool,
    /// The server is reading `CopyData`.
    copying: bool,
    /// The connection's unnamed statement is this client's.
    unnamed_here: bool,
    /// An unnamed statement too long to keep was prepared and has not run yet: the next batch may run it.
    unnamed_pending: bool,
    local_set: bool,
    /// What has run may have set something for the session, or declared a cursor that is held.
    may_set: bool,
    configures: bool,
    may_hold: bool,
    /// Cursors that were declared between transactions, which holds them, and not closed.
    held: usize,
    /// Whether the batch has named a statement.
    said: bool,
    /// What the batch's only statement sets, where that is followed; and what was set so and not yet asked about.
    follows: Option<(&'static str, String)>,
    followed: Vec<(&'static str, String)>,
    /// Whether the session has set anything that is followed.
    has_set: bool,
    discarded: bool,
    /// Settings, cursors, subscriptions, SQL-level prepared statements were made.
    stateful: bool,
    /// Something may be left in the session that only cleaning takes away.
    may_keep: bool,
    /// What is prepared in this transaction may have been read under settings of its own.
    own_settings: bool,
    dropped_context: bool,
    /// The client gives tokens by a statement.
    uses_tokens: bool,
    /// It has bound a name that is not known in this batch, which may have been that statement's.
    bound_unknown: bool,
    /// The client has asked for another tenant where it can't have it: nothing more of it runs as this one.
    lost_tenant: bool,
    client_rest: Rest,
    server_rest: Rest,
    /// How much of the client's next message must be there before it can pass.
    wanted: usize,
    refusal: Bytes,
}

/// The buffers and names of both sides, as [`Exchange::client`] moves bytes between them.
pub(super) struct Sides<'a> {
    pub(super) from_client: &'a mut BytesMut,
    pub(super) to_client: &'a mut BytesMut,
    pub(super) from_server: &'a mut BytesMut,
    pub(super) to_server: &'a mut BytesMut,
    pub(super) prepared: &'a mut Prepared,
    pub(super) planned: &'a mut Planned,
}

impl Exchange {
    /// Over a connection to which `expected`'s questions are already on their way.
    pub(super) fn new(expected: Expected) -> Self {
        Self {
            expected,
            owed: Owed::default(),
            delimiter: None,
            status: Status::Idle,
            context: false,
            skipping: false,
            flushed: false,
            copying: false,
            unnamed_here: false,
            unnamed_pending: false,
            local_set: false,
            may_set: false,
            configures: false,
            may_hold: false,
            held: 0,
            said: false,
            follows: None,
            followed: Vec::new(),
            has_set: false,
            discarded: false,
            stateful: false,
            may_keep: false,
            own_settings: false,
            dropped_context: false,
            uses_tokens: false,
            bound_unknown: false,
            lost_tenant: false,
            client_rest: Rest::NONE,
            server_rest: Rest::NONE,
            wanted: 0,
            refusal: Bytes::new(),
        }
    }

    /// For a client that gives tokens by a statement.
    pub(super) fn uses_tokens(mut self, uses_tokens: bool) -> Self {
        self.uses_tokens = uses_tokens;
        self
    }

    /// Whether the client must not be served as this tenant any more: the lease is over with the batch.
    pub(super) fn has_lost_tenant(&self) -> bool {
        self.lost_tenant
    }

    /// Whether Postgres has not answered yet what is asked of it before a client's words.
    pub(super) fn is_asking(&self) -> bool {
        !self.expected.is_empty()
    }

    /// The error with which Postgres refused the context.
    pub(super) fn refusal(&self) -> &Bytes {
        &self.refusal
    }

    /// How much of the client's next message must be there before it can pass.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// It is known whose transaction is about to begin; the replies to what is asked of Postgres for it go here.
    pub(super) fn context_given(&mut self) -> &mut Expected {
        self.context = true;
        &mut self.expected
    }

    /// The next transaction on the same lease.
    pub(super) fn next_transaction(&mut self) {
        self.context = false;
    }

    /// Passes on what may pass of the client's words.
    pub(super) fn client(&mut self, sides: &mut Sides<'_>) -> Result<Step, Broken> {
        loop {
            self.client_rest.carry_on(sides.from_client, sides.to_server);
            let waits = self.delimiter.is_some() && !self.copying;
            if !self.client_rest.is_none() || waits || !self.expected.is_empty() {
                return Ok(Step::Wait);
            }
            if self.owed.len() >= limits::PG_PIPELINE {
                // Postgres keeps its answers until it is asked for them, or has many.
                if !std::mem::replace(&mut self.flushed, true) {
                    prologue::flush(sides.to_server);
                }
                return Ok(Step::Wait);
            }
            self.flushed = false;
            let head = frame::head(sides.from_client, limits::PG_MESSAGE_BYTES);
            let Some(head) = head.map_err(|BadFrame| Broken::Client)? else { return Ok(Step::Wait) };
            let drops_copy = !self.copying && matches!(head.tag, b'd' | b'c' | b'f');
            if head.tag == b'X' {
                return Ok(Step::Goodbye);
            }
            if !self.context
                && !self.copying
                && !drops_copy
                && matches!(head.tag, b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'F')
            {
                return Ok(Step::Context);
            }
            self.wanted = match (self.copying, self.skipping) {
                (true, _) => HEAD_BYTES,
                (_, true) => token_use::wanted(head),
                _ => wanted(head, sides.from_client),
            };
            if sides.from_client.len() < self.wanted {
                return Ok(Step::Wait);
            }
            if self.uses_tokens
                && !self.copying
                && token_use::is_unknown(head, sides.from_client, sides.prepared)
            {
                self.bound_unknown = true;
                self.lost_tenant |= self.skipping;
            }
            self.client_rest = match head.tag {
                _ if self.copying => match self.copy_message(head) {
                    Some(rest) => rest,
                    None => return Ok(Step::Wait),
                },
                // What is left of a copy that has failed, or of a batch that has: Postgres would ignore it.
                _ if drops_copy => Rest::Drop(head.len),
                _ if token_use::is_meant(head, sides.from_client, sides.prepared) => {
                    self.lost_tenant = true;
                    if self.skipping {
                        Rest::Drop(head.len)
                    } else {
                        self.refuse(head, token_use::out_of_place(), sides)
                    }
                }
                _ if self.skipping && head.tag != b'S' => Rest::Drop(head.len),
                _ => self.command(head, sides)?,
            };
            self.owed.say(sides.to_client);
        }
    }

    /// A message while the server reads a copy. Sync and Flush mean nothing there and are dropped, so that Postgres
    /// answers exactly the Syncs that are waited for. Anything else waits for the copy to end.
    fn copy_message(&mut self, head: Head) -> Option<Rest> {
        match head.tag {
            b'd' => Some(Rest::Pass(head.len)),
            b'c' | b'f' => {
                self.copying = false;
                Some(Rest::Pass(head.len))
            }
            b'S' | b'H' => Some(Rest::Drop(head.len)),
            _ => None,
        }
    }

    fn command(&mut self, head: Head, sides: &mut Sides<'_>) -> Result<Rest, Broken> {
        match head.tag {
            b'Q' => return Ok(self.query(head, sides)),
            b'F' => self.delimiter = Some(Delimiter::Call),
            b'S' => self.delimiter = Some(Delimiter::Sync),
            b'P' => return self.parse(head, sides),
            b'B' => return self.bind(head, sides),
            b'D' | b'C' => return self.describe_or_close(head, sides),
            b'E' => {
                self.unnamed_pending = false;
                self.owed.push(Answer::Execute, Undo::Nothing);
            }
            b'H' => {}
            _ => return Err(Broken::Client),
        }
        Ok(Rest::Pass(head.len))
    }

    /// In a transaction that has failed Postgres reads no statement, and does not say which one it has not read.
    fn looks_for_token_use(&mut self, text: &[u8]) {
        self.lost_tenant |= self.status == Status::Failed && token_use::is_named(text);
    }

    fn query(&mut self, head: Head, sides: &mut Sides<'_>) -> Rest {
        let body = body(head, sides.from_client);
        self.looks_for_token_use(body);
        if statement::listens(body) && self.status != Status::Failed {
            // As much as a batch of the extended protocol.
            self.delimiter = Some(Delimiter::Sync);
            let rest = self.refuse(head, Failure::listens(), sides);
            prologue::sync(sides.to_server);
            return rest;
        }
        let effects = Effects::of(body, body.len() + HEAD_BYTES == head.len);
        self.local_set = effects.sets_locally;
        self.says(body, sides.prepared);
        self.runs(effects, sides.planned);
        // Postgres drops the unnamed statement here.
        sides.prepared.unnamed = None;
        self.unnamed_pending = false;
        self.delimiter = Some(Delimiter::Call);
        let dropped = statement::deallocates(body).filter(|_| self.status != Status::Failed);
        match dropped.and_then(|name| sides.prepared.remove(name.as_bytes())) {
            None => Rest::Pass(head.len),
            Some(_) => {
                // It need not be on this connection, and stays where it is, for others of the tenant. Something is
                // dropped in its place, so that the answer is Postgres' own.
                prologue::query(
                    sides.to_server,
                    "PREPARE \"ringfence.none\" AS SELECT; DEALLOCATE \"ringfence.none\"",
                );
                self.expected.expect([Reply::Complete("PREPARE")]);
                Rest::Drop(head.len)
            }
        }
    }

    /// Passes on what may pass of the server's words.
    pub(super) fn server(&mut self, sides: &mut Sides<'_>) -> Result<Step, Broken> {
        loop {
            self.server_rest.carry_on(sides.from_server, sides.to_client);
            if !self.server_rest.is_none() {
                return Ok(Step::Wait);
            }
            let longest = usize::try_from(i32::MAX).unwrap_or(usize::MAX);
            let head = frame::head(sides.from_server, longest).map_err(|BadFrame| Broken::Server)?;
            let Some(head) = head else { return Ok(Step::Wait) };
            let read = match head.tag {
                b'Z' | b'C' | b'G' => head.len,
                b'E' if !self.expected.is_empty() => head.len,
                b'E' => head.len.min(SQLSTATE_WITHIN),
                _ => 0,
            };
            if sides.from_server.len() < read {
                let too_long = read > limits::PG_STARTUP_BYTES;
                return if too_long { Err(Broken::Server) } else { Ok(Step::Wait) };
            }
            if !self.expected.is_empty() {
                if head.tag == b'E' && self.delimiter.is_some() {
                    // What was said in place of the client's call has failed, and that is its answer.
                    self.expected.clear();
                    self.server_rest = self.failed(head, sides);
                    continue;
                }
                self.server_rest = self.own_reply(head, body(head, sides.from_server))?;
                continue;
            }
            if head.tag == b'Z' {
                let status = status(body(head, sides.from_server))?;
                if !self.owed.is_empty() {
                    return Err(Broken::Server);
                }
                self.server_rest = if self.lost_tenant {
                    // Its transaction ends with the connection.
                    reply::ready_for_query(sides.to_client, b'I');
                    Rest::Drop(head.len)
                } else {
                    Rest::Pass(head.len)
                };
                self.server_rest.carry_on(sides.from_server, sides.to_client);
                self.answered(status);
                if status == Status::Idle && std::mem::take(&mut self.own_settings) {
                    // A date, say, means what it meant there: nobody else runs what was prepared then.
                    sides.planned.clear();
                }
                return Ok(Step::Ready(status));
            }
            self.server_rest = self.reply(head, sides)?;
        }
    }

    /// A reply to our own words: swallowed if it is exactly what was expected.
    fn own_reply(&mut self, head: Head, body: &[u8]) -> Result<Rest, Broken> {
        if matches!(head.tag, b'S' | b'N' | b'A') {
            return Ok(Rest::Drop(head.len));
        }
        let fits = match self.expected.next() {
            Some(reply) if head.tag == b'E' && (matches!(reply, Reply::Context(_)) || is_cancel(body)) => {
                self.refusal = Bytes::copy_from_slice(body);
                return Err(Broken::Context);
            }
            Some(Reply::Tag(tag) | Reply::Context(tag)) => head.tag == tag,
            Some(Reply::Complete(text)) => head.tag == b'C' && command_tag(body) == text,
            Some(Reply::Idle) => head.tag == b'Z' && status(body)? == Status::Idle,
            None => false,
        };
        if fits { Ok(Rest::Drop(head.len)) } else { Err(Broken::Server) }
    }

    fn reply(&mut self, head: Head, sides: &mut Sides<'_>) -> Result<Rest, Broken> {
        match head.tag {
            b'C' => {
                let tag = command_tag(body(head, sides.from_server));
                self.completed(tag, sides.prepared, sides.planned);
            }
            // A copy that nobody asked for.
            b'G' if self.owed.is_empty() && self.delimiter != Some(Delimiter::Call) => {
                return Err(Broken::Server);
            }
            b'G' => {
                self.copying = true;
                if self.delimiter == Some(Delimiter::Sync) {
                    // It came while Postgres was reading the copy, and was ignored: another follows.
                    self.delimiter = None;
                }
            }
            b'E' => return Ok(self.failed(head, sides)),
            // Notifications of one tenant never reach another: none is delivered.
            b'A' => return Ok(Rest::Drop(head.len)),
            // Nobody authenticates or replicates here.
            b'R' | b'K' | b'v' | b'W' => return Err(Broken::Server),
            _ => {}
        }
        let own = self.owed.settle(head.tag).ok_or(Broken::Server)?;
        let mut rest = if own { Rest::Drop(head.len) } else { Rest::Pass(head.len) };
        rest.carry_on(sides.from_server, sides.to_client);
        if rest.is_none() {
            self.owed.say(sides.to_client);
        }
        Ok(rest)
    }

    /// What an error takes back. In the extended protocol Postgres then skips everything up to a Sync.
    fn failed(&mut self, head: Head, sides: &mut Sides<'_>) -> Rest {
        self.copying = false;
        self.follows = None;
        self.followed.clear();
        let extended = !self.owed.is_empty() || self.delimiter != Some(Delimiter::Call);
        if extended && self.delimiter != Some(Delimiter::Sync) {
            self.skipping = true;
            // A Query among them is skipped too, and a Sync is still to come.
            self.delimiter = None;
        }
        let text = body(head, sides.from_server);
        let is = |code: &str| {
            let field = |field: &[u8]| field.strip_prefix(b"C").is_some_and(|said| said == code.as_bytes());
            text.split(|byte| *byte == 0).any(field)
        };
        let misused = is(token_use::MISUSED);
        if is("26000") || is("0A000") {
            // A table is another than when a statement was prepared, or a statement is gone: all are prepared anew.
            sides.planned.clear();
        }
        match self.owed.fail(sides.prepared, sides.planned) {
            Some(failure) => {
                failure.write(sides.to_client);
                Rest::Drop(head.len)
            }
            None => {
                self.lost_tenant |= misused || self.bound_unknown;
                Rest::Pass(head.len)
            }
        }
    }

    fn answered(&mut self, status: Status) {
        self.delimiter = None;
        self.copying = false;
        self.skipping = false;
        self.bound_unknown = false;
        (self.said, self.follows) = (false, None);
        self.status = status;
    }

    /// Whether nothing is under way: no transaction, no batch, no half of a frame, no reply still to come.
    pub(super) fn is_quiet(&self) -> bool {
        self.status == Status::Idle
            && !self.context
            && self.delimiter.is_none()
            && self.client_rest.is_none()
            && self.server_rest.is_none()
            && self.expected.is_empty()
            && self.owed.is_empty()
    }
}

/// How much must be there of a message before it is known what becomes of it: texts up to a length, whole statements
/// that are to be kept, names.
fn wanted(head: Head, bytes: &[u8]) -> usize {
    let most = match head.tag {
        b'P' if bytes.get(HEAD_BYTES).is_some_and(|first| *first != 0) => {
            limits::PG_NAME_BYTES + limits::PG_STATEMENT_BYTES
        }
        b'Q' | b'P' => statement::LOOKED_AT_BYTES,
        b'B' | b'D' | b'C' => 2 * (limits::PG_NAME_BYTES + 1),
        _ => 0,
    };
    head.len.min(HEAD_BYTES + most)
}

/// What is there of a frame's body.
fn body(head: Head, bytes: &[u8]) -> &[u8] {
    bytes.get(HEAD_BYTES..head.len.min(bytes.len())).unwrap_or_default()
}

fn status(body: &[u8]) -> Result<Status, Broken> {
    match body {
        b"I" => Ok(Status::Idle),
        b"T" => Ok(Status::InTransaction),
        b"E" => Ok(Status::Failed),
        _ => Err(Broken::Server),
    }
}

/// Whether an error says that the client's own request to cancel has come, also where it hit our words and not its own.
fn is_cancel(error: &[u8]) -> bool {
    error.split(|byte| *byte == 0).any(|field| field == b"C57014")
}

fn command_tag(body: &[u8]) -> &str {
    body.strip_suffix(b"\0").and_then(|tag| std::str::from_utf8(tag).ok()).unwrap_or_default()
}
