//! The snapshots beside a journal, one id after the other.

use std::sync::PoisonError;
use std::time::Instant;

use annals_journal::{PersistenceId, SeqNr};
use annals_snapshot::{Snapshot, SnapshotError};
use futures::{StreamExt, TryStreamExt, stream};

use super::sweep::{Judged, Sweep};
use super::{LeftAlone, RewriteError, RewriteReport, StoredState, Target};
use crate::pace::Pace;
use crate::{Encoded, Form};

impl Sweep {
    /// Rewrites snapshots, or counts what would be done.
    pub(super) async fn states(
        &self,
        write: bool,
        report: &mut RewriteReport,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RewriteError> {
        let mut pace = Pace::new(self.settings.events_per_second, Instant::now());
        let mut after: Option<PersistenceId> = None;
        loop {
            let ids = self.journal.persistence_ids(after.as_ref(), IDS).await?;
            // Most have none, and each is waited for.
            let lists = stream::iter(&ids).map(|id| self.snapshots.list(id)).buffered(LISTS_AT_ONCE);
            let lists: Vec<_> = lists.try_collect().await?;
            for (id, numbers) in ids.iter().zip(lists) {
                let count = self.states_of(id, &numbers, write, report).await?;
                progress(count);
                pace.wait_after(count).await;
            }
            if ids.len() < IDS {
                return Ok(());
            }
            after = ids.into_iter().next_back();
        }
    }

    async fn states_of(
        &self,
        id: &PersistenceId,
        numbers: &[SeqNr],
        write: bool,
        report: &mut RewriteReport,
    ) -> Result<u64, RewriteError> {
        for number in numbers {
            let snapshot = match self.snapshots.load(id, *number).await {
                Ok(Some(snapshot)) if snapshot.seq_nr == *number => snapshot,
                // Deleted meanwhile; or unreadable, which recovery passes over.
                Ok(_) | Err(SnapshotError::Corrupt { .. } | SnapshotError::Erased { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let form = Form::new(snapshot.manifest.clone(), snapshot.schema_version);
            let stored = StoredState {
                manifest: &snapshot.manifest,
                schema_version: snapshot.schema_version,
                codec: snapshot.codec,
                payload: &snapshot.payload,
            };
            let rewritten = self.rewriter.state(id.kind(), &stored, &self.target);
            match self.judge(rewritten) {
                Judged::Stays => report.snapshots.entry(form).or_default().stay += 1,
                Judged::NotHosted => *report.not_hosted.entry(id.kind().to_owned()).or_default() += 1,
                Judged::Becomes(encoded) => {
                    let to = Form::new(encoded.manifest.clone(), encoded.schema_version);
                    if write {
                        self.clear_state(id, &to).await?;
                        self.snapshots.save(in_snapshot(encoded, snapshot)).await?;
                    }
                    let counts = report.snapshots.entry(form).or_default();
                    *counts.become_form.entry(to).or_default() += 1;
                }
                Judged::Cannot(reason) => {
                    // All events are there, so that the snapshot is worth no more than the time of replaying them.
                    let down = matches!(self.target, Target::ReadableBy(_));
                    if down && self.drop_state(id, &snapshot, write).await? {
                        report.snapshots.entry(form).or_default().dropped += 1;
                    } else {
                        let (persistence_id, seq_nr) = (id.clone(), *number);
                        report.leave(LeftAlone { persistence_id, seq_nr, is_snapshot: true, reason }, form);
                    }
                }
            }
        }
        Ok(numbers.len() as u64)
    }

    /// Deletes a snapshot that no other one stands for, where all events are there; answers whether they are.
    async fn drop_state(
        &self,
        id: &PersistenceId,
        snapshot: &Snapshot,
        write: bool,
    ) -> Result<bool, RewriteError> {
        if self.journal.head(id).await?.deleted_to >= SeqNr::FIRST {
            return Ok(false);
        }
        if write {
            self.snapshots.delete(id, snapshot.seq_nr..=snapshot.seq_nr).await?;
            // Its owner may have deleted events at the same moment, because there was this snapshot.
            if self.journal.head(id).await?.deleted_to >= SeqNr::FIRST {
                self.snapshots.save(snapshot.clone()).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn clear_state(&self, id: &PersistenceId, form: &Form) -> Result<(), RewriteError> {
        let Some(clear) = &self.clear else { return Ok(()) };
        let key = (id.kind().to_owned(), form.clone());
        if self.cleared.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            return Ok(());
        }
        clear(key.0.clone(), form.clone())
            .await
            .map_err(|reason| RewriteError::Refused { form: form.clone(), reason })?;
        self.cleared.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        Ok(())
    }
}

fn in_snapshot(encoded: Encoded, snapshot: Snapshot) -> Snapshot {
    Snapshot {
        manifest: encoded.manifest,
        schema_version: encoded.schema_version,
        codec: encoded.codec,
        payload: encoded.payload,
        ..snapshot
    }
}

const IDS: usize = 256;
const LISTS_AT_ONCE: usize = 64;
