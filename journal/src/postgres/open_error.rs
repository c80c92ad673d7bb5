use std::time::Duration;

use super::failure::code;

/// Why a journal in PostgreSQL could not be opened, and what to do about it. `server` is host, port and database, never a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The server does not answer.
    #[error("PostgreSQL at {server} does not answer ({reason}); is it running, and is the address right?")]
    Unreachable {
        /// Where.
        server: String,
        /// What happened.
        reason: String,
    },
    /// No connection was free in time.
    #[error(
        "PostgreSQL at {server} gave no connection within {waited:?}; is it overloaded, or is its max_connections reached?"
    )]
    Busy {
        /// Where.
        server: String,
        /// How long.
        waited: Duration,
    },
    /// TLS could not be begun as `sslmode` asks for it.
    #[error(
        "no TLS with PostgreSQL at {server} ({reason}); give the root that signed its certificate as sslrootcert, and the name that stands in it as the host"
    )]
    Tls {
        /// Where.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// The server does not let us in.
    #[error(
        "PostgreSQL at {server} does not let {user:?} in ({reason}); correct user and password, or pg_hba.conf"
    )]
    Refused {
        /// Where.
        server: String,
        /// As whom.
        user: String,
        /// What it says.
        reason: String,
    },
    /// There is no such database.
    #[error("PostgreSQL at {server} has no such database; create it, or correct the URL")]
    MissingDatabase {
        /// Where.
        server: String,
    },
    /// The server, or the database, is read-only.
    #[error(
        "PostgreSQL at {server} takes no writes ({reason}): it is a standby, or default_transaction_read_only is on; connect to the primary"
    )]
    ReadOnly {
        /// Where.
        server: String,
        /// What it says.
        reason: String,
    },
    /// The role may not do what is needed.
    #[error(
        "{user:?} may not make or use the tables of the journal at {server} ({reason}); `docs/backends.md` has the grants"
    )]
    Forbidden {
        /// Where.
        server: String,
        /// As whom.
        user: String,
        /// What it says.
        reason: String,
    },
    /// There is no journal, and it was to be read only.
    #[error("there is no journal in schema {schema:?} at {server}; correct the URL")]
    Missing {
        /// Where.
        server: String,
        /// Which schema.
        schema: String,
    },
    /// The schema has tables of something else.
    #[error(
        "schema {schema:?} at {server} has a table {table:?} that is not ours; choose another with ?schema=NAME"
    )]
    Foreign {
        /// Where.
        server: String,
        /// Which schema.
        schema: String,
        /// What was found.
        table: String,
    },
    /// The tables are those of a newer build.
    #[error(
        "the tables of {component} in schema {schema:?} at {server} have version {found}, this build knows {known}; run a newer build"
    )]
    NewerSchema {
        /// Where.
        server: String,
        /// Which schema.
        schema: String,
        /// Whose tables.
        component: String,
        /// The version that was found.
        found: u32,
        /// The newest that this build knows.
        known: u32,
    },
    /// The tables are those of an older build, and nothing may be changed.
    #[error(
        "the tables of {component} in schema {schema:?} at {server} have version {found}, this build needs {known}: open the journal once to write, and they are migrated"
    )]
    OlderSchema {
        /// Where.
        server: String,
        /// Which schema.
        schema: String,
        /// Whose tables.
        component: String,
        /// The version that was found, 0 when there are none.
        found: u32,
        /// The version that this build needs.
        known: u32,
    },
    /// The URL does not say how to connect.
    #[error("cannot connect to PostgreSQL: {reason}")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else.
    #[error("cannot open the journal in PostgreSQL at {server}: {reason}")]
    CannotOpen {
        /// Where.
        server: String,
        /// What happened.
        reason: String,
    },
}

/// What an error is told with.
pub(super) struct Place<'a> {
    pub(super) server: &'a str,
    pub(super) user: &'a str,
    pub(super) waited: Duration,
}

impl OpenError {
    pub(super) fn from_sqlx(place: &Place<'_>, error: &sqlx::Error) -> Self {
        let (server, user, reason) = (place.server.to_owned(), place.user.to_owned(), error.to_string());
        match (error, code(error).as_deref()) {
            (_, Some("28000" | "28P01")) => Self::Refused { server, user, reason },
            (_, Some("3D000")) => Self::MissingDatabase { server },
            (_, Some("25006")) => Self::ReadOnly { server, reason },
            // A table that is there, in a schema that the role may not use, does not exist for it.
            (_, Some("42501" | "42P01")) => Self::Forbidden { server, user, reason },
            (_, Some("53300" | "57P03" | "57P01" | "57P02")) => Self::Unreachable { server, reason },
            (sqlx::Error::PoolTimedOut, _) => Self::Busy { server, waited: place.waited },
            (sqlx::Error::Tls(_), _) => Self::Tls { server, reason },
            // So rustls names a certificate that it does not take.
            (sqlx::Error::Io(error), _) if error.kind() == std::io::ErrorKind::InvalidData => {
                Self::Tls { server, reason }
            }
            (sqlx::Error::Io(_), _) => Self::Unreachable { server, reason },
            (sqlx::Error::Configuration(_), _) => Self::Url { reason },
            _ => Self::CannotOpen { server, reason },
        }
    }
}
