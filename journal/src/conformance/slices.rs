//! Reading by slice: order, resumable offsets, and that nothing appears behind a reader (I10).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Harness;
use super::sample::*;
use crate::{Journal, JournalExt, Offset, PageItem, PersistenceId, SliceRange};

/// All slices together give every event, in the order in which they were committed, events of one append in theirs.
pub async fn all_slices_give_every_event_in_order(h: &mut Harness) {
    let (journal, a, b) = (h.journal(), id("a"), id("b"));
    journal.append(append(&a, OWNER, 0, 2)).await.unwrap();
    journal.append(append(&b, OWNER, 0, 3)).await.unwrap();
    journal.append(append(&a, OWNER, 2, 2)).await.unwrap();
    for limit in [1, 2, 3, 7, 8, 100] {
        let all = all_slices(&journal, Offset::BEGINNING, limit).await;
        assert_eq!(shown_page(&all), "a1 a2 b1 b2 b3 a3 a4", "in pages of {limit}");
    }
    h.reopen().await;
    assert_eq!(shown_page(&all_slices(&h.journal(), Offset::BEGINNING, 3).await), "a1 a2 b1 b2 b3 a3 a4");
}

/// A range gives the events of its ids only; ranges that divide the slices give every event exactly once.
pub async fn a_range_gives_the_events_of_its_ids(h: &mut Harness) {
    let journal = h.journal();
    let ids: Vec<_> = (0..40).map(|n| id(&format!("e{n}"))).collect();
    for a in &ids {
        journal.append(append(a, OWNER, 0, 2)).await.unwrap();
    }
    let mut seen = 0;
    for first in (0..1024).step_by(128) {
        let range = SliceRange::new(first..=first + 127).unwrap();
        let page = journal.events_by_slice(range, Offset::BEGINNING, 1_000).await.unwrap();
        for item in &page.items {
            let PageItem::Event(event) = item else { panic!("nothing was deleted: {item:?}") };
            assert!(range.contains(event.envelope.persistence_id.slice()));
        }
        seen += page.items.len();
    }
    assert_eq!(seen, 80);
    let one = ids[0].slice().number();
    let page = journal.events_by_slice(SliceRange::new(one..=one).unwrap(), Offset::BEGINNING, 1_000).await;
    assert!(shown_page(&page.unwrap().items).contains("e01 e02"));
}

/// Replays, slices and tags give an event the same offset and the same bytes.
pub async fn every_read_gives_the_same_event(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    for expected in 0..3 {
        store_tagged(&journal, &a, expected, &["red"]).await;
    }
    let replayed: Vec<_> = events(&journal, &a).await.into_iter().map(PageItem::Event).collect();
    assert_eq!(all_slices(&journal, Offset::BEGINNING, 10).await, replayed);
    assert_eq!(all_tagged(&journal, "red", Offset::BEGINNING).await, replayed);
}

/// A page's mark is where a reader goes on: never before what it was asked for, and behind all of it when it has room left.
pub async fn a_page_says_up_to_where_it_is_complete(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    let empty = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await.unwrap();
    check_page(&empty, Offset::BEGINNING, 10);
    seed(&journal, &a, 5).await;
    let offsets: Vec<_> = events(&journal, &a).await.iter().map(|event| event.offset).collect();
    let page = journal.events_by_slice(SliceRange::ALL, empty.complete_to, 3).await.unwrap();
    assert_eq!(shown_page(&page.items), "a1 a2 a3");
    assert!(page.complete_to >= offsets[2] && page.complete_to < offsets[3], "{}", page.complete_to);
    let rest = journal.events_by_slice(SliceRange::ALL, page.complete_to, 3).await.unwrap();
    assert_eq!(shown_page(&rest.items), "a4 a5");
    assert!(rest.complete_to >= offsets[4]);
    // Nothing new: the mark stays where it is, and later events lie behind it.
    let none = journal.events_by_slice(SliceRange::ALL, rest.complete_to, 3).await.unwrap();
    assert_eq!((none.items.len(), none.complete_to), (0, rest.complete_to));
    journal.append(append(&a, OWNER, 5, 1)).await.unwrap();
    let new = journal.events_by_slice(SliceRange::ALL, none.complete_to, 3).await.unwrap();
    assert_eq!(shown_page(&new.items), "a6");
    // No room: nothing is passed.
    let zero = journal.events_by_slice(SliceRange::ALL, page.complete_to, 0).await.unwrap();
    assert_eq!((zero.items.len(), zero.complete_to), (0, page.complete_to));
}

/// Readers by slice that poll while many write see every event exactly once, in its id's order, and never skip one that
/// commits late.
pub async fn readers_by_slice_never_skip_a_late_commit(h: &mut Harness) {
    let readers = [SliceRange::ALL, SliceRange::new(0..=511).unwrap(), SliceRange::new(512..=1023).unwrap()];
    late_commits(h, readers.len(), async move |reader, journal, after| {
        journal.events_by_slice(readers[reader], after, 7).await.unwrap()
    })
    .await;
}

/// As the clause above, by tag.
pub async fn readers_by_tag_never_skip_a_late_commit(h: &mut Harness) {
    let tag = tag("late");
    late_commits(h, 1, async move |_, journal, after| journal.events_by_tag(&tag, after, 7).await.unwrap())
        .await;
}

async fn late_commits(
    h: &mut Harness,
    readers: usize,
    page: impl AsyncFn(usize, &Arc<dyn Journal>, Offset) -> crate::Page,
) {
    const WRITERS: u64 = 8;
    const APPENDS: u64 = 30;
    let (journal, (other, _)) = (h.journal(), h.another().await);
    let running = Arc::new(AtomicUsize::new(usize::try_from(WRITERS).unwrap()));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let journal = Arc::clone(if writer % 2 == 0 { &journal } else { &other });
            let running = Arc::clone(&running);
            tokio::spawn(async move {
                let a = id(&format!("w{writer}"));
                let mut expected = 0;
                for n in 0..APPENDS {
                    let mut append = append(&a, OWNER, expected, 1 + (writer + n) % 4);
                    for event in &mut append.events {
                        event.tags = vec![tag("late")];
                    }
                    expected = journal.append(append).await.unwrap().seq_nr.get();
                }
                running.fetch_sub(1, Ordering::SeqCst);
                (a, expected)
            })
        })
        .collect();
    // All readers in turns, so that each sees the journal at many moments.
    let mut seen: Vec<(Offset, HashMap<PersistenceId, u64>)> = vec![Default::default(); readers];
    loop {
        let last_round = running.load(Ordering::SeqCst) == 0;
        let mut news = false;
        for (reader, (after, heads)) in seen.iter_mut().enumerate() {
            let source = if reader % 2 == 0 { &other } else { &journal };
            let page = page(reader, source, *after).await;
            check_page(&page, *after, 7);
            *after = page.complete_to;
            news |= !page.items.is_empty();
            for item in page.items {
                let PageItem::Event(event) = item else { panic!("nothing was deleted: {item:?}") };
                let head = heads.entry(event.envelope.persistence_id.clone()).or_default();
                let number = event.envelope.seq_nr.get();
                assert_eq!(number, *head + 1, "{}: read after {head}", event.envelope.persistence_id);
                *head = number;
            }
        }
        if last_round && !news {
            break;
        }
    }
    let mut all: HashMap<PersistenceId, Vec<u64>> = HashMap::new();
    for (id, head) in seen.into_iter().flat_map(|(_, heads)| heads) {
        all.entry(id).or_default().push(head);
    }
    for writer in writers {
        let (id, head) = writer.await.unwrap();
        let read = &all[&id];
        assert!(read.iter().all(|read| *read == head), "{id}: {head} events are stored, read were {read:?}");
        let expected_readers = if readers == 1 { 1 } else { 2 };
        assert_eq!(read.len(), expected_readers, "{id}: a reader saw nothing of it");
    }
}
