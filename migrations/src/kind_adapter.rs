use std::cmp::Ordering;
use std::fmt;

use annals_journal::{Codec, Envelope, Manifest};
use bytes::Bytes;

use crate::chain::{Chain, Stage, Stored};
use crate::codec::{Shapes, mix, shape};
use crate::{
    AdaptError, CodecError, Encoded, Event, EventAdapter, Form, Migrations, ReadShape, Schema, SchemaError,
    Versions,
};

/// Stores a kind's events as their schemas say, and reads them and the older versions that [`Event::migrations`] lead up from.
///
/// One that can be stored and not be read would end its entity for ever: a number that is not finite (JSON has `null` for it), a
/// field that serde skips when it writes and misses when it reads. So a JSON event is read back before it is stored, and refuses its
/// command when it cannot be. What was read back once is not again: an event is taken as readable when one of the same schema and
/// *shape* was, which are its field names, nesting, and kinds of values. A type whose reading depends on what a
/// string says (an enum with `#[serde(skip_deserializing)]` on one variant) is not caught by this; the test kit reads back every event.
///
/// ```
/// use annals_migrations::{Event, EventAdapter, KindAdapter};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Event)]
/// # enum AccountEvent { Deposited { cents: i64 } }
///
/// let adapter = KindAdapter::<AccountEvent>::new("account")?;
/// assert_eq!(adapter.versions()[0].manifest.as_str(), "account.deposited");
/// # Ok::<(), annals_migrations::SchemaError>(())
/// ```
pub struct KindAdapter<E> {
    /// In the order of `E::SCHEMAS`; made once, because an envelope shares the manifest's memory.
    manifests: Box<[Manifest]>,
    /// Indices of `manifests`, sorted as [`by_length`] orders them.
    sorted: Box<[usize]>,
    /// Shapes that were read back.
    readable: Shapes,
    /// Everything but today's versions.
    chain: Chain<E>,
}

impl<E: Event> KindAdapter<E> {
    /// The adapter for entities of a kind.
    ///
    /// # Errors
    /// [`SchemaError`] when kind and names make no manifests, two variants have the same, or the steps between versions have a gap.
    pub fn new(kind: &str) -> Result<Self, SchemaError> {
        Self::with(kind, E::migrations())
    }

    /// The same with other steps between versions than the type's own.
    ///
    /// # Errors
    /// As [`KindAdapter::new`].
    pub fn with(kind: &str, migrations: Migrations<E>) -> Result<Self, SchemaError> {
        let manifests = E::SCHEMAS
            .iter()
            .map(|schema| manifest_of(schema, kind))
            .collect::<Result<Box<[Manifest]>, SchemaError>>()?;
        let mut sorted: Box<[usize]> = (0..manifests.len()).collect();
        sorted.sort_by(|a, b| by_length(&manifests[*a], &manifests[*b]));
        if let Some(twice) = sorted.windows(2).find(|pair| manifests[pair[0]] == manifests[pair[1]]) {
            let manifest = manifests[twice[0]].clone();
            return Err(SchemaError::Duplicate { kind: kind.to_owned(), manifest });
        }
        let today: Vec<_> = manifests
            .iter()
            .zip(E::SCHEMAS)
            .map(|(manifest, schema)| (manifest.clone(), schema.version, schema.codec))
            .collect();
        let chain = Chain::new(kind, &today, migrations, finish)?;
        Ok(Self { manifests, sorted, readable: Shapes::new(), chain })
    }

    fn check_reads_back(&self, index: usize, codec: Codec, payload: &Bytes) -> Result<(), CodecError> {
        // prost writes nothing that it cannot read.
        if codec == Codec::Protobuf {
            return Ok(());
        }
        let shape = match codec {
            Codec::Json => shape(payload).map(|shape| mix(shape, index as u64)),
            _ => None,
        };
        if shape.is_some_and(|shape| self.readable.contains(shape)) {
            return Ok(());
        }
        E::decode(index, payload)?;
        if let Some(shape) = shape {
            self.readable.insert(shape);
        }
        Ok(())
    }

    /// The index of the schema that is stored under this name.
    fn find(&self, manifest: &Manifest) -> Option<usize> {
        let at = self.sorted.binary_search_by(|index| by_length(&self.manifests[*index], manifest)).ok()?;
        self.sorted.get(at).copied()
    }
}

impl<E: Event> EventAdapter<E> for KindAdapter<E> {
    fn to_journal(&self, event: &E) -> Result<Encoded, AdaptError> {
        let index = event.schema();
        // Only a hand-written `Event` can point outside its schemas.
        let (Some(schema), Some(manifest)) = (E::SCHEMAS.get(index), self.manifests.get(index)) else {
            return Err(AdaptError::NoSchema { index });
        };
        let version = schema.version;
        let payload = event.encode().map_err(|reason| AdaptError::Unencodable {
            manifest: manifest.clone(),
            version,
            reason,
        })?;
        self.check_reads_back(index, schema.codec, &payload).map_err(|reason| AdaptError::Unreadable {
            manifest: manifest.clone(),
            version,
            reason,
        })?;
        let (manifest, codec) = (manifest.clone(), schema.codec);
        Ok(Encoded { manifest, schema_version: version, codec, payload, read_back: false })
    }

    fn to_journal_as(&self, event: &E, form: &Form) -> Result<Encoded, AdaptError> {
        let encoded = self.to_journal(event)?;
        let index = event.schema();
        if self.chain.is_today(index, form) { Ok(encoded) } else { self.chain.write_as(index, encoded, form) }
    }

    fn from_journal(&self, stored: &Envelope, each: &mut dyn FnMut(E)) -> Result<(), AdaptError> {
        let Some(index) = self.find(&stored.manifest) else {
            return self.chain.read_other(older(stored), each);
        };
        let schema = &E::SCHEMAS[index];
        if stored.schema_version != schema.version || stored.codec != schema.codec {
            return self.chain.read_older(index, older(stored), each);
        }
        match E::decode(index, &stored.payload) {
            Ok(event) => {
                each(event);
                Ok(())
            }
            Err(reason) => Err(undecodable(&stored.manifest, stored.schema_version, reason)),
        }
    }

    fn versions(&self) -> Vec<Versions> {
        self.chain.versions()
    }

    fn shapes(&self) -> Vec<ReadShape> {
        let today =
            self.manifests.iter().zip(E::SCHEMAS).enumerate().map(|(index, (manifest, schema))| ReadShape {
                form: Form::new(manifest.clone(), schema.version),
                codec: Some(schema.codec),
                shape: E::shape(index),
            });
        today.chain(self.chain.shapes()).collect()
    }
}

fn older(stored: &Envelope) -> Stored<'_> {
    Stored {
        manifest: &stored.manifest,
        version: stored.schema_version,
        codec: stored.codec,
        payload: &stored.payload,
    }
}

/// The end of a chain.
fn finish<E: Event>(index: usize, stage: Stage) -> Result<E, CodecError> {
    match (stage, E::SCHEMAS[index].codec) {
        (Stage::Json(value), Codec::Json) => E::decode_value(index, value),
        (Stage::Typed(typed), Codec::Json) => E::decode_value(index, typed.json()?),
        (stage, wanted) => {
            let (codec, payload) = stage.into_stored()?;
            if codec == wanted {
                E::decode(index, &payload)
            } else {
                Err(CodecError::custom(format!("the last step yields {codec}, {wanted} belongs there")))
            }
        }
    }
}

impl<E> fmt::Debug for KindAdapter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KindAdapter").field("manifests", &self.manifests).finish()
    }
}

/// The manifest of a schema that has a version.
pub(crate) fn manifest_of(schema: &Schema, kind: &str) -> Result<Manifest, SchemaError> {
    let manifest =
        schema.name.manifest(kind).map_err(|reason| SchemaError::Name { kind: kind.to_owned(), reason })?;
    if schema.version == 0 {
        return Err(SchemaError::VersionZero { manifest });
    }
    Ok(manifest)
}

pub(crate) fn undecodable(manifest: &Manifest, version: u32, reason: CodecError) -> AdaptError {
    AdaptError::Undecodable { manifest: manifest.clone(), version, reason }
}

/// Shorter names first: a replay looks a manifest up for every event, and most comparisons end at the length.
fn by_length(a: &Manifest, b: &Manifest) -> Ordering {
    let (a, b) = (a.as_str(), b.as_str());
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}
