use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Statement};

use super::stream::Stream;
use crate::{Gate, GatedCall, JournalError, PersistenceId};

/// The rows of the ids that were written last, and the gate, as the connection that writes knows them.
///
/// ```text
///  put ──▶ young ── full ──▶ old ── the next time ──▶ forgotten      found in old: young again
/// ```
/// They are true inside a transaction that holds the write lock and has [asked](Self::refresh) whether another connection
/// committed since the last one. Whatever is undone makes them doubtful: then all are forgotten.
#[derive(Debug, Default)]
pub(super) struct Heads {
    young: HashMap<PersistenceId, Stream>,
    old: HashMap<PersistenceId, Stream>,
    /// What SQLite says of the state that they were true in: it changes with every commit of another connection.
    version: Option<i64>,
    /// As of the same state.
    gate: Option<Gate>,
    /// Events were inserted since somebody asked.
    appended: bool,
}

impl Heads {
    /// Forgets everything when somebody else has written. Inside a transaction.
    pub(super) fn refresh(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let version = conn.prepare_cached("PRAGMA data_version")?.query_row((), |row| row.get(0))?;
        if self.version != Some(version) {
            self.forget();
            self.gate = read_gate(conn)?;
            self.version = Some(version);
        }
        // Only between two lists: what a list has put is there until it ends.
        if self.young.len() >= IDS_A_GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        Ok(())
    }

    /// Events are being inserted.
    pub(super) fn append(&mut self) {
        self.appended = true;
    }

    /// Whether events were inserted since the last call.
    pub(super) fn take_appended(&mut self) -> bool {
        std::mem::take(&mut self.appended)
    }

    /// Whether the gate lets a call pass.
    pub(super) fn pass_gate(&self, call: GatedCall) -> Result<(), JournalError> {
        self.gate.as_ref().map_or(Ok(()), |gate| gate.check(call))
    }

    /// The row of an id, from the file when it is not known; `find` is [`Stream::FIND`].
    pub(super) fn find(
        &mut self,
        find: &mut Statement<'_>,
        id: &PersistenceId,
    ) -> rusqlite::Result<Option<Stream>> {
        if let Some(known) = self.young.get(id) {
            return Ok(Some(*known));
        }
        let found = match self.old.remove(id) {
            Some(known) => Some(known),
            None => Stream::find_with(find, id)?,
        };
        if let Some(stream) = found {
            self.young.insert(id.clone(), stream);
        }
        Ok(found)
    }

    /// Notes what the transaction makes of a row.
    pub(super) fn put(&mut self, id: &PersistenceId, stream: Stream) {
        match self.young.get_mut(id) {
            Some(known) => *known = stream,
            None => drop(self.young.insert(id.clone(), stream)),
        }
    }

    /// Knows nothing any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

fn read_gate(conn: &Connection) -> rusqlite::Result<Option<Gate>> {
    conn.prepare_cached("SELECT value FROM records WHERE key = ?")?
        .query_row([Gate::key().as_str()], |row| {
            Ok(Gate::decode(row.get_ref(0)?.as_blob()?).unwrap_or_else(|_| Gate::unreadable()))
        })
        .optional()
}

/// About 2 MiB for both generations.
const IDS_A_GENERATION: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Head, SeqNr, Token};

    fn file() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("heads.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL").unwrap();
        for step in super::super::tables::TABLES.steps {
            conn.execute_batch(step).unwrap();
        }
        (directory, path)
    }

    fn seq_nr(heads: &mut Heads, conn: &Connection, id: &PersistenceId) -> u64 {
        let transaction = conn.unchecked_transaction().unwrap();
        heads.refresh(conn).unwrap();
        let mut find = conn.prepare_cached(Stream::FIND).unwrap();
        let found = heads.find(&mut find, id).unwrap();
        drop(transaction);
        found.map_or(0, |stream| stream.head.seq_nr.get())
    }

    fn stream(id: i64, number: u64) -> Stream {
        let seq_nr = SeqNr::new(number).unwrap();
        Stream { id, head: Head { seq_nr, token: Token::new(Epoch(1), 1), ..Head::EMPTY } }
    }

    #[test]
    fn what_is_known_is_not_read_until_another_connection_commits() {
        let (_directory, path) = file();
        let (ours, theirs) = (Connection::open(&path).unwrap(), Connection::open(&path).unwrap());
        let id = PersistenceId::new("account", "alice").unwrap();
        let mut heads = Heads::default();
        assert_eq!(seq_nr(&mut heads, &ours, &id), 0);
        let row = Stream::insert(&ours, &id, Head::EMPTY).unwrap();
        // Not what the file says, so that it shows where an answer comes from.
        heads.put(&id, stream(row.id, 7));
        assert_eq!(seq_nr(&mut heads, &ours, &id), 7);
        Stream::insert(&theirs, &PersistenceId::new("account", "bob").unwrap(), Head::EMPTY).unwrap();
        assert_eq!(seq_nr(&mut heads, &ours, &id), 0);
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let (_directory, path) = file();
        let conn = Connection::open(&path).unwrap();
        let hot = PersistenceId::new("account", "hot").unwrap();
        let mut heads = Heads::default();
        heads.refresh(&conn).unwrap();
        heads.put(&hot, stream(1, 7));
        for number in 0..5 * IDS_A_GENERATION {
            heads.put(&PersistenceId::new("account", &number.to_string()).unwrap(), stream(2, 1));
            assert_eq!(seq_nr(&mut heads, &conn, &hot), 7);
        }
        assert!(heads.young.len() + heads.old.len() <= 2 * IDS_A_GENERATION + 2);
    }
}
