use std::collections::{BTreeMap, BTreeSet};

use annals_journal::{Envelope, PersistenceId, SeqNr};

use crate::{EventList, Form};

/// What a sweep found, or did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RewriteReport {
    /// Events by the form in which they were found.
    pub events: BTreeMap<Form, FormCounts>,
    /// Snapshots by the form in which they were found.
    pub snapshots: BTreeMap<Form, FormCounts>,
    /// Events and snapshots of kinds that the build does not host; they stay as they are.
    pub not_hosted: BTreeMap<String, u64>,
    /// What could not be rewritten, the first of them by name; see [`RewriteReport::left_alone`].
    pub named: Vec<LeftAlone>,
    /// How many events and snapshots could not be rewritten.
    pub left_alone: u64,
    /// Events that somebody else changed or deleted between reading and writing.
    pub changed_meanwhile: u64,
    /// Of a last look: how many events are, byte for byte, what they were to become or to stay. Those that others have changed or deleted
    /// meanwhile are not among them.
    pub compared: Option<u64>,
    /// Forms of the events in lists that stay, or are left alone.
    pub(super) in_lists: BTreeSet<Form>,
    /// There is a list of which nobody here knows what is in it.
    pub(super) has_unread_lists: bool,
}

/// What becomes of the events, or snapshots, of one form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormCounts {
    /// They are as they should be.
    pub stay: u64,
    /// Those that are replaced, by their new form.
    pub become_form: BTreeMap<Form, u64>,
    /// Snapshots that are deleted, because the entity's events are all there and the wanted form has no room for the state.
    pub dropped: u64,
    /// They cannot be rewritten.
    pub left_alone: u64,
}

/// Something that could not be rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAlone {
    /// Which entity.
    pub persistence_id: PersistenceId,
    /// Which event, or the last event that the snapshot has seen.
    pub seq_nr: SeqNr,
    /// Whether it is a snapshot.
    pub is_snapshot: bool,
    /// Why, and what to do about it.
    pub reason: String,
}

impl RewriteReport {
    /// How many events and snapshots are replaced or dropped.
    pub fn replaced(&self) -> u64 {
        let of = |counts: &FormCounts| counts.become_form.values().sum::<u64>() + counts.dropped;
        self.events.values().chain(self.snapshots.values()).map(of).sum()
    }

    /// How many events and snapshots were looked at.
    pub fn seen(&self) -> u64 {
        let of = |counts: &FormCounts| counts.stay + counts.left_alone;
        let stay: u64 = self.events.values().chain(self.snapshots.values()).map(of).sum();
        stay + self.replaced() + self.not_hosted.values().sum::<u64>()
    }

    /// The forms of what is not replaced, of the kinds that the build hosts.
    pub fn remaining(&self) -> BTreeSet<Form> {
        let forms = self.events.iter().chain(&self.snapshots);
        let remaining = forms.filter(|(_, counts)| counts.stay + counts.left_alone > 0);
        remaining.map(|(form, _)| form.clone()).chain(self.in_lists.iter().cloned()).collect()
    }

    /// Notes the parts of a list that stays.
    pub(super) fn note_list(&mut self, event: &Envelope) {
        if EventList::is(&event.manifest) {
            match EventList::parts(event) {
                Ok(parts) => self
                    .in_lists
                    .extend(parts.into_iter().map(|part| Form::new(part.manifest, part.schema_version))),
                Err(_) => self.has_unread_lists = true,
            }
        }
    }

    pub(super) fn leave(&mut self, left: LeftAlone, form: Form) {
        let counts = if left.is_snapshot { &mut self.snapshots } else { &mut self.events };
        counts.entry(form).or_default().left_alone += 1;
        self.left_alone += 1;
        if self.named.len() < Self::NAMED {
            self.named.push(left);
        }
    }

    pub(super) const NAMED: usize = 100;
}
