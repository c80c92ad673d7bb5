//! Events and reads that the clauses share.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::{
    AtomicWrite, Codec, Envelope, Epoch, Head, Journal, JournalError, JournalExt, Manifest, Offset, Page,
    PageItem, PersistenceId, ReplayRange, Replayed, SeqNr, SliceRange, StoredEvent, Tag, Timestamp, Token,
    Write, WriterId,
};

pub(super) fn id(name: &str) -> PersistenceId {
    PersistenceId::new("clause", name).unwrap()
}

pub(super) fn tag(label: &str) -> Tag {
    Tag::new(label).unwrap()
}

pub(super) const fn token(epoch: u64, activation: u64) -> Token {
    Token::new(Epoch(epoch), activation)
}

pub(super) fn nr(number: u64) -> SeqNr {
    SeqNr::new(number).unwrap()
}

/// A plain event; its payload says id, number and token.
pub(super) fn event(id: &PersistenceId, number: u64, token: Token) -> Envelope {
    Envelope {
        persistence_id: id.clone(),
        seq_nr: nr(number),
        token,
        writer: WriterId::from_bytes([7; 16]),
        timestamp: Timestamp::from_micros(1_700_000_000_000_000 + number),
        manifest: Manifest::new("clause.happened").unwrap(),
        schema_version: 1,
        codec: Codec::Json,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: payload(id, number, token),
    }
}

pub(super) fn payload(id: &PersistenceId, number: u64, token: Token) -> Bytes {
    Bytes::from(format!("{{\"id\":\"{id}\",\"number\":{number},\"token\":\"{token}\"}}"))
}

pub(super) fn tagged(envelope: Envelope, labels: &[&str]) -> Envelope {
    Envelope { tags: labels.iter().map(|label| tag(label)).collect(), ..envelope }
}

/// `count` plain events behind `expected`.
pub(super) fn append(id: &PersistenceId, token: Token, expected: u64, count: u64) -> AtomicWrite {
    let events = (1..=count).map(|n| event(id, expected + n, token)).collect();
    AtomicWrite { persistence_id: id.clone(), expected: nr(expected), token, events, mark: None }
}

pub(super) fn write(id: &PersistenceId, token: Token, expected: u64, count: u64) -> Write {
    Write::Append(append(id, token, expected, count))
}

pub(super) fn claim(id: &PersistenceId, token: Token) -> Write {
    Write::Claim { persistence_id: id.clone(), token }
}

pub(super) fn verify(id: &PersistenceId, token: Token) -> Write {
    Write::Verify { persistence_id: id.clone(), token }
}

/// Stores one event with these labels behind `expected`.
pub(super) async fn store_tagged(
    journal: &Arc<dyn Journal>,
    id: &PersistenceId,
    expected: u64,
    labels: &[&str],
) {
    let mut append = append(id, OWNER, expected, 1);
    append.events = append.events.into_iter().map(|event| tagged(event, labels)).collect();
    journal.append(append).await.unwrap();
}

/// Stores the events 1 to `count` of a new id as its [`OWNER`], the last two in one append.
pub(super) async fn seed(journal: &Arc<dyn Journal>, id: &PersistenceId, count: u64) {
    journal.claim(id, OWNER).await.unwrap();
    let singles = count.saturating_sub(2);
    for expected in 0..singles {
        journal.append(append(id, OWNER, expected, 1)).await.unwrap();
    }
    let head = journal.append(append(id, OWNER, singles, count - singles)).await.unwrap();
    assert_eq!(head, Head { seq_nr: nr(count), token: OWNER, ..Head::EMPTY });
}

/// The token under which [`seed`] writes.
pub(super) const OWNER: Token = token(5, 5);

pub(super) async fn replay(journal: &Arc<dyn Journal>, range: ReplayRange) -> Vec<Replayed> {
    try_replay(journal, range).await.unwrap()
}

pub(super) async fn try_replay(
    journal: &Arc<dyn Journal>,
    range: ReplayRange,
) -> Result<Vec<Replayed>, JournalError> {
    journal.replay(range).boxed().try_collect().await
}

/// The events of an id, all of which must be there.
pub(super) async fn events(journal: &Arc<dyn Journal>, id: &PersistenceId) -> Vec<StoredEvent> {
    let items = replay(journal, ReplayRange::all(id)).await;
    items
        .into_iter()
        .map(|item| match item {
            Replayed::Event(event) => event,
            gone => panic!("{id} has {gone:?}"),
        })
        .collect()
}

/// A replay as text: `2 3` for events, `[1-4]` for a deleted range.
pub(super) fn shown(items: &[Replayed]) -> String {
    let item = |item: &Replayed| match item {
        Replayed::Event(event) => event.envelope.seq_nr.to_string(),
        Replayed::Deleted { from, to } => format!("[{from}-{to}]"),
        Replayed::Erased { from, to } => format!("erased[{from}-{to}]"),
    };
    items.iter().map(item).collect::<Vec<_>>().join(" ")
}

/// [`shown`] of what a range gives.
pub(super) async fn shown_range(journal: &Arc<dyn Journal>, range: ReplayRange) -> String {
    shown(&replay(journal, range).await)
}

/// A page as text: `a2 b1` for events, `a[1-4]` for a deleted range.
pub(super) fn shown_page(items: &[PageItem]) -> String {
    let item = |item: &PageItem| match item {
        PageItem::Event(event) => {
            format!("{}{}", event.envelope.persistence_id.entity_id(), event.envelope.seq_nr)
        }
        PageItem::Deleted { persistence_id, from, to, .. } => {
            format!("{}[{from}-{to}]", persistence_id.entity_id())
        }
        PageItem::Erased { persistence_id, from, to, .. } => {
            format!("{}erased[{from}-{to}]", persistence_id.entity_id())
        }
    };
    items.iter().map(item).collect::<Vec<_>>().join(" ")
}

/// Everything behind an offset, in pages of `limit`, each checked for what every page promises.
pub(super) async fn all_slices(journal: &Arc<dyn Journal>, after: Offset, limit: usize) -> Vec<PageItem> {
    all_pages(after, limit, async |after| {
        journal.events_by_slice(SliceRange::ALL, after, limit).await.unwrap()
    })
    .await
}

/// As [`all_slices`], by tag.
pub(super) async fn all_tagged(journal: &Arc<dyn Journal>, label: &str, after: Offset) -> Vec<PageItem> {
    const LIMIT: usize = 100;
    let tag = tag(label);
    all_pages(after, LIMIT, async |after| journal.events_by_tag(&tag, after, LIMIT).await.unwrap()).await
}

async fn all_pages(mut after: Offset, limit: usize, page: impl AsyncFn(Offset) -> Page) -> Vec<PageItem> {
    let mut all = Vec::new();
    loop {
        let page = page(after).await;
        check_page(&page, after, limit);
        let full = page.items.len() == limit;
        after = page.complete_to;
        all.extend(page.items);
        if !full {
            return all;
        }
    }
}

/// What every page promises.
pub(super) fn check_page(page: &Page, after: Offset, limit: usize) {
    assert!(page.items.len() <= limit, "{} items in a page of at most {limit}", page.items.len());
    let mut last = after;
    for item in &page.items {
        assert!(item.offset() > last, "offset {} does not follow {last}", item.offset());
        last = item.offset();
    }
    assert!(page.complete_to >= last, "complete to {}, but {last} was passed", page.complete_to);
}

/// Asserts that a write was refused with this variant, and gives the error.
macro_rules! refused {
    ($answer:expr, $variant:ident) => {{
        let answer = $answer;
        match answer {
            Err(error @ crate::JournalError::$variant { .. }) => error,
            other => panic!("expected {}, got {other:?}", stringify!($variant)),
        }
    }};
}
pub(super) use refused;
