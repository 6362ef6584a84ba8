//! The conversation of one client with one server connection, as a state machine over buffers: no I/O, no clock.
//!
//! Follows Postgres' documentation, "Message Flow". One batch at a time: after a `Query`, `Sync` or `FunctionCall` nothing
//! more of the client is passed on until `ReadyForQuery`, so that every transaction begins with a context. Frames pass
//! as they are and in pieces; of those only the first bytes are looked at.

#[cfg(test)]
mod tests;

use bytes::{Buf, BytesMut};
use ringfence_context::limits;

use super::{
    frame::{self, BadFrame, HEAD_BYTES, Head},
    prologue::{self, Expected, Reply},
    statement,
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
    /// The context: the next message needs one.
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
    /// Postgres did not accept what the client asked for at start-up.
    Settings,
}

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
    delimiter: Option<Delimiter>,
    status: Status,
    /// The transaction has its context, or our composition gives none.
    context: bool,
    /// Postgres did not accept the context: it ignores everything until a Sync.
    refused: bool,
    /// The server is reading `CopyData`.
    copying: bool,
    /// This batch prepared the unnamed statement and has not run it yet: the next one may.
    unnamed_pending: bool,
    local_set: bool,
    /// Named statements, settings, cursors, subscriptions were made.
    stateful: bool,
    unprepared: bool,
    client_rest: Rest,
    server_rest: Rest,
}

impl Exchange {
    /// Over a connection to which `expected`'s questions are already on their way.
    pub(super) fn new(expected: Expected) -> Self {
        Self {
            expected,
            delimiter: None,
            status: Status::Idle,
            context: false,
            refused: false,
            copying: false,
            unnamed_pending: false,
            local_set: false,
            stateful: false,
            unprepared: false,
            client_rest: Rest::NONE,
            server_rest: Rest::NONE,
        }
    }

    /// Whether the connection must stay with its client: for what it keeps, or for an unnamed statement that was
    /// prepared and not yet run.
    pub(super) fn keeps_connection(&self) -> bool {
        self.stateful || self.unnamed_pending
    }

    /// Whether the client has reset the session since this was asked last, and with it our prepared statement.
    pub(super) fn take_unprepared(&mut self) -> bool {
        std::mem::take(&mut self.unprepared)
    }

    /// Where the replies to a context go that is about to be written.
    pub(super) fn context_given(&mut self) -> &mut Expected {
        self.context = true;
        &mut self.expected
    }

    /// The next transaction on the same lease.
    pub(super) fn next_transaction(&mut self) {
        self.context = false;
        self.refused = false;
    }

    /// Passes on what may pass of the client's words.
    pub(super) fn client(&mut self, from: &mut BytesMut, to: &mut BytesMut) -> Result<Step, Broken> {
        loop {
            self.client_rest.carry_on(from, to);
            if !self.client_rest.is_none() {
                return Ok(Step::Wait);
            }
            if self.refused && self.delimiter == Some(Delimiter::Call) {
                self.end_refused_call(to);
            }
            let waits = self.delimiter.is_some() && !self.copying;
            if waits {
                return Ok(Step::Wait);
            }
            let head = frame::head(from, limits::PG_MESSAGE_BYTES).map_err(|BadFrame| Broken::Client)?;
            let Some(head) = head else { return Ok(Step::Wait) };
            if from.len() < head.len.min(HEAD_BYTES + statement::LOOKED_AT_BYTES) {
                return Ok(Step::Wait);
            }
            let body = from.get(HEAD_BYTES..head.len.min(from.len())).unwrap_or_default();
            if !self.copying && self.needs_context(head, body) {
                return Ok(Step::Context);
            }
            self.client_rest = match head.tag {
                b'X' => return Ok(Step::Goodbye),
                _ if self.copying => match self.copy_message(head) {
                    Some(rest) => rest,
                    None => return Ok(Step::Wait),
                },
                // What is left of a copy that has failed; Postgres would ignore it.
                b'd' | b'c' | b'f' => Rest::Drop(head.len),
                _ => self.command(head, body)?,
            };
        }
    }

    /// Whether the transaction must get its context before this message passes.
    fn needs_context(&self, head: Head, body: &[u8]) -> bool {
        let short = head.len <= HEAD_BYTES + statement::LOOKED_AT_BYTES;
        match head.tag {
            // A failed transaction takes nothing but its end.
            _ if self.context || self.status == Status::Failed => false,
            b'Q' => !(short && statement::precedes_context(body)),
            b'P' | b'B' | b'D' | b'E' | b'C' | b'F' => true,
            _ => false,
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

    fn command(&mut self, head: Head, body: &[u8]) -> Result<Rest, Broken> {
        match head.tag {
            b'Q' | b'F' => {
                self.delimiter = Some(Delimiter::Call);
                self.local_set = head.tag == b'Q' && statement::sets_locally(body);
                self.unnamed_pending = false;
            }
            b'S' => self.delimiter = Some(Delimiter::Sync),
            b'P' => {
                let named = body.first().is_some_and(|byte| *byte != 0);
                self.stateful |= named;
                self.unnamed_pending |= !named;
            }
            b'E' => self.unnamed_pending = false,
            b'B' | b'D' | b'C' | b'H' => {}
            _ => return Err(Broken::Client),
        }
        Ok(Rest::Pass(head.len))
    }

    /// Passes on what may pass of the server's words. `to_server` takes the Sync that ends a refused call.
    pub(super) fn server(
        &mut self,
        from: &mut BytesMut,
        to: &mut BytesMut,
        to_server: &mut BytesMut,
    ) -> Result<Step, Broken> {
        loop {
            self.server_rest.carry_on(from, to);
            if !self.server_rest.is_none() {
                return Ok(Step::Wait);
            }
            let longest = usize::try_from(i32::MAX).unwrap_or(usize::MAX);
            let head = frame::head(from, longest).map_err(|BadFrame| Broken::Server)?;
            let Some(head) = head else { return Ok(Step::Wait) };
            let whole = from.len() >= head.len;
            let read = match head.tag {
                b'Z' | b'C' | b'G' => true,
                b'E' => matches!(self.expected.peek(), Some(Reply::Setting(_))),
                _ => false,
            };
            if read && !whole {
                return if head.len > limits::PG_STARTUP_BYTES {
                    Err(Broken::Server)
                } else {
                    Ok(Step::Wait)
                };
            }
            let body = from.get(HEAD_BYTES..head.len.min(from.len())).unwrap_or_default();
            if !self.expected.is_empty() {
                self.server_rest = self.own_reply(head, body, to_server)?;
                continue;
            }
            if head.tag == b'Z' {
                let status = status(body)?;
                self.server_rest = Rest::Pass(head.len);
                self.server_rest.carry_on(from, to);
                self.answered(status);
                return Ok(Step::Ready(status));
            }
            self.server_rest = self.reply(head, body)?;
        }
    }

    /// A reply to our own words: swallowed if it is exactly what was expected.
    fn own_reply(&mut self, head: Head, body: &[u8], to_server: &mut BytesMut) -> Result<Rest, Broken> {
        if matches!(head.tag, b'S' | b'N' | b'A') {
            return Ok(Rest::Drop(head.len));
        }
        if head.tag == b'E' && matches!(self.expected.peek(), Some(Reply::Context(_))) {
            // Postgres did not accept the context. That is its client's answer, and everything up to a Sync is skipped.
            self.expected.clear();
            self.refused = true;
            if self.delimiter == Some(Delimiter::Call) && self.client_rest.is_none() {
                self.end_refused_call(to_server);
            }
            return Ok(Rest::Pass(head.len));
        }
        let fits = match self.expected.next() {
            Some(Reply::Setting(_)) if head.tag == b'E' && is_about_data(body) => {
                return Err(Broken::Settings);
            }
            Some(Reply::Tag(tag) | Reply::Setting(tag) | Reply::Context(tag)) => head.tag == tag,
            Some(Reply::Complete(text)) => head.tag == b'C' && command_tag(body) == text,
            Some(Reply::Idle) => head.tag == b'Z' && status(body)? == Status::Idle,
            None => false,
        };
        if fits { Ok(Rest::Drop(head.len)) } else { Err(Broken::Server) }
    }

    /// Postgres skips a Query too after an error in the extended protocol, and says nothing until a Sync.
    fn end_refused_call(&mut self, to_server: &mut BytesMut) {
        prologue::sync(to_server);
        self.delimiter = Some(Delimiter::Sync);
    }

    fn reply(&mut self, head: Head, body: &[u8]) -> Result<Rest, Broken> {
        match head.tag {
            b'C' => self.completed(command_tag(body)),
            b'G' => {
                self.copying = true;
                if self.delimiter == Some(Delimiter::Sync) {
                    // It came while Postgres was reading the copy, and was ignored: another follows.
                    self.delimiter = None;
                }
            }
            b'E' => self.copying = false,
            // Notifications of one tenant never reach another: none is delivered.
            b'A' => return Ok(Rest::Drop(head.len)),
            // Nobody authenticates or replicates here.
            b'R' | b'K' | b'v' | b'W' => return Err(Broken::Server),
            _ => {}
        }
        Ok(Rest::Pass(head.len))
    }

    fn answered(&mut self, status: Status) {
        self.delimiter = None;
        self.copying = false;
        self.refused = false;
        self.status = status;
    }

    /// What a finished command leaves behind in the session.
    fn completed(&mut self, tag: &str) {
        match tag.split(' ').next().unwrap_or_default() {
            "SET" if self.local_set => {}
            "SET" | "RESET" | "PREPARE" | "LISTEN" | "UNLISTEN" | "DECLARE" | "LOAD" => self.stateful = true,
            "DISCARD" | "DEALLOCATE" => self.unprepared = true,
            _ => {}
        }
    }

    /// Whether nothing is under way: no transaction, no batch, no half of a frame, no reply still to come.
    pub(super) fn is_quiet(&self) -> bool {
        self.status == Status::Idle
            && !self.context
            && self.delimiter.is_none()
            && self.client_rest.is_none()
            && self.server_rest.is_none()
            && self.expected.is_empty()
    }
}

fn status(body: &[u8]) -> Result<Status, Broken> {
    match body {
        b"I" => Ok(Status::Idle),
        b"T" => Ok(Status::InTransaction),
        b"E" => Ok(Status::Failed),
        _ => Err(Broken::Server),
    }
}

/// Whether an error says that a value is wrong (SQLSTATE class 22), and not, say, that Postgres is shutting down.
fn is_about_data(error: &[u8]) -> bool {
    error.split(|byte| *byte == 0).any(|field| field.starts_with(b"C22"))
}

fn command_tag(body: &[u8]) -> &str {
    body.strip_suffix(b"\0").and_then(|tag| std::str::from_utf8(tag).ok()).unwrap_or_default()
}
