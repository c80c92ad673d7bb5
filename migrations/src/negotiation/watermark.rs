use std::collections::{BTreeMap, BTreeSet};

use annals_journal::WriterId;

/// Which versions of a manifest are stored, or may be.
///
/// ```text
///            raising = (v, me)          stored += v, raising = none
///  absent ─────────────────────→ raising ─────────────────────────→ stored
///                                   │  taken back by the raiser, or by whoever passes over one that is gone
///                                   └────────────────────────────→ absent
///  stored ──── leaving += v ────→ leaving ── a rewrite found none left: stored -= v, leaving -= v ──→ absent
///                                   └─────── some are left: leaving -= v ─────────────────────────→ stored
/// ```
///
/// Each mark says whose it is. A rewrite removes a version only while its own mark is still there: once somebody has ended that one, others may
/// have stored the version again, whoever has marked it since.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Watermark {
    /// The kind whose entities hold it.
    pub kind: String,
    /// Every version that was ever written and that no rewrite has removed.
    pub stored: BTreeSet<u32>,
    /// A version that a process is about to write for the first time, and which process.
    pub raising: Option<(u32, WriterId)>,
    /// Versions that rewrites remove, and which rewrites; nobody begins to write them. By nobody: an older build has marked it.
    pub leaving: BTreeMap<u32, BTreeSet<WriterId>>,
}

impl Watermark {
    /// Nothing is stored yet.
    pub fn of(kind: &str) -> Self {
        Self { kind: kind.to_owned(), ..Self::default() }
    }

    /// The highest version stored.
    pub fn highest(&self) -> Option<u32> {
        self.stored.last().copied()
    }

    pub(super) fn may_be_written(&self, version: u32) -> bool {
        self.stored.contains(&version) && !self.leaving.contains_key(&version)
    }
}
