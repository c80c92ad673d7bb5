//! From a claim to a running entity.

use std::panic::{AssertUnwindSafe, catch_unwind};

use annals_journal::{EventDigest, Head, JournalError, Replayed, SeqNr, StoredEvent, Timestamp, Token};
use annals_snapshot::{Cadence, Snapshot, SnapshotError};

use super::supervision::Sentence;
use super::{Action, Entity, Phase, Report, Revisions, Running, StopReason, Told};
use crate::panic::message;
use crate::{Failure, PersistentActor, RecoveryError};

/// The claim is on its way.
pub(super) struct Claiming {
    token: Token,
}

/// The id is ours up to `head`; a snapshot is being loaded.
pub(super) struct Loading {
    token: Token,
    head: Head,
    /// Snapshots above this number are of no use.
    at_most: SeqNr,
}

/// Events are being folded.
pub(super) struct Replaying<A: PersistentActor> {
    token: Token,
    head: Head,
    state: A,
    /// The number that comes next.
    next: SeqNr,
    replayed: u64,
    cadence: Cadence,
    /// The newest event that was read.
    last_event: Option<(EventDigest, Token)>,
    /// The snapshot that it began with, until its last event was compared.
    snapshot: Option<Box<Snapshot>>,
    began_with: SeqNr,
}

/// Fenced while an outcome is unknown: reads what of it is stored, and then stops.
pub(super) struct Settling {
    failure: Failure,
}

impl<A: PersistentActor> Entity<A> {
    pub(super) fn claim(&mut self) {
        let token = self.token();
        self.phase = Phase::Claiming(Claiming { token });
        self.out.push(Action::Claim(token));
    }

    /// Pauses before the next claim; after a while those who wait are told that the journal cannot be asked.
    pub(super) fn rest(&mut self) {
        let doublings = self.setbacks.saturating_sub(1).min(16);
        let bounds = &self.rules.bounds;
        let pause = bounds.first_pause.saturating_mul(1 << doublings).min(bounds.longest_pause);
        self.phase = Phase::Resting;
        self.out.push(Action::Rest(pause));
    }

    fn trouble(&mut self, now: Timestamp, reason: String) {
        self.setbacks = self.setbacks.saturating_add(1);
        let since = *self.trouble.get_or_insert_default().since.get_or_insert(now);
        self.out.push(Action::Report(Report::JournalUnavailable(reason.clone())));
        let failure = Failure::JournalUnavailable { reason };
        if now.since(since) < self.rules.bounds.patience {
            self.rest();
        } else if self.lost.is_some() && self.told == Told::GoOn {
            // What may be stored must be settled, however long it takes; callers have their own time limits.
            self.refuse_waiting(&failure);
            self.out.push(Action::RefuseMailbox(failure));
            self.rest();
        } else {
            self.halt(StopReason::Unavailable, &failure);
        }
    }

    pub(super) fn claimed(&mut self, now: Timestamp, result: Result<Head, JournalError>) {
        let Phase::Claiming(Claiming { token }) = self.phase else { return };
        match result {
            Ok(head) => self.load(now, token, head),
            Err(JournalError::Superseded { stored, .. }) => {
                self.rules.activations.raise(stored.activation);
                self.claim();
            }
            Err(error @ JournalError::Fenced { .. }) => {
                let failure = self.fenced(&error);
                match &self.lost {
                    // A newer owner has claimed: what is stored now is all that there will be from us.
                    Some(lost) => {
                        self.out.push(Action::Replay(lost.first_unknown(), lost.last()));
                        self.phase = Phase::Settling(Box::new(Settling { failure }));
                    }
                    None => self.halt(StopReason::Fenced, &failure),
                }
            }
            Err(JournalError::Erased { .. }) => self.erased(),
            Err(
                error @ (JournalError::Corrupt { .. }
                | JournalError::Rejected { .. }
                | JournalError::Key { .. }),
            ) => self.fail_recovery(RecoveryError::journal(&error)),
            // Unknown too: the next claim has a newer activation, as it must.
            Err(error) => self.trouble(now, error.to_string()),
        }
    }

    fn load(&mut self, now: Timestamp, token: Token, head: Head) {
        if let Some(lost) = self.lost.take_if(|lost| lost.first_unknown() <= head.erased_to) {
            // Nobody will know any more whether it was stored.
            self.out.extend(lost.into_unknown());
        }
        if head.seq_nr == head.erased_to || A::REPLACES_STATE {
            // Nothing was ever stored, or nothing that can be read; or there are no snapshots.
            self.replay(now, token, head, None);
            return;
        }
        // What is lost must be read as events, so a snapshot that covers it is of no use.
        let at_most = self.lost.as_ref().map_or(head.seq_nr, |lost| lost.confirmed.min(head.seq_nr));
        self.load_below(now, Loading { token, head, at_most });
    }

    fn load_below(&mut self, now: Timestamp, loading: Loading) {
        if loading.at_most <= loading.head.erased_to {
            self.replay(now, loading.token, loading.head, None);
        } else {
            self.out.push(Action::Load(loading.at_most));
            self.phase = Phase::Loading(Box::new(loading));
        }
    }

    pub(super) fn loaded(&mut self, now: Timestamp, result: Result<Option<Snapshot>, SnapshotError>) {
        let Phase::Loading(loading) = &self.phase else { return };
        let Loading { token, head, at_most } = **loading;
        match result {
            // An older one is none, too: it is of what was erased.
            Ok(None) | Err(SnapshotError::Erased { .. }) => self.replay(now, token, head, None),
            Ok(Some(snapshot)) if snapshot.seq_nr <= head.erased_to => self.replay(now, token, head, None),
            Ok(Some(snapshot)) => match self.usable(&snapshot, head, at_most) {
                Ok(state) => self.replay(now, token, head, Some((state, snapshot))),
                Err(reason) => self.older_snapshot(now, token, head, snapshot.seq_nr.min(at_most), reason),
            },
            Err(SnapshotError::Corrupt { seq_nr, reason, .. }) => {
                self.older_snapshot(now, token, head, seq_nr.min(at_most), reason);
            }
            Err(error) if head.deleted_to == SeqNr::ZERO => {
                self.out.push(Action::Report(Report::SnapshotStoreUnavailable(error.to_string())));
                self.replay(now, token, head, None);
            }
            Err(error) => self.trouble(now, error.to_string()),
        }
    }

    fn older_snapshot(&mut self, now: Timestamp, token: Token, head: Head, unusable: SeqNr, reason: String) {
        self.out.push(Action::Report(Report::UnreadableSnapshot { seq_nr: unusable, reason }));
        self.load_below(now, Loading { token, head, at_most: unusable.previous() });
    }

    /// Makes a snapshot into a state, when it can belong to this journal.
    fn usable(&self, snapshot: &Snapshot, head: Head, at_most: SeqNr) -> Result<A, String> {
        if snapshot.persistence_id != self.identity.persistence_id {
            return Err(format!("it belongs to {}", snapshot.persistence_id));
        }
        if snapshot.seq_nr > at_most {
            return Err(format!("it lies ahead of the journal, which ends at {at_most:?}"));
        }
        if snapshot.token > head.token {
            return Err(format!("its token {} is newer than the journal's, {}", snapshot.token, head.token));
        }
        let decode = || {
            let states = &self.rules.states;
            states.decode(&snapshot.manifest, snapshot.schema_version, snapshot.codec, &snapshot.payload)
        };
        match catch_unwind(AssertUnwindSafe(decode)) {
            Ok(decoded) => decoded.map_err(|error| error.to_string()),
            Err(panic) => Err(message(&*panic)),
        }
    }

    fn replay(&mut self, now: Timestamp, token: Token, head: Head, snapshot: Option<(A, Snapshot)>) {
        let (state, next, cadence, snapshot, began_with) = match snapshot {
            // Behind what was erased a new life begins.
            None => {
                let first = head.erased_to.next();
                // Where each is the whole state, the newest is enough; and what is lost must be read.
                let newest = self.lost.as_ref().map_or(head.seq_nr, |lost| lost.first_unknown());
                let next = if A::REPLACES_STATE { newest.min(head.seq_nr).max(first) } else { first };
                (A::default(), next, Cadence::new(), None, SeqNr::ZERO)
            }
            Some((state, snapshot)) => {
                let seq_nr = snapshot.seq_nr;
                let cadence = Cadence::from_snapshot(snapshot.timestamp);
                if seq_nr > head.deleted_to {
                    // Its last event is read again, to compare.
                    (state, seq_nr, cadence, Some(Box::new(snapshot)), seq_nr)
                } else {
                    (state, seq_nr.next(), cadence, None, seq_nr)
                }
            }
        };
        if next <= head.deleted_to {
            self.events_missing(now, token, head);
            return;
        }
        let replaying = Box::new(Replaying {
            token,
            head,
            state,
            next,
            replayed: 0,
            cadence,
            last_event: None,
            snapshot,
            began_with,
        });
        if next > head.seq_nr {
            self.ready(now, *replaying);
        } else {
            self.out.push(Action::Replay(next, head.seq_nr));
            self.phase = Phase::Replaying(replaying);
        }
    }

    /// No snapshot at hand covers what was deleted.
    fn events_missing(&mut self, now: Timestamp, token: Token, head: Head) {
        match self.lost.take() {
            // A snapshot above what is lost may do; then nobody will know what became of the lost commands.
            Some(lost) => {
                self.out.extend(lost.into_unknown());
                self.load(now, token, head);
            }
            // A newer owner may have deleted them since the claim, behind a snapshot that lies ahead of it: the next claim
            // is fenced then, or finds another head.
            None => {
                let uncovered = Some((head.seq_nr, head.deleted_to));
                let trouble = self.trouble.get_or_insert_default();
                if std::mem::replace(&mut trouble.uncovered, uncovered) == uncovered {
                    self.fail_recovery(RecoveryError::EventsMissing { to: head.deleted_to });
                } else {
                    self.claim();
                }
            }
        }
    }

    pub(super) fn replayed(&mut self, now: Timestamp, result: Result<Option<Replayed>, JournalError>) {
        match std::mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Replaying(replaying) => self.replaying(now, replaying, result),
            Phase::Settling(settling) => self.settling(now, settling, result),
            other => self.phase = other,
        }
    }

    fn replaying(
        &mut self,
        now: Timestamp,
        mut replaying: Box<Replaying<A>>,
        result: Result<Option<Replayed>, JournalError>,
    ) {
        match result {
            Ok(Some(Replayed::Event(event))) => {
                if let Some(snapshot) = replaying.snapshot.take()
                    && !snapshot.belongs_to(&event.envelope)
                {
                    let reason = "its last event is not the journal's: it belongs to another history";
                    let Replaying { token, head, .. } = *replaying;
                    self.older_snapshot(now, token, head, snapshot.seq_nr, reason.into());
                    return;
                }
                match self.fold(&mut replaying, &event) {
                    Ok(()) => self.phase = Phase::Replaying(replaying),
                    Err(error) => self.fail_recovery(error),
                }
            }
            Ok(Some(Replayed::Deleted { to, .. })) => {
                // Deleted since the claim, by retention elsewhere: a newer snapshot covers it, or nothing does.
                let head = Head { deleted_to: to, ..replaying.head };
                if replaying.head.deleted_to < to && self.lost.is_none() {
                    self.load(now, replaying.token, head);
                } else {
                    self.events_missing(now, replaying.token, head);
                }
            }
            // Since the claim: before, the claim would have been told, or have begun behind it.
            Ok(Some(Replayed::Erased { .. })) | Err(JournalError::Erased { .. }) => self.erased(),
            Ok(Some(_)) => {
                let reason = "the replay has an item that this build does not know: run a newer build";
                self.fail_recovery(RecoveryError::Journal { message: reason.into() });
            }
            Ok(None) if replaying.next <= replaying.head.seq_nr => {
                // The claim said that there is more.
                let (expected, found) = (replaying.head.seq_nr, replaying.next.previous());
                self.fail_recovery(RecoveryError::Gap { expected, found });
            }
            Ok(None) => self.ready(now, *replaying),
            Err(error @ (JournalError::Unavailable { .. } | JournalError::Unknown { .. })) => {
                self.trouble(now, error.to_string());
            }
            Err(error) => self.fail_recovery(RecoveryError::journal(&error)),
        }
    }

    fn fold(&mut self, replaying: &mut Replaying<A>, event: &StoredEvent) -> Result<(), RecoveryError> {
        let envelope = &event.envelope;
        let seq_nr = envelope.seq_nr;
        if seq_nr != replaying.next {
            return Err(RecoveryError::Gap { expected: replaying.next, found: seq_nr });
        }
        if let Some(lost) = &mut self.lost {
            lost.observe(seq_nr, envelope.token, envelope.writer == self.rules.writer);
        }
        replaying.next = seq_nr.next();
        if seq_nr == replaying.head.seq_nr {
            replaying.last_event = Some((envelope.digest(), envelope.token));
        }
        if seq_nr == replaying.began_with {
            return Ok(());
        }
        replaying.replayed += 1;
        replaying.cadence.replayed(envelope.payload.len(), envelope.timestamp);
        let (adapter, state) = (&self.rules.adapter, &mut replaying.state);
        let adapted = catch_unwind(AssertUnwindSafe(|| {
            adapter.from_journal(envelope, &mut |event| state.apply(&event))
        }));
        match adapted {
            Ok(adapted) => {
                adapted.map_err(|error| RecoveryError::event(envelope, adapter.versions(), &error))
            }
            Err(panic) => Err(RecoveryError::Panicked { seq_nr, message: message(&*panic) }),
        }
    }

    fn ready(&mut self, now: Timestamp, replaying: Replaying<A>) {
        let Replaying { token, head, state, replayed, cadence, last_event, began_with, .. } = replaying;
        self.trouble = None;
        let mut running = Running::new(token, state, head.seq_nr, last_event, cadence, now);
        if A::REPLACES_STATE {
            running = running.with_revisions(Revisions::deleted_to(head.deleted_to.max(head.erased_to)));
        }
        self.phase = Phase::Running(Box::new(running));
        self.out.push(Action::Ready { replayed, snapshot: began_with });
        if let Some(lost) = self.lost.take() {
            let confirmed = lost.confirmed;
            let settled = lost.settle();
            self.out.extend(settled.stored);
            self.retry.extend(settled.again);
            self.reconsider_stash(confirmed);
            self.order_retry();
            if let Phase::Running(running) = &mut self.phase {
                running.leave(settled.after);
            }
        }
        if self.told == Told::Stop {
            self.stop(now);
        }
        if let Some(sentence) = self.supervision.as_mut().and_then(|so_far| so_far.recovered()) {
            self.carry_out(sentence);
        }
    }

    /// What the panic before this recovery costs; nothing when the entity leaves anyway.
    fn carry_out(&mut self, sentence: Sentence) {
        match (std::mem::replace(&mut self.phase, Phase::Stopped), sentence) {
            (Phase::Running(running), Sentence::Pause(pause)) if !running.is_stopping() => {
                self.out.push(Action::Rest(pause));
                self.phase = Phase::Pausing(running);
            }
            (Phase::Running(running), Sentence::GiveUp(message)) if !running.is_stopping() => {
                self.give_up(message);
            }
            (other, _) => self.phase = other,
        }
    }

    fn settling(
        &mut self,
        now: Timestamp,
        settling: Box<Settling>,
        result: Result<Option<Replayed>, JournalError>,
    ) {
        match result {
            Ok(Some(Replayed::Event(event))) => {
                let ours = event.envelope.writer == self.rules.writer;
                if let Some(lost) = &mut self.lost {
                    lost.observe(event.envelope.seq_nr, event.envelope.token, ours);
                }
                self.phase = Phase::Settling(settling);
            }
            Ok(None) => {
                if let Some(lost) = self.lost.take() {
                    let settled = lost.settle();
                    self.out.extend(settled.stored);
                    self.retry.extend(settled.again);
                }
                self.halt(StopReason::Fenced, &settling.failure);
            }
            Err(JournalError::Unavailable { reason, .. }) => {
                // The next claim is fenced again, and leads back here.
                self.trouble(now, reason);
            }
            // Deleted meanwhile, or unreadable: nobody will know.
            Ok(Some(_)) | Err(_) => self.halt(StopReason::Fenced, &settling.failure),
        }
    }
}
