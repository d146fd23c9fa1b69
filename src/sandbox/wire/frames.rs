//! Cuts the byte stream into frames: a 3-byte big-endian length, then that many bytes.

use bytes::{Buf, BytesMut};

/// What was announced is larger than this connection may send.
#[derive(Debug, thiserror::Error)]
#[error("a frame of {0} bytes is over the limit")]
pub(in crate::sandbox) struct TooLarge(usize);

/// Collects bytes and gives whole frames. Holds at most one frame and one websocket message.
pub(in crate::sandbox) struct Frames {
    buffer: BytesMut,
    limit: usize,
}

impl Frames {
    /// Refuses frames of more than `limit` bytes by their announced length, before they arrive.
    pub(in crate::sandbox) fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// Raises the limit once the peer is known.
    pub(in crate::sandbox) fn allow(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds what arrived.
    pub(in crate::sandbox) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next whole frame, if there is one.
    pub(in crate::sandbox) fn next(&mut self) -> Result<Option<BytesMut>, TooLarge> {
        let &[high, middle, low, ..] = &*self.buffer else { return Ok(None) };
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if length > self.limit {
            return Err(TooLarge(length));
        }
        if self.buffer.len() < 3 + length {
            return Ok(None);
        }
        self.buffer.advance(3);
        Ok(Some(self.buffer.split_to(length)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_announced_giant_is_refused_before_it_arrives() {
        let mut frames = Frames::new(10);
        frames.feed(&[0, 0, 11]);
        assert!(frames.next().is_err());
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8), cut in 1usize..17) {
            let mut stream = Vec::new();
            for payload in &payloads {
                stream.extend_from_slice(&wacore_noise::framing::encode_frame(payload, None).unwrap());
            }
            let mut frames = Frames::new(64);
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                frames.feed(piece);
                while let Some(frame) = frames.next().unwrap() {
                    seen.push(frame.to_vec());
                }
            }
            prop_assert_eq!(seen, payloads);
        }
    }
}
