use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

use crate::JournalError;

/// What a failed conditional write means: whether it may be made.
pub(super) fn write_failure(nodes: &str, error: ExecutionError) -> JournalError {
    if is_certainly_not_made(&error) {
        return unavailable(nodes, error);
    }
    let reason = format!("Cassandra at {nodes} did not say whether a write was made ({error})");
    JournalError::unknown(reason, error)
}

/// What a failed statement means that only read, or that may be done again.
pub(super) fn unavailable(nodes: &str, error: ExecutionError) -> JournalError {
    let remedy = match db_error(&error) {
        Some(DbError::Unavailable { .. }) => "; too few replicas are up",
        Some(DbError::Unauthorized) => "; `docs/backends.md` has the grants",
        Some(DbError::Overloaded | DbError::ReadTimeout { .. } | DbError::WriteTimeout { .. }) => {
            "; the servers are overloaded, or too few replicas answer"
        }
        _ => "",
    };
    JournalError::unavailable(format!("Cassandra at {nodes} cannot be asked ({error}){remedy}"), error)
}

/// Refused before anything was proposed to a replica. That too few replicas are up, or that a server is overloaded, may also be said
/// of the commit, when the proposal has been accepted.
fn is_certainly_not_made(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::BadQuery(_)
        | ExecutionError::EmptyPlan
        | ExecutionError::PrepareError(_)
        | ExecutionError::ConnectionPoolError(_) => true,
        ExecutionError::LastAttemptError(
            RequestAttemptError::SerializationError(_)
            | RequestAttemptError::CqlRequestSerialization(_)
            | RequestAttemptError::UnableToAllocStreamId,
        ) => true,
        _ => matches!(
            db_error(error),
            Some(DbError::SyntaxError | DbError::Invalid | DbError::Unauthorized | DbError::ConfigError)
        ),
    }
}

fn db_error(error: &ExecutionError) -> Option<&DbError> {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => Some(error),
        _ => None,
    }
}

/// A stored value that is not what this build writes.
pub(super) fn malformed(nodes: &str, what: impl std::fmt::Display) -> JournalError {
    JournalError::Corrupt {
        persistence_id: None,
        seq_nr: None,
        reason: format!("a row in Cassandra at {nodes} cannot be read: {what}"),
    }
}
