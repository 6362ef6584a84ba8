//! What Postgres owes for the messages of a batch in the extended protocol, in order: to pass, to swallow, to say in its
//! place; and what is to be taken back where an error makes it skip the rest.

use std::{collections::VecDeque, sync::Arc};

use bytes::BytesMut;

use crate::proxy::{
    reply::{Failure, message},
    statements::{Planned, Prepared, ServerName, Statement},
};

/// How one message is answered.
#[derive(Debug)]
pub(super) enum Answer {
    Parse,
    Bind,
    Describe,
    Execute,
    Close,
    /// To a message of ours: swallowed.
    Own(u8),
    /// By us: the message was not sent.
    Said(u8),
    /// By an error, which Postgres was made to raise: the client reads this one.
    Refused(Failure),
}

/// What to take back of a message that is skipped.
#[derive(Debug)]
pub(super) enum Undo {
    Nothing,
    /// The client's unnamed statement.
    Unnamed,
    /// The client's name.
    Forget(Box<[u8]>),
    /// The connection's.
    Unplan(ServerName),
    ForgetAndUnplan(Box<[u8]>, ServerName),
    /// The client still has it.
    Restore(Box<[u8]>, Arc<Statement>),
}

/// The answers still to come.
#[derive(Debug, Default)]
pub(super) struct Owed {
    answers: VecDeque<(Answer, Undo)>,
}

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    pub(super) fn push(&mut self, answer: Answer, undo: Undo) {
        self.answers.push_back((answer, undo));
    }

    /// Says what is ours to say and due.
    pub(super) fn say(&mut self, to_client: &mut BytesMut) {
        while let Some((Answer::Said(tag), _)) = self.answers.front() {
            message(to_client, *tag, |_| ());
            self.answers.pop_front();
        }
    }

    /// Takes note of a message from Postgres; whether it answers one of ours. `None` where it can't come now.
    pub(super) fn settle(&mut self, tag: u8) -> Option<bool> {
        let Some((answer, _)) = self.answers.front() else {
            // The answers to a Query or a FunctionCall, and nothing else.
            let known =
                matches!(tag, b'T' | b'D' | b'C' | b'I' | b'G' | b'H' | b'd' | b'c' | b'V' | b'N' | b'S');
            return known.then_some(false);
        };
        let own = matches!(answer, Answer::Own(_));
        let ends = match answer {
            Answer::Parse => tag == b'1',
            Answer::Bind => tag == b'2',
            Answer::Describe => matches!(tag, b'T' | b'n'),
            Answer::Execute => matches!(tag, b'C' | b'I' | b's'),
            Answer::Close => tag == b'3',
            Answer::Own(expected) => tag == *expected,
            Answer::Said(_) | Answer::Refused(_) => false,
        };
        if ends {
            self.answers.pop_front();
            return Some(own);
        }
        let between = match answer {
            Answer::Describe => tag == b't',
            Answer::Execute => matches!(tag, b'D' | b'G' | b'H' | b'd' | b'c'),
            _ => false,
        };
        // Notices and settings come at any time.
        (between || matches!(tag, b'N' | b'S')).then_some(false)
    }

    /// Postgres skips everything that is owed; what the client reads instead of its error, if that was ours.
    pub(super) fn fail(&mut self, prepared: &mut Prepared, planned: &mut Planned) -> Option<Failure> {
        let mut refused = None;
        // The last first: a name closed and given anew is the old statement's again.
        while let Some((answer, undo)) = self.answers.pop_back() {
            match undo {
                Undo::Nothing => {}
                Undo::Unnamed => prepared.unnamed = None,
                Undo::Forget(name) => drop(prepared.remove(&name)),
                Undo::Unplan(name) => planned.remove(name),
                Undo::ForgetAndUnplan(name, server) => {
                    prepared.remove(&name);
                    planned.remove(server);
                }
                Undo::Restore(name, statement) => {
                    // It was there a moment ago, so there is room.
                    let _ = prepared.put(&name, statement);
                }
            }
            // The error is about the first of them.
            refused = match answer {
                Answer::Refused(failure) => Some(failure),
                _ => None,
            };
        }
        refused
    }
}
