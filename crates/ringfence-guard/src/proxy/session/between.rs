//! A session between transactions. It has no server connection, and may be told whose its next transactions are
//! ([`super::super::token_use`]).
//!
//! It guarantees that from the moment a client asks for another tenant it has none, until the token is found good: what goes
//! wrong on the way leaves it without, and never with the one it had.

use bytes::BytesMut;
use ringfence_context::{Layer, Reason, Reference, Refusal, TenantId, limits};

use super::{Session, Stop, Whose, protocol_violation, shutting_down};
use crate::proxy::{
    frame::{self, HEAD_BYTES, Head, cstring},
    handshake::new_reference,
    reply::{self, Failure, Severity, message, sqlstate},
    startup::Settings,
    statements::Statement,
    token_use::{self, Arguments, Portal, Word},
};

impl Session {
    /// Waits, without a server connection, for a message that needs one. `None`: goodbye.
    pub(super) async fn idle(&mut self) -> Result<Option<Head>, Stop> {
        loop {
            let head = self.head().await?;
            match head.tag {
                b'X' => return Ok(None),
                // Left over from a copy that failed, or asking for what there is none of.
                b'd' | b'c' | b'f' => self.skip(head).await?,
                b'H' => {
                    self.skip(head).await?;
                    self.client.flush().await?;
                }
                b'S' => {
                    self.skip(head).await?;
                    self.portal = None;
                    reply::ready_for_query(&mut self.client.outbound, b'I');
                }
                _ if self.token_use(head).await? => {}
                _ => {
                    // What was answered does not wait for a server connection.
                    self.client.flush().await?;
                    return Ok(Some(head));
                }
            }
        }
    }

    /// The head of the client's next message, which stays where it is.
    async fn head(&mut self) -> Result<Head, Stop> {
        loop {
            let head = frame::head(&self.client.inbound, limits::PG_MESSAGE_BYTES);
            if let Some(head) = head.map_err(|_| Stop::Failure(protocol_violation()))? {
                return Ok(head);
            }
            self.fill().await?;
        }
    }

    /// Waits for more of the client's words, after it has ours.
    async fn fill(&mut self) -> Result<(), Stop> {
        self.client.flush().await?;
        tokio::select! {
            biased;
            filled = self.client.fill() => Ok(filled?),
            () = &mut self.shutdown => Err(Stop::Failure(shutting_down())),
        }
    }

    async fn skip(&mut self, head: Head) -> Result<(), Stop> {
        let mut rest = head.len;
        loop {
            let count = rest.min(self.client.inbound.len());
            bytes::Buf::advance(&mut self.client.inbound, count);
            rest -= count;
            if rest == 0 {
                return Ok(());
            }
            self.client.fill().await?;
        }
    }

    /// Waits until so much of a message is there.
    async fn have(&mut self, wanted: usize) -> Result<(), Stop> {
        while self.client.inbound.len() < wanted {
            self.fill().await?;
        }
        Ok(())
    }

    /// Skips a whole batch that was answered with an error, as Postgres does. A client that has asked for another tenant in
    /// it is not served as the one it had.
    pub(super) async fn skip_batch(&mut self) -> Result<(), Stop> {
        self.portal = None;
        loop {
            let head = self.head().await?;
            self.have(token_use::wanted(head)).await?;
            let (inbound, prepared) = (&self.client.inbound, &self.prepared);
            let unknown = self.uses_tokens && token_use::is_unknown(head, inbound, prepared);
            if unknown || token_use::is_meant(head, inbound, prepared) {
                self.forget_tenant().await;
            }
            self.skip(head).await?;
            match head.tag {
                b'Q' | b'S' | b'F' => break,
                b'X' => return Err(Stop::Client),
                _ => {}
            }
        }
        reply::ready_for_query(&mut self.client.outbound, b'I');
        Ok(())
    }

    /// Answers a batch with an error.
    pub(super) async fn refuse_batch(&mut self, failure: &Failure) -> Result<(), Stop> {
        failure.write(&mut self.client.outbound);
        self.skip_batch().await
    }

    /// The session serves nobody, and is a new one to the pool: what it has left there is cleaned for others.
    pub(super) async fn forget_tenant(&mut self) {
        (self.whose, self.uses_tokens) = (None, true);
        self.set = Settings::default();
        let left = std::mem::replace(&mut self.id, self.shared.session_id());
        self.shared.pool.retire(left).await;
    }

    /// What is read by a client that is nobody's.
    pub(super) fn nobodys(&self) -> Failure {
        let refusal =
            Refusal::new(Layer::Guard, Reason::ContextMissing, "no token since the last was refused");
        Failure::refusal(Severity::Error, sqlstate::INVALID_AUTHORIZATION, &refusal, &self.reference)
    }

    /// Answers a message if it is about `token_use`; whether it was. Once a token is bound, everything must be up to the Sync.
    async fn token_use(&mut self, head: Head) -> Result<bool, Stop> {
        self.have(token_use::wanted(head)).await?;
        let inbound = &self.client.inbound;
        let Some(word) = token_use::word(head, inbound, &self.prepared, self.portal.as_ref()) else {
            if self.portal.is_none() {
                return Ok(false);
            }
            self.forget_tenant().await;
            self.refuse_batch(&token_use::out_of_place()).await?;
            return Ok(true);
        };
        self.uses_tokens = true;
        let answered = if head.len > token_use::MESSAGE_BYTES {
            self.forget_tenant().await;
            let long = Refusal::new(Layer::Guard, Reason::TokenMalformed, "larger than any token");
            Err(Failure::turned_away(Severity::Error, &long, &self.reference))
        } else {
            self.have(head.len).await?;
            let said = self.client.inbound.split_to(head.len);
            self.answer(word, said).await?
        };
        if let Err(failure) = answered {
            self.refuse_batch(&failure).await?;
        }
        Ok(true)
    }

    async fn answer(&mut self, word: Word, mut said: BytesMut) -> Result<Result<(), Failure>, Stop> {
        let body = said.split_off(HEAD_BYTES.min(said.len()));
        match word {
            Word::Parse(name) => return Ok(self.prepare(&name, &body)),
            Word::Describe => {
                let parameters = self.parameters(&body);
                token_use::describe(&mut self.client.outbound, parameters);
            }
            Word::Close(name) => {
                match &*name {
                    [] => self.prepared.unnamed = None,
                    name => drop(self.prepared.remove(name)),
                }
                message(&mut self.client.outbound, b'3', |_| ());
            }
            Word::Bind => {
                let keeps = !self.set.is_empty();
                self.forget_tenant().await;
                if keeps {
                    return Ok(Err(token_use::out_of_place()));
                }
                let portal = Portal::read(&body).map_err(|_| Stop::Failure(protocol_violation()))?;
                self.portal = Some(portal);
                message(&mut self.client.outbound, b'2', |_| ());
            }
            Word::DescribePortal => {
                if let Some(portal) = &self.portal {
                    portal.describe(&mut self.client.outbound);
                }
            }
            Word::ClosePortal => {
                if let Some(portal) = &mut self.portal {
                    portal.arguments = None;
                }
                message(&mut self.client.outbound, b'3', |_| ());
            }
            Word::Execute => match self.portal.as_mut().and_then(|portal| portal.arguments.take()) {
                Some(arguments) => {
                    // Two signatures are looked at: with each one the thread's other sessions have their turn.
                    tokio::task::yield_now().await;
                    return Ok(self.change(&arguments));
                }
                None => token_use::executed(&mut self.client.outbound, None),
            },
        }
        Ok(Ok(()))
    }

    /// Prepares the statement, as Postgres would.
    fn prepare(&mut self, name: &[u8], body: &[u8]) -> Result<(), Failure> {
        let rest = body.get(name.len() + 1..).unwrap_or_default();
        if name.is_empty() {
            self.prepared.unnamed = Some(bytes::Bytes::copy_from_slice(rest));
        } else if self.prepared.get(name).is_some() {
            return Err(Failure::duplicate_statement());
        } else {
            let put = self.prepared.put(name, Statement::new(rest));
            put.map_err(|_| Failure::too_much("Too many statements are prepared."))?;
        }
        message(&mut self.client.outbound, b'1', |_| ());
        Ok(())
    }

    /// How many parameters the statement has that a `Describe` names.
    fn parameters(&self, describe: &[u8]) -> i16 {
        let name = describe.get(1..).and_then(cstring).map_or(&[][..], |(name, _)| name);
        let text = match name {
            [] => self.prepared.unnamed.as_ref(),
            name => self.prepared.get(name).map(|statement| &statement.body),
        };
        if text.is_some_and(|text| text.windows(2).any(|pair| pair == b"$3")) { 3 } else { 2 }
    }

    /// Decides on a token as at start-up, with the same words to the client and the same entry in the record.
    fn change(&mut self, Arguments { tenant, token, reference }: &Arguments) -> Result<(), Failure> {
        if let Some(reference) = reference.as_deref().and_then(|text| Reference::new(text).ok()) {
            self.reference = reference;
        } else if let Ok(new) = new_reference() {
            self.reference = new;
        }
        let user = tenant.as_deref().and_then(|tenant| TenantId::new(tenant).ok());
        let admitted = self.shared.admit(user.as_ref(), token.as_deref().unwrap_or_default());
        self.shared.record_for(user.as_ref(), &self.reference, admitted.as_ref().err());
        let permit =
            admitted.map_err(|refusal| Failure::turned_away(Severity::Error, &refusal, &self.reference))?;
        token_use::executed(&mut self.client.outbound, user.as_ref().map(TenantId::as_str));
        self.whose = user.map(|user| Whose { user, permit });
        Ok(())
    }
}
