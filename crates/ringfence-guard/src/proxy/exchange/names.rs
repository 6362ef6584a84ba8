//! Messages that name a prepared statement: the client's name is exchanged for the connection's, and what the connection
//! lacks is prepared on it first.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use ringfence_context::limits;

use super::{
    Broken, Exchange, Rest, Sides, body,
    owed::{Answer, Undo},
};
use crate::proxy::{
    frame::{HEAD_BYTES, Head, cstring},
    prologue,
    reply::{Failure, message},
    statement::{self, Effects},
    statements::Statement,
};

impl Exchange {
    pub(super) fn parse(&mut self, head: Head, sides: &mut Sides<'_>) -> Result<Rest, Broken> {
        let body = body(head, sides.from_client);
        let whole = body.len() + HEAD_BYTES == head.len;
        let (name, rest) = cstring(body).ok_or(Broken::Client)?;
        self.looks_for_token_use(rest);
        if statement::listens(rest) {
            return Ok(self.refuse(head, Failure::listens(), sides));
        }
        if name.is_empty() {
            self.says(if whole { rest } else { b"" }, sides.prepared);
            self.runs(Effects::of(rest, whole), sides.planned);
            let dropped = whole.then(|| statement::deallocates(rest)).flatten();
            if let Some(statement) = dropped.and_then(|name| sides.prepared.remove(name.as_bytes())) {
                return Ok(self.parse_deallocate(head, &statement, sides));
            }
            sides.prepared.unnamed = whole.then(|| Bytes::copy_from_slice(rest));
            self.unnamed_here = true;
            self.unnamed_pending = !whole;
            self.owed.push(Answer::Parse, Undo::Unnamed);
            return Ok(Rest::Pass(head.len));
        }
        if !whole || rest.len() > limits::PG_STATEMENT_BYTES {
            return Ok(self.refuse(
                head,
                Failure::too_much("A prepared statement is larger than allowed."),
                sides,
            ));
        }
        if sides.prepared.get(name).is_some() {
            return Ok(self.refuse(head, Failure::duplicate_statement(), sides));
        }
        self.says(b"", sides.prepared);
        let (name, statement) = (Box::<[u8]>::from(name), Statement::new(rest));
        if sides.prepared.put(&name, Arc::clone(&statement)).is_err() {
            return Ok(self.refuse(head, Failure::too_much("Too many statements are prepared."), sides));
        }
        if sides.planned.has(statement.name) {
            self.owed.push(Answer::Said(b'1'), Undo::Forget(name));
        } else {
            self.close_planned(&statement, sides);
            prologue::parse_body(sides.to_server, &statement.name.to_string(), &statement.body);
            self.owed.push(Answer::Parse, Undo::ForgetAndUnplan(name, statement.name));
        }
        Ok(Rest::Drop(head.len))
    }

    /// `DEALLOCATE` of a protocol-level statement, in the extended protocol: what it names is put there to be dropped.
    fn parse_deallocate(&mut self, head: Head, statement: &Statement, sides: &mut Sides<'_>) -> Rest {
        self.plan(statement, sides);
        sides.planned.remove(statement.name);
        let text = format!("DEALLOCATE \"{}\"\0\0\0", statement.name);
        prologue::parse_body(sides.to_server, "", text.as_bytes());
        sides.prepared.unnamed = None;
        (self.unnamed_here, self.unnamed_pending) = (true, true);
        self.owed.push(Answer::Parse, Undo::Unnamed);
        Rest::Drop(head.len)
    }

    /// Makes room for a statement, and sure that nothing has its name.
    fn close_planned(&mut self, statement: &Statement, sides: &mut Sides<'_>) {
        for name in sides.planned.add(statement.name).into_iter().chain([statement.name]) {
            prologue::close(sides.to_server, &name.to_string());
            self.owed.push(Answer::Own(b'3'), Undo::Nothing);
        }
    }

    /// Prepares what the connection lacks.
    fn plan(&mut self, statement: &Statement, sides: &mut Sides<'_>) {
        self.runs(statement.effects, sides.planned);
        if !sides.planned.has(statement.name) {
            self.close_planned(statement, sides);
            prologue::parse_body(sides.to_server, &statement.name.to_string(), &statement.body);
            self.owed.push(Answer::Own(b'1'), Undo::Unplan(statement.name));
        }
    }

    /// Makes the connection's unnamed statement this client's, or none.
    fn plan_unnamed(&mut self, sides: &mut Sides<'_>) {
        if std::mem::replace(&mut self.unnamed_here, true) {
            return;
        }
        match &sides.prepared.unnamed {
            Some(body) => {
                self.runs(Effects::of(body, true), sides.planned);
                prologue::parse_body(sides.to_server, "", body);
                self.owed.push(Answer::Own(b'1'), Undo::Unnamed);
            }
            None => {
                prologue::close(sides.to_server, "");
                self.owed.push(Answer::Own(b'3'), Undo::Nothing);
            }
        }
    }

    pub(super) fn bind(&mut self, head: Head, sides: &mut Sides<'_>) -> Result<Rest, Broken> {
        let body = body(head, sides.from_client);
        let (portal, rest) = cstring(body).ok_or(Broken::Client)?;
        let (name, _) = cstring(rest).ok_or(Broken::Client)?;
        let named = portal.len() + name.len() + 2;
        let statement = sides.prepared.get(name).cloned();
        if name.is_empty() {
            self.said = true;
            self.plan_unnamed(sides);
        } else {
            self.says(b"", sides.prepared);
        }
        if let Some(statement) = &statement {
            self.plan(statement, sides);
        }
        self.owed.push(Answer::Bind, Undo::Nothing);
        let Some(statement) = statement else { return Ok(Rest::Pass(head.len)) };
        let head_and_names = sides.from_client.split_to(HEAD_BYTES + named);
        let portal = head_and_names.get(HEAD_BYTES..).and_then(cstring).map_or(&[][..], |(portal, _)| portal);
        let name = statement.name.to_string();
        let rest = head.len - HEAD_BYTES - named;
        let len = 4 + portal.len() + 1 + name.len() + 1 + rest;
        sides.to_server.put_u8(b'B');
        sides.to_server.put_u32(u32::try_from(len).map_err(|_| Broken::Client)?);
        for text in [portal, name.as_bytes()] {
            sides.to_server.extend_from_slice(text);
            sides.to_server.put_u8(0);
        }
        Ok(Rest::Pass(rest))
    }

    pub(super) fn describe_or_close(&mut self, head: Head, sides: &mut Sides<'_>) -> Result<Rest, Broken> {
        let body = body(head, sides.from_client);
        let (kind, name) = body.split_first().ok_or(Broken::Client)?;
        let (name, _) = cstring(name).ok_or(Broken::Client)?;
        let answer = if head.tag == b'D' { Answer::Describe } else { Answer::Close };
        if *kind != b'S' {
            self.owed.push(answer, Undo::Nothing);
            return Ok(Rest::Pass(head.len));
        }
        if name.is_empty() {
            if head.tag == b'D' {
                self.plan_unnamed(sides);
            } else {
                (sides.prepared.unnamed, self.unnamed_here) = (None, true);
            }
            self.owed.push(answer, Undo::Nothing);
            return Ok(Rest::Pass(head.len));
        }
        if head.tag == b'C' {
            let name = Box::<[u8]>::from(name);
            return Ok(match sides.prepared.remove(&name) {
                // It stays on the connection, for others of the tenant.
                Some(statement) => {
                    self.owed.push(Answer::Said(b'3'), Undo::Restore(name, statement));
                    Rest::Drop(head.len)
                }
                None => {
                    self.owed.push(answer, Undo::Nothing);
                    Rest::Pass(head.len)
                }
            });
        }
        let statement = sides.prepared.get(name).cloned();
        if let Some(statement) = &statement {
            self.plan(statement, sides);
        }
        self.owed.push(answer, Undo::Nothing);
        let Some(statement) = statement else { return Ok(Rest::Pass(head.len)) };
        message(sides.to_server, b'D', |out| {
            out.put_u8(b'S');
            out.extend_from_slice(statement.name.to_string().as_bytes());
            out.put_u8(0);
        });
        Ok(Rest::Drop(head.len))
    }

    /// Lets Postgres fail here, and all of the batch with it, and has the client told why.
    pub(super) fn refuse(&mut self, head: Head, failure: Failure, sides: &mut Sides<'_>) -> Rest {
        prologue::fail(sides.to_server);
        self.owed.push(Answer::Refused(failure), Undo::Nothing);
        Rest::Drop(head.len)
    }
}
