use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::actors::Stores;
use annals::journal::sqlite::{Options, SqliteJournal};
use annals::journal::{
    AtomicWrite, Envelope, Epoch, Journal, PersistenceId, SeqNr, Timestamp, Token, Write, WriterId,
};
use annals::migrations::EventAdapter;
use annals::snapshot::SqliteSnapshotStore;
use anyhow::{Context, Result};

use super::versions::{KIND, TypedEvent};
use crate::annals::{FILE, name};
use crate::event::Event as Payload;
use crate::scenario::Load;

/// Which version a journal is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    First,
    Today,
}

impl Version {
    /// The event as it is stored.
    pub(super) fn event(self, id: &PersistenceId, seq_nr: SeqNr) -> Result<Envelope> {
        let encoded = TypedEvent::adapter(true)?.to_journal(&TypedEvent::example())?;
        let today = Envelope {
            persistence_id: id.clone(),
            seq_nr,
            token: TOKEN,
            writer: WriterId::from_bytes([7; 16]),
            timestamp: Timestamp::from_micros(0),
            manifest: encoded.manifest,
            schema_version: encoded.schema_version,
            codec: encoded.codec,
            tags: Vec::new(),
            trace_context: None,
            key_id: None,
            payload: encoded.payload,
        };
        match self {
            Self::First => {
                let payload = Payload::example().to_json()?.into();
                Ok(Envelope { schema_version: 1, payload, ..today })
            }
            Self::Today => Ok(today),
        }
    }
}

/// A file of events of one version, and nothing else; the owners took turns when they wrote.
pub(super) async fn fill(load: &Load, version: Version, folder: &Path) -> Result<()> {
    let file = opened(folder).await?;
    let ids = (0..load.entities)
        .map(|index| Ok(PersistenceId::new(KIND, &name(load, index))?))
        .collect::<Result<Vec<_>>>()?;
    let template = version.event(&ids[0], SeqNr::FIRST)?;
    let mut number = 0;
    while number < load.events() {
        let end = load.events().min(number + ROWS_A_COMMIT);
        let mut appends: Vec<Write> = Vec::new();
        for number in number..end {
            let id = &ids[(number % load.entities) as usize];
            let seq_nr = SeqNr::new(u64::from(number / load.entities) + 1).context("a number")?;
            let event = Envelope {
                persistence_id: id.clone(),
                seq_nr,
                timestamp: Timestamp::from_micros(1_795_000_000_000_000 + u64::from(number)),
                ..template.clone()
            };
            appends.push(Write::Append(AtomicWrite {
                persistence_id: id.clone(),
                expected: seq_nr.previous(),
                token: TOKEN,
                events: vec![event],
                mark: None,
            }));
        }
        for answer in file.journal.write(appends).await {
            answer?;
        }
        number = end;
    }
    close(file).await;
    Ok(())
}

pub(super) struct File {
    pub(super) journal: SqliteJournal,
    pub(super) stores: Stores,
}

pub(super) async fn opened(folder: &Path) -> Result<File> {
    let journal = SqliteJournal::open(folder.join(FILE), Options::default()).await?;
    let snapshots = SqliteSnapshotStore::in_database(journal.database().clone()).await?;
    let stores = Stores {
        journal: Arc::new(journal.clone()),
        records: Arc::new(journal.clone()),
        snapshots: Arc::new(snapshots),
    };
    Ok(File { journal, stores })
}

/// A file that has the tables and no rows.
pub(super) async fn tables(folder: &Path) -> Result<()> {
    close(opened(folder).await?).await;
    Ok(())
}

pub(super) async fn close(file: File) {
    file.journal.database().close().await;
}

/// The file in a folder, and its copy in another one.
pub(super) fn copied(from: &Path, to: &Path) -> Result<PathBuf> {
    let file = to.join(FILE);
    std::fs::copy(from.join(FILE), &file).context("copying a journal's file")?;
    // Its pages are on disk before a clock starts.
    std::fs::File::open(&file).and_then(|file| file.sync_all()).context("syncing the copy")?;
    Ok(file)
}

const TOKEN: Token = Token::new(Epoch(1), 1);
pub(super) const ROWS_A_COMMIT: u32 = 1_024;
