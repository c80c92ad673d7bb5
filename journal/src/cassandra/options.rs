use std::time::Duration;

/// Settings of a [`Keyspace`](super::Keyspace).
///
/// ```
/// use annals_journal::cassandra::{Consistency, Options};
///
/// let options = Options::default().journal("bank").consistency(Consistency::LocalQuorum);
/// assert_eq!((options.journal.as_str(), options.replication_factor), ("bank", 3));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Which of the journals in the keyspace. Default: `annals`.
    pub journal: String,
    /// How many replicas must have a write, and answer a read. Default: a quorum of all.
    pub consistency: Consistency,
    /// How many replicas each data centre has of a keyspace that is made because it is missing. Default: 3.
    pub replication_factor: u32,
    /// How many events close a bucket (a partition) of an id. Processes may differ. Default: 1,000.
    pub bucket_events: u64,
    /// How long to wait for an answer. Default: 12 s, which is longer than the servers wait.
    pub request_timeout: Duration,
    /// How long a page waits for writes that are on their way before it makes them begin anew. Default: 200 ms.
    pub patience: Duration,
}

/// How many replicas answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consistency {
    /// `QUORUM` and `SERIAL`: most replicas of all data centres.
    Quorum,
    /// `LOCAL_QUORUM` and `LOCAL_SERIAL`: most replicas of one data centre. Right only while all processes that use the journal
    /// are in that one.
    LocalQuorum,
}

impl Options {
    /// The same for another journal.
    #[must_use]
    pub fn journal(self, journal: impl Into<String>) -> Self {
        Self { journal: journal.into(), ..self }
    }

    /// The same at another consistency.
    #[must_use]
    pub fn consistency(self, consistency: Consistency) -> Self {
        Self { consistency, ..self }
    }

    /// The same with another number of replicas, at least 1.
    #[must_use]
    pub fn replication_factor(self, replication_factor: u32) -> Self {
        Self { replication_factor: replication_factor.max(1), ..self }
    }

    /// The same with buckets of another size, at least 1.
    #[must_use]
    pub fn bucket_events(self, bucket_events: u64) -> Self {
        Self { bucket_events: bucket_events.max(1), ..self }
    }

    /// The same with another time to wait for an answer.
    #[must_use]
    pub fn request_timeout(self, request_timeout: Duration) -> Self {
        Self { request_timeout, ..self }
    }

    /// The same with another time that a page waits.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Whether a text can be a keyspace or a journal: 1 to 48 lower-case letters, digits and `_`, a letter first.
    pub(crate) fn is_name(text: &str) -> bool {
        const MAX_BYTES: usize = 48;
        let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        text.len() <= MAX_BYTES
            && text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
            && text.bytes().all(rest)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            journal: "annals".into(),
            consistency: Consistency::Quorum,
            replication_factor: 3,
            bucket_events: 1_000,
            request_timeout: Duration::from_secs(12),
            patience: Duration::from_millis(200),
        }
    }
}
