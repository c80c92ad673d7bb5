use std::collections::HashSet;
use std::mem;

use annals_journal::{AtomicWrite, Envelope, Epoch, JournalError, PersistenceId, Write, raise_epoch};
use anyhow::Context as _;

use crate::stores::Stores;

/// Collects events and writes many at a time: one commit for each list.
pub(super) struct Writer<'a> {
    stores: &'a Stores,
    list: Vec<AtomicWrite>,
    events: usize,
    bytes: usize,
    /// The counter stands at least here.
    epoch: Epoch,
    written: u64,
    /// Ids of the list.
    pending: HashSet<PersistenceId>,
    refused: HashSet<PersistenceId>,
    /// Of these, those that were not told yet, and why.
    news: Vec<(PersistenceId, String)>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(stores: &'a Stores) -> Self {
        Self {
            stores,
            list: Vec::new(),
            events: 0,
            bytes: 0,
            epoch: Epoch(0),
            written: 0,
            pending: HashSet::new(),
            refused: HashSet::new(),
            news: Vec::new(),
        }
    }

    /// Appends an event, by and by. Those of one id come in the order of their numbers.
    pub(super) async fn event(&mut self, event: Envelope) -> anyhow::Result<()> {
        if self.events >= EVENTS_A_LIST || self.bytes >= BYTES_A_LIST {
            self.flush().await?;
        }
        if self.is_refused(&event.persistence_id) {
            return Ok(());
        }
        self.events += 1;
        self.bytes += event.payload.len();
        match self.list.last_mut() {
            // One owner's events of one id are appended together, which is fewer answers.
            Some(append)
                if append.persistence_id == event.persistence_id
                    && append.token == event.token
                    && append.events.len() < EVENTS_AN_APPEND =>
            {
                append.events.push(event);
            }
            _ => {
                self.pending.insert(event.persistence_id.clone());
                self.list.push(AtomicWrite {
                    persistence_id: event.persistence_id.clone(),
                    expected: event.seq_nr.previous(),
                    token: event.token,
                    events: vec![event],
                    mark: None,
                });
            }
        }
        Ok(())
    }

    /// Writes what was collected.
    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        let list = mem::take(&mut self.list);
        (self.events, self.bytes) = (0, 0);
        self.pending.clear();
        let Some(newest) = list.iter().map(|append| append.token.epoch).max() else { return Ok(()) };
        // Before the events: whoever starts in between must not be fenced by them.
        if newest > self.epoch {
            raise_epoch(&*self.stores.records, newest).await?;
            self.epoch = newest;
        }
        let appends: Vec<_> =
            list.iter().map(|append| (append.persistence_id.clone(), append.events.len() as u64)).collect();
        let answers = self.stores.journal.write(list.into_iter().map(Write::Append).collect()).await;
        let mut failed = None;
        for ((id, events), answer) in appends.into_iter().zip(answers) {
            match answer {
                Ok(_) => self.written += events,
                Err(error @ (JournalError::Unavailable { .. } | JournalError::Unknown { .. })) => {
                    failed = failed.or(Some(error));
                }
                Err(error) => self.refuse(&id, error.to_string()),
            }
        }
        failed.map_or(Ok(()), |error| Err(error).context("the journal does not take the events"))
    }

    /// Nothing more of an id is taken. What was collected of it is sound, and is written.
    pub(super) fn refuse(&mut self, id: &PersistenceId, reason: String) {
        if self.refused.insert(id.clone()) {
            self.news.push((id.clone(), reason));
        }
    }

    /// Whether events of an id were collected and not written yet.
    pub(super) fn is_pending(&self, id: &PersistenceId) -> bool {
        self.pending.contains(id)
    }

    pub(super) fn is_refused(&self, id: &PersistenceId) -> bool {
        self.refused.contains(id)
    }

    /// Events that were written since the last time.
    pub(super) fn take_written(&mut self) -> u64 {
        mem::take(&mut self.written)
    }

    /// Ids that were refused since the last time, and why.
    pub(super) fn take_refused(&mut self) -> Vec<(PersistenceId, String)> {
        mem::take(&mut self.news)
    }
}

const EVENTS_A_LIST: usize = 1_024;
const BYTES_A_LIST: usize = 4 * 1024 * 1024;
/// Every backend takes as many.
const EVENTS_AN_APPEND: usize = 256;
