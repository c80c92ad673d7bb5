use std::fmt;
use std::marker::PhantomData;

use annals_journal::{Codec, Manifest};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kind_adapter::{check_readable, manifest_of, undecodable};
use crate::{AdaptError, Encoded, Schema, SchemaError, SchemaName, codec};

/// Stores a kind's states for snapshots, as JSON under the manifest `<kind>.state`.
pub struct StateAdapter<S> {
    manifest: Manifest,
    schema: Schema,
    state: PhantomData<fn() -> S>,
}

impl<S: Serialize + DeserializeOwned> StateAdapter<S> {
    /// The adapter for entities of a kind, whose state has this version, from 1.
    ///
    /// # Errors
    /// [`SchemaError`] when the kind makes no manifest, or the version is 0.
    pub fn new(kind: &str, version: u32) -> Result<Self, SchemaError> {
        let schema = Schema { name: SchemaName::OfKind("state"), version, codec: Codec::Json };
        Ok(Self { manifest: manifest_of(&schema, kind)?, schema, state: PhantomData })
    }

    /// The manifest that it writes.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The version that it writes.
    pub fn version(&self) -> u32 {
        self.schema.version
    }

    /// What is stored of a state.
    ///
    /// # Errors
    /// [`AdaptError::Unencodable`] when it has no stored form.
    pub fn encode(&self, state: &S) -> Result<Encoded, AdaptError> {
        match codec::encode_json(state) {
            Ok(payload) => Ok(Encoded {
                manifest: self.manifest.clone(),
                schema_version: self.schema.version,
                codec: self.schema.codec,
                payload,
            }),
            Err(reason) => Err(AdaptError::Unencodable {
                manifest: self.manifest.clone(),
                version: self.schema.version,
                reason,
            }),
        }
    }

    /// The state that was stored.
    ///
    /// # Errors
    /// [`AdaptError`] when this build cannot read it; recovery then goes back to an older snapshot, or to the events.
    pub fn decode(
        &self,
        manifest: &Manifest,
        version: u32,
        codec: Codec,
        payload: &Bytes,
    ) -> Result<S, AdaptError> {
        if *manifest != self.manifest {
            return Err(AdaptError::UnknownManifest { manifest: manifest.clone() });
        }
        check_readable(manifest, version, codec, &self.schema)?;
        codec::decode_json(payload).map_err(|reason| undecodable(manifest, version, reason))
    }
}

impl<S> fmt::Debug for StateAdapter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateAdapter")
            .field("manifest", &self.manifest)
            .field("schema", &self.schema)
            .finish()
    }
}
