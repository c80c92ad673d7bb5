//! Drives [`State::decide`](super::state::State::decide): one conditional write for each id of a list, all at the same time.

use std::collections::HashMap;

use futures::future;
use futures::stream::{self, StreamExt};

use super::buckets::{Bound, Look};
use super::intents::{Intent, Kind, Lane};
use super::keyspace::Inner;
use super::state::{BucketLimits, Decided, Placed, Row, State, Ticket};
use super::value::Value;
use crate::encoded_write::{EncodedKind, EncodedWrite};
use crate::{Head, JournalError, NotStored, PersistenceId, SeqNr};

type Answer = Result<Head, JournalError>;

/// The entries of one id.
struct Run {
    id: PersistenceId,
    /// Where the entries that are left stand in the list.
    places: Vec<usize>,
    entries: Vec<Placed>,
    not_stored: NotStored,
    state: Option<State>,
    /// Whether the state was read or written since the call began.
    is_fresh: bool,
    answers: Vec<(usize, Answer)>,
}

/// Decides and stores a list.
pub(super) async fn write(inner: &Inner, writes: Vec<EncodedWrite>) -> Vec<Answer> {
    let count = writes.len();
    let mut runs: Vec<Run> = Vec::new();
    let mut by_id: HashMap<PersistenceId, usize> = HashMap::new();
    for (place, write) in writes.into_iter().enumerate() {
        let id = write.persistence_id.clone();
        let run = *by_id.entry(id.clone()).or_insert_with(|| {
            runs.push(Run::of(id));
            runs.len() - 1
        });
        runs[run].places.push(place);
        runs[run].entries.push(Placed { write, minor: 0 });
    }
    let mut answers: Vec<Option<Answer>> = vec![None; count];
    while !runs.is_empty() {
        runs = stream::iter(runs).map(|run| run.begin(inner)).buffer_unordered(AT_ONCE).collect().await;
        let mut place = 0;
        for placed in runs.iter_mut().flat_map(|run| &mut run.entries) {
            placed.minor = inner.minor(place);
            place += placed.write.event_count.max(1) as u64;
        }
        let intended = |major| runs.iter().flat_map(|run| run.intents(major)).collect();
        let ticket = future::try_join(inner.ticket(intended), announce(inner, &runs)).await;
        match ticket {
            Ok((ticket, _)) => {
                let ticket = &ticket;
                let attempts = stream::iter(runs).map(|run| run.attempt(inner, ticket));
                runs = attempts.buffer_unordered(AT_ONCE).collect().await;
            }
            Err(error) => runs.iter_mut().for_each(|run| run.fail(&error)),
        }
        for run in &mut runs {
            for (place, answer) in run.answers.drain(..) {
                answers[place] = Some(answer);
            }
        }
        runs.retain(|run| !run.entries.is_empty());
    }
    let lost = || Err(JournalError::Unknown { reason: "an entry was not decided".into(), source: None });
    answers.into_iter().map(|answer| answer.unwrap_or_else(lost)).collect()
}

/// Writes down the ids that nobody has written yet, so that they are listed when they are.
async fn announce(inner: &Inner, runs: &[Run]) -> Result<(), JournalError> {
    let new = runs.iter().filter(|run| run.state.as_ref().is_some_and(|state| !state.owned));
    future::try_join_all(new.map(|run| async {
        inner.announce(&run.id).await?;
        inner.execute(&inner.statements.insert_bucket, inner.bucket_key(&run.id, SeqNr::FIRST).to_vec()).await
    }))
    .await
    .map(drop)
}

impl Run {
    fn of(id: PersistenceId) -> Self {
        Self {
            id,
            places: Vec::new(),
            entries: Vec::new(),
            not_stored: NotStored::new(),
            state: None,
            is_fresh: false,
            answers: Vec::new(),
        }
    }

    /// Knows where the id stands, or stood.
    async fn begin(mut self, inner: &Inner) -> Self {
        if self.state.as_ref().is_some_and(|state| !state.closed) {
            return self;
        }
        self.state = inner.remembered(&self.id).map(|state| (*state).clone()).filter(|state| !state.closed);
        if self.state.is_none() {
            self.reload(inner).await;
        }
        self
    }

    async fn reload(&mut self, inner: &Inner) {
        match inner.open_bucket(&self.id, Look::Plain).await {
            Ok(state) => (self.state, self.is_fresh) = (Some(state), true),
            Err(error) => self.fail(&error),
        }
    }

    fn intents(&self, major: u64) -> Vec<(Lane, Intent)> {
        let Some(state) = &self.state else { return Vec::new() };
        let lane = Lane::of(self.id.slice());
        let mut intents = Vec::new();
        let intent = |kind, first, count, minor| Intent {
            major,
            minor,
            kind,
            id: self.id.clone(),
            bucket: state.bucket,
            first,
            count,
        };
        let mut others = false;
        for Placed { write, minor } in &self.entries {
            match &write.kind {
                EncodedKind::Append { expected, events: Ok(events), .. } => {
                    let intent = intent(Kind::Events, expected.next(), events.len() as u64, *minor);
                    let mut tags: Vec<_> = events.iter().flat_map(|event| &event.tags).collect();
                    tags.sort_unstable();
                    tags.dedup();
                    intents.extend(tags.into_iter().map(|tag| (Lane::Tag(tag.clone()), intent.clone())));
                    intents.push((lane.clone(), intent));
                }
                EncodedKind::Append { .. } | EncodedKind::Verify => {}
                // One says for all that the bucket may be changed.
                EncodedKind::Claim | EncodedKind::Mark(_) if others => {}
                EncodedKind::Claim | EncodedKind::Mark(_) => {
                    others = true;
                    intents.push((lane.clone(), intent(Kind::Other, state.head.seq_nr, 0, *minor)));
                }
            }
        }
        intents
    }

    /// Goes on until the entries are answered, or need another ticket.
    async fn attempt(mut self, inner: &Inner, ticket: &Ticket) -> Self {
        let bucket = self.state.as_ref().map(|state| state.bucket);
        let limits = BucketLimits { events: inner.options.bucket_events, bytes: BUCKET_BYTES };
        while let Some(state) = self.state.take() {
            if Some(state.bucket) != bucket || !state.admits(ticket.major) {
                inner.clock.observe(state.floor.unwrap_or(0));
                self.state = Some(state);
                break;
            }
            let mut not_stored = NotStored::new();
            std::mem::swap(&mut not_stored, &mut self.not_stored);
            let mut tried = not_stored.clone();
            let decided = state.decide(&self.id, &self.entries, ticket, &mut tried, limits);
            let Some(next) = &decided.change else {
                self.not_stored = not_stored;
                if self.is_fresh {
                    self.not_stored = tried;
                    self.conclude(decided);
                    self.state = Some(state);
                    break;
                }
                self.reload(inner).await;
                continue;
            };
            let rows = decided.rows.iter().map(|row| self.insert(inner, next.bucket, ticket, row)).collect();
            match inner.change(&self.id, &state, next, rows).await {
                Ok(true) => {
                    inner.remember(&self.id, next);
                    (self.state, self.is_fresh, self.not_stored) = (Some(next.clone()), true, tried);
                    self.conclude(decided);
                    break;
                }
                Ok(false) => {
                    self.not_stored = not_stored;
                    self.reload(inner).await;
                    // It was refused, and is there: somebody else finished it.
                    if self.state.as_ref() == Some(next) {
                        let reason = "a write was refused, and seems to be stored".into();
                        self.fail(&JournalError::Unknown { reason, source: None });
                    }
                }
                Err(error) => {
                    inner.states.remove(&self.id);
                    self.fail(&error);
                }
            }
        }
        self
    }

    fn insert<'a>(&self, inner: &'a Inner, bucket: SeqNr, ticket: &Ticket, row: &Row) -> Bound<'a> {
        let mut values = inner.bucket_key(&self.id, bucket).to_vec();
        values.extend([Value::int(row.seq_nr.get()), Value::int(ticket.major), Value::int(row.minor)]);
        if let EncodedKind::Append { events: Ok(events), .. } = &self.entries[row.entry].write.kind {
            let event = &events[row.event];
            values.extend([Value::Bytes(event.bytes.clone()), Value::labels(&event.tags)]);
        }
        (&inner.statements.insert_event, values)
    }

    /// Answers the entries that were decided.
    fn conclude(&mut self, decided: Decided) {
        let count = decided.answers.len();
        self.answers.extend(self.places.drain(..count).zip(decided.answers));
        self.entries.drain(..count);
    }

    /// Answers all that is left.
    fn fail(&mut self, error: &JournalError) {
        self.entries.clear();
        self.answers.extend(self.places.drain(..).map(|place| (place, Err(error.clone()))));
        self.state = None;
    }
}

/// Ids that are written at the same time.
const AT_ONCE: usize = 64;
/// With the largest append it stays far below what one write of a server may have.
const BUCKET_BYTES: u64 = 4 * 1024 * 1024;
