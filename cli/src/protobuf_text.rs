//! A protobuf message for a person to read, without its schema: numbers of fields and what they hold.

use std::fmt::Write as _;

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

/// Shows a message as `{1: "alice", 2: 500, 3: {1: 7}}`; `None` when the bytes are no message.
///
/// A text stands in quotes, a message in braces, other bytes in hex. Numbers are as they are on the wire, so a `sint64` stands twice as high
/// and a float as its bits.
pub(crate) fn show(message: &[u8]) -> Option<String> {
    let mut text = String::new();
    put_message(message, DEEPEST, &mut text)?;
    Some(text)
}

fn put_message(mut rest: &[u8], deeper: u32, text: &mut String) -> Option<()> {
    text.push('{');
    let mut separator = "";
    while rest.has_remaining() {
        let (field, wire_type) = decode_key(&mut rest).ok()?;
        let _ = write!(text, "{separator}{field}: ");
        separator = ", ";
        match wire_type {
            WireType::Varint => {
                let _ = write!(text, "{}", decode_varint(&mut rest).ok()?);
            }
            WireType::ThirtyTwoBit => {
                let _ = write!(text, "0x{:08x}", rest.try_get_u32_le().ok()?);
            }
            WireType::SixtyFourBit => {
                let _ = write!(text, "0x{:016x}", rest.try_get_u64_le().ok()?);
            }
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                let bytes = rest.get(..length)?;
                rest.advance(length);
                put_bytes(bytes, deeper, text);
            }
            // Nobody writes groups any more.
            WireType::StartGroup | WireType::EndGroup => return None,
        }
    }
    text.push('}');
    Some(())
}

fn put_bytes(bytes: &[u8], deeper: u32, text: &mut String) {
    if let Ok(string) = std::str::from_utf8(bytes)
        && !string.chars().any(char::is_control)
    {
        let _ = write!(text, "{string:?}");
        return;
    }
    let before = text.len();
    if deeper > 0 && put_message(bytes, deeper - 1, text).is_some() {
        return;
    }
    text.truncate(before);
    text.push_str("0x");
    text.push_str(&crate::snapshot_line::hex(bytes));
}

/// Messages within messages, before they are shown as bytes.
const DEEPEST: u32 = 16;

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct Booked {
        #[prost(string, tag = "1")]
        owner: String,
        #[prost(uint64, tag = "2")]
        cents: u64,
        #[prost(message, optional, tag = "3")]
        reversed: Option<Box<Booked>>,
        #[prost(bytes = "vec", tag = "4")]
        digest: Vec<u8>,
        #[prost(fixed32, tag = "5")]
        branch: u32,
    }

    #[test]
    fn a_message_is_shown_by_its_fields() {
        let inner = Booked { cents: 7, ..Default::default() };
        let booked = Booked {
            owner: "ali\"ce".into(),
            cents: 500,
            reversed: Some(Box::new(inner)),
            digest: vec![0xff, 0],
            branch: 3,
        };
        let shown = show(&booked.encode_to_vec()).unwrap();
        assert_eq!(shown, r#"{1: "ali\"ce", 2: 500, 3: {2: 7}, 4: 0xff00, 5: 0x00000003}"#);
        assert_eq!(show(b"").unwrap(), "{}");
    }

    #[test]
    fn what_is_no_message_is_not_shown_as_one() {
        for bytes in [&b"\xff"[..], b"\x0a\x05ab", b"\x08", b"\x0b\x0c", b"\x0d\x01"] {
            assert_eq!(show(bytes), None, "{bytes:?}");
        }
        // Whatever bytes: no panic, and no end of the stack.
        let nested = (0..5_000).fold(vec![1], |inner, _| {
            let mut outer = vec![0x0a];
            prost::encoding::encode_varint(inner.len() as u64, &mut outer);
            outer.extend(inner);
            outer
        });
        assert!(show(&nested).is_some());
    }
}
