use std::path::Path;
use std::time::Duration;

use annals_journal::JournalUrl;
use anyhow::{Result, bail};
use tokio::runtime::Runtime;

use super::raw::{Rows, batches};
use super::server::Server;
use crate::contestant::{Contestant, Persisted};
use crate::scenario::Load;

/// SQL as one would write it by hand over the tables of Annals: the heads move and the events are stored, and nothing is checked.
pub(super) struct ByHand<'a> {
    pub(super) server: &'a Server,
    pub(super) runtime: &'a Runtime,
}

impl Contestant for ByHand<'_> {
    fn name(&self) -> &'static str {
        super::BY_HAND
    }

    fn persist(&self, load: &Load, _folder: &Path, rows_a_commit: u32) -> Result<Persisted> {
        self.runtime.block_on(async {
            self.server.empty(SCHEMA).await?;
            // Makes the tables.
            let opened = self.server.journal(SCHEMA).parse::<JournalUrl>()?.open().await?;
            drop(opened);
            batches(self.server, SCHEMA, load, rows_a_commit, async |connection, rows| {
                let Rows { pids, seqs, payloads } = rows;
                let ids: Vec<String> = pids.iter().map(|pid| format!("account|a-{pid:04}")).collect();
                let slices: Vec<i16> = pids.iter().map(|pid| (pid % 1024) as i16).collect();
                // As long as an envelope around it.
                let envelopes: Vec<Vec<u8>> = payloads
                    .into_iter()
                    .map(|payload| [&payload[..], &[7; ENVELOPE_BYTES]].concat())
                    .collect();
                let query = sqlx::query(STORE).bind(ids).bind(seqs).bind(slices).bind(envelopes);
                Ok(query.execute(connection).await?.rows_affected())
            })
            .await
        })
    }

    fn recover(&self, _load: &Load, _folder: &Path) -> Result<Duration> {
        bail!("SQL by hand only stores")
    }
}

const SCHEMA: &str = "by_hand";
/// What an envelope adds to the payload of the bench's event: ids, token, writer, time, manifest, sum.
const ENVELOPE_BYTES: usize = 84;
/// An entity has at most one row in a statement.
const STORE: &str = "
    WITH rows AS (
        SELECT * FROM unnest($1::text[], $2::int8[], $3::int2[], $4::bytea[])
            WITH ORDINALITY AS r(id, seq, slice, envelope, position)
    ), heads AS (
        INSERT INTO streams (persistence_id, slice, head, epoch, activation, deleted_to)
        SELECT id, slice, seq, 1, 1, 0 FROM rows
        ON CONFLICT (persistence_id) DO UPDATE SET head = excluded.head
    )
    INSERT INTO events (persistence_id, seq, generation, transaction_id, position, slice, envelope)
    SELECT id, seq, 1, pg_current_xact_id()::text::int8, position, slice, envelope FROM rows";
