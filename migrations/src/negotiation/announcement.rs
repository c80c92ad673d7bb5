use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use annals_journal::Manifest;

use crate::{Form, Versions};

/// What a process says of itself to all others that use the journal: what it reads of each kind that it hosts, and what it holds down.
///
/// A kind that it does not host is not in it, and is nothing that it blocks.
///
/// ```
/// use annals_journal::Manifest;
/// use annals_migrations::{Announcement, Form, Versions};
///
/// let moved = Manifest::new("account.moved")?;
/// let mut build = Announcement::new("bank-1");
/// build.hosts("account", &[Versions { manifest: moved.clone(), reads: 1..=2, writes: vec![] }]);
/// assert_eq!(build.reads("account", &Form::new(moved.clone(), 3)), Some(false));
/// assert_eq!(build.reads("loan", &Form::new(moved, 3)), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Announcement {
    node: String,
    kinds: BTreeMap<String, BTreeMap<Manifest, RangeInclusive<u32>>>,
    holds: BTreeMap<Manifest, u32>,
}

impl Announcement {
    /// Of a process that hosts nothing yet; its name stands in the sentences that others read.
    pub fn new(node: impl Into<String>) -> Self {
        Self { node: node.into(), kinds: BTreeMap::new(), holds: BTreeMap::new() }
    }

    /// Adds what it reads of a kind: events, state and commands.
    pub fn hosts(&mut self, kind: &str, versions: &[Versions]) {
        let reads = versions.iter().map(|of| (of.manifest.clone(), of.reads.clone()));
        self.kinds.entry(kind.to_owned()).or_default().extend(reads);
    }

    /// Nobody writes a manifest above this version as long as this process runs; 0: not at all.
    pub fn hold(&mut self, manifest: Manifest, version: u32) {
        self.holds.insert(manifest, version);
    }

    /// It starts, and lets others write, whatever is stored under a manifest: entities that hold what it cannot read fail, the others go on.
    pub fn allow_unreadable(&mut self, manifest: &Manifest) {
        for reads in self.kinds.values_mut() {
            reads.insert(manifest.clone(), 0..=u32::MAX);
        }
    }

    /// Whether a form that is stored for a kind can be read; `None`: the kind is not hosted.
    pub fn reads(&self, kind: &str, form: &Form) -> Option<bool> {
        let manifests = self.kinds.get(kind)?;
        Some(manifests.get(&form.manifest).is_some_and(|reads| reads.contains(&form.version)))
    }

    /// The versions that it reads of a manifest; `None`: none.
    pub fn range(&self, kind: &str, manifest: &Manifest) -> Option<&RangeInclusive<u32>> {
        self.kinds.get(kind)?.get(manifest)
    }

    /// The name of the process.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Each kind that is hosted, with its manifests and the versions that are read.
    pub fn kinds(&self) -> &BTreeMap<String, BTreeMap<Manifest, RangeInclusive<u32>>> {
        &self.kinds
    }

    /// What it holds down, and at which version.
    pub fn holds(&self) -> &BTreeMap<Manifest, u32> {
        &self.holds
    }

    pub(super) fn read(&mut self, kind: &str, manifest: Manifest, reads: RangeInclusive<u32>) {
        self.kinds.entry(kind.to_owned()).or_default().insert(manifest, reads);
    }

    pub(super) fn host(&mut self, kind: &str) {
        self.kinds.entry(kind.to_owned()).or_default();
    }
}
