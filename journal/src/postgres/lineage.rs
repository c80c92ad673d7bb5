//! Whether the server is still the one on which the generation of offsets began.
//!
//! Offsets have the server's transaction numbers in them, which rise for as long as it is the same server. After a dump is restored
//! elsewhere, a restore to an earlier moment, or a failover, they may begin again at or below what is stored: then the generation is
//! raised, so that what is written from then on lies behind everything that was read. Looked at on each new connection that
//! writes; a server does not become another one under a connection. So is the ledger's version, because a server that crashed has drawn
//! numbers ahead.

use sqlx::{Connection as _, PgConnection, Row as _};

/// The server, and which of its lives: a new one begins with each promotion and each restore.
macro_rules! lineage {
    () => {
        "(SELECT system_identifier::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system())"
    };
}

/// Raises the generation when the server is another one.
pub(super) async fn check(connection: &mut PgConnection) -> sqlx::Result<()> {
    if stands(connection).await? {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    // Waits for the writes that are on their way under the old generation.
    sqlx::query("SELECT pg_advisory_xact_lock(ledger_key())").execute(&mut *transaction).await?;
    // Another process may have been faster.
    if !stands(&mut transaction).await? {
        let raised: Option<i32> = sqlx::query_scalar(RAISE).fetch_optional(&mut *transaction).await?;
        sqlx::query(TAKE_OVER).execute(&mut *transaction).await?;
        if let Some(generation) = raised {
            tracing::warn!(
                generation,
                "the journal goes on on another server, or was restored: a new generation of offsets begins"
            );
        }
    }
    transaction.commit().await
}

async fn stands(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let row = sqlx::query(STANDS).fetch_one(connection).await?;
    Ok(row.try_get::<Option<bool>, _>(0)?.unwrap_or(true))
}

/// Null on a standby, which takes no writes.
const STANDS: &str = concat!(
    "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE l.version = pg_sequence_last_value('ledger_versions'::regclass)",
    " AND l.lineage IS NOT DISTINCT FROM ",
    lineage!(),
    " AND coalesce((SELECT e.transaction_id < pg_snapshot_xmax(pg_current_snapshot())::text::int8 FROM events e",
    " WHERE e.generation = l.generation ORDER BY e.generation DESC, e.transaction_id DESC, e.position DESC LIMIT 1), true) END",
    " FROM ledger l"
);

/// Ends the generation where its last event is; nothing where it has none, or where it never had a server.
const RAISE: &str = "\
WITH ended AS (
    INSERT INTO generations (generation, last_transaction_id, last_position)
    SELECT l.generation, e.transaction_id, e.position FROM ledger l CROSS JOIN LATERAL (
        SELECT transaction_id, position FROM events WHERE generation = l.generation
        ORDER BY generation DESC, transaction_id DESC, position DESC LIMIT 1) e
    RETURNING generation)
UPDATE ledger l SET generation = l.generation + 1 FROM ended WHERE ended.generation = l.generation RETURNING l.generation";

const TAKE_OVER: &str =
    concat!("UPDATE ledger SET version = nextval('ledger_versions'), lineage = ", lineage!());
