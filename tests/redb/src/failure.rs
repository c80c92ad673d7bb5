use annals_journal::JournalError;
use redb::{CommitError, StorageError, TableError, TransactionError};

/// Why a transaction was given up before its commit: certainly nothing is stored.
#[derive(Debug)]
pub(crate) enum Failure {
    /// By redb.
    Store(redb::Error),
    /// By us, with the answer.
    Answer(JournalError),
}

impl Failure {
    pub(crate) fn answer(self) -> JournalError {
        match self {
            Self::Answer(answer) => answer,
            Self::Store(redb::Error::Corrupted(reason)) => {
                JournalError::Corrupt { persistence_id: None, seq_nr: None, reason }
            }
            Self::Store(error) => JournalError::unavailable(
                format!("redb failed ({error}); look at the disk and its rights"),
                error,
            ),
        }
    }

    /// The commit itself failed: it may be on the disk, or come there.
    pub(crate) fn of_commit(error: CommitError) -> JournalError {
        JournalError::unknown(format!("the commit failed ({error})"), error)
    }
}

impl From<JournalError> for Failure {
    fn from(answer: JournalError) -> Self {
        Self::Answer(answer)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Store(error.into())
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        Self::Store(error.into())
    }
}

impl From<TransactionError> for Failure {
    fn from(error: TransactionError) -> Self {
        Self::Store(error.into())
    }
}
