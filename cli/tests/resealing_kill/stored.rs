use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use annals::journal::encryption::{
    DataKeyOptions, DataKeys, KeySource, KeyState, RingKeys, SealedJournal, SealedOptions,
};
use annals::journal::{Journal, JournalUrl, KeyId, OpenJournal, ReplayRange, Replayed};
use annals::prelude::{PersistenceId, SeqNr};
use annals::snapshot::{SealedSnapshots, SnapshotError, SnapshotStore, open_beside};
use futures::TryStreamExt as _;

use crate::owner::Answered;

/// What is stored, as somebody sees it who looks from outside.
pub(crate) struct Stored {
    opened: OpenJournal,
    pub(crate) keys: DataKeys,
    journal: SealedJournal,
    raw_snapshots: Arc<dyn SnapshotStore>,
    snapshots: SealedSnapshots,
}

/// Every (key, nonce) that was ever seen, and what was sealed with it.
#[derive(Debug, Default)]
pub(crate) struct Nonces(HashMap<(String, KeyId, Vec<u8>), Vec<u8>>);

impl Nonces {
    fn note(&mut self, id: &PersistenceId, key: KeyId, payload: &[u8], place: &str) {
        let nonce = payload[1..13].to_vec();
        // The tag is that of text and context: what was sealed twice has two.
        let sealed = payload[13..].to_vec();
        if let Some(before) = self.0.insert((id.to_string(), key, nonce), sealed.clone()) {
            assert!(before == sealed, "{place}: {id}: a nonce was drawn twice under key {key}");
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Stored {
    pub(crate) async fn open(directory: &Path, refuse_plaintext: bool) -> Self {
        let path = directory.join("bank.db");
        let url: JournalUrl = format!("sqlite://{}?busy_timeout_ms=60000", path.display()).parse().unwrap();
        let opened = url.open().await.unwrap();
        let source = KeySource::File(directory.join("ring.json"));
        let masters = RingKeys::open_for_reading(&[source], &*opened.records).await.unwrap();
        let options = DataKeyOptions::default();
        let keys =
            DataKeys::open_for_reading(opened.records.clone(), Arc::new(masters), options).await.unwrap();
        let options = SealedOptions { refuse_plaintext, ..SealedOptions::default() };
        let journal = SealedJournal::open(opened.journal.clone(), keys.clone(), options).await.unwrap();
        let raw_snapshots = open_beside(&opened).await.unwrap();
        let mut snapshots = SealedSnapshots::new(raw_snapshots.clone(), keys.clone());
        if refuse_plaintext {
            snapshots = snapshots.refuse_plaintext();
        }
        Self { opened, keys, journal, raw_snapshots, snapshots }
    }

    pub(crate) async fn close(self) {
        self.opened.database.unwrap().close().await;
    }

    /// The generations of an id's key.
    pub(crate) async fn generations(&self, id: &PersistenceId) -> Vec<(KeyId, SeqNr)> {
        match self.keys.state(&[id]).await.remove(0).unwrap() {
            KeyState::Live { generations, .. } => generations,
            KeyState::None => Vec::new(),
            other => panic!("{id}: {other:?}"),
        }
    }

    /// The numbers of the id's events that are there, each opened and checked: without a gap, each saying what it was told, up to what was
    /// answered at least.
    pub(crate) async fn history(&self, id: &PersistenceId, answered: u64, place: &str) {
        let items: Vec<_> = self
            .journal
            .replay(ReplayRange::all(id))
            .try_collect()
            .await
            .unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
        let mut next = 1;
        for item in items {
            match item {
                Replayed::Deleted { from, to } => {
                    assert!(from.get() == 1 && id.kind() == "pruned", "{place}: {id}: {from:?} {to:?}");
                    next = to.get() + 1;
                }
                Replayed::Event(event) => {
                    let event: serde_json::Value = serde_json::from_slice(&event.envelope.payload).unwrap();
                    assert_eq!(event["number"], next, "{place}: {id}");
                    next += 1;
                }
                other => panic!("{place}: {id}: {other:?}"),
            }
        }
        assert!(next > answered, "{place}: {id}: {answered} was answered, and the last is {}", next - 1);
        // Whoever recovers needs a snapshot that covers what was deleted.
        let deleted_to = self.journal.head(id).await.unwrap().deleted_to;
        let newest = self.newest_readable(id, place).await;
        assert!(newest >= deleted_to, "{place}: {id}: {newest:?} {deleted_to:?}");
    }

    /// The number of the snapshot that a recovery takes; 0: there is none.
    async fn newest_readable(&self, id: &PersistenceId, place: &str) -> SeqNr {
        let mut at_most = SeqNr::MAX;
        loop {
            match self.snapshots.load(id, at_most).await {
                Ok(found) => return found.map_or(SeqNr::ZERO, |snapshot| snapshot.seq_nr),
                Err(SnapshotError::Corrupt { seq_nr, .. }) => at_most = seq_nr.previous(),
                Err(error) => panic!("{place}: {id}: {error}"),
            }
        }
    }

    /// Under which generation each event is sealed; notes their nonces.
    pub(crate) async fn events_under(
        &self,
        id: &PersistenceId,
        nonces: &mut Nonces,
        place: &str,
    ) -> Vec<Option<KeyId>> {
        let raw: Vec<_> = self.opened.journal.replay(ReplayRange::all(id)).try_collect().await.unwrap();
        let mut found = Vec::new();
        for item in raw {
            let Replayed::Event(event) = item else { continue };
            if let Some(key) = event.envelope.key_id {
                nonces.note(id, key, &event.envelope.payload, place);
            }
            found.push(event.envelope.key_id);
        }
        found
    }

    /// The same of its snapshots, each of which opens. Left out are those that are pruned meanwhile, and one or two whose key is gone: their
    /// owner was killed, or is at it, between storing one and looking whether the key is still the newest, and has told nobody.
    pub(crate) async fn snapshots_under(
        &self,
        id: &PersistenceId,
        nonces: &mut Nonces,
        place: &str,
    ) -> Vec<Option<KeyId>> {
        let (mut found, mut untold) = (Vec::new(), 0);
        let newest = self.generations(id).await.last().map(|(newest, _)| *newest);
        for number in self.raw_snapshots.list(id).await.unwrap() {
            let Some(raw) = self.raw_snapshots.load(id, number).await.unwrap() else { continue };
            if raw.seq_nr != number {
                continue;
            }
            if let Some(key) = raw.key_id {
                nonces.note(id, key, &raw.payload, place);
            }
            match self.snapshots.load(id, number).await {
                Ok(_) => found.push(raw.key_id),
                Err(SnapshotError::Corrupt { .. })
                    if raw.key_id.is_some() && raw.key_id < newest && untold < 2 =>
                {
                    untold += 1;
                }
                Err(error) => panic!("{place}: {id}: {error}"),
            }
        }
        found
    }

    pub(crate) async fn ids(&self, answered: &Answered) -> Vec<(PersistenceId, u64)> {
        let stored = self.opened.journal.persistence_ids(None, 100).await.unwrap();
        for id in answered.0.keys() {
            assert!(stored.iter().any(|stored| stored.as_str() == id), "{id} is gone");
        }
        stored.into_iter().map(|id| (id.clone(), answered.0.get(id.as_str()).copied().unwrap_or(0))).collect()
    }
}
