use std::time::Duration;

/// Settings of a [`Database`](super::Database).
///
/// ```
/// use annals_journal::postgres::Options;
///
/// let options = Options::default().schema("bank").writers(8);
/// assert_eq!((options.schema.as_str(), options.writers, options.readers), ("bank", 8, 4));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The schema that has the tables, made when it is missing. Default: `annals`.
    pub schema: String,
    /// The most connections that write; as many commits are on their way at a time. Default: 4.
    pub writers: u32,
    /// The most connections that read. Default: 4.
    pub readers: u32,
    /// How long to wait for a connection, or for a server that starts, before an answer is
    /// [`Unavailable`](crate::JournalError::Unavailable). Default: 5 s.
    pub acquire_timeout: Duration,
    /// How long a page waits at most for transactions that are open and began before something that it could give. It goes on at
    /// once when they end. Default: 50 ms.
    pub patience: Duration,
    /// Over how many partitions the events are spread, by a hash of their persistence id, when the tables are made; they stay as they
    /// were made. 0 is one table. Default: 0.
    pub partitions: u32,
}

impl Options {
    /// The same in another schema.
    #[must_use]
    pub fn schema(self, schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), ..self }
    }

    /// The same with another number of connections that write, at least 1.
    #[must_use]
    pub fn writers(self, writers: u32) -> Self {
        Self { writers: writers.max(1), ..self }
    }

    /// The same with another number of connections that read, at least 1.
    #[must_use]
    pub fn readers(self, readers: u32) -> Self {
        Self { readers: readers.max(1), ..self }
    }

    /// The same with another time to wait for a connection.
    #[must_use]
    pub fn acquire_timeout(self, acquire_timeout: Duration) -> Self {
        Self { acquire_timeout, ..self }
    }

    /// The same with another time that a page waits for open transactions.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same with the events of a new journal spread over partitions, at most 1024.
    #[must_use]
    pub fn partitions(self, partitions: u32) -> Self {
        Self { partitions: partitions.min(Self::MAX_PARTITIONS), ..self }
    }

    /// How many statements with questions of several readers are on their way at a time: half the connections that read, so that others are not
    /// kept waiting.
    pub fn reading_together(&self) -> usize {
        usize::try_from(self.readers.div_ceil(2)).unwrap_or(1)
    }

    /// The most partitions: each page of a reader looks into all of them.
    pub(crate) const MAX_PARTITIONS: u32 = 1024;

    /// Whether a text can be a schema: 1 to 63 lower-case letters, digits and `_`, a letter or `_` first.
    pub(crate) fn is_schema(text: &str) -> bool {
        const MAX_BYTES: usize = 63;
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        first && text.len() <= MAX_BYTES && text.bytes().all(rest) && !text.starts_with("pg_")
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            schema: "annals".into(),
            writers: 4,
            readers: 4,
            acquire_timeout: Duration::from_secs(5),
            patience: Duration::from_millis(50),
            partitions: 0,
        }
    }
}
