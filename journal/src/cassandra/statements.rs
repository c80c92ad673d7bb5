//! Everything that is said to the servers, prepared once.

use scylla::client::session::Session;
use scylla::errors::PrepareError;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency as Level, SerialConsistency};

use super::Consistency;

/// The statements of a keyspace.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) state: PreparedStatement,
    /// Finishes what other writers have left in the middle, on the way.
    pub(super) settled_state: PreparedStatement,
    pub(super) create: PreparedStatement,
    pub(super) change: PreparedStatement,
    pub(super) raise_absent: PreparedStatement,
    pub(super) raise: PreparedStatement,
    pub(super) set_deleted: PreparedStatement,
    pub(super) insert_event: PreparedStatement,
    pub(super) replace_event: PreparedStatement,
    pub(super) delete_events: PreparedStatement,
    pub(super) events: PreparedStatement,
    pub(super) labels: PreparedStatement,
    pub(super) bucket_before: PreparedStatement,
    pub(super) buckets: PreparedStatement,
    pub(super) insert_bucket: PreparedStatement,
    pub(super) delete_bucket: PreparedStatement,
    pub(super) insert_id: PreparedStatement,
    pub(super) ids: PreparedStatement,
    pub(super) insert_intent: PreparedStatement,
    pub(super) intents: PreparedStatement,
    pub(super) insert_span: PreparedStatement,
    pub(super) spans: PreparedStatement,
    pub(super) raise_mark: PreparedStatement,
    pub(super) marks: PreparedStatement,
    pub(super) record: PreparedStatement,
    pub(super) records: PreparedStatement,
    pub(super) listed: PreparedStatement,
    pub(super) last: PreparedStatement,
    pub(super) first_change: PreparedStatement,
    pub(super) next_change: PreparedStatement,
    pub(super) set_record: PreparedStatement,
    pub(super) delete_record: PreparedStatement,
    pub(super) instances: PreparedStatement,
    pub(super) first_instance: PreparedStatement,
    pub(super) next_instance: PreparedStatement,
    pub(super) save_snapshot: PreparedStatement,
    pub(super) load_snapshot: PreparedStatement,
    pub(super) delete_snapshots: PreparedStatement,
    pub(super) list_snapshots: PreparedStatement,
}

/// The levels of a [`Consistency`].
pub(super) fn levels(consistency: Consistency) -> (Level, Level, SerialConsistency) {
    match consistency {
        Consistency::Quorum => (Level::Quorum, Level::Serial, SerialConsistency::Serial),
        Consistency::LocalQuorum => (Level::LocalQuorum, Level::LocalSerial, SerialConsistency::LocalSerial),
    }
}

struct Maker<'a> {
    session: &'a Session,
    keyspace: &'a str,
    consistency: Consistency,
}

impl Maker<'_> {
    /// A statement that may be done again: a read, or a write that says the same each time.
    async fn repeatable(&self, text: &str) -> Result<PreparedStatement, PrepareError> {
        let mut prepared = self.session.prepare(text.replace("KS.", &format!("{}.", self.keyspace))).await?;
        prepared.set_consistency(levels(self.consistency).0);
        prepared.set_is_idempotent(true);
        Ok(prepared)
    }

    async fn serial(&self, text: &str) -> Result<PreparedStatement, PrepareError> {
        let mut prepared = self.repeatable(text).await?;
        prepared.set_consistency(levels(self.consistency).1);
        Ok(prepared)
    }

    /// One that must be sent once: nobody knows what a second does when the first was made.
    async fn conditional(&self, text: &str) -> Result<PreparedStatement, PrepareError> {
        let mut prepared = self.repeatable(text).await?;
        prepared.set_serial_consistency(Some(levels(self.consistency).2));
        prepared.set_is_idempotent(false);
        Ok(prepared)
    }
}

impl Statements {
    pub(super) async fn prepare(
        session: &Session,
        keyspace: &str,
        consistency: Consistency,
    ) -> Result<Self, PrepareError> {
        const STATE: &str = "SELECT head, epoch, activation, mark, deleted_to, deleted_major, deleted_minor, deleted_tags, \
             floor, owned, stored, bytes, closed FROM KS.events WHERE journal = ? AND id = ? AND bucket = ? LIMIT 1";
        const CHANGE: &str = "UPDATE KS.events SET head = ?, epoch = ?, activation = ?, mark = ?, floor = ?, owned = ?, \
             stored = ?, bytes = ?, closed = ? WHERE journal = ? AND id = ? AND bucket = ? IF floor = ";
        const RAISE: &str =
            "UPDATE KS.events SET floor = ? WHERE journal = ? AND id = ? AND bucket = ? IF floor = ";
        let make = Maker { session, keyspace, consistency };
        Ok(Self {
            state: make.repeatable(STATE).await?,
            settled_state: make.serial(STATE).await?,
            create: make.conditional(&format!("{CHANGE}null")).await?,
            change: make.conditional(&format!("{CHANGE}?")).await?,
            raise_absent: make.conditional(&format!("{RAISE}null")).await?,
            raise: make.conditional(&format!("{RAISE}?")).await?,
            set_deleted: make
                .conditional(
                    "UPDATE KS.events SET deleted_to = ?, deleted_major = ?, deleted_minor = ?, deleted_tags = ? \
                     WHERE journal = ? AND id = ? AND bucket = ?",
                )
                .await?,
            insert_event: make
                .conditional(
                    "INSERT INTO KS.events (journal, id, bucket, seq, major, minor, envelope, tags) \
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                )
                .await?,
            replace_event: make
                .conditional(
                    "UPDATE KS.events SET envelope = ?, tags = ? \
                     WHERE journal = ? AND id = ? AND bucket = ? AND seq = ?",
                )
                .await?,
            delete_events: make
                .conditional("DELETE FROM KS.events WHERE journal = ? AND id = ? AND bucket = ? AND seq <= ?")
                .await?,
            events: make
                .repeatable(
                    "SELECT seq, major, minor, envelope FROM KS.events \
                     WHERE journal = ? AND id = ? AND bucket = ? AND seq >= ? AND seq <= ? LIMIT ?",
                )
                .await?,
            labels: make
                .repeatable(
                    "SELECT seq, major, minor, tags FROM KS.events \
                     WHERE journal = ? AND id = ? AND bucket = ? AND seq >= ? AND seq <= ? LIMIT ?",
                )
                .await?,
            bucket_before: make
                .repeatable(
                    "SELECT bucket FROM KS.buckets WHERE journal = ? AND id = ? AND bucket <= ? LIMIT 1",
                )
                .await?,
            buckets: make
                .repeatable("SELECT bucket FROM KS.buckets WHERE journal = ? AND id = ? AND bucket <= ?")
                .await?,
            insert_bucket: make
                .repeatable("INSERT INTO KS.buckets (journal, id, bucket) VALUES (?, ?, ?)")
                .await?,
            delete_bucket: make
                .repeatable("DELETE FROM KS.buckets WHERE journal = ? AND id = ? AND bucket = ?")
                .await?,
            insert_id: make
                .repeatable("INSERT INTO KS.ids (journal, lane, id, known) VALUES (?, ?, ?, ?)")
                .await?,
            ids: make
                .repeatable(
                    "SELECT id, known FROM KS.ids WHERE journal = ? AND lane = ? AND id > ? LIMIT ?",
                )
                .await?,
            insert_intent: make
                .repeatable(
                    "INSERT INTO KS.intents (journal, lane, span, major, minor, kind, id, bucket, first, count) \
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )
                .await?,
            intents: make
                .repeatable(
                    "SELECT major, minor, kind, id, bucket, first, count FROM KS.intents \
                     WHERE journal = ? AND lane = ? AND span = ? AND (major, minor, kind) > (?, ?, ?) \
                     AND (major) <= (?) LIMIT ?",
                )
                .await?,
            insert_span: make
                .repeatable("INSERT INTO KS.spans (journal, lane, span) VALUES (?, ?, ?)")
                .await?,
            spans: make
                .repeatable(
                    "SELECT span FROM KS.spans WHERE journal = ? AND lane = ? AND span >= ? AND span <= ? LIMIT ?",
                )
                .await?,
            raise_mark: make
                .repeatable("INSERT INTO KS.marks (journal, name, value) VALUES (?, ?, ?) USING TIMESTAMP ?")
                .await?,
            marks: make.repeatable("SELECT name, value FROM KS.marks WHERE journal = ?").await?,
            record: make
                .repeatable("SELECT revision, value FROM KS.records WHERE journal = ? AND key = ?")
                .await?,
            records: make
                .repeatable("SELECT key, revision, value FROM KS.records WHERE journal = ? AND key IN ?")
                .await?,
            listed: make
                .repeatable("SELECT key, revision, value FROM KS.records WHERE journal = ? AND key >= ? LIMIT ?")
                .await?,
            last: make.serial("SELECT DISTINCT journal, last FROM KS.records WHERE journal = ?").await?,
            first_change: make
                .conditional("UPDATE KS.records SET last = ? WHERE journal = ? IF last = null")
                .await?,
            next_change: make
                .conditional("UPDATE KS.records SET last = ? WHERE journal = ? IF last = ?")
                .await?,
            set_record: make
                .conditional("INSERT INTO KS.records (journal, key, revision, value) VALUES (?, ?, ?, ?)")
                .await?,
            delete_record: make
                .conditional("DELETE FROM KS.records WHERE journal = ? AND key = ?")
                .await?,
            instances: make
                .repeatable("SELECT DISTINCT journal, instances FROM KS.records WHERE journal = ?")
                .await?,
            first_instance: make
                .conditional("UPDATE KS.records SET instances = ? WHERE journal = ? IF instances = null")
                .await?,
            next_instance: make
                .conditional("UPDATE KS.records SET instances = ? WHERE journal = ? IF instances = ?")
                .await?,
            save_snapshot: make
                .repeatable("INSERT INTO KS.snapshots (journal, id, seq, stored) VALUES (?, ?, ?, ?)")
                .await?,
            load_snapshot: make
                .repeatable(
                    "SELECT seq, stored FROM KS.snapshots WHERE journal = ? AND id = ? AND seq <= ? LIMIT 1",
                )
                .await?,
            delete_snapshots: make
                .repeatable("DELETE FROM KS.snapshots WHERE journal = ? AND id = ? AND seq >= ? AND seq <= ?")
                .await?,
            list_snapshots: make
                .repeatable("SELECT seq FROM KS.snapshots WHERE journal = ? AND id = ? ORDER BY seq ASC")
                .await?,
        })
    }
}
