use std::collections::BTreeMap;
use std::sync::Arc;

use annals_journal::{
    Codec, Head, Journal, JournalError, Manifest, PersistenceId, Replayed, SeqNr, Timestamp,
};
use annals_snapshot::SnapshotStore;

use crate::history::{Chapter, History};

/// What is known of an id.
pub(super) struct Entity {
    pub(super) id: PersistenceId,
    pub(super) head: Head,
    pub(super) manifests: BTreeMap<Shape, Count>,
    pub(super) events: Count,
    pub(super) sealed: u64,
    pub(super) unreadable: u64,
    pub(super) snapshots: Vec<SeqNr>,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    pub(super) manifest: String,
    pub(super) version: u32,
    pub(super) codec: u32,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) payload_bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.bytes += other.bytes;
        self.payload_bytes += other.payload_bytes;
    }
}

pub(super) async fn look_at(
    journal: Arc<dyn Journal>,
    snapshots: Arc<dyn SnapshotStore>,
    id: PersistenceId,
) -> Result<Entity, JournalError> {
    // In a task of its own, so that ids are worked on in parallel.
    let looking = tokio::spawn(async move {
        let head = journal.head(&id).await?;
        // What the store of snapshots cannot say, `verify` reports.
        let snapshots = snapshots.list(&id).await.unwrap_or_default();
        let mut entity = Entity {
            head,
            manifests: BTreeMap::new(),
            events: Count::default(),
            sealed: 0,
            unreadable: 0,
            snapshots,
            first: None,
            last: None,
            id: id.clone(),
        };
        // Consecutive events mostly have one shape.
        let mut run: Option<(Manifest, u32, Codec, Count)> = None;
        let mut history = History::of(journal, &id, SeqNr::FIRST, head.seq_nr);
        while let Some(chapter) = history.next().await {
            match chapter {
                Chapter::Item(Replayed::Event(event)) => {
                    let envelope = &event.envelope;
                    let count = Count {
                        events: 1,
                        bytes: event.bytes.len() as u64,
                        payload_bytes: envelope.payload.len() as u64,
                    };
                    entity.events.add(count);
                    entity.sealed += u64::from(envelope.key_id.is_some());
                    entity.first =
                        Some(entity.first.map_or(envelope.timestamp, |first| first.min(envelope.timestamp)));
                    entity.last =
                        Some(entity.last.map_or(envelope.timestamp, |last| last.max(envelope.timestamp)));
                    match &mut run {
                        Some((manifest, version, codec, counted))
                            if *manifest == envelope.manifest
                                && *version == envelope.schema_version
                                && *codec == envelope.codec =>
                        {
                            counted.add(count);
                        }
                        _ => {
                            entity.count(run.take());
                            run = Some((
                                envelope.manifest.clone(),
                                envelope.schema_version,
                                envelope.codec,
                                count,
                            ));
                        }
                    }
                }
                Chapter::Item(_) => {}
                Chapter::Unreadable(..) => entity.unreadable += 1,
                Chapter::Broken(error) => return Err(error),
            }
        }
        entity.count(run);
        Ok(entity)
    });
    looking.await.unwrap_or_else(|_| {
        Err(JournalError::Unavailable { reason: "the runtime shut down".into(), source: None })
    })
}

impl Entity {
    fn count(&mut self, run: Option<(Manifest, u32, Codec, Count)>) {
        if let Some((manifest, version, codec, count)) = run {
            let shape = Shape { manifest: manifest.as_str().to_owned(), version, codec: codec.number() };
            self.manifests.entry(shape).or_default().add(count);
        }
    }
}
