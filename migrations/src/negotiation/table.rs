use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use annals_journal::{Manifest, Revision, Timestamp, WriterId};

use super::{Agreement, Announcement, Watermark};
use crate::Form;

/// Everything that processes have written about versions into the journal's records, as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionTable {
    /// The time of the store's clock, not later than the rest was read.
    pub now: Timestamp,
    /// Manifests that an operator holds at a version.
    pub holds: BTreeMap<Manifest, u32>,
    /// Registered processes.
    pub processes: BTreeMap<WriterId, (Revision, Process)>,
    /// What is stored.
    pub watermarks: BTreeMap<Manifest, (Revision, Watermark)>,
}

/// A registered process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Process {
    /// What it reads and holds.
    pub announcement: Announcement,
    /// Until when its registration counts unless it renews it, by the store's clock.
    pub until: Timestamp,
    /// The forms that it may write without asking again.
    pub writes: BTreeSet<Form>,
}

impl VersionTable {
    /// What those agree on who are registered and whose lease has not ended.
    pub fn agreement(&self) -> Agreement {
        let mut agreement = Agreement::new();
        for (manifest, version) in &self.holds {
            agreement.hold(manifest.clone(), *version);
        }
        for (manifest, (_, watermark)) in &self.watermarks {
            for version in watermark.leaving.keys() {
                agreement.leaves(Form::new(manifest.clone(), *version));
            }
        }
        for (id, (_, process)) in &self.processes {
            if !self.is_over(process) {
                agreement.joined(*id, process.announcement.clone());
            }
        }
        agreement
    }

    /// What is stored that a build cannot read, of the kinds that it hosts.
    pub fn unreadable(&self, build: &Announcement) -> Vec<Unreadable> {
        let mut found = Vec::new();
        for (manifest, (_, watermark)) in &self.watermarks {
            let unread = |version: &u32| {
                build.reads(&watermark.kind, &Form::new(manifest.clone(), *version)) == Some(false)
            };
            let stored: Vec<u32> = watermark.stored.iter().copied().filter(unread).collect();
            if !stored.is_empty() {
                let reads = build.range(&watermark.kind, manifest).cloned();
                found.push(Unreadable {
                    kind: watermark.kind.clone(),
                    manifest: manifest.clone(),
                    stored,
                    reads,
                });
            }
        }
        found
    }

    /// Whether a process's lease has ended.
    pub(super) fn is_over(&self, process: &Process) -> bool {
        self.now > process.until
    }

    /// Whether a process is registered and its lease has not ended.
    pub(super) fn is_there(&self, id: WriterId) -> bool {
        self.processes.get(&id).is_some_and(|(_, process)| !self.is_over(process))
    }

    /// Another process whose lease ended longer ago than a lease: it was killed, most likely.
    pub(super) fn long_gone(&self, except: WriterId, lease: Duration) -> Option<(WriterId, Revision)> {
        let mut processes = self.processes.iter().filter(|(id, _)| **id != except);
        processes
            .find(|(_, (_, process))| self.now > process.until.plus(lease))
            .map(|(id, (revision, _))| (*id, *revision))
    }

    pub(super) fn watermark(&self, kind: &str, manifest: &Manifest) -> (Option<Revision>, Watermark) {
        match self.watermarks.get(manifest) {
            Some((revision, watermark)) => (Some(*revision), watermark.clone()),
            None => (None, Watermark::of(kind)),
        }
    }

    pub(super) fn may_be_written(&self, form: &Form) -> bool {
        self.watermarks
            .get(&form.manifest)
            .is_some_and(|(_, watermark)| watermark.may_be_written(form.version))
    }

    /// A process that must be removed before a form can be written: it does not read it, and its lease has ended.
    pub(super) fn passed_over(&self, kind: &str, form: &Form) -> Option<(WriterId, Revision)> {
        let mut processes = self.processes.iter();
        processes.find_map(|(id, (revision, process))| {
            let unread = process.announcement.reads(kind, form) == Some(false);
            (unread && self.is_over(process)).then_some((*id, *revision))
        })
    }
}

/// Versions of a manifest that are stored, and that a build does not read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unreadable {
    /// The kind whose entities hold them.
    pub kind: String,
    /// The manifest.
    pub manifest: Manifest,
    /// The versions, ascending; at least one.
    pub stored: Vec<u32>,
    /// What the build reads of the manifest; `None`: nothing.
    pub reads: Option<std::ops::RangeInclusive<u32>>,
}
