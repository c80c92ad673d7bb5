//! One process among those that use the journal, as a state machine: it asks for a look at the table or for one conditional change,
//! and is told what came of it.
//!
//! ```text
//! enter   look ─→ register ─→ look ─┬─ a stored version is unreadable ─→ remove the registration ─→ refused
//!                    ▲              ├─ one is being raised: wait, or remove the mark of a raiser that is gone ─→ look
//!                    └── removed ───┴─→ entered
//! renew   look ─→ set the lease anew ─→ renewed               (removed meanwhile: lost ─→ enter again); who is long gone is removed
//! clear   look ─→ announce the form ─→ look ─┬─ stored already ─────────────────────────────────────→ cleared
//!                                            └─→ mark: raising ─→ look ─┬─ someone cannot read it ─→ take the mark back ─→ refused
//!                                                                       ├─ who cannot is gone: remove its registration ─→ look
//!                                                                       └─→ stored ─→ cleared
//! leave   remove the registration
//! ```
//!
//! Everybody says first what it is about to do, and looks then. So of a process that enters and one that raises, whichever comes second
//! sees the other. Leases end registrations and marks, but only for who passes over them: it removes them first, by compare-and-set, and
//! who was removed learns it at its next change. So at every moment, whoever is registered and has entered reads all that is stored.

use std::collections::BTreeSet;
use std::time::Duration;

use annals_journal::{Manifest, Revision, WriterId};

use super::{Announcement, Objection, Process, Unreadable, VersionTable, Watermark};
use crate::Form;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Membership {
    id: WriterId,
    announcement: Announcement,
    lease: Duration,
    /// Of its registration, as it set it last.
    revision: Option<Revision>,
    /// Forms that it may write without asking.
    writes: BTreeSet<Form>,
    /// Forms that it gave up since the last renewal but one: what was encoded in them may still be on its way.
    fading: BTreeSet<Form>,
    step: Step,
    /// What the model breaks to see that it notices.
    #[cfg(test)]
    pub(super) flaw: Option<super::model::Flaw>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Request {
    /// Read the table.
    Look,
    /// Make one change, when the record is still as it was.
    Change(Change),
    /// Wait a little.
    Pause,
    /// Nothing: this came of the task.
    Done(Outcome),
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Answer<'a> {
    Seen(&'a VersionTable),
    /// The new revision; `None`: the record was another.
    Changed(Option<Revision>),
    Paused,
}

/// A change of one record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Change {
    Process { id: WriterId, expected: Option<Revision>, value: Option<Process> },
    Watermark { manifest: Manifest, expected: Option<Revision>, value: Watermark },
}

/// What came of a task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// It is registered, and reads all that is stored.
    Entered,
    /// It is not registered: it does not read what is stored.
    Unreadable(Vec<Unreadable>),
    Renewed,
    /// Its registration was removed: it must enter again before it does anything else.
    Lost,
    /// The form may be written from now on.
    Cleared,
    Refused(Refusal),
    /// Nobody may write the forms any more.
    Leaving,
    Done,
}

/// Why a form may not be written, or may not leave.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Refusal {
    /// Someone objects to it now.
    Objection(Objection),
    /// A process may write it.
    Written { node: String, by: WriterId },
}

/// What is done with forms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Goal {
    kind: String,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Idle(Outcome),
    /// Waits for the answer to a look.
    Look(Look),
    /// Waits for the answer to a change.
    Change(Change, Box<Then>),
    Pause(Look),
}

/// Why it looks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Look {
    Enter {
        wanted: BTreeSet<Form>,
    },
    Admit {
        wanted: BTreeSet<Form>,
        announced: BTreeSet<Form>,
    },
    Renew,
    Announce(Goal),
    Clear(Goal),
    Raised(Goal, Revision),
    Leave {
        forms: Vec<Form>,
        marked: usize,
    },
    /// Why marks end.
    Left {
        forms: Vec<Form>,
        end: MarkEnd,
    },
}

/// Why a version is marked no longer as one that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum MarkEnd {
    /// It is stored no more, unless somebody has ended the own mark: then others may have stored it again.
    Gone,
    /// It stays: marks of all.
    Cancelled,
    /// It stays, as far as this process goes: its mark and those of processes that are gone.
    GivenUp,
}

/// What follows a change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Then {
    Look(Look),
    End(Outcome),
    /// Registered, when it was made.
    Registered {
        wanted: BTreeSet<Form>,
        announced: BTreeSet<Form>,
    },
    Renewed,
    Announced(Goal),
    Raised(Goal),
    Stored(Goal),
    Marked {
        forms: Vec<Form>,
        marked: usize,
    },
}

impl Membership {
    pub(super) fn new(id: WriterId, announcement: Announcement, lease: Duration) -> Self {
        Self {
            id,
            announcement,
            lease,
            revision: None,
            writes: BTreeSet::new(),
            fading: BTreeSet::new(),
            step: Step::Idle(Outcome::Done),
            #[cfg(test)]
            flaw: None,
        }
    }

    pub(super) fn id(&self) -> WriterId {
        self.id
    }

    pub(super) fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// Forms that it may write without asking.
    pub(super) fn writes(&self) -> &BTreeSet<Form> {
        &self.writes
    }

    /// Gives forms up; others learn it at the next renewal but one.
    pub(super) fn keep(&mut self, keep: impl Fn(&Form) -> bool) {
        let (kept, gone) = std::mem::take(&mut self.writes).into_iter().partition(|form| keep(form));
        self.writes = kept;
        let gone: BTreeSet<Form> = gone;
        self.fading.extend(gone);
    }

    /// Begins to register; of the forms that are wanted, those that are stored already may be written at once.
    pub(super) fn enter(&mut self, wanted: BTreeSet<Form>) {
        self.writes.clear();
        self.step = Step::Look(Look::Enter { wanted });
    }

    /// Begins to set the lease anew.
    pub(super) fn renew(&mut self) {
        self.step = Step::Look(Look::Renew);
    }

    /// Begins to ask whether a form may be written.
    pub(super) fn clear(&mut self, kind: &str, form: Form) {
        self.step = if self.writes.contains(&form) {
            Step::Idle(Outcome::Cleared)
        } else {
            Step::Look(Look::Announce(Goal { kind: kind.to_owned(), form }))
        };
    }

    /// Begins to keep others from writing forms that a rewrite will remove.
    pub(super) fn begin_leaving(&mut self, forms: Vec<Form>) {
        self.step = Step::Look(Look::Leave { forms, marked: 0 });
    }

    /// Begins to say that a rewrite has removed forms.
    pub(super) fn end_leaving(&mut self, forms: Vec<Form>) {
        self.step = Step::Look(Look::Left { forms, end: MarkEnd::Gone });
    }

    /// Begins to say that forms stay, after all, whoever removes them.
    pub(super) fn cancel_leaving(&mut self, forms: Vec<Form>) {
        self.step = Step::Look(Look::Left { forms, end: MarkEnd::Cancelled });
    }

    /// Begins to say that this process does not remove forms.
    pub(super) fn give_up_leaving(&mut self, forms: Vec<Form>) {
        self.step = Step::Look(Look::Left { forms, end: MarkEnd::GivenUp });
    }

    /// Begins to remove the registration.
    pub(super) fn leave(&mut self) {
        self.writes.clear();
        self.fading.clear();
        self.step = match self.revision.take() {
            None => Step::Idle(Outcome::Done),
            expected => {
                self.change(Change::Process { id: self.id, expected, value: None }, Then::End(Outcome::Done))
            }
        };
    }

    pub(super) fn request(&self) -> Request {
        match &self.step {
            Step::Idle(outcome) => Request::Done(outcome.clone()),
            Step::Look(_) => Request::Look,
            Step::Change(change, _) => Request::Change(change.clone()),
            Step::Pause(_) => Request::Pause,
        }
    }

    pub(super) fn answer(&mut self, answer: Answer<'_>) {
        let step = std::mem::replace(&mut self.step, Step::Idle(Outcome::Lost));
        self.step = match (step, answer) {
            (Step::Look(look), Answer::Seen(table)) => self.seen(look, table),
            (Step::Change(_, then), Answer::Changed(revision)) => self.changed(*then, revision),
            (Step::Pause(look), Answer::Paused) => Step::Look(look),
            (step, _) => step,
        };
    }

    fn seen(&mut self, look: Look, table: &VersionTable) -> Step {
        let registered = self.revision.is_some() && self.own_revision(table) == self.revision;
        let counted = registered && table.is_there(self.id);
        match look {
            Look::Enter { wanted } => self.register(wanted, table),
            Look::Admit { wanted, .. } if !counted => self.register(wanted, table),
            Look::Admit { wanted, announced } => self.admit(wanted, announced, table),
            _ if !registered || !table.unreadable(&self.announcement).is_empty() => self.lost(),
            Look::Renew => self.go_on(table),
            // Its marks would be removed one after the other.
            _ if !counted => self.lost(),
            #[cfg(test)]
            Look::Announce(goal) if self.flaw == Some(super::model::Flaw::DoesNotAnnounce) => {
                self.try_to_raise(goal, table)
            }
            Look::Announce(goal) => {
                let form = goal.form.clone();
                self.set_lease(table, Some(form), Then::Announced(goal))
            }
            Look::Clear(goal) => self.try_to_raise(goal, table),
            Look::Raised(goal, revision) => self.raised(goal, revision, table),
            Look::Leave { forms, marked } => self.mark_leaving(forms, marked, table),
            Look::Left { forms, end } => self.left(forms, end, table),
        }
    }

    fn changed(&mut self, then: Then, revision: Option<Revision>) -> Step {
        let own = matches!(then, Then::Registered { .. } | Then::Renewed | Then::Announced(_));
        if own {
            self.revision = revision.or(self.revision);
        }
        match (then, revision) {
            (Then::Look(look), _) => Step::Look(look),
            (Then::End(outcome), _) => Step::Idle(outcome),
            #[cfg(test)]
            (Then::Registered { announced, .. }, Some(_))
                if self.flaw == Some(super::model::Flaw::TrustsTheFirstLook) =>
            {
                self.writes = announced;
                Step::Idle(Outcome::Entered)
            }
            (Then::Registered { wanted, announced }, Some(_)) => {
                Step::Look(Look::Admit { wanted, announced })
            }
            (Then::Registered { wanted, .. }, None) => Step::Look(Look::Enter { wanted }),
            (Then::Renewed, Some(_)) => {
                self.fading.clear();
                Step::Idle(Outcome::Renewed)
            }
            (Then::Announced(goal), Some(_)) => Step::Look(Look::Clear(goal)),
            (Then::Renewed | Then::Announced(_), None) => self.lost(),
            (Then::Raised(goal), Some(revision)) => Step::Look(Look::Raised(goal, revision)),
            (Then::Raised(goal) | Then::Stored(goal), None) => Step::Look(Look::Clear(goal)),
            (Then::Stored(goal), Some(_)) => self.cleared(goal),
            (Then::Marked { forms, marked }, made) => {
                Step::Look(Look::Leave { forms, marked: marked + usize::from(made.is_some()) })
            }
        }
    }

    fn register(&mut self, wanted: BTreeSet<Form>, table: &VersionTable) -> Step {
        self.revision = self.own_revision(table);
        let unreadable = table.unreadable(&self.announcement);
        if !unreadable.is_empty() {
            return self.refused(unreadable);
        }
        let announced: BTreeSet<Form> =
            wanted.iter().filter(|form| table.may_be_written(form)).cloned().collect();
        let value = self.process(table, announced.union(&self.fading).cloned().collect());
        let change = Change::Process { id: self.id, expected: self.revision, value: Some(value) };
        self.change(change, Then::Registered { wanted, announced })
    }

    fn admit(&mut self, wanted: BTreeSet<Form>, announced: BTreeSet<Form>, table: &VersionTable) -> Step {
        let unreadable = table.unreadable(&self.announcement);
        if !unreadable.is_empty() {
            return self.refused(unreadable);
        }
        for (manifest, (revision, watermark)) in &table.watermarks {
            let Some((version, raiser)) = watermark.raising else { continue };
            let form = Form::new(manifest.clone(), version);
            // Its own is left from before: what it did then has come to nothing.
            if raiser != self.id && self.announcement.reads(&watermark.kind, &form) != Some(false) {
                continue;
            }
            #[cfg(test)]
            if self.flaw == Some(super::model::Flaw::IgnoresMarks) {
                continue;
            }
            let again = Look::Admit { wanted, announced };
            return if raiser != self.id && table.is_there(raiser) {
                Step::Pause(again)
            } else {
                self.change(unmark(manifest, *revision, watermark), Then::Look(again))
            };
        }
        self.writes = announced.into_iter().filter(|form| table.may_be_written(form)).collect();
        Step::Idle(Outcome::Entered)
    }

    /// Removes the registration, if there is one.
    fn refused(&mut self, unreadable: Vec<Unreadable>) -> Step {
        let outcome = Outcome::Unreadable(unreadable);
        self.writes.clear();
        match self.revision.take() {
            None => Step::Idle(outcome),
            expected => {
                self.change(Change::Process { id: self.id, expected, value: None }, Then::End(outcome))
            }
        }
    }

    fn go_on(&mut self, table: &VersionTable) -> Step {
        let own = |(_, (_, watermark)): &(&Manifest, &(Revision, Watermark))| {
            watermark.raising.is_some_and(|(_, raiser)| raiser == self.id)
        };
        if let Some((manifest, (revision, watermark))) = table.watermarks.iter().find(own) {
            return self.change(unmark(manifest, *revision, watermark), Then::Look(Look::Renew));
        }
        if let Some((id, expected)) = table.long_gone(self.id, self.lease) {
            let remove = Change::Process { id, expected: Some(expected), value: None };
            return self.change(remove, Then::Look(Look::Renew));
        }
        self.keep(|form| table.may_be_written(form));
        self.set_lease(table, None, Then::Renewed)
    }

    fn try_to_raise(&mut self, goal: Goal, table: &VersionTable) -> Step {
        let Goal { kind, form } = &goal;
        if let Some(objection) = table.agreement().objection(kind, form) {
            return Step::Idle(Outcome::Refused(Refusal::Objection(objection)));
        }
        let (expected, mut watermark) = table.watermark(kind, &form.manifest);
        if watermark.stored.contains(&form.version) {
            return self.cleared(goal);
        }
        match (watermark.raising, expected) {
            (Some((version, raiser)), Some(revision)) if raiser == self.id && version == form.version => {
                Step::Look(Look::Raised(goal, revision))
            }
            (Some((_, raiser)), _) if raiser != self.id && table.is_there(raiser) => {
                Step::Pause(Look::Clear(goal))
            }
            (Some(_), Some(revision)) => {
                let unmark = unmark(&form.manifest, revision, &watermark);
                self.change(unmark, Then::Look(Look::Clear(goal)))
            }
            #[cfg(test)]
            _ if self.flaw == Some(super::model::Flaw::LooksBeforeItMarks) => {
                watermark.stored.insert(form.version);
                let manifest = form.manifest.clone();
                self.change(Change::Watermark { manifest, expected, value: watermark }, Then::Stored(goal))
            }
            _ => {
                watermark.raising = Some((form.version, self.id));
                let manifest = form.manifest.clone();
                self.change(Change::Watermark { manifest, expected, value: watermark }, Then::Raised(goal))
            }
        }
    }

    fn raised(&mut self, goal: Goal, revision: Revision, table: &VersionTable) -> Step {
        let Goal { kind, form } = &goal;
        let (expected, mut watermark) = table.watermark(kind, &form.manifest);
        if expected != Some(revision) {
            return Step::Look(Look::Clear(goal));
        }
        if let Some(objection) = table.agreement().objection(kind, form) {
            let refused = Outcome::Refused(Refusal::Objection(objection));
            return self.change(unmark(&form.manifest, revision, &watermark), Then::End(refused));
        }
        #[cfg(test)]
        let table = &if self.flaw == Some(super::model::Flaw::PassesOverWithoutRemoving) {
            VersionTable { processes: std::collections::BTreeMap::new(), ..table.clone() }
        } else {
            table.clone()
        };
        if let Some((id, expected)) = table.passed_over(kind, form) {
            let remove = Change::Process { id, expected: Some(expected), value: None };
            return self.change(remove, Then::Look(Look::Raised(goal, revision)));
        }
        watermark.raising = None;
        watermark.stored.insert(form.version);
        let manifest = form.manifest.clone();
        self.change(Change::Watermark { manifest, expected, value: watermark }, Then::Stored(goal))
    }

    fn cleared(&mut self, goal: Goal) -> Step {
        self.fading.remove(&goal.form);
        self.writes.insert(goal.form);
        Step::Idle(Outcome::Cleared)
    }

    /// Marks one form after the other; then looks for who may write any of them.
    fn mark_leaving(&mut self, forms: Vec<Form>, marked: usize, table: &VersionTable) -> Step {
        if let Some(form) = forms.get(marked) {
            let Some((revision, watermark)) = table.watermarks.get(&form.manifest) else {
                return Step::Look(Look::Leave { forms, marked: marked + 1 });
            };
            let mut value = watermark.clone();
            value.leaving.entry(form.version).or_default().insert(self.id);
            value.raising.take_if(|(version, _)| *version == form.version);
            let manifest = form.manifest.clone();
            let change = Change::Watermark { manifest, expected: Some(*revision), value };
            return self.change(change, Then::Marked { forms, marked });
        }
        for (id, (revision, process)) in &table.processes {
            if *id == self.id || !forms.iter().any(|form| process.writes.contains(form)) {
                continue;
            }
            if !table.is_over(process) {
                let node = process.announcement.node().to_owned();
                return Step::Idle(Outcome::Refused(Refusal::Written { node, by: *id }));
            }
            let remove = Change::Process { id: *id, expected: Some(*revision), value: None };
            return self.change(remove, Then::Look(Look::Leave { forms, marked }));
        }
        Step::Idle(Outcome::Leaving)
    }

    fn left(&mut self, forms: Vec<Form>, end: MarkEnd, table: &VersionTable) -> Step {
        for form in &forms {
            let Some((revision, watermark)) = table.watermarks.get(&form.manifest) else { continue };
            let Some(marks) = watermark.leaving.get(&form.version) else { continue };
            let kept: BTreeSet<_> = match end {
                MarkEnd::Gone | MarkEnd::Cancelled => BTreeSet::new(),
                MarkEnd::GivenUp => {
                    marks.iter().filter(|by| **by != self.id && table.is_there(**by)).copied().collect()
                }
            };
            let is_gone = end == MarkEnd::Gone && marks.contains(&self.id);
            #[cfg(test)]
            let is_gone = is_gone || self.flaw == Some(super::model::Flaw::CancelsAsGone);
            // Another one that removes it goes on.
            if (end == MarkEnd::Gone && !is_gone) || (!kept.is_empty() && kept == *marks) {
                continue;
            }
            let mut value = watermark.clone();
            value.leaving.remove(&form.version);
            if is_gone {
                value.stored.remove(&form.version);
            } else if !kept.is_empty() {
                value.leaving.insert(form.version, kept);
            }
            let manifest = form.manifest.clone();
            let change = Change::Watermark { manifest, expected: Some(*revision), value };
            return self.change(change, Then::Look(Look::Left { forms, end }));
        }
        Step::Idle(Outcome::Done)
    }

    /// Sets the lease anew; others see the forms that it may write, and one that it is about to ask for.
    fn set_lease(&mut self, table: &VersionTable, announced: Option<Form>, then: Then) -> Step {
        let writes = self.writes.iter().chain(&self.fading).cloned().chain(announced).collect();
        let value = self.process(table, writes);
        self.change(Change::Process { id: self.id, expected: self.revision, value: Some(value) }, then)
    }

    fn process(&self, table: &VersionTable, writes: BTreeSet<Form>) -> Process {
        Process { announcement: self.announcement.clone(), until: table.now.plus(self.lease), writes }
    }

    fn lost(&mut self) -> Step {
        self.writes.clear();
        Step::Idle(Outcome::Lost)
    }

    fn own_revision(&self, table: &VersionTable) -> Option<Revision> {
        table.processes.get(&self.id).map(|(revision, _)| *revision)
    }

    fn change(&self, change: Change, then: Then) -> Step {
        Step::Change(change, Box::new(then))
    }
}

/// Takes back the mark of who was about to raise.
fn unmark(manifest: &Manifest, expected: Revision, watermark: &Watermark) -> Change {
    let value = Watermark { raising: None, ..watermark.clone() };
    Change::Watermark { manifest: manifest.clone(), expected: Some(expected), value }
}
