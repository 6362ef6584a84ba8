//! What a session keeps, as far as its statements and what Postgres says of them tell: what holds its connection to Postgres,
//! what only has to be cleaned away, and what is set again wherever it goes.

use super::{Exchange, Status};
use crate::proxy::{
    statement::{self, Effects},
    statements::{Planned, Prepared},
};

impl Exchange {
    /// For a session that has set something that is followed.
    pub(in crate::proxy) fn has_set(mut self, has_set: bool) -> Self {
        self.has_set = has_set;
        self
    }

    /// What the session has set since this was asked last, to be set again on other connections.
    pub(in crate::proxy) fn take_followed(&mut self) -> Vec<(&'static str, String)> {
        self.has_set |= !self.followed.is_empty();
        std::mem::take(&mut self.followed)
    }

    /// Whether the client has discarded all since this was asked last.
    pub(in crate::proxy) fn take_discarded(&mut self) -> bool {
        std::mem::take(&mut self.discarded)
    }

    /// Whether the connection must stay with its client: for what it keeps, or for an unnamed statement that was
    /// prepared and not yet run.
    pub(in crate::proxy) fn keeps_connection(&self) -> bool {
        self.stateful || self.held > 0 || self.unnamed_pending
    }

    /// Whether the connection must be cleaned before any other client has it, one of the same tenant too.
    pub(in crate::proxy) fn may_keep(&self) -> bool {
        self.may_keep || self.stateful
    }

    /// Whether the client has discarded the context since this was asked last, or may have.
    pub(in crate::proxy) fn take_dropped_context(&mut self) -> bool {
        std::mem::take(&mut self.dropped_context)
    }

    /// Notes what a batch sets by this statement alone, where that is followed. Not where something is prepared: that means
    /// what it meant when it was.
    pub(super) fn says(&mut self, text: &[u8], prepared: &Prepared) {
        let first = !std::mem::replace(&mut self.said, true);
        let follows = first && self.status == Status::Idle && prepared.is_empty();
        self.follows = follows.then(|| statement::follows(text)).flatten();
    }

    /// Notes what a statement may do to the session, and to the rest of the transaction: what was prepared under other
    /// settings is prepared anew.
    pub(super) fn runs(&mut self, effects: Effects, planned: &mut Planned) {
        let Effects { may_keep, may_unlock, sets_locally, may_set, configures, may_hold } = effects;
        self.may_keep |= may_keep;
        self.dropped_context |= may_unlock;
        self.may_set |= may_set;
        self.configures |= configures;
        self.may_hold |= may_hold;
        if may_keep || sets_locally || self.follows.is_some() {
            self.own_settings = true;
            planned.clear();
        }
    }

    /// What a finished command leaves behind in the session, or takes from it.
    pub(super) fn completed(&mut self, tag: &str, prepared: &mut Prepared, planned: &mut Planned) {
        let is_query = self.owed.is_empty();
        match tag.split(' ').next().unwrap_or_default() {
            "SET" if is_query && self.local_set || !is_query && !self.may_set => {}
            "SET" if self.follows.is_some() => self.followed.extend(self.follows.clone()),
            // Elsewhere a cursor's name may stand for it.
            "SELECT" if is_query && self.follows.is_some() => {
                self.followed.extend(self.follows.clone());
                self.configures = false;
            }
            "SELECT" => self.stateful |= self.configures,
            "DECLARE" if !self.may_hold => {}
            "DECLARE" if self.status == Status::Idle => (self.held, self.may_keep) = (self.held + 1, true),
            // Of those that outlive transactions, others are not counted: their connection is kept until all is discarded.
            "CLOSE" if self.status == Status::Idle => self.held = self.held.saturating_sub(1),
            "SET" | "PREPARE" | "LISTEN" | "DECLARE" | "LOAD" => self.stateful = true,
            "RESET" => {
                // Which of those that are followed is not known.
                self.stateful |= self.has_set;
                self.may_keep = true;
            }
            // After the last there is less than before, which is nothing to hold a connection for.
            "CALL" | "DO" | "CREATE" | "UNLISTEN" => self.may_keep = true,
            "DEALLOCATE" => {
                planned.clear();
                if tag == "DEALLOCATE ALL" {
                    prepared.clear();
                }
            }
            "DISCARD" if tag == "DISCARD ALL" => {
                (self.dropped_context, self.discarded, self.has_set) = (true, true, false);
                // Nothing is kept any more; before others have the connection it is cleaned all the same.
                (self.stateful, self.held, self.may_keep) = (false, 0, true);
                planned.clear();
                prepared.clear();
                self.unnamed_here = true;
            }
            "DISCARD" => self.dropped_context = true,
            _ => {}
        }
    }
}
