use std::time::Duration;

/// Settings of a [`Database`](super::Database).
///
/// ```
/// use annals_journal::sqlite::{Durability, Options};
///
/// let options = Options::default().durability(Durability::Os);
/// assert_eq!(options.busy_timeout, std::time::Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// What an answered write survives. Default: [`Durability::EachCommit`].
    pub durability: Durability,
    /// How long to wait for another process that holds the file's lock. Default: 5 s.
    pub busy_timeout: Duration,
    /// The most reads at a time. Default: 4.
    pub readers: usize,
    /// Pages (of 4 KiB) in the write-ahead log from which on they are copied into the file; four times as many while commits take 4 ms and
    /// more. Default: 4,000 (16 MiB).
    pub checkpoint_pages: u32,
}

impl Options {
    /// The same with another durability.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// The same with another time to wait for a lock.
    #[must_use]
    pub fn busy_timeout(self, busy_timeout: Duration) -> Self {
        Self { busy_timeout, ..self }
    }

    /// The same with another number of concurrent reads, at least 1.
    #[must_use]
    pub fn readers(self, readers: usize) -> Self {
        Self { readers: readers.max(1), ..self }
    }

    /// The same with another length of the write-ahead log, at least 1 page.
    #[must_use]
    pub fn checkpoint_pages(self, checkpoint_pages: u32) -> Self {
        Self { checkpoint_pages: checkpoint_pages.max(1), ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::EachCommit,
            busy_timeout: Duration::from_secs(5),
            readers: 4,
            checkpoint_pages: 4_000,
        }
    }
}

/// Which crashes an answered write survives.
///
/// | | process killed (`kill -9`, panic, out of memory) | operating system crash, power loss |
/// |---|---|---|
/// | [`EachCommit`](Self::EachCommit) | survives | survives |
/// | [`Os`](Self::Os) | survives | the last seconds may be lost, from the end; what is there is whole and in order |
///
/// Losing the end of a journal after it was answered is more than a delay: offsets and numbers that readers
/// have seen are given to other events afterwards. Choose [`Os`](Self::Os) for what can be imported again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// Each commit is fsynced before it is answered (`synchronous=FULL`). The default.
    #[default]
    EachCommit,
    /// Commits are left to the operating system, which writes them in its own time; the file is fsynced when the write-ahead
    /// log is copied into it (`synchronous=NORMAL`).
    Os,
}

impl Durability {
    pub(super) const fn pragma(self) -> &'static str {
        match self {
            Self::EachCommit => "FULL",
            Self::Os => "NORMAL",
        }
    }
}
