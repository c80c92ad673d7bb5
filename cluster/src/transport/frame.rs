//! Frames: how messages follow each other on a connection.
//!
//! ```text
//! ┌────────────┬──────────────────┬────────────┬───
//! │ length: u32│ protobuf message │ length: u32│ …
//! │ big-endian │ of that many B   │            │
//! └────────────┴──────────────────┴────────────┴───
//! ```
//!
//! A length above the cap ends the connection before a byte is reserved for it. What is reserved grows with what arrives.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of the length.
pub(crate) const HEADER: usize = 4;

/// At most so much is reserved ahead of what has arrived.
const AHEAD: usize = 64 * 1024;

/// Takes frames out of what was received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameReader {
    /// Bytes of the longest message.
    pub(crate) most: usize,
}

impl FrameReader {
    /// The next message that has arrived as a whole.
    pub(crate) fn next(self, received: &mut BytesMut) -> Result<Option<Bytes>, InvalidFrame> {
        let Some(header) = received.first_chunk::<HEADER>() else {
            received.reserve(HEADER);
            return Ok(None);
        };
        let announced = u32::from_be_bytes(*header);
        let length = usize::try_from(announced).unwrap_or(usize::MAX);
        if length > self.most {
            return Err(InvalidFrame { announced, most: self.most });
        }
        let missing = (HEADER + length).saturating_sub(received.len());
        if missing > 0 {
            received.reserve(missing.min(AHEAD));
            return Ok(None);
        }
        received.advance(HEADER);
        Ok(Some(received.split_to(length).freeze()))
    }
}

/// Appends a message as a frame.
pub(crate) fn put_frame(out: &mut BytesMut, message: &impl prost::Message) {
    let length = message.encoded_len();
    out.reserve(HEADER + length);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    // A BytesMut grows: encoding cannot fail.
    let _ = message.encode(out);
}

/// A length that no frame may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame announces {announced} bytes, at most {most} are allowed")]
pub(crate) struct InvalidFrame {
    pub(crate) announced: u32,
    pub(crate) most: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let messages: Vec<Vec<u8>> = (1..40_u8).map(|n| vec![n; usize::from(n) * 7]).collect();
        let mut sent = BytesMut::new();
        for message in &messages {
            put_frame(&mut sent, message);
        }
        for step in [1, 3, 64, 5_000] {
            let (reader, mut received, mut seen) = (FrameReader { most: 1_000 }, BytesMut::new(), Vec::new());
            for piece in sent.chunks(step) {
                received.extend_from_slice(piece);
                while let Some(frame) = reader.next(&mut received).unwrap() {
                    seen.push(<Vec<u8> as prost::Message>::decode(frame).unwrap());
                }
            }
            assert_eq!(seen, messages);
        }
    }

    #[test]
    fn a_length_above_the_cap_is_refused_before_anything_is_reserved() {
        for announced in [101, u32::MAX] {
            let mut received = BytesMut::from(&announced.to_be_bytes()[..]);
            let capacity = received.capacity();
            let refused = FrameReader { most: 100 }.next(&mut received);
            assert_eq!(refused, Err(InvalidFrame { announced, most: 100 }));
            assert_eq!(received.capacity(), capacity);
        }
    }

    #[test]
    fn a_large_frame_that_does_not_come_reserves_little() {
        let mut received = BytesMut::from(&[0x3F, 0xFF, 0xFF, 0xFF][..]);
        assert_eq!(FrameReader { most: usize::MAX }.next(&mut received), Ok(None));
        assert!(received.capacity() <= 2 * AHEAD, "{}", received.capacity());
    }
}
