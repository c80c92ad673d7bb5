use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;

use annals_journal::{Codec, Envelope, Manifest};

use crate::{AdaptError, CodecError, Encoded, Event, EventAdapter, Schema, SchemaError};

/// Stores a kind's events as their schemas say, and reads the versions that this build writes.
///
/// Before an event is stored it is read back, because one that can be stored and not be read would end its entity for ever: a
/// number that is not finite, a field that serde skips when it writes and misses when it reads. Such an event refuses
/// its command.
///
/// ```
/// use annals_migrations::{Event, EventAdapter, KindAdapter};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Event)]
/// # enum AccountEvent { Deposited { cents: i64 } }
///
/// let adapter = KindAdapter::<AccountEvent>::new("account")?;
/// assert_eq!(adapter.manifests()[0].0.as_str(), "account.deposited");
/// # Ok::<(), annals_migrations::SchemaError>(())
/// ```
pub struct KindAdapter<E> {
    /// In the order of `E::SCHEMAS`; made once, because an envelope shares the manifest's memory.
    manifests: Box<[Manifest]>,
    /// Indices of `manifests`, sorted as [`by_length`] orders them.
    sorted: Box<[usize]>,
    event: PhantomData<fn() -> E>,
}

impl<E: Event> KindAdapter<E> {
    /// The adapter for entities of a kind.
    ///
    /// # Errors
    /// [`SchemaError`] when kind and names make no manifests, or two variants have the same.
    pub fn new(kind: &str) -> Result<Self, SchemaError> {
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
        Ok(Self { manifests, sorted, event: PhantomData })
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
        // prost writes nothing that it cannot read.
        if schema.codec != Codec::Protobuf {
            E::decode(index, &payload).map_err(|reason| AdaptError::Unreadable {
                manifest: manifest.clone(),
                version,
                reason,
            })?;
        }
        Ok(Encoded { manifest: manifest.clone(), schema_version: version, codec: schema.codec, payload })
    }

    fn from_journal(&self, stored: &Envelope, each: &mut dyn FnMut(E)) -> Result<(), AdaptError> {
        let index = self
            .find(&stored.manifest)
            .ok_or_else(|| AdaptError::UnknownManifest { manifest: stored.manifest.clone() })?;
        check_readable(&stored.manifest, stored.schema_version, stored.codec, &E::SCHEMAS[index])?;
        match E::decode(index, &stored.payload) {
            Ok(event) => {
                each(event);
                Ok(())
            }
            Err(reason) => Err(undecodable(&stored.manifest, stored.schema_version, reason)),
        }
    }

    fn manifests(&self) -> Vec<(Manifest, u32)> {
        self.manifests.iter().cloned().zip(E::SCHEMAS.iter().map(|schema| schema.version)).collect()
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

/// Whether this build reads what was stored; today that is one version in one codec.
pub(crate) fn check_readable(
    manifest: &Manifest,
    stored_version: u32,
    stored_codec: Codec,
    schema: &Schema,
) -> Result<(), AdaptError> {
    let (stored, oldest, newest) = (stored_version, schema.version, schema.version);
    match stored.cmp(&schema.version) {
        Ordering::Greater => {
            Err(AdaptError::FromTheFuture { manifest: manifest.clone(), stored, oldest, newest })
        }
        Ordering::Less => Err(AdaptError::NoUpcaster { manifest: manifest.clone(), stored, oldest, newest }),
        Ordering::Equal if stored_codec != schema.codec => Err(AdaptError::OtherCodec {
            manifest: manifest.clone(),
            version: stored,
            stored: stored_codec,
            expected: schema.codec,
        }),
        Ordering::Equal => Ok(()),
    }
}

pub(crate) fn undecodable(manifest: &Manifest, version: u32, reason: CodecError) -> AdaptError {
    AdaptError::Undecodable { manifest: manifest.clone(), version, reason }
}

/// Shorter names first: a replay looks a manifest up for every event, and most comparisons end at the length.
fn by_length(a: &Manifest, b: &Manifest) -> Ordering {
    let (a, b) = (a.as_str(), b.as_str());
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}
