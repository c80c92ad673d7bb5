use std::time::Instant;

use tracing::Span;

use crate::encoded_write::{EncodedKind, EncodedWrite};
use crate::telemetry::{JournalMetrics, PERSIST_SPAN};
use crate::{Head, JournalError, NotStored, PersistenceId, SeqNr, Token, Write};

/// The answers to a list, one for each entry.
pub(super) type Answers = Vec<Result<Head, JournalError>>;

/// An entry of a list, in one of the forms in which a backend takes it.
pub(super) trait Entry {
    fn persistence_id(&self) -> &PersistenceId;
    fn token(&self) -> Token;
    /// About how many bytes it puts into a commit.
    fn size(&self) -> usize;
    /// How many events it has, and how many bytes their payloads.
    fn events(&self) -> (usize, usize);
    /// The number of its last event.
    fn last(&self) -> Option<SeqNr>;
}

/// What must be known of entries that are on their way.
pub(super) struct Sent {
    entries: Vec<SentEntry>,
    began: Instant,
}

struct SentEntry {
    id: PersistenceId,
    token: Token,
    events: usize,
    bytes: usize,
}

impl Sent {
    /// Nothing yet, from now on.
    pub(super) fn begin() -> Self {
        Self { entries: Vec::new(), began: Instant::now() }
    }

    /// Notes entries that are sent now.
    pub(super) fn extend(&mut self, writes: &[impl Entry]) {
        self.entries.extend(writes.iter().map(|write| {
            let (events, bytes) = write.events();
            SentEntry { id: write.persistence_id().clone(), token: write.token(), events, bytes }
        }));
    }

    /// How many entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// A span around the commit of what is sent so far, of which `writes` is the beginning.
    pub(super) fn span(&self, writes: &[impl Entry]) -> Span {
        // Asked for first: with the feature `log` of tracing, which others may turn on, the fields are made for nothing.
        if !tracing::level_enabled!(tracing::Level::INFO) {
            return Span::none();
        }
        tracing::info_span!(
            PERSIST_SPAN,
            entries = self.len(),
            events = self.entries.iter().map(|sent| sent.events).sum::<usize>(),
            bytes = self.entries.iter().map(|sent| sent.bytes).sum::<usize>(),
            persistence_id = self.entries.first().map(|sent| sent.id.as_str()),
            seq_nr = writes.first().and_then(Entry::last).map(SeqNr::get),
        )
    }

    /// One answer for each entry, whatever the backend gave.
    pub(super) fn one_for_each(&self, answers: Result<Answers, String>) -> Answers {
        let entries = self.len();
        let reason = match answers {
            Ok(answers) if answers.len() == entries => return answers,
            Ok(answers) => format!("the journal gave {} answers to {entries} entries", answers.len()),
            Err(reason) => reason,
        };
        tracing::error!(entries, reason, "the outcome of a commit is unknown");
        vec![Err(JournalError::Unknown { reason, source: None }); entries]
    }

    /// Counts what became of the entries; says which were not stored.
    pub(super) fn count(&self, answers: &Answers, metrics: &JournalMetrics) -> NotStored {
        metrics.commit_seconds.record(self.began.elapsed().as_secs_f64());
        metrics.batch_entries.record(self.len() as f64);
        let mut not_stored = NotStored::new();
        let (mut events, mut bytes) = (0, 0);
        for (sent, answer) in self.entries.iter().zip(answers) {
            match answer {
                Ok(_) => {
                    events += sent.events as u64;
                    bytes += sent.bytes as u64;
                }
                Err(error) => {
                    metrics.failed(error);
                    not_stored.remember(&sent.id, sent.token, error);
                }
            }
        }
        metrics.appended_events.increment(events);
        metrics.appended_bytes.increment(bytes);
        not_stored
    }
}

impl Entry for Write {
    fn persistence_id(&self) -> &PersistenceId {
        self.persistence_id()
    }

    fn token(&self) -> Token {
        self.token()
    }

    fn size(&self) -> usize {
        self.size()
    }

    fn events(&self) -> (usize, usize) {
        match self {
            Self::Append(append) => {
                (append.events.len(), append.events.iter().map(|event| event.payload.len()).sum())
            }
            Self::Claim { .. } | Self::Verify { .. } | Self::Mark { .. } => (0, 0),
        }
    }

    fn last(&self) -> Option<SeqNr> {
        match self {
            Self::Append(append) => Some(append.last()),
            Self::Claim { .. } | Self::Verify { .. } | Self::Mark { .. } => None,
        }
    }
}

impl Entry for EncodedWrite {
    fn persistence_id(&self) -> &PersistenceId {
        &self.persistence_id
    }

    fn token(&self) -> Token {
        self.token
    }

    fn size(&self) -> usize {
        self.size
    }

    fn events(&self) -> (usize, usize) {
        (self.event_count, self.payload_bytes)
    }

    fn last(&self) -> Option<SeqNr> {
        match &self.kind {
            EncodedKind::Append { expected, .. } => Some(expected.plus(self.event_count as u64)),
            EncodedKind::Claim | EncodedKind::Verify | EncodedKind::Mark(_) => None,
        }
    }
}
