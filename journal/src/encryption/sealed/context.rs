use super::record::Link;
use crate::{Envelope, KeyId};

/// Writes down everything that is known about a sealed event beside its text, and what it stands upon: the seal and the link authenticate it.
///
/// ```text
///  "annals event" | format, 1 | envelope's format, u32 | generation, u32 | persistence id | number, u64
///  | epoch, u64 | activation, u64 | writer, 16 | time stamp, u64 | schema version, u32 | codec, u32 | manifest
///  | count of tags, u16 | each tag | trace context | link before, 24 | has out, 1 | out, 24, if it has
/// ```
///
/// Numbers are big endian; each text has its length before it, as u16 (all are shorter by the rules of their types). No two events have
/// the same context, and there is no master key in it. The scope of a data key that seals events is their id.
pub(super) fn write_context(
    context: &mut Vec<u8>,
    generation: KeyId,
    (before, out): (&Link, Option<&Link>),
    event: &Envelope,
) {
    context.clear();
    context.extend_from_slice(LABEL);
    context.push(FORMAT);
    context.extend_from_slice(&Envelope::FORMAT.to_be_bytes());
    context.extend_from_slice(&generation.0.to_be_bytes());
    text(context, event.persistence_id.as_str());
    context.extend_from_slice(&event.seq_nr.get().to_be_bytes());
    context.extend_from_slice(&event.token.epoch.0.to_be_bytes());
    context.extend_from_slice(&event.token.activation.to_be_bytes());
    context.extend_from_slice(event.writer.as_bytes());
    context.extend_from_slice(&event.timestamp.as_micros().to_be_bytes());
    context.extend_from_slice(&event.schema_version.to_be_bytes());
    context.extend_from_slice(&event.codec.number().to_be_bytes());
    text(context, event.manifest.as_str());
    context.extend_from_slice(&length(event.tags.len()));
    for tag in &event.tags {
        text(context, tag.as_str());
    }
    bytes(context, event.trace_context.as_ref().map_or(&[], |trace| trace.as_bytes()));
    context.extend_from_slice(before);
    context.push(u8::from(out.is_some()));
    context.extend_from_slice(out.map_or(&[], Link::as_slice));
}

fn text(context: &mut Vec<u8>, text: &str) {
    bytes(context, text.as_bytes());
}

fn bytes(context: &mut Vec<u8>, bytes: &[u8]) {
    context.extend_from_slice(&length(bytes.len()));
    context.extend_from_slice(bytes);
}

/// Nothing here is longer than an u16 says; if it were, the contexts of two events would still differ where the events do.
fn length(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

const LABEL: &[u8] = b"annals event";
const FORMAT: u8 = 1;
