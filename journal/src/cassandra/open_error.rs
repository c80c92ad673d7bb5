/// Why a journal in Cassandra could not be opened, and what to do about it. `nodes` are addresses, never a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No node answers.
    #[error("Cassandra at {nodes} does not answer ({reason}); is it running, and is the address right?")]
    Unreachable {
        /// Where.
        nodes: String,
        /// What happened.
        reason: String,
    },
    /// The keyspace is not there and cannot be made.
    #[error(
        "keyspace {keyspace} at {nodes} is not there and could not be made ({reason}); make it, or grant CREATE"
    )]
    Keyspace {
        /// Where.
        nodes: String,
        /// Which.
        keyspace: String,
        /// What the server says.
        reason: String,
    },
    /// There is no journal, and it was to be read only.
    #[error("there is no journal in keyspace {keyspace} at {nodes}; correct the URL")]
    Missing {
        /// Where.
        nodes: String,
        /// Which.
        keyspace: String,
    },
    /// The tables are those of a newer build.
    #[error(
        "the tables in keyspace {keyspace} at {nodes} have version {found}, this build knows {known}; run a newer build"
    )]
    NewerSchema {
        /// Where.
        nodes: String,
        /// Which.
        keyspace: String,
        /// The version that was found.
        found: i32,
        /// The newest that this build knows.
        known: i32,
    },
    /// The URL does not say how to connect.
    #[error("cannot connect to Cassandra: {reason}")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else.
    #[error("cannot open the journal in Cassandra at {nodes}: {reason}")]
    CannotOpen {
        /// Where.
        nodes: String,
        /// What happened.
        reason: String,
    },
}
