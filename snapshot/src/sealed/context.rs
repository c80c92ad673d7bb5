use annals_journal::encryption::DataKey;

use crate::Snapshot;

/// What a sealed state is bound to: every field of its snapshot, and its key's scope and generation; never a master key.
///
/// ```text
///  "annals snapshot" · format u8 · generation u32 · number u64 · epoch u64 · activation u64 · last event's digest, 32
///  · time stamp u64 · schema version u32 · codec u32 · length of the scope u16 · scope
///  · length of the persistence id u16 · persistence id · manifest
/// ```
///
/// Numbers are big endian. The beginning is no event's: the same key seals those too.
pub(super) fn of(snapshot: &Snapshot, key: &DataKey) -> Vec<u8> {
    let (scope, id, manifest) = (key.scope(), snapshot.persistence_id.as_str(), snapshot.manifest.as_str());
    let mut context = Vec::with_capacity(FIXED_BYTES + scope.len() + id.len() + manifest.len());
    context.extend_from_slice(LABEL);
    context.push(FORMAT);
    context.extend_from_slice(&key.id().0.to_be_bytes());
    context.extend_from_slice(&snapshot.seq_nr.get().to_be_bytes());
    context.extend_from_slice(&snapshot.token.epoch.0.to_be_bytes());
    context.extend_from_slice(&snapshot.token.activation.to_be_bytes());
    context.extend_from_slice(&snapshot.last_event.0);
    context.extend_from_slice(&snapshot.timestamp.as_micros().to_be_bytes());
    context.extend_from_slice(&snapshot.schema_version.to_be_bytes());
    context.extend_from_slice(&snapshot.codec.number().to_be_bytes());
    for text in [scope, id] {
        // An id has at most some hundred bytes.
        context.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        context.extend_from_slice(text.as_bytes());
    }
    context.extend_from_slice(manifest.as_bytes());
    context
}

const LABEL: &[u8] = b"annals snapshot";
const FORMAT: u8 = 1;
const FIXED_BYTES: usize = LABEL.len() + 1 + 4 + 3 * 8 + 32 + 8 + 2 * 4 + 2 * 2;
