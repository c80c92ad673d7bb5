//! The way from an owner to the store: group commit in front, or every write by itself.

use std::collections::VecDeque;

use annals_journal::{Head, JournalError, Token, Write};

use super::store::Store;

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ticket {
    Write(u64),
    Claim(u64),
}

#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) ticket: Ticket,
    pub(super) write: Write,
}

/// A commit on its way.
pub(super) struct Flight {
    pub(super) entries: Vec<Sent>,
    /// What the store said, when it was there.
    pub(super) landed: Option<Vec<Result<Head, JournalError>>>,
}

pub(super) type Answer = (Ticket, Result<Head, JournalError>);

/// What has left the owner and is not answered.
#[derive(Default)]
pub(super) struct Link {
    queue: VecDeque<Sent>,
    pub(super) flights: Vec<Flight>,
}

impl Link {
    pub(super) fn push(&mut self, ticket: Ticket, write: Write) {
        self.queue.push_back(Sent { ticket, write });
    }

    /// Whether a commit can leave.
    pub(super) fn can_send(&self, grouped: bool) -> bool {
        !self.queue.is_empty() && (!grouped || self.flights.is_empty())
    }

    pub(super) fn send(&mut self, grouped: bool, batch: usize) {
        let most = if grouped { batch.max(1) } else { 1 };
        let entries: Vec<_> = self.queue.drain(..most.min(self.queue.len())).collect();
        self.flights.push(Flight { entries, landed: None });
    }

    /// The futures of the writes are dropped: what waits is taken out, what is on its way goes on.
    pub(super) fn forget(&mut self, claims: bool) {
        self.queue.retain(|sent| matches!(sent.ticket, Ticket::Claim(_)) != claims);
    }

    /// The commit arrives at the store.
    pub(super) fn land(&mut self, flight: usize, store: &mut Store) {
        if let Some(flight) = self.flights.get_mut(flight) {
            flight.landed = Some(flight.store_first(flight.entries.len(), store));
        }
    }

    /// The owner learns what became of the commit; `Err`: of it from an entry on, whatever the store said.
    pub(super) fn answer(
        &mut self,
        flight: usize,
        grouped: bool,
        error: Option<(usize, JournalError)>,
    ) -> (Vec<Answer>, Flight) {
        let flight = self.flights.remove(flight);
        let mut answers: Vec<Answer> = Vec::new();
        for (at, sent) in flight.entries.iter().enumerate() {
            let answer = match (&error, &flight.landed) {
                (Some((from, error)), _) if at >= *from => Err(error.clone()),
                (_, Some(landed)) => landed[at].clone(),
                (_, None) => Err(unknown()),
            };
            answers.push((sent.ticket, answer));
        }
        if grouped {
            let failed: Vec<(Token, JournalError)> = answers
                .iter()
                .zip(&flight.entries)
                .filter_map(|((_, answer), sent)| Some((sent.write.token(), answer.as_ref().err()?.clone())))
                .collect();
            self.queue.retain(|sent| match failed.iter().find(|(token, _)| *token == sent.write.token()) {
                Some((_, error)) => {
                    answers.push((sent.ticket, Err(error.clone())));
                    false
                }
                None => true,
            });
        }
        (answers, flight)
    }
}

impl Flight {
    /// The first entries arrive; the rest is lost.
    pub(super) fn store_first(&self, entries: usize, store: &mut Store) -> Vec<Result<Head, JournalError>> {
        let writes: Vec<_> = self.entries.iter().take(entries).map(|sent| sent.write.clone()).collect();
        store.write(&writes)
    }

    pub(super) fn has_claim(&self) -> bool {
        self.entries.iter().any(|sent| matches!(sent.ticket, Ticket::Claim(_)))
    }
}

pub(super) fn unknown() -> JournalError {
    JournalError::Unknown { reason: "the line went dead".into(), source: None }
}
