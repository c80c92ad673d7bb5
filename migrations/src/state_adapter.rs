use std::fmt;

use annals_journal::{Codec, Manifest};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::value_adapter::ValueAdapter;
use crate::{AdaptError, Encoded, Form, Migrations, ReadShape, Schema, SchemaError, SchemaName, Versions};

/// Stores a kind's states for snapshots, as JSON under the manifest `<kind>.state`.
///
/// ```
/// use annals_migrations::{Migrations, StateAdapter, Step};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// struct Account { cents: i64, currency: String }
///
/// let steps = Migrations::new().up("state", 1, Step::default_value("currency", "EUR"));
/// let states = StateAdapter::<Account>::with("account", 2, steps)?;
/// let old = states.encode_as(&Account { cents: 1, currency: "EUR".into() }, &states.versions()[0].writes[0])?;
/// assert_eq!(old.schema_version, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StateAdapter<S>(ValueAdapter<S>);

impl<S: Serialize + DeserializeOwned + 'static> StateAdapter<S> {
    /// The adapter for entities of a kind, whose state has this version, from 1, and no other is read.
    ///
    /// # Errors
    /// [`SchemaError`] when the kind makes no manifest, or the version is 0.
    pub fn new(kind: &str, version: u32) -> Result<Self, SchemaError> {
        Self::with(kind, version, Migrations::new())
    }

    /// The same with steps from older versions, and down to them.
    ///
    /// # Errors
    /// As [`StateAdapter::new`], and when the steps have a gap.
    pub fn with(kind: &str, version: u32, migrations: Migrations<S>) -> Result<Self, SchemaError> {
        let schema = Schema { name: SchemaName::OfKind(STATE), version, codec: Codec::Json };
        Ok(Self(ValueAdapter::new(kind, &schema, migrations)?))
    }

    /// The manifest that it writes.
    pub fn manifest(&self) -> &Manifest {
        &self.0.today().manifest
    }

    /// The version that it writes.
    pub fn version(&self) -> u32 {
        self.0.today().version
    }

    /// The versions that it reads and the forms that it can write.
    pub fn versions(&self) -> Vec<Versions> {
        self.0.versions()
    }

    /// The shapes of what it reads, for the lock file.
    pub fn shapes(&self) -> Vec<ReadShape> {
        self.0.shapes()
    }

    /// What is stored of a state.
    ///
    /// # Errors
    /// [`AdaptError::Unencodable`] when it has no stored form.
    pub fn encode(&self, state: &S) -> Result<Encoded, AdaptError> {
        self.0.encode(state)
    }

    /// What is stored of a state for builds that do not read today's form.
    ///
    /// # Errors
    /// As [`EventAdapter::to_journal_as`](crate::EventAdapter::to_journal_as).
    pub fn encode_as(&self, state: &S, form: &Form) -> Result<Encoded, AdaptError> {
        self.0.encode_as(state, form)
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
        self.0.decode(manifest, version, codec, payload)
    }
}

impl<S> fmt::Debug for StateAdapter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateAdapter").field(&self.0).finish()
    }
}

/// Whether an event of a kind stands for all before it: it has the whole state, as those of a durable state, or says that there is none.
///
/// ```
/// use annals_journal::Manifest;
///
/// let manifest = |name| Manifest::new(name).expect("a valid name");
/// assert!(annals_migrations::is_whole_state("profile", &manifest("profile.state")));
/// assert!(!annals_migrations::is_whole_state("profile", &manifest("profile.renamed")));
/// ```
pub fn is_whole_state(kind: &str, manifest: &Manifest) -> bool {
    let name = manifest.as_str().strip_prefix(kind).and_then(|rest| rest.strip_prefix('.'));
    name.is_some_and(|name| [STATE, STATE_DELETED].contains(&name))
}

/// The name of a state.
pub const STATE: &str = "state";
/// The name of an event that says that there is no state any more.
pub const STATE_DELETED: &str = "state-deleted";
