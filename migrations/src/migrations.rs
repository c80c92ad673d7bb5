use std::fmt;
use std::marker::PhantomData;

use crate::Step;

/// How older versions of a kind's events (or of a state, or of a command) are read, and how today's are written for older builds.
///
/// `#[derive(Event)]` makes one of what stands beside the variants; this is the builder for everything else. Names are manifests; one
/// without a dot is of the kind (`withdrawn` of kind `account` is `account.withdrawn`).
///
/// ```text
///            up                     up
/// version 1 ───→ version 2 ───────→ version 3 = today's
///           ←───           ←───────
///           down             down
/// ```
///
/// Each step is between two neighbours; the whole is checked when the node starts: a step that is missing, said twice or leads round
/// in a circle is a [`SchemaError`](crate::SchemaError).
///
/// ```
/// use annals_migrations::{Event, EventAdapter, KindAdapter, Migrations, Step};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, Event)]
/// enum AccountEvent {
///     #[event(version = 3)]
///     Withdrawn { cents: i64, reason: String, currency: String },
/// }
///
/// let migrations = Migrations::new()
///     .up("withdrawn", 1, Step::default_value("reason", ""))
///     .up("withdrawn", 2, Step::default_value("currency", "EUR"))
///     .down("withdrawn", 2, Step::remove_field("currency"))
///     .retired("account.pinged");
/// let adapter = KindAdapter::<AccountEvent>::with("account", migrations)?;
/// assert_eq!(adapter.versions()[0].reads, 1..=3);
/// assert_eq!(adapter.versions()[0].writes.len(), 2);
/// # Ok::<(), annals_migrations::SchemaError>(())
/// ```
pub struct Migrations<T> {
    pub(crate) up: Vec<Edge>,
    pub(crate) down: Vec<Edge>,
    pub(crate) retired: Vec<Name>,
    types: PhantomData<fn() -> T>,
}

/// A step from one form to another.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) from: (Name, u32),
    pub(crate) to: (Name, u32),
    pub(crate) step: Step,
}

/// Which manifest is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// The one of a schema.
    Schema(usize),
    /// As it was said: whole, or of the kind.
    Said(String),
}

impl<T> Migrations<T> {
    /// Without any step: only today's versions are read and written.
    pub fn new() -> Self {
        Self { up: Vec::new(), down: Vec::new(), retired: Vec::new(), types: PhantomData }
    }

    /// The same steps for another type that is stored as this one is: an event that has a state and nothing else.
    #[must_use]
    pub fn stored_alike<U>(self) -> Migrations<U> {
        let Self { up, down, retired, types: _ } = self;
        Migrations { up, down, retired, types: PhantomData }
    }

    /// Reads a version of a manifest as the version after it.
    #[must_use]
    pub fn up(self, manifest: impl Into<String>, version: u32, step: Step) -> Self {
        let name = Name::Said(manifest.into());
        self.add_up((name.clone(), version), (name, version.saturating_add(1)), step)
    }

    /// Reads a version of one manifest as a version of another: what was renamed, or merged.
    #[must_use]
    pub fn up_to(
        self,
        manifest: impl Into<String>,
        version: u32,
        to: (impl Into<String>, u32),
        step: Step,
    ) -> Self {
        let to = (Name::Said(to.0.into()), to.1);
        self.add_up((Name::Said(manifest.into()), version), to, step)
    }

    /// Writes the version after it as this `version`, for builds that read no newer one.
    #[must_use]
    pub fn down(self, manifest: impl Into<String>, version: u32, step: Step) -> Self {
        let name = Name::Said(manifest.into());
        self.add_down((name.clone(), version.saturating_add(1)), (name, version), step)
    }

    /// Writes a version of a manifest as a version of another, for builds that do not know the first.
    #[must_use]
    pub fn down_to(
        self,
        manifest: impl Into<String>,
        version: u32,
        to: (impl Into<String>, u32),
        step: Step,
    ) -> Self {
        let to = (Name::Said(to.0.into()), to.1);
        self.add_down((Name::Said(manifest.into()), version), to, step)
    }

    /// Reads a manifest, whatever its version, as nothing: events that do not matter any more.
    #[must_use]
    pub fn retired(mut self, manifest: impl Into<String>) -> Self {
        self.retired.push(Name::Said(manifest.into()));
        self
    }

    /// As [`Migrations::up`], of the schema with this index; what the derive macros write.
    #[doc(hidden)]
    #[must_use]
    pub fn schema_up(self, schema: usize, version: u32, step: Step) -> Self {
        let name = Name::Schema(schema);
        self.add_up((name.clone(), version), (name, version.saturating_add(1)), step)
    }

    /// As [`Migrations::up_to`], into a version of the schema with this index; what the derive macros write.
    #[doc(hidden)]
    #[must_use]
    pub fn schema_merges(self, manifest: &str, version: u32, schema: usize, into: u32, step: Step) -> Self {
        self.add_up((Name::Said(manifest.to_owned()), version), (Name::Schema(schema), into), step)
    }

    /// As [`Migrations::down`], of the schema with this index; what the derive macros write.
    #[doc(hidden)]
    #[must_use]
    pub fn schema_down(self, schema: usize, version: u32, step: Step) -> Self {
        let name = Name::Schema(schema);
        self.add_down((name.clone(), version.saturating_add(1)), (name, version), step)
    }

    /// As [`Migrations::down_to`], of a version of the schema with this index; what the derive macros write.
    #[doc(hidden)]
    #[must_use]
    pub fn schema_down_to(self, schema: usize, from: u32, manifest: &str, version: u32, step: Step) -> Self {
        self.add_down((Name::Schema(schema), from), (Name::Said(manifest.to_owned()), version), step)
    }

    fn add_up(mut self, from: (Name, u32), to: (Name, u32), step: Step) -> Self {
        self.up.push(Edge { from, to, step });
        self
    }

    fn add_down(mut self, from: (Name, u32), to: (Name, u32), step: Step) -> Self {
        self.down.push(Edge { from, to, step });
        self
    }
}

impl<T> Default for Migrations<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Migrations<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migrations")
            .field("up", &self.up)
            .field("down", &self.down)
            .field("retired", &self.retired)
            .finish()
    }
}
