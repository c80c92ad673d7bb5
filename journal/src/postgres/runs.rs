//! Which entries of a list are judged together.
//!
//! ```text
//! list    a: claim 2.1 · b: append 5 · a: append 7 · a: append 8 · a: append 9 under 2.2
//! runs    a: claim 2.1, append 7, append 8   │ b: append 5                  round 1
//!         a: append 9 under 2.2              │                              round 2
//! ```
//! A statement judges at most one run an id, as a whole. A run that is refused and has several entries is judged again entry by entry, because
//! some of them may pass. No I/O here.

use std::ops::Range;

use crate::encoded_write::{EncodedKind, EncodedWrite};
use crate::{Gate, Head, JournalError, Mark, NotStored, PersistenceId, SeqNr};

use super::verdict::verdict;

type Answer = Result<Head, JournalError>;

/// A list of entries on its way to its answers.
pub(super) struct Runs {
    pub(super) writes: Vec<EncodedWrite>,
    answers: Vec<Option<Answer>>,
    /// The entries, by id, each id's in the order of the list.
    by_id: Vec<usize>,
    ids: Vec<Id>,
    not_stored: NotStored,
    /// What the store said in this call.
    gate: Option<Gate>,
}

/// An id of the list.
struct Id {
    /// Its entries that have no answer yet, in `by_id`.
    left: Range<usize>,
    /// A run of it was refused as a whole.
    one_by_one: bool,
    /// The short way stored nothing of it.
    left_over: bool,
    /// How often it came back with nothing decided.
    tries: u32,
}

/// Entries of one id that one row of a statement stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Which id of the list.
    id: usize,
    /// Its entries, in the order of the list.
    pub(super) entries: Vec<usize>,
    /// The stored token must be this one, not only none newer.
    pub(super) exact: bool,
    /// It changes something.
    pub(super) writes: bool,
    /// The head that it builds on, and the one that it makes.
    pub(super) heads: Option<(SeqNr, SeqNr)>,
    /// The mark that it builds on, and the one that it makes.
    pub(super) marks: Option<(Option<Mark>, Mark)>,
}

/// Which statement a round takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Moves heads that are there, where nothing is in the way, which is nearly always so.
    Advance,
    /// The same with marks.
    AdvanceMarked,
    /// Judges whatever may be asked.
    Judge,
}

impl Runs {
    pub(super) fn new(writes: Vec<EncodedWrite>) -> Self {
        let mut by_id: Vec<usize> = (0..writes.len()).collect();
        by_id.sort_by(|a, b| writes[*a].persistence_id.cmp(&writes[*b].persistence_id));
        let mut ids: Vec<Id> = Vec::with_capacity(writes.len());
        for place in 0..by_id.len() {
            let same =
                place > 0 && writes[by_id[place]].persistence_id == writes[by_id[place - 1]].persistence_id;
            match ids.last_mut() {
                Some(id) if same => id.left.end = place + 1,
                _ => ids.push(Id { left: place..place + 1, one_by_one: false, left_over: false, tries: 0 }),
            }
        }
        let answers = writes.iter().map(|_| None).collect();
        Self { writes, answers, by_id, ids, not_stored: NotStored::new(), gate: None }
    }

    /// The runs of the next statement, in the order of their ids, about as many bytes as one takes; none when all is answered.
    pub(super) fn next(&mut self) -> Vec<Run> {
        let (mut runs, mut bytes) = (Vec::with_capacity(self.ids.len()), 0);
        for id in 0..self.ids.len() {
            if bytes > STATEMENT_BYTES {
                break;
            }
            if let Some(run) = self.run_of(id) {
                bytes += run.entries.iter().map(|entry| self.writes[*entry].size).sum::<usize>();
                runs.push(run);
            }
        }
        runs
    }

    /// How a statement for these runs may be shorter.
    pub(super) fn way(&self, round: &[Run]) -> Way {
        let marked = round.iter().filter(|run| run.marks.is_some()).count();
        let short = |run: &Run| run.writes && !run.exact && !self.ids[run.id].left_over;
        match marked {
            0 if round.iter().all(short) => Way::Advance,
            all if all == round.len() && round.iter().all(short) => Way::AdvanceMarked,
            _ => Way::Judge,
        }
    }

    /// The short way did nothing for the run: it is judged the other way.
    pub(super) fn left_over(&mut self, run: &Run) {
        self.ids[run.id].left_over = true;
    }

    pub(super) fn id_of(&self, run: &Run) -> &PersistenceId {
        &self.writes[run.entries[0]].persistence_id
    }

    /// The store judged the run on this head, which it has locked: `passed` says that it did what the run asks for.
    pub(super) fn judged(&mut self, run: &Run, mut head: Head, passed: bool) {
        if !passed && run.entries.len() > 1 && run.writes {
            self.ids[run.id].one_by_one = true;
            return;
        }
        for &entry in &run.entries {
            let answer = verdict(&self.writes[entry], head);
            if answer.is_ok() && run.writes && !passed {
                // Nothing was done, and it could have been: a race for the first row of an id was lost.
                return self.again(run);
            }
            if passed && answer.is_err() {
                let reason = "the server stored what it should have refused; this is a bug: report it".into();
                self.answer(run.id, entry, Err(JournalError::Unknown { reason, source: None }));
                continue;
            }
            if let Ok(after) = &answer {
                head = *after;
            }
            self.answer(run.id, entry, answer);
        }
    }

    /// The store has another gate than the statement was told; nothing was judged.
    pub(super) fn gated(&mut self, gate: Option<Gate>) {
        self.gate = gate;
    }

    /// The statement failed, and with it all its runs.
    pub(super) fn failed(&mut self, runs: &[Run], error: &JournalError) {
        for run in runs {
            for &entry in &run.entries {
                self.answer(run.id, entry, Err(error.clone()));
            }
        }
    }

    /// An answer for each entry.
    pub(super) fn into_answers(self) -> Vec<Answer> {
        let unanswered = || {
            Err(JournalError::Unknown {
                reason: "an entry was not judged; this is a bug".into(),
                source: None,
            })
        };
        self.answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect()
    }

    fn again(&mut self, run: &Run) {
        let id = &mut self.ids[run.id];
        id.tries += 1;
        if id.tries > TRIES {
            let reason = "others changed the id each time; nothing was stored, try again".into();
            let error = JournalError::Unavailable { reason, source: None };
            for &entry in &run.entries {
                self.answer(run.id, entry, Err(error.clone()));
            }
        }
    }

    /// Answers the oldest entry of an id that has none.
    fn answer(&mut self, id: usize, entry: usize, answer: Answer) {
        if let Err(error) = &answer {
            let EncodedWrite { persistence_id, token, .. } = &self.writes[entry];
            self.not_stored.remember(persistence_id, *token, error);
        }
        self.answers[entry] = Some(answer);
        self.ids[id].left.start += 1;
    }

    /// Takes the longest run from an id's front; what is refused without the store is answered on the way.
    fn run_of(&mut self, id: usize) -> Option<Run> {
        let mut run: Option<Run> = None;
        let mut at = self.ids[id].left.start;
        while at < self.ids[id].left.end {
            let entry = self.by_id[at];
            if let Some(refused) = self.refused(entry) {
                if run.is_some() {
                    break;
                }
                self.answer(id, entry, Err(refused));
                at += 1;
                continue;
            }
            match &mut run {
                None => run = Some(Run::of(id, entry, &self.writes[entry])),
                Some(run) => {
                    let first = &self.writes[run.entries[0]];
                    let write = &self.writes[entry];
                    if self.ids[id].one_by_one || write.token != first.token || !run.extend(entry, write) {
                        break;
                    }
                }
            }
            at += 1;
        }
        run
    }

    /// Why an entry is refused whatever is stored.
    fn refused(&self, entry: usize) -> Option<JournalError> {
        let write = &self.writes[entry];
        if let EncodedKind::Append { events: Err(error), .. } = &write.kind {
            // The first of its token may be another.
            return Some(
                self.not_stored.earlier_of(&write.persistence_id, write.token).unwrap_or(error).clone(),
            );
        }
        if let Some(error) = self.not_stored.earlier_of(&write.persistence_id, write.token) {
            return Some(error.clone());
        }
        self.gate.as_ref()?.check(write.kind.gated()).err()
    }
}

impl Run {
    fn of(id: usize, entry: usize, write: &EncodedWrite) -> Self {
        let mut run = Self { id, entries: Vec::new(), exact: false, writes: false, heads: None, marks: None };
        run.extend(entry, write);
        run
    }

    /// Takes an entry in, if it passes whenever those before it do.
    fn extend(&mut self, entry: usize, write: &EncodedWrite) -> bool {
        let first = self.entries.is_empty();
        match &write.kind {
            EncodedKind::Claim => {}
            EncodedKind::Verify => self.exact |= first,
            EncodedKind::Append { expected, mark, .. } => {
                let builds_on_ours = self.heads.is_none_or(|(_, head)| head == *expected);
                if !builds_on_ours || !mark.as_deref().is_none_or(|change| self.follows(change.from)) {
                    return false;
                }
                let head = expected.plus(write.event_count as u64);
                self.heads = Some((self.heads.map_or(*expected, |(from, _)| from), head));
                if let Some(change) = mark {
                    self.marks = Some((self.marks.map_or(change.from, |(from, _)| from), change.to));
                }
            }
            EncodedKind::Mark(change) => {
                if !self.follows(change.from) {
                    return false;
                }
                self.exact |= first;
                self.marks = Some((self.marks.map_or(change.from, |(from, _)| from), change.to));
            }
        }
        self.writes |= !matches!(write.kind, EncodedKind::Verify);
        self.entries.push(entry);
        true
    }

    fn follows(&self, from: Option<Mark>) -> bool {
        self.marks.is_none_or(|(_, to)| from == Some(to))
    }
}

/// More goes into another statement.
const STATEMENT_BYTES: usize = 32 * 1024 * 1024;
/// How often a race for an id's first row may be lost: once is enough, unless rows vanish.
const TRIES: u32 = 20;
