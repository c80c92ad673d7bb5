//! What a SQLite journal holds, read past the library.

use std::path::Path;
use std::time::Duration;

use annals::journal::{Envelope, PersistenceId, SeqNr};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

/// An event of the file.
pub(crate) struct Stored {
    pub(crate) id: PersistenceId,
    pub(crate) manifest: String,
    pub(crate) version: u32,
    /// Microseconds since 1970.
    pub(crate) at: u64,
    pub(crate) event: Value,
}

/// All events in the order of their commits: one statement sees one state of the file.
pub(crate) fn events(file: &Path) -> Vec<Stored> {
    let Some(conn) = open(file, "events") else { return Vec::new() };
    let mut statement = conn
        .prepare(
            "SELECT persistence_id, seq, envelope FROM events JOIN streams ON streams.id = stream
             ORDER BY ordering",
        )
        .unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?)))
        .unwrap();
    rows.map(|row| {
        let (id, seq, stored) = row.unwrap();
        let id: PersistenceId = id.parse().unwrap();
        let seq_nr = SeqNr::new(seq.try_into().unwrap()).unwrap();
        let envelope = Envelope::decode_as(&stored.into(), &id, seq_nr).unwrap();
        Stored {
            id,
            manifest: envelope.manifest.as_str().to_owned(),
            version: envelope.schema_version,
            at: envelope.timestamp.as_micros(),
            event: serde_json::from_slice(&envelope.payload).unwrap_or(Value::Null),
        }
    })
    .collect()
}

/// How many records there are whose keys match.
pub(crate) fn records(file: &Path, glob: &str) -> i64 {
    let Some(conn) = open(file, "records") else { return 0 };
    conn.query_row("SELECT count(*) FROM records WHERE key GLOB ?1", [glob], |row| row.get(0)).unwrap()
}

/// `None` when the first process was killed before it had made the table.
fn open(file: &Path, table: &str) -> Option<Connection> {
    if !file.exists() {
        return None;
    }
    let conn = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    conn.busy_timeout(Duration::from_secs(10)).unwrap();
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0))
        .unwrap();
    (tables > 0).then_some(conn)
}
