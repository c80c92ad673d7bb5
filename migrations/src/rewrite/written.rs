use std::collections::BTreeMap;

use annals_journal::{PersistenceId, SeqNr};

use super::events::Place;
use super::standing::Wanted;
use super::{LeftAlone, RewriteReport};
use crate::Form;

/// What was counted as replaced and was not.
#[derive(Default)]
pub(super) struct Written {
    /// How many, by the forms that they have and were to have.
    taken_back: BTreeMap<(Form, Form), u64>,
    /// Which they are.
    open: Vec<(usize, PersistenceId, SeqNr)>,
    changed: u64,
    refused: BTreeMap<Form, u64>,
    /// The first that were refused.
    named: Vec<LeftAlone>,
}

impl Written {
    /// Somebody else has changed or deleted it.
    pub(super) fn changed(&mut self, place: Place) {
        self.changed += 1;
        self.take_back(place);
    }

    /// The journal does not take it.
    pub(super) fn refused(&mut self, place: Place, reason: String) {
        *self.refused.entry(place.from.clone()).or_default() += 1;
        if self.named.len() < RewriteReport::NAMED {
            let (persistence_id, seq_nr) = (place.id.clone(), place.seq_nr);
            self.named.push(LeftAlone { persistence_id, seq_nr, is_snapshot: false, reason });
        }
        self.take_back(place);
    }

    fn take_back(&mut self, Place { at, id, seq_nr, from, to }: Place) {
        *self.taken_back.entry((from, to)).or_default() += 1;
        self.open.push((at, id, seq_nr));
    }

    pub(super) fn tell(self, report: &mut RewriteReport, wanted: &mut Wanted) {
        for ((from, to), count) in self.taken_back {
            if let Some(counted) = report.events.entry(from).or_default().become_form.get_mut(&to) {
                *counted = counted.saturating_sub(count);
            }
        }
        self.open.iter().for_each(|(at, id, seq_nr)| wanted.leave_open(*at, id, *seq_nr));
        report.changed_meanwhile += self.changed;
        for (form, count) in self.refused {
            report.events.entry(form).or_default().left_alone += count;
            report.left_alone += count;
        }
        let room = RewriteReport::NAMED.saturating_sub(report.named.len());
        report.named.extend(self.named.into_iter().take(room));
    }
}
