//! Frames of the wire protocol, version 3: one byte of type, four of length, the body (Postgres documentation, "Message
//! Formats"). Only heads are read here; bodies pass as they are.

use bytes::{Buf, BytesMut};
use ringfence_context::limits;

/// Bytes of a frame before its body.
pub(super) const HEAD_BYTES: usize = 5;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Which message it is.
    pub(super) tag: u8,
    /// Length of the whole frame, head included.
    pub(super) len: usize,
}

/// A frame that can't be: its length does not cover itself or is over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadFrame;

/// The head of the frame `bytes` begins with, once there are enough of them.
pub(super) fn head(bytes: &[u8], longest: usize) -> Result<Option<Head>, BadFrame> {
    let Some((&[tag, a, b, c, d], _)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let counted = usize::try_from(i32::from_be_bytes([a, b, c, d])).map_err(|_| BadFrame)?;
    if counted < 4 || counted > longest {
        return Err(BadFrame);
    }
    Ok(Some(Head { tag, len: counted + 1 }))
}

/// What is copied rather than taken out of its buffer: that leaves a buffer that two share, and the next read needs another.
const COPIED: usize = 4096;

/// Moves the first `count` bytes from one buffer to the other; many without copying, where the other is empty.
pub(super) fn pass(from: &mut BytesMut, to: &mut BytesMut, count: usize) {
    let count = count.min(from.len());
    if to.is_empty() && count > COPIED {
        *to = from.split_to(count);
    } else {
        to.extend_from_slice(from.get(..count).unwrap_or_default());
        from.advance(count);
    }
}

/// A name that ends with a zero, and what follows.
pub(super) fn cstring(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(limits::PG_NAME_BYTES + 1).position(|byte| *byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![tag];
        frame.extend_from_slice(&i32::try_from(body.len() + 4).unwrap().to_be_bytes());
        frame.extend_from_slice(body);
        frame
    }

    #[test]
    fn reject_pg_message_bytes() {
        assert_eq!(head(&frame(b'Q', &[0; 12]), 16), Ok(Some(Head { tag: b'Q', len: 17 })));
        assert_eq!(head(&frame(b'Q', &[0; 13]), 16), Err(BadFrame));
        for length in [-1_i32, 0, 3, i32::MIN, i32::MAX] {
            let mut bytes = vec![b'Q'];
            bytes.extend_from_slice(&length.to_be_bytes());
            assert_eq!(head(&bytes, 1 << 24), Err(BadFrame), "{length}");
        }
    }

    proptest! {
        #[test]
        fn frames_are_the_same_however_they_arrive(
            bodies in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 1..10),
            cuts in proptest::collection::vec(1_usize..7, 1..80),
        ) {
            let wire: Vec<u8> = bodies.iter().flat_map(|(tag, body)| frame(*tag, body)).collect();
            let (mut inbound, mut passed, mut tags, mut at) = (BytesMut::new(), BytesMut::new(), vec![], 0);
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(wire.len());
                inbound.extend_from_slice(&wire[at..end]);
                at = end;
                while let Some(head) = head(&inbound, 1 << 20).unwrap() {
                    if inbound.len() < head.len { break; }
                    tags.push(head.tag);
                    pass(&mut inbound, &mut passed, head.len);
                }
                if at == wire.len() { break; }
            }
            prop_assert_eq!(&passed[..], &wire[..]);
            prop_assert_eq!(tags, bodies.iter().map(|(tag, _)| *tag).collect::<Vec<_>>());
        }
    }
}
