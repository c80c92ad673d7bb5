//! The tables. `journal` is the first column of each key: a keyspace can have several journals.
//!
//! ```text
//! events    a partition a bucket of an id: where the id stands (static columns), and its events. Conditional writes only
//! buckets   which buckets an id has; a hint: what is in `events` is the truth
//! ids       which ids there are, by lane
//! intents   what may be written under which ticket, by lane and span of time: 16 lanes by slice, and one for each tag
//! spans     in which spans a lane has intents
//! marks     numbers that only rise, the number being the time stamp too: newest ticket, floor, settled
//! records   one partition a journal: a change is made while `last` is as it was read. Conditional writes only
//! ```

use scylla::client::session::Session;

use super::failure::unavailable;
use super::{OpenError, Options};

/// Makes what is missing.
pub(super) async fn make(
    session: &Session,
    nodes: &str,
    keyspace: &str,
    options: &Options,
) -> Result<(), OpenError> {
    if version(session, keyspace).await.map_err(|error| cannot(nodes, &error))?.is_some() {
        // Whether it is ours is checked next.
        return Ok(());
    }
    let make = format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
         {{'class': 'NetworkTopologyStrategy', 'replication_factor': {}}}",
        options.replication_factor
    );
    if !exists(session, keyspace).await.map_err(|error| cannot(nodes, &error))? {
        session.query_unpaged(make, ()).await.map_err(|error| OpenError::Keyspace {
            nodes: nodes.to_owned(),
            keyspace: keyspace.to_owned(),
            reason: error.to_string(),
        })?;
    }
    for table in TABLES {
        let table = table.replace("TABLE ", &format!("TABLE IF NOT EXISTS {keyspace}."));
        session.query_unpaged(table, ()).await.map_err(|error| cannot(nodes, &error))?;
    }
    let told = format!("INSERT INTO {keyspace}.layout (component, version) VALUES ('journal', {VERSION})");
    session.query_unpaged(told, ()).await.map_err(|error| cannot(nodes, &error))?;
    Ok(())
}

/// Refuses a keyspace without a journal, or with that of a newer build.
pub(super) async fn check(session: &Session, nodes: &str, keyspace: &str) -> Result<(), OpenError> {
    let (nodes, keyspace_name) = (nodes.to_owned(), keyspace.to_owned());
    match version(session, keyspace).await {
        Ok(Some(VERSION)) => Ok(()),
        Ok(Some(found)) if found > VERSION => {
            Err(OpenError::NewerSchema { nodes, keyspace: keyspace_name, found, known: VERSION })
        }
        Ok(_) => Err(OpenError::Missing { nodes, keyspace: keyspace_name }),
        Err(error) => Err(cannot(&nodes, &error)),
    }
}

async fn exists(session: &Session, keyspace: &str) -> Result<bool, scylla::errors::ExecutionError> {
    let sought = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let found = session.query_unpaged(sought, (keyspace,)).await?;
    Ok(found.into_rows_result().is_ok_and(|rows| rows.rows_num() > 0))
}

/// The version of the tables; `None`: there are none, or not all.
async fn version(session: &Session, keyspace: &str) -> Result<Option<i32>, scylla::errors::ExecutionError> {
    let sought =
        "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'layout'";
    let found = session.query_unpaged(sought, (keyspace,)).await?;
    if !found.into_rows_result().is_ok_and(|rows| rows.rows_num() > 0) {
        return Ok(None);
    }
    let sought = format!("SELECT version FROM {keyspace}.layout WHERE component = 'journal'");
    let found = session.query_unpaged(sought, ()).await?.into_rows_result().ok();
    let version = found.and_then(|rows| rows.maybe_first_row::<(Option<i32>,)>().ok().flatten());
    Ok(version.and_then(|(version,)| version))
}

fn cannot(nodes: &str, error: &scylla::errors::ExecutionError) -> OpenError {
    let reason = unavailable(nodes, error.clone()).to_string();
    OpenError::CannotOpen { nodes: nodes.to_owned(), reason }
}

const VERSION: i32 = 1;

/// In the order in which they are made: who sees the last has all.
const TABLES: &[&str] = &[
    "CREATE TABLE events (journal text, id text, bucket bigint, seq bigint,
        head bigint static, epoch bigint static, activation bigint static, mark blob static,
        deleted_to bigint static, deleted_major bigint static, deleted_minor bigint static,
        deleted_tags frozen<list<text>> static,
        floor bigint static, owned boolean static, stored bigint static, bytes bigint static, closed boolean static,
        major bigint, minor bigint, envelope blob, tags frozen<list<text>>,
        PRIMARY KEY ((journal, id, bucket), seq))",
    "CREATE TABLE buckets (journal text, id text, bucket bigint, PRIMARY KEY ((journal, id), bucket))
        WITH CLUSTERING ORDER BY (bucket DESC)",
    "CREATE TABLE ids (journal text, lane text, id text, known boolean, PRIMARY KEY ((journal, lane), id))",
    "CREATE TABLE intents (journal text, lane text, span bigint, major bigint, minor bigint, kind int,
        id text, bucket bigint, first bigint, count bigint,
        PRIMARY KEY ((journal, lane, span), major, minor, kind))",
    "CREATE TABLE spans (journal text, lane text, span bigint, PRIMARY KEY ((journal, lane), span))",
    "CREATE TABLE marks (journal text, name text, value bigint, PRIMARY KEY (journal, name))",
    "CREATE TABLE records (journal text, key text, last bigint static, instances bigint static,
        revision bigint, value blob, PRIMARY KEY (journal, key))",
    "CREATE TABLE snapshots (journal text, id text, seq bigint, stored blob, PRIMARY KEY ((journal, id), seq))
        WITH CLUSTERING ORDER BY (seq DESC)",
    "CREATE TABLE layout (component text PRIMARY KEY, version int)",
];
