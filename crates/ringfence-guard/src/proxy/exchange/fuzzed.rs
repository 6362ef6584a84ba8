//! The exchange fed by two sides that say anything at all: what fuzzing runs.

use bytes::BytesMut;
use ringfence_context::limits;

use super::{Exchange, Sides, Step};
use crate::proxy::{
    frame,
    prologue::{Expected, Reply},
    statements::{Planned, Prepared, Statement},
};

/// Lets both sides speak as `script` says, in pieces: a byte for who (client, server, or a question of ours first) and how
/// much, then that much. A statement of the client's is `token_use` from the beginning. Whatever they say, what reaches either is a row of frames, nothing of the client passes while an
/// answer of ours is awaited, no token passes, and what is kept is bounded.
///
/// # Panics
/// Where one of these does not hold.
#[doc(hidden)]
pub fn converse(mut script: &[u8]) {
    let mut exchange = Exchange::new(Expected::default());
    let (mut prepared, mut planned) = (Prepared::default(), Planned::default());
    let token_use = Statement::new(b"SELECT ringfence.token_use($1, $2)\0\0\0");
    // As a `Bind` would name it on the connection; other messages may say the same, and ask for nothing by that.
    let bound = token_use.name.to_string().into_bytes();
    assert!(token_use.is_token_use && prepared.put(b"t", token_use).is_ok());
    let [mut from_client, mut to_client, mut from_server, mut to_server] = <[BytesMut; 4]>::default();
    let mut asked = false;
    while let Some((&head, rest)) = script.split_first() {
        let (said, later) = rest.split_at(usize::from(head >> 2).min(rest.len()));
        script = later;
        match head & 3 {
            0 | 1 => from_client.extend_from_slice(said),
            2 => from_server.extend_from_slice(said),
            _ => asked = true,
        }
        let mut sides = Sides {
            from_client: &mut from_client,
            to_client: &mut to_client,
            from_server: &mut from_server,
            to_server: &mut to_server,
            prepared: &mut prepared,
            planned: &mut planned,
        };
        loop {
            match exchange.server(&mut sides) {
                // Its lease is over.
                Ok(Step::Ready(_)) if exchange.has_lost_tenant() => return,
                Ok(Step::Ready(_)) => exchange.next_transaction(),
                Ok(_) => break,
                Err(_) => return,
            }
        }
        let (held, whole) = (sides.to_server.len(), exchange.client_rest.is_none());
        match exchange.client(&mut sides) {
            Ok(Step::Context) => {
                let passed = sides.to_server.get(held..).unwrap_or_default();
                // But for the rest of what began to pass when that was known, which is no frame.
                let harmless = !whole || tags(passed).all(|tag| matches!(tag, b'S' | b'H'));
                assert!(harmless, "it is not known whose this is");
                let held = sides.to_server.len();
                let expected = exchange.context_given();
                if std::mem::take(&mut asked) {
                    expected.expect([Reply::Context(b'2'), Reply::Idle]);
                    assert_eq!(exchange.client(&mut sides), Ok(Step::Wait));
                    assert_eq!(sides.to_server.len(), held, "it passed before our own question was answered");
                }
            }
            Ok(Step::Goodbye) | Err(_) => return,
            Ok(_) => {}
        }
        assert!(!frames(&to_server).filter_map(binds).any(|statement| statement == bound), "a token passed");
        assert!(
            exchange.owed.len() <= limits::PG_PIPELINE + 4 && exchange.wanted <= limits::PG_MESSAGE_BYTES
        );
    }
    assert_eq!(tags(&to_client).chain(tags(&to_server)).filter(|tag| *tag == 0).count(), 0);
}

/// The types of the frames in `said`, the last of which may be cut.
fn tags(said: &[u8]) -> impl Iterator<Item = u8> {
    frames(said).map(|(tag, _)| tag)
}

/// The frames in `said`, by type and body, the last of which may be cut.
fn frames(said: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = said;
    std::iter::from_fn(move || {
        let head = frame::head(rest, usize::MAX);
        assert!(head.is_ok(), "what passed is no row of frames");
        let head = head.ok()??;
        let (frame, later) = rest.split_at(head.len.min(rest.len()));
        rest = later;
        Some((head.tag, frame.get(frame::HEAD_BYTES..).unwrap_or_default()))
    })
}

/// The statement a frame binds, if it is one that does: what stands behind the portal's name.
fn binds((tag, body): (u8, &[u8])) -> Option<&[u8]> {
    let (_, rest) = frame::cstring(body).filter(|_| tag == b'B')?;
    frame::cstring(rest).map(|(statement, _)| statement)
}
