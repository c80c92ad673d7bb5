use std::collections::BTreeMap;
use std::fmt;

use annals_journal::{Codec, Envelope, Manifest};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Target;
use super::of_kind::{Kind, OfKind};
use crate::{AdaptError, Encoded, EventAdapter, StateAdapter, Versions};

/// Knows how the events and states of some kinds are written in other versions. Does no I/O: [`Sweep`](super::Sweep) does.
///
/// Steps between versions are code, so only a build that has them can rewrite: its node's builder makes one of the kinds that it hosts.
///
/// ```
/// use annals_migrations::rewrite::Rewriter;
/// use annals_migrations::{Event, KindAdapter, StateAdapter};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Event)]
/// # enum AccountEvent { Deposited { cents: i64 } }
/// # #[derive(Serialize, Deserialize)]
/// # struct Account { cents: i64 }
///
/// let events = KindAdapter::<AccountEvent>::new("account")?;
/// let rewriter = Rewriter::new().kind("account", events, StateAdapter::<Account>::new("account", 1)?);
/// assert!(rewriter.hosts("account"));
/// # Ok::<(), annals_migrations::SchemaError>(())
/// ```
#[derive(Default)]
pub struct Rewriter {
    kinds: BTreeMap<String, Box<dyn Kind>>,
}

/// What becomes of something that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rewritten {
    /// It is as it should be.
    Stays,
    /// It is to be replaced.
    Becomes {
        /// By what.
        encoded: Encoded,
        /// Read back, it is no longer what it was: the way down leaves something out.
        loses: bool,
    },
    /// No kind of the rewriter wrote it.
    NotHosted,
}

impl Rewriter {
    /// Without any kind.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind; one that is there is replaced.
    #[must_use]
    pub fn kind<E, S>(mut self, kind: &str, events: impl EventAdapter<E>, states: StateAdapter<S>) -> Self
    where
        E: 'static,
        S: Serialize + DeserializeOwned + 'static,
    {
        self.kinds.insert(kind.to_owned(), Box::new(OfKind::new(events, states)));
        self
    }

    /// Whether it has a kind.
    pub fn hosts(&self, kind: &str) -> bool {
        self.kinds.contains_key(kind)
    }

    /// What is read and written of each kind, as events and as state.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&str, Vec<Versions>)> {
        self.kinds.iter().map(|(kind, of)| (kind.as_str(), of.versions()))
    }

    /// What a stored event becomes. Its payload must be plain.
    ///
    /// # Errors
    /// [`AdaptError`] when this build cannot read it, or has no form of it that is wanted.
    pub fn event(&self, stored: &Envelope, target: &Target) -> Result<Rewritten, AdaptError> {
        self.kinds
            .get(stored.persistence_id.kind())
            .map_or(Ok(Rewritten::NotHosted), |kind| kind.event(stored, target))
    }

    /// What a stored state becomes.
    ///
    /// # Errors
    /// As [`Rewriter::event`].
    pub fn state(
        &self,
        kind: &str,
        stored: &StoredState<'_>,
        target: &Target,
    ) -> Result<Rewritten, AdaptError> {
        self.kinds.get(kind).map_or(Ok(Rewritten::NotHosted), |kind| kind.state(stored, target))
    }
}

impl fmt::Debug for Rewriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.kinds.keys()).finish()
    }
}

/// A state as a snapshot has it.
#[derive(Debug, Clone, Copy)]
pub struct StoredState<'a> {
    /// What the payload is.
    pub manifest: &'a Manifest,
    /// Version of its shape.
    pub schema_version: u32,
    /// How it was encoded.
    pub codec: Codec,
    /// The bytes.
    pub payload: &'a Bytes,
}
