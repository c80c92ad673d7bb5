use bytes::Bytes;

use super::wire::Wire;
use super::{Envelope, InvalidEnvelope, text};
use crate::{Manifest, PersistenceId, SeqNr};

/// Decodes events of one id one after the other: what they have in common is made once.
#[derive(Debug)]
pub(crate) struct Sequence {
    id: PersistenceId,
    manifests: Manifests,
}

impl Sequence {
    /// Events of an id. They share an allocation of their own, so that a thread that decodes does not count references with those
    /// that use what was decoded before.
    #[cfg(feature = "postgres")]
    pub(crate) fn of(id: &PersistenceId) -> Self {
        Self::sharing(id.unshared())
    }

    /// Events of an id, which they share.
    pub(crate) fn sharing(id: PersistenceId) -> Self {
        Self { id, manifests: Manifests::default() }
    }

    /// As [`Envelope::decode_as`].
    pub(crate) fn decode(&mut self, stored: &Bytes, seq_nr: SeqNr) -> Result<Envelope, InvalidEnvelope> {
        self.manifests.decode(stored, &self.id, seq_nr)
    }
}

/// Decodes events of any ids one after the other: manifests that they have in common are made once.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// Those that were met, at most [`MANIFESTS_KEPT`].
    met: Vec<Manifest>,
}

impl Manifests {
    /// As [`Envelope::decode_as`].
    pub(crate) fn decode(
        &mut self,
        stored: &Bytes,
        id: &PersistenceId,
        seq_nr: SeqNr,
    ) -> Result<Envelope, InvalidEnvelope> {
        let wire = Wire::verified(stored)?;
        if wire.persistence_id != id.as_str().as_bytes() || wire.seq_nr != seq_nr.get() {
            return Err(InvalidEnvelope::Misplaced {
                found: format!("{} #{}", String::from_utf8_lossy(wire.persistence_id), wire.seq_nr),
            });
        }
        let manifest = self.manifest(wire.manifest)?;
        Envelope::from_wire(wire, stored, id.clone(), manifest)
    }

    fn manifest(&mut self, bytes: &[u8]) -> Result<Manifest, InvalidEnvelope> {
        if let Some(known) = self.met.iter().find(|known| known.as_str().as_bytes() == bytes) {
            return Ok(known.clone());
        }
        let manifest = manifest(bytes)?;
        if self.met.len() < MANIFESTS_KEPT {
            self.met.push(manifest.clone());
        }
        Ok(manifest)
    }
}

pub(super) fn manifest(bytes: &[u8]) -> Result<Manifest, InvalidEnvelope> {
    Manifest::new(text("manifest", bytes)?).map_err(|error| InvalidEnvelope::field("manifest", error))
}

/// More are rare, and looked up one after the other.
const MANIFESTS_KEPT: usize = 8;
