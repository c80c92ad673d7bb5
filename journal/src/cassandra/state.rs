//! Where an id stands, and what its writes make of it. No store in here: what is decided is made by one conditional write, or not at all.
//!
//! ```text
//! bucket 1        bucket 1001      bucket 2007 …      a bucket's name is the first number that it may hold
//! closed ───────▶ closed ────────▶ open               only the last is open; what stands in a closed one never changes, so that
//!                                                      whoever opens the next writes the same
//! floor           the ticket of the newest change: raised by each, so that it is the version too. Nothing with an older ticket,
//!                 or with the same one, is made any more
//! ```

use crate::encoded_write::{EncodedKind, EncodedWrite};
use crate::{Gate, Head, JournalError, MarkChange, NotStored, Offset, PersistenceId, SeqNr, Tag};

/// The static columns of an id's bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) bucket: SeqNr,
    pub(super) head: Head,
    /// Of the last event that was deleted.
    pub(super) deleted_at: Offset,
    /// Of all events that were deleted.
    pub(super) deleted_tags: Vec<Tag>,
    /// `None`: nobody has written the bucket.
    pub(super) floor: Option<u64>,
    /// Somebody has claimed or written the id.
    pub(super) owned: bool,
    /// What was ever stored in the bucket.
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) closed: bool,
}

/// When a bucket is closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct BucketLimits {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// An entry of a list, and the first offset that its ticket has for it.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) write: EncodedWrite,
    pub(super) minor: u64,
}

/// What is asked under, see [`super::ticket`].
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) major: u64,
    pub(super) gate: Option<Gate>,
}

/// An event to be stored: its number, its offset's fine part, and which entry and event of the list it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) seq_nr: SeqNr,
    pub(super) minor: u64,
    pub(super) entry: usize,
    pub(super) event: usize,
}

/// What the first entries of a list come to.
#[derive(Debug)]
pub(super) struct Decided {
    /// One for each entry that was decided; those behind need another ticket.
    pub(super) answers: Vec<Result<Head, JournalError>>,
    /// The state afterwards, when it is another.
    pub(super) change: Option<State>,
    pub(super) rows: Vec<Row>,
}

impl State {
    /// A bucket that nobody has written.
    pub(super) fn absent(bucket: SeqNr) -> Self {
        Self {
            bucket,
            head: Head { seq_nr: SeqNr::ZERO, ..Head::EMPTY },
            deleted_at: Offset::BEGINNING,
            deleted_tags: Vec::new(),
            floor: None,
            owned: false,
            events: 0,
            bytes: 0,
            closed: false,
        }
    }

    /// The bucket behind this one, as whoever comes first opens it.
    pub(super) fn next_bucket(&self) -> Self {
        Self { bucket: self.head.seq_nr.next(), events: 0, bytes: 0, closed: false, ..self.clone() }
    }

    /// Whether a change under this ticket can still be made.
    pub(super) fn admits(&self, major: u64) -> bool {
        !self.closed && self.floor.is_none_or(|floor| floor < major)
    }

    /// Decides entries of one id in their order. Those behind one that closes the bucket, or that makes the write too large, are left.
    pub(super) fn decide(
        &self,
        id: &PersistenceId,
        entries: &[Placed],
        ticket: &Ticket,
        not_stored: &mut NotStored,
        limits: BucketLimits,
    ) -> Decided {
        let mut next = self.clone();
        let mut decided = Decided { answers: Vec::new(), change: None, rows: Vec::new() };
        for (entry, placed) in entries.iter().enumerate() {
            let token = placed.write.token;
            let answer = match not_stored.earlier_of(id, token) {
                Some(error) => Err(error.clone()),
                None => next.apply(id, placed, ticket, entry, &mut decided.rows),
            };
            if let Err(error) = &answer {
                not_stored.remember(id, token, error);
            }
            decided.answers.push(answer);
            if next.events >= limits.events || next.bytes >= limits.bytes {
                next.closed = true;
                break;
            }
        }
        if next != *self {
            next.floor = Some(ticket.major);
            decided.change = Some(next);
        }
        decided
    }

    fn apply(
        &mut self,
        id: &PersistenceId,
        placed: &Placed,
        ticket: &Ticket,
        entry: usize,
        rows: &mut Vec<Row>,
    ) -> Result<Head, JournalError> {
        let EncodedWrite { token, kind, .. } = &placed.write;
        let token = *token;
        if let EncodedKind::Append { events: Err(error), .. } = kind {
            return Err(error.clone());
        }
        if let Some(gate) = &ticket.gate {
            gate.check(kind.gated())?;
        }
        let head = self.head;
        if head.token > token {
            return Err(JournalError::outranked(id, token, head.token));
        }
        match kind {
            EncodedKind::Append { expected, .. } if *expected != head.seq_nr => Err(JournalError::Conflict {
                persistence_id: id.clone(),
                expected: *expected,
                head: head.seq_nr,
            }),
            EncodedKind::Append { events, mark, .. } => {
                let events = events.as_ref().map_err(Clone::clone)?;
                if let Some(change) = mark {
                    self.mark(id, change)?;
                }
                for (event, encoded) in events.iter().enumerate() {
                    self.head.seq_nr = self.head.seq_nr.next();
                    let minor = placed.minor + event as u64;
                    rows.push(Row { seq_nr: self.head.seq_nr, minor, entry, event });
                    self.events += 1;
                    self.bytes += encoded.bytes.len() as u64;
                }
                (self.head.token, self.owned) = (token, true);
                Ok(self.head)
            }
            EncodedKind::Claim => {
                (self.head.token, self.owned) = (token, true);
                Ok(self.head)
            }
            EncodedKind::Verify if head.token == token => Ok(head),
            EncodedKind::Mark(change) if head.token == token => {
                self.mark(id, change)?;
                Ok(self.head)
            }
            EncodedKind::Verify | EncodedKind::Mark(_) => Err(JournalError::outranked(id, token, head.token)),
        }
    }

    fn mark(&mut self, id: &PersistenceId, change: &MarkChange) -> Result<(), JournalError> {
        if self.head.mark != change.from {
            let (persistence_id, seq_nr) = (id.clone(), self.head.seq_nr);
            return Err(JournalError::Conflict { persistence_id, expected: seq_nr, head: seq_nr });
        }
        self.head.mark = Some(change.to);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cassandra::CassandraJournal;
    use crate::{AtomicWrite, Codec, Envelope, Epoch, Manifest, Mark, Timestamp, Token, Write, WriterId};

    const LIMITS: BucketLimits = BucketLimits { events: 4, bytes: 1 << 20 };

    fn id() -> PersistenceId {
        PersistenceId::new("test", "a").unwrap()
    }

    fn nr(number: u64) -> SeqNr {
        SeqNr::new(number).unwrap()
    }

    fn token(activation: u64) -> Token {
        Token::new(Epoch(1), activation)
    }

    fn placed(write: Write, minor: u64) -> Placed {
        Placed { write: EncodedWrite::new(write, CassandraJournal::LIMITS), minor }
    }

    fn append(activation: u64, expected: u64, count: u64, minor: u64) -> Placed {
        let event = |number: u64| Envelope {
            persistence_id: id(),
            seq_nr: nr(number),
            token: token(activation),
            writer: WriterId::from_bytes([1; 16]),
            timestamp: Timestamp::from_micros(number),
            manifest: Manifest::new("test.happened").unwrap(),
            schema_version: 1,
            codec: Codec::Json,
            tags: Vec::new(),
            trace_context: None,
            key_id: None,
            payload: "1".into(),
        };
        let events = (expected + 1..=expected + count).map(event).collect();
        let token = token(activation);
        placed(
            Write::Append(AtomicWrite {
                persistence_id: id(),
                expected: nr(expected),
                token,
                events,
                mark: None,
            }),
            minor,
        )
    }

    fn claim(activation: u64) -> Placed {
        placed(Write::Claim { persistence_id: id(), token: token(activation) }, 0)
    }

    fn decide(state: &State, entries: &[Placed], major: u64) -> Decided {
        let ticket = Ticket { major, gate: None };
        state.decide(&id(), entries, &ticket, &mut NotStored::new(), LIMITS)
    }

    /// A bucket with so many events, of the first activation.
    fn with(count: u64) -> State {
        let decided = decide(&State::absent(nr(1)), &[append(1, 0, count, 0)], 10);
        decided.change.unwrap()
    }

    #[test]
    fn a_bucket_is_closed_by_the_write_that_fills_it_and_the_next_begins_behind_it() {
        for (count, closed) in [(3, false), (4, true), (5, true), (9, true)] {
            let state = with(count);
            assert_eq!((state.closed, state.head.seq_nr), (closed, nr(count)), "{count} events");
            assert_eq!(state.admits(11), !closed);
            let next = state.next_bucket();
            assert_eq!((next.bucket, next.events, next.closed), (nr(count + 1), 0, false));
            assert_eq!((next.head, next.floor, next.owned), (state.head, state.floor, true));
        }
    }

    #[test]
    fn what_stands_behind_the_write_that_closes_a_bucket_needs_another_ticket() {
        let entries = [append(1, 0, 2, 0), append(1, 2, 2, 2), append(1, 4, 1, 4)];
        let decided = decide(&State::absent(nr(1)), &entries, 10);
        assert_eq!(decided.answers.len(), 2);
        assert_eq!(
            decided.rows.iter().map(|row| (row.seq_nr.get(), row.minor)).collect::<Vec<_>>(),
            [(1, 0), (2, 1), (3, 2), (4, 3)]
        );
        // A stale writer that opens the next bucket is judged there by what was carried over.
        let next = with(4).next_bucket();
        let taken = decide(&next, &[claim(2)], 11).change.unwrap();
        let stale = decide(&taken, &[append(1, 4, 1, 0)], 12);
        assert!(
            matches!(stale.answers[..], [Err(JournalError::Superseded { .. })]) && stale.change.is_none()
        );
    }

    #[test]
    fn each_change_raises_the_floor_and_nothing_is_admitted_at_or_below_it() {
        let state = with(2);
        assert_eq!(state.floor, Some(10));
        assert_eq!([state.admits(9), state.admits(10), state.admits(11)], [false, false, true]);
        // What changes nothing leaves it.
        let refused = decide(&state, &[append(1, 7, 1, 0)], 11);
        assert!(refused.change.is_none() && refused.rows.is_empty());
        let same = decide(&state, &[claim(1)], 11);
        assert!(same.change.is_none() && same.answers[0].is_ok());
    }

    #[test]
    fn a_gate_refuses_what_it_is_about() {
        let entries = || [append(1, 2, 1, 0), claim(3)];
        let gate = |gate| Ticket { major: 11, gate: Some(gate) };
        let sealed = gate(Gate::Sealed { to: "b".into() });
        let decided = with(2).decide(&id(), &entries(), &sealed, &mut NotStored::new(), LIMITS);
        assert!(decided.change.is_none());
        assert!(decided.answers.iter().all(|answer| matches!(answer, Err(JournalError::Rejected { .. }))));
        let filling = gate(Gate::Filling { from: "b".into() });
        let decided = with(2).decide(&id(), &entries(), &filling, &mut NotStored::new(), LIMITS);
        assert!(matches!(decided.answers[..], [Ok(_), Err(JournalError::Rejected { .. })]));
    }

    #[test]
    fn an_append_whose_mark_is_another_leaves_all_as_it_is() {
        let mut write = append(1, 2, 1, 0);
        let EncodedKind::Append { mark, .. } = &mut write.write.kind else { unreachable!() };
        let other = Mark::from_bytes([1; 32]);
        *mark = Some(Box::new(MarkChange { from: Some(other), to: other }));
        let decided = decide(&with(2), &[write], 11);
        assert!(decided.change.is_none() && decided.rows.is_empty());
        assert!(matches!(decided.answers[..], [Err(JournalError::Conflict { .. })]));
    }
}
