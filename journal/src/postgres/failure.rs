use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::JournalError;

/// What a failed statement means that wrote: whether it is stored.
///
/// An error that the server reports with severity ERROR has undone the transaction; of a connection that broke nobody knows
/// whether the commit came first.
pub fn write_failure(server: &str, error: sqlx::Error) -> JournalError {
    if is_certainly_undone(&error) {
        return unavailable(server, error);
    }
    let reason = format!(
        "the connection to PostgreSQL at {server} failed before the answer to a write came ({error})"
    );
    JournalError::unknown(reason, error)
}

/// What a failed statement means that only read, or a connection that was not had.
pub fn read_failure(server: &str, error: sqlx::Error) -> JournalError {
    if let sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) = &error {
        let reason = format!(
            "PostgreSQL at {server} gave a row that is none of ours ({error}); restore it from a backup"
        );
        return JournalError::Corrupt { persistence_id: None, seq_nr: None, reason };
    }
    unavailable(server, error)
}

/// Whether the transaction gave way to others: it did nothing, and may succeed when it is done again.
pub(super) fn gave_way(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some(SERIALIZATION_FAILURE | DEADLOCK))
}

/// Whether the connection was ended, by the server, by an operator or on the way.
pub(super) fn was_ended(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        error => matches!(code(error).as_deref(), Some("57P01" | "57P02")),
    }
}

/// The five characters by which PostgreSQL names an error.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

fn is_certainly_undone(error: &sqlx::Error) -> bool {
    let Some(reported) =
        error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
    else {
        // These come before anything is sent.
        return matches!(
            error,
            sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::Encode(_)
                | sqlx::Error::Configuration(_)
        );
    };
    // A backend that is told to end while it waits for a standby has committed: it says FATAL, and nobody knows.
    matches!(reported.severity(), PgSeverity::Error) && !reported.code().starts_with("57P")
}

fn unavailable(server: &str, error: sqlx::Error) -> JournalError {
    let remedy = match (&error, code(&error).as_deref()) {
        (sqlx::Error::PoolTimedOut, _) => {
            "no connection was free in time: is the server there, and are there enough writers and readers?"
        }
        (sqlx::Error::PoolClosed, _) => "the journal was closed; open it again",
        (sqlx::Error::Io(_) | sqlx::Error::Tls(_), _) => "is the server running, and is the network well?",
        (_, Some("25006")) => {
            "the server takes no writes: it is a standby, or default_transaction_read_only is on; connect to the primary"
        }
        (_, Some("57014")) => {
            "the statement was cancelled: a statement_timeout that is too short, or an operator"
        }
        (_, Some("55P03")) => {
            "a lock was not had in time: which session holds it? See pg_stat_activity, or set a longer lock_timeout"
        }
        (_, Some("28000" | "28P01")) => {
            "the server does not let us in: correct user and password, or pg_hba.conf"
        }
        (_, Some("42501")) => "the role lacks a right: docs/backends.md has the grants",
        (_, Some("53100")) => "the server's disk is full; make room, the journal goes on by itself",
        (_, Some("53300")) => {
            "the server has no connection left: raise max_connections, or use fewer writers and readers"
        }
        (_, Some(code)) if code.starts_with("57P") => "the server stops or starts",
        (_, Some(SERIALIZATION_FAILURE | DEADLOCK)) => "others were in the way each time; try again",
        (_, Some("42P01" | "42883" | "3F000")) => {
            "the journal's tables are gone: was the schema dropped, or restored? Open the journal again"
        }
        _ => "this is unexpected: look at the server's log",
    };
    JournalError::unavailable(format!("PostgreSQL at {server}: {error}; {remedy}"), error)
}

const SERIALIZATION_FAILURE: &str = "40001";
const DEADLOCK: &str = "40P01";
