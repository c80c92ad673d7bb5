use std::collections::BTreeMap;
use std::fmt;

use annals_journal::{Envelope, JournalError, PersistenceId, Replayed, SeqNr, Timestamp};
use annals_migrations::{EventList, Form};
use annals_snapshot::{SnapshotError, SnapshotStore};

use crate::history::{Chapter, History};
use crate::stores::Stores;

/// What is stored of an id.
pub(super) struct Entity {
    pub(super) id: PersistenceId,
    pub(super) stored: BTreeMap<(Of, Form), Stored>,
    /// Events and snapshots.
    pub(super) unreadable: u64,
    pub(super) sealed_lists: u64,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    Event,
    Snapshot,
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Event => "event",
            Self::Snapshot => "snapshot",
        })
    }
}

/// How much of one form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) count: u64,
    pub(super) ids: u64,
    pub(super) oldest: Timestamp,
    pub(super) newest: Timestamp,
}

impl Stored {
    /// As much of other ids.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.ids += other.ids;
        self.oldest = self.oldest.min(other.oldest);
        self.newest = self.newest.max(other.newest);
    }
}

pub(super) async fn look_at(stores: Stores, id: PersistenceId) -> Result<Entity, JournalError> {
    // In a task of its own, so that ids are worked on in parallel.
    let looking = tokio::spawn(async move {
        let mut entity = Entity { stored: BTreeMap::new(), unreadable: 0, sealed_lists: 0, id: id.clone() };
        let head = stores.stored_journal().head(&id).await?;
        let mut history = History::opened(&stores, &id, head, SeqNr::FIRST, head.seq_nr).await;
        while let Some(chapter) = history.next().await {
            match chapter {
                Chapter::Item(Replayed::Event(event)) => entity.event(&event.envelope),
                Chapter::Item(_) => {}
                Chapter::Unreadable(..) => entity.unreadable += 1,
                Chapter::Broken(error) => return Err(error),
            }
        }
        entity.snapshots(&**stores.stored_snapshots()).await?;
        Ok(entity)
    });
    looking.await.unwrap_or_else(|_| {
        Err(JournalError::Unavailable { reason: "the runtime shut down".into(), source: None })
    })
}

impl Entity {
    fn event(&mut self, envelope: &Envelope) {
        let at = envelope.timestamp;
        if !EventList::is(&envelope.manifest) {
            return self.count(Of::Event, Form::new(envelope.manifest.clone(), envelope.schema_version), at);
        }
        if envelope.key_id.is_some() {
            self.sealed_lists += 1;
            return;
        }
        match EventList::parts(envelope) {
            Ok(parts) => {
                for part in parts {
                    self.count(Of::Event, Form::new(part.manifest, part.schema_version), at);
                }
            }
            Err(_) => self.unreadable += 1,
        }
    }

    async fn snapshots(&mut self, snapshots: &dyn SnapshotStore) -> Result<(), JournalError> {
        let failed = |error: SnapshotError| JournalError::Unavailable {
            reason: format!("the snapshots of {}: {error}", self.id),
            source: None,
        };
        for seq_nr in snapshots.list(&self.id).await.map_err(failed)? {
            match snapshots.load(&self.id, seq_nr).await {
                Ok(Some(found)) if found.seq_nr == seq_nr => {
                    self.count(
                        Of::Snapshot,
                        Form::new(found.manifest, found.schema_version),
                        found.timestamp,
                    );
                }
                // Deleted meanwhile.
                Ok(_) => {}
                Err(SnapshotError::Corrupt { .. }) => self.unreadable += 1,
                Err(error) => {
                    let reason = format!("the snapshots of {}: {error}", self.id);
                    return Err(JournalError::Unavailable { reason, source: None });
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, of: Of, form: Form, at: Timestamp) {
        let first = Stored { count: 0, ids: 1, oldest: at, newest: at };
        let stored = self.stored.entry((of, form)).or_insert(first);
        stored.count += 1;
        stored.oldest = stored.oldest.min(at);
        stored.newest = stored.newest.max(at);
    }
}
