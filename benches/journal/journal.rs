use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use annals::journal::encryption::{
    DataKeyOptions, DataKeys, KeySource, Ring, RingKeys, SealedJournal, SealedOptions,
};
use annals::journal::sqlite::{Options, SqliteJournal};
use annals::journal::{
    AtomicWrite, Codec, Envelope, Epoch, GroupCommit, GroupCommitSettings, Journal, JournalExt, Manifest,
    MemoryJournal, PersistenceId, Records, ReplayRange, Replayed, SeqNr, Timestamp, Token, WriterId,
};
use anyhow::{Result, bail, ensure};
use futures::TryStreamExt;
use hdrhistogram::Histogram;
use prost::bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::commits::Commits;
use crate::contestant::{Contestant, Persisted};
use crate::event::Event;
use crate::scenario::Load;

/// A journal as the actors have it, behind group commit; its callers only number their events and wait.
pub(crate) struct Alone {
    pub(crate) backend: Backend,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) commits: Commits,
}

/// What is behind group commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Memory,
    /// SQLite, behind keys.
    Sealed,
}

impl Backend {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Memory => "memory",
            Self::Sealed => "sealed",
        }
    }
}

impl Contestant for Alone {
    fn name(&self) -> &'static str {
        self.backend.name()
    }

    fn persist(&self, load: &Load, folder: &Path, _rows_a_commit: u32) -> Result<Persisted> {
        self.runtime.block_on(async {
            let open = self.open(folder).await?;
            let before = self.commits.count();
            let started = Instant::now();
            let latencies = append(&open.journal, load).await?;
            let elapsed = started.elapsed();
            let commits = self.commits.count() - before;
            open.close().await;
            Ok(Persisted { elapsed, latencies, commits: Some(commits) })
        })
    }

    fn recover(&self, load: &Load, folder: &Path) -> Result<Duration> {
        self.runtime.block_on(async {
            let open = self.open(folder).await?;
            if self.backend == Backend::Memory {
                append(&open.journal, load).await?;
            }
            let started = Instant::now();
            let events = replay(&open.journal, load).await?;
            let elapsed = started.elapsed();
            open.close().await;
            ensure!(events == load.events(), "{events} events came back, {} were stored", load.events());
            Ok(elapsed)
        })
    }
}

struct Open {
    journal: Arc<dyn Journal>,
    group: GroupCommit,
    keys: Option<DataKeys>,
    sqlite: Option<SqliteJournal>,
}

impl Open {
    async fn close(self) {
        if let Some(keys) = self.keys {
            keys.close().await;
        }
        self.group.shutdown().await;
        if let Some(sqlite) = self.sqlite {
            sqlite.database().close().await;
        }
    }
}

impl Alone {
    async fn open(&self, folder: &Path) -> Result<Open> {
        let (sqlite, inner): (_, Arc<dyn Journal>) = match self.backend {
            Backend::Sqlite | Backend::Sealed => {
                let sqlite = SqliteJournal::open(folder.join("journal.db"), Options::default()).await?;
                (Some(sqlite.clone()), Arc::new(sqlite))
            }
            Backend::Memory => (None, Arc::new(MemoryJournal::new())),
        };
        let group = GroupCommit::new(inner, GroupCommitSettings::default());
        let mut open = Open { journal: Arc::new(group.clone()), group, keys: None, sqlite };
        if let (Backend::Sealed, Some(sqlite)) = (self.backend, &open.sqlite) {
            let ring = folder.join("ring.json");
            if !ring.exists() {
                std::fs::write(&ring, Ring::generate()?.to_json().as_bytes())?;
            }
            let records: Arc<dyn Records> = Arc::new(sqlite.clone());
            let masters = RingKeys::open(&[KeySource::File(ring)], &*records).await?;
            let keys = DataKeys::open(records, Arc::new(masters), DataKeyOptions::default()).await?;
            let journal = SealedJournal::open(open.journal, keys.clone(), SealedOptions::default()).await?;
            (open.journal, open.keys) = (Arc::new(journal), Some(keys));
        }
        Ok(open)
    }
}

/// The head of each id; whoever appends holds it until its append is under way, so that appends go in order.
type Ids = [(PersistenceId, Mutex<SeqNr>)];

/// Appends a load's events from as many tasks as may be in flight; nanoseconds of each append.
async fn append(journal: &Arc<dyn Journal>, load: &Load) -> Result<Histogram<u64>> {
    let ids: Arc<Ids> = ids(load)?.into_iter().map(|id| (id, Mutex::new(SeqNr::ZERO))).collect();
    let template = template(&ids[0].0)?;
    let (next, events) = (Arc::new(AtomicU32::new(0)), load.events());
    let mut writers = JoinSet::new();
    for _ in 0..load.in_flight {
        let (journal, ids, next) = (Arc::clone(journal), Arc::clone(&ids), Arc::clone(&next));
        let template = template.clone();
        writers.spawn(async move {
            let mut latencies = Histogram::<u64>::new(3)?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return anyhow::Ok(latencies);
                }
                let (id, head) = &ids[number as usize % ids.len()];
                let began = Instant::now();
                let mut held = head.lock().await;
                let expected = *held;
                let seq_nr = expected.next();
                let event = Envelope {
                    persistence_id: id.clone(),
                    seq_nr,
                    timestamp: Timestamp::from_micros(1_795_000_000_000_000 + seq_nr.get()),
                    // Each event brings bytes of its own, as from a codec.
                    payload: Bytes::copy_from_slice(&template.payload),
                    ..template.clone()
                };
                *held = seq_nr;
                let persistence_id = id.clone();
                let mut write = std::pin::pin!(journal.append(AtomicWrite {
                    persistence_id,
                    expected,
                    token: TOKEN,
                    events: vec![event],
                    mark: None,
                }));
                // Group commit takes appends in the order in which they are first polled.
                let early = futures::poll!(&mut write);
                drop(held);
                match early {
                    std::task::Poll::Ready(answer) => answer?,
                    std::task::Poll::Pending => write.await?,
                };
                latencies.record(u64::try_from(began.elapsed().as_nanos())?)?;
            }
        });
    }
    let mut latencies = Histogram::new(3)?;
    while let Some(writer) = writers.join_next().await {
        latencies.add(writer??)?;
    }
    Ok(latencies)
}

/// Claims and replays all ids at once, decoding payloads; how many events came.
async fn replay(journal: &Arc<dyn Journal>, load: &Load) -> Result<u32> {
    let mut replays = JoinSet::new();
    for id in ids(load)? {
        let journal = Arc::clone(journal);
        replays.spawn(async move {
            let head = journal.claim(&id, NEWER).await?;
            let (mut events, mut cents) = (0, 0);
            let mut items = journal.replay(ReplayRange::all(&id).to(head.seq_nr));
            while let Some(item) = items.try_next().await? {
                let Replayed::Event(stored) = item else { bail!("nothing was deleted") };
                cents += Event::from_json(&stored.envelope.payload)?.amount_cents;
                events += 1;
            }
            ensure!(cents > 0, "the events came back empty");
            anyhow::Ok(events)
        });
    }
    let mut events = 0;
    while let Some(replay) = replays.join_next().await {
        events += replay??;
    }
    Ok(events)
}

fn ids(load: &Load) -> Result<Vec<PersistenceId>> {
    (0..load.entities).map(|number| Ok(PersistenceId::new("account", &format!("a-{number:04}"))?)).collect()
}

fn template(id: &PersistenceId) -> Result<Envelope> {
    Ok(Envelope {
        persistence_id: id.clone(),
        seq_nr: SeqNr::FIRST,
        token: TOKEN,
        writer: WriterId::from_bytes([7; 16]),
        timestamp: Timestamp::from_micros(0),
        manifest: Manifest::new("account.deposited")?,
        schema_version: 1,
        codec: Codec::Json,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: Event::example().to_json()?.into(),
    })
}

const TOKEN: Token = Token::new(Epoch(1), 1);
/// Of whoever recovers; claiming again under it is allowed.
const NEWER: Token = Token::new(Epoch(2), 1);
