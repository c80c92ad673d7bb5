//! What a [`Query`] gives: everything once, in order, from any offset on, and what comes while it waits.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use annals_journal::sqlite::{Options, SqliteJournal};
use annals_journal::{
    AtomicWrite, Codec, CommitListener, Envelope, Epoch, GroupCommit, GroupCommitSettings, Head, Journal,
    JournalError, JournalExt, Limits, Manifest, MemoryJournal, Offset, Page, PageItem, PersistenceId, Query,
    ReplayRange, Replayed, SeqNr, SliceRange, StoredEvent, Tag, Timestamp, Token, Write, WriterId,
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_current_query_gives_everything_once_whatever_the_size_of_its_pages() {
    for journal in journals().await {
        append(&*journal, "a", 7, None).await;
        append(&*journal, "b", 5, Some("big")).await;
        append(&*journal, "a", 3, Some("big")).await;
        let query = Query::all(Arc::clone(&journal));
        for size in [1, 2, 15, 16, 500] {
            let items: Vec<_> = query.clone().page_size(size).current().try_collect().await.unwrap();
            assert_eq!(items.len(), 15, "pages of {size}");
            assert!(items.is_sorted_by(|one, next| one.offset() < next.offset()));
        }
        let tagged = Query::tag(Arc::clone(&journal), Tag::new("big").unwrap());
        assert_eq!(tagged.current().try_collect::<Vec<_>>().await.unwrap().len(), 8);
        let halves = [SliceRange::new(0..=511).unwrap(), SliceRange::new(512..=1023).unwrap()];
        let mut seen = 0;
        for half in halves {
            let items: Vec<PageItem> =
                Query::slices(Arc::clone(&journal), half).page_size(2).current().try_collect().await.unwrap();
            seen += items.len();
        }
        assert_eq!(seen, 15);
    }
}

#[tokio::test]
async fn a_query_goes_on_behind_the_offset_at_which_a_reader_stopped() {
    for journal in journals().await {
        append(&*journal, "a", 9, None).await;
        let query = Query::all(Arc::clone(&journal)).page_size(4);
        let all: Vec<_> = query.clone().current().try_collect().await.unwrap();
        for stopped in 0..all.len() {
            let rest: Vec<_> =
                query.clone().after(all[stopped].offset()).current().try_collect().await.unwrap();
            assert_eq!(rest, all[stopped + 1..]);
        }
    }
}

#[tokio::test]
async fn a_live_query_is_woken_by_commits_and_does_not_wait_for_its_time_to_look() {
    for journal in journals().await {
        append(&*journal, "a", 2, None).await;
        // It would look by itself after an hour.
        let query = Query::all(Arc::clone(&journal)).look_every(LONG, LONG).page_size(3);
        let mut live = query.live();
        let mut ids = Query::id(Arc::clone(&journal), id("a")).live();
        for expected in 1..=2 {
            assert_eq!(number(live.next().await.unwrap().unwrap()), expected);
            assert_eq!(replayed(ids.next().await.unwrap().unwrap()), expected);
        }
        for round in 0..20 {
            let appending = append(&*journal, "a", 1, None);
            let (item, ()) = tokio::join!(live.next(), appending);
            assert_eq!(number(item.unwrap().unwrap()), 3 + round);
        }
        for expected in 3..=22 {
            assert_eq!(replayed(ids.next().await.unwrap().unwrap()), expected);
        }
    }
}

#[tokio::test]
async fn a_live_query_sees_what_another_process_writes_when_it_looks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let ours: Arc<dyn Journal> = Arc::new(SqliteJournal::open(&path, Options::default()).await.unwrap());
    let theirs = SqliteJournal::open(&path, Options::default()).await.unwrap();
    let mut live = Query::all(ours).look_every(Duration::from_millis(1), Duration::from_millis(5)).live();
    append(&theirs, "a", 1, None).await;
    assert_eq!(number(live.next().await.unwrap().unwrap()), 1);
    append(&theirs, "a", 1, None).await;
    assert_eq!(number(live.next().await.unwrap().unwrap()), 2);
}

#[tokio::test]
async fn deleted_events_are_an_item() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    append(&*journal, "a", 5, None).await;
    journal.delete_to(&id("a"), SeqNr::ZERO.plus(3)).await.unwrap();
    let items: Vec<_> = Query::all(journal).current().try_collect().await.unwrap();
    assert!(matches!(&items[0], PageItem::Deleted { to, .. } if to.get() == 3), "{items:?}");
    assert_eq!(items.into_iter().skip(1).map(number).collect::<Vec<_>>(), [4, 5]);
}

#[tokio::test]
async fn a_live_query_ends_with_its_first_error() {
    let journal: Arc<dyn Journal> = Arc::new(Away);
    let mut live = Query::all(Arc::clone(&journal)).live();
    assert!(live.next().await.unwrap().is_err());
    assert!(live.next().await.is_none());
    let mut live = Query::id(journal, id("a")).live();
    assert!(live.next().await.unwrap().is_err());
    assert!(live.next().await.is_none());
}

async fn journals() -> Vec<Arc<dyn Journal>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.keep().join("bank.db");
    let sqlite = Arc::new(SqliteJournal::open(path, Options::default()).await.unwrap());
    let memory = Arc::new(MemoryJournal::new());
    let settings = GroupCommitSettings::default;
    vec![
        memory.clone(),
        sqlite.clone(),
        Arc::new(GroupCommit::new(memory_again(), settings())),
        Arc::new(GroupCommit::new(sqlite_again().await, settings())),
    ]
}

fn memory_again() -> Arc<dyn Journal> {
    Arc::new(MemoryJournal::new())
}

async fn sqlite_again() -> Arc<dyn Journal> {
    let path = tempfile::tempdir().unwrap().keep().join("bank.db");
    Arc::new(SqliteJournal::open(path, Options::default()).await.unwrap())
}

fn id(entity: &str) -> PersistenceId {
    PersistenceId::new("account", entity).unwrap()
}

async fn append(journal: &dyn Journal, entity: &str, events: u64, tag: Option<&str>) {
    let id = id(entity);
    let token = Token::new(Epoch(1), 1);
    let expected = journal.head(&id).await.unwrap().seq_nr;
    let envelope = |n| Envelope {
        persistence_id: id.clone(),
        seq_nr: expected.plus(n),
        token,
        writer: WriterId::random(),
        timestamp: Timestamp::now(),
        manifest: Manifest::new("account.deposited").unwrap(),
        schema_version: 1,
        codec: Codec::Json,
        tags: tag.map(|tag| Tag::new(tag).unwrap()).into_iter().collect(),
        trace_context: None,
        key_id: None,
        payload: "1".into(),
    };
    let events = (1..=events).map(envelope).collect();
    let append = AtomicWrite { persistence_id: id.clone(), expected, token, events, mark: None };
    journal.append(append).await.unwrap();
}

fn number(item: PageItem) -> u64 {
    match item {
        PageItem::Event(event) => event.envelope.seq_nr.get(),
        gone => panic!("{gone:?}"),
    }
}

fn replayed(item: Replayed) -> u64 {
    match item {
        Replayed::Event(event) => event.envelope.seq_nr.get(),
        gone => panic!("{gone:?}"),
    }
}

/// A journal that cannot be asked.
#[derive(Debug)]
struct Away;

fn away<T>() -> Result<T, JournalError> {
    Err(JournalError::Unavailable { reason: "away".into(), source: None })
}

#[async_trait]
impl Journal for Away {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        writes.iter().map(|_| away()).collect()
    }

    fn replay(&self, _: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        futures::stream::iter([away()]).boxed()
    }

    async fn head(&self, _: &PersistenceId) -> Result<Head, JournalError> {
        away()
    }

    async fn delete_to(&self, _: &PersistenceId, _: SeqNr) -> Result<(), JournalError> {
        away()
    }

    async fn replace(&self, _: &StoredEvent, _: Envelope) -> Result<bool, JournalError> {
        away()
    }

    async fn events_by_tag(&self, _: &Tag, _: Offset, _: usize) -> Result<Page, JournalError> {
        away()
    }

    async fn events_by_slice(&self, _: SliceRange, _: Offset, _: usize) -> Result<Page, JournalError> {
        away()
    }

    async fn persistence_ids(
        &self,
        _: Option<&PersistenceId>,
        _: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        away()
    }

    fn limits(&self) -> Limits {
        MemoryJournal::LIMITS
    }

    fn commits(&self) -> Option<CommitListener> {
        None
    }
}
