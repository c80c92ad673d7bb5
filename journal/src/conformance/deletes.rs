//! Deleting a prefix: the head stays, offsets are not used again, and readers meet a typed item.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;

use super::Harness;
use super::sample::*;
use crate::{Head, Journal, JournalExt, Offset, PageItem, PersistenceId, ReplayRange, Replayed, SeqNr};

/// (12) Deleted events are not replayed; one item says which they were.
pub async fn deleted_events_are_one_item(h: &mut Harness) {
    deleted_to_3(h, |all| all, "[1-3] 4 5").await;
}

/// (13) Deleting a part leaves the head as it was.
pub async fn deleting_a_part_keeps_the_head(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    seed(&journal, &a, 5).await;
    journal.delete_to(&a, nr(3)).await.unwrap();
    assert_eq!(
        journal.head(&a).await.unwrap(),
        Head { seq_nr: nr(5), token: OWNER, deleted_to: nr(3), ..Head::EMPTY }
    );
}

/// (14) Deleting everything leaves the head as it was, and the next event follows it; also after opening anew.
pub async fn deleting_everything_keeps_the_head(h: &mut Harness) {
    let a = id("a");
    seed(&h.journal(), &a, 5).await;
    h.journal().delete_to(&a, nr(5)).await.unwrap();
    h.reopen().await;
    let journal = h.journal();
    assert_eq!(
        journal.head(&a).await.unwrap(),
        Head { seq_nr: nr(5), token: OWNER, deleted_to: nr(5), ..Head::EMPTY }
    );
    assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, "[1-5]");
    for expected in [0, 4, 6] {
        refused!(journal.append(append(&a, OWNER, expected, 1)).await, Conflict);
    }
    let head = journal.append(append(&a, OWNER, 5, 1)).await.unwrap();
    assert_eq!(head, Head { seq_nr: nr(6), token: OWNER, deleted_to: nr(5), ..Head::EMPTY });
    assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, "[1-5] 6");
}

/// (15) From the last deleted number on: that number, and all survivors.
pub async fn a_replay_from_the_last_deleted_has_all_survivors(h: &mut Harness) {
    deleted_to_3(h, |all| all.from(nr(3)), "[3-3] 4 5").await;
}

/// (16) Up to a number inside of the deleted prefix: only the item.
pub async fn a_replay_inside_of_the_deleted_prefix_has_no_event(h: &mut Harness) {
    deleted_to_3(h, |all| all.to(nr(2)), "[1-2]").await;
    deleted_to_3(h, |all| all.from(nr(2)).to(nr(2)), "[2-2]").await;
}

/// (17) Up to the last deleted number: only the item.
pub async fn a_replay_up_to_the_last_deleted_has_no_event(h: &mut Harness) {
    deleted_to_3(h, |all| all.to(nr(3)), "[1-3]").await;
}

/// (18) From the first survivor on: all survivors, and no item.
pub async fn a_replay_from_the_first_survivor_has_all_survivors(h: &mut Harness) {
    deleted_to_3(h, |all| all.from(nr(4)), "4 5").await;
}

/// (22) A window that begins in the deleted prefix and ends in the survivors has both its parts.
pub async fn a_replay_across_the_border_has_both_parts(h: &mut Harness) {
    deleted_to_3(h, |all| all.from(nr(2)).to(nr(4)), "[2-3] 4").await;
}

/// What was deleted does not count against a replay's limit.
pub async fn deleted_numbers_do_not_count_against_the_limit(h: &mut Harness) {
    deleted_to_3(h, |all| all.limit(1), "[1-3] 4").await;
}

/// Deleting what was deleted, less than that, or nothing, is fine and changes nothing.
pub async fn deleting_again_changes_nothing(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    journal.delete_to(&id("unknown"), SeqNr::ZERO).await.unwrap();
    assert_eq!(journal.head(&id("unknown")).await.unwrap(), Head::EMPTY);
    seed(&journal, &a, 5).await;
    for (to, deleted_to) in [(0, 0), (3, 3), (3, 3), (2, 3), (0, 3), (4, 4)] {
        journal.delete_to(&a, nr(to)).await.unwrap();
        assert_eq!(journal.head(&a).await.unwrap().deleted_to, nr(deleted_to), "after deleting to {to}");
    }
    assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, "[1-4] 5");
    assert_eq!(shown_page(&all_slices(&journal, Offset::BEGINNING, 10).await), "a[1-4] a5");
}

/// Deleting above the head is rejected, and deletes nothing.
pub async fn deleting_above_the_head_is_rejected(h: &mut Harness) {
    let (journal, a, unknown) = (h.journal(), id("a"), id("unknown"));
    seed(&journal, &a, 3).await;
    for to in [nr(4), SeqNr::MAX] {
        refused!(journal.delete_to(&a, to).await, Rejected);
    }
    refused!(journal.delete_to(&unknown, nr(1)).await, Rejected);
    assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, "1 2 3");
    assert_eq!(journal.head(&unknown).await.unwrap(), Head::EMPTY);
}

/// An event that is deleted while a replay runs is given, or part of a deleted item: never silently missing.
pub async fn deleting_during_a_replay_hides_nothing(h: &mut Harness) {
    const COUNT: u64 = 2_000;
    for (name, taken) in [("first", 1), ("some", 700), ("most", 1_999)] {
        let (journal, a) = (h.journal(), id(name));
        for expected in (0..COUNT).step_by(200) {
            journal.append(append(&a, OWNER, expected, 200)).await.unwrap();
        }
        let mut stream = journal.replay(ReplayRange::all(&a));
        let mut items = Vec::new();
        for _ in 0..taken {
            items.push(stream.next().await.unwrap().unwrap());
        }
        journal.delete_to(&a, nr(COUNT - 1)).await.unwrap();
        items.extend(stream.map(Result::unwrap).collect::<Vec<_>>().await);
        assert_gapless(&items, COUNT);
        assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, format!("[1-{}] {COUNT}", COUNT - 1));
    }
}

/// The same with a deleter that runs beside many replays.
pub async fn replays_beside_a_deleter_miss_nothing(h: &mut Harness) {
    const COUNT: u64 = 1_000;
    let (journal, a) = (h.journal(), id("a"));
    let (other, _) = h.another().await;
    for expected in (0..COUNT).step_by(200) {
        journal.append(append(&a, OWNER, expected, 200)).await.unwrap();
    }
    let deleter = tokio::spawn({
        let a = a.clone();
        async move {
            for to in (10..=COUNT).step_by(10) {
                other.delete_to(&a, nr(to)).await.unwrap();
            }
        }
    });
    while !deleter.is_finished() {
        assert_gapless(&replay(&journal, ReplayRange::all(&a)).await, COUNT);
    }
    deleter.await.unwrap();
    assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, format!("[1-{COUNT}]"));
}

/// Offsets never repeat: what is stored after the newest events were deleted lies behind them, also after opening anew.
pub async fn offsets_never_repeat(h: &mut Harness) {
    let ids = [id("a"), id("b")];
    let mut used = BTreeSet::new();
    for round in 0..6 {
        let journal = h.journal();
        for a in &ids {
            journal.append(append(a, OWNER, round * 3, 3)).await.unwrap();
            for event in replay(&journal, ReplayRange::all(a).from(nr(round * 3 + 1))).await {
                let Replayed::Event(event) = event else { panic!("nothing of this round is deleted yet") };
                let last = used.last().copied().unwrap_or_default();
                assert!(event.offset > last, "{} is not behind {last}, which was used", event.offset);
                used.insert(event.offset);
            }
        }
        // The newest events of the whole journal go.
        for a in ids.iter().rev() {
            journal.delete_to(a, nr(round * 3 + 3)).await.unwrap();
        }
        if round % 2 == 0 {
            drop(journal);
            h.reopen().await;
        }
    }
    assert_eq!(used.len(), 36);
}

/// A reader by slice meets one item for each id with deleted events, at the offset of the last of them, from number one on.
pub async fn a_reader_by_slice_meets_what_was_deleted(h: &mut Harness) {
    let (journal, a, b) = (h.journal(), id("a"), id("b"));
    for expected in 0..4 {
        store_tagged(&journal, &a, expected, &[]).await;
        store_tagged(&journal, &b, expected, &[]).await;
    }
    let before = all_slices(&journal, Offset::BEGINNING, 10).await;
    assert_eq!(shown_page(&before), "a1 b1 a2 b2 a3 b3 a4 b4");
    let offset_of = |name: &PersistenceId, number| offset_of(&before, name, number);

    journal.delete_to(&a, nr(2)).await.unwrap();
    let items = all_slices(&journal, Offset::BEGINNING, 10).await;
    assert_eq!(shown_page(&items), "b1 a[1-2] b2 a3 b3 a4 b4");
    assert_eq!(items[1].offset(), offset_of(&a, 2));
    // One that has passed the last deleted event meets nothing any more, one that has passed a part does.
    let behind = all_slices(&journal, offset_of(&a, 2), 10).await;
    assert_eq!(shown_page(&behind), "b2 a3 b3 a4 b4");
    let part = all_slices(&journal, offset_of(&a, 1), 10).await;
    assert_eq!(shown_page(&part), "b1 a[1-2] b2 a3 b3 a4 b4");

    // Deleting more moves the item; there is never a second one.
    journal.delete_to(&a, nr(4)).await.unwrap();
    journal.delete_to(&b, nr(1)).await.unwrap();
    h.reopen().await;
    let items = all_slices(&h.journal(), Offset::BEGINNING, 2).await;
    assert_eq!(shown_page(&items), "b[1-1] b2 b3 a[1-4] b4");
    assert_eq!(items[3].offset(), offset_of(&a, 4));
}

/// A reader by tag meets a deleted range when one of the deleted events carried its tag, however the range was deleted.
pub async fn a_reader_by_tag_meets_what_was_deleted(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    for (expected, labels) in
        [(0, &["red"][..]), (1, &["blue", "red"]), (2, &[]), (3, &["blue"]), (4, &["red"])]
    {
        store_tagged(&journal, &a, expected, labels).await;
    }
    let shown = async |journal: &Arc<dyn Journal>, label: &str| {
        shown_page(&all_tagged(journal, label, Offset::BEGINNING).await)
    };
    for (to, red, blue) in [
        (0, "a1 a2 a5", "a2 a4"),
        (1, "a[1-1] a2 a5", "a2 a4"),
        (3, "a[1-3] a5", "a[1-3] a4"),
        (4, "a[1-4] a5", "a[1-4]"),
        (5, "a[1-5]", "a[1-5]"),
    ] {
        journal.delete_to(&a, nr(to)).await.unwrap();
        assert_eq!(shown(&journal, "red").await, red, "deleted to {to}");
        assert_eq!(shown(&journal, "blue").await, blue, "deleted to {to}");
        assert_eq!(shown(&journal, "green").await, "", "deleted to {to}");
    }
    drop(journal);
    h.reopen().await;
    assert_eq!(shown(&h.journal(), "blue").await, "a[1-5]");
}

fn offset_of(items: &[PageItem], id: &PersistenceId, number: u64) -> Offset {
    let found = items.iter().find(|item| match item {
        PageItem::Event(event) => event.envelope.persistence_id == *id && event.envelope.seq_nr == nr(number),
        _ => false,
    });
    found.unwrap().offset()
}

/// The items are the numbers 1 to `count`, as events or deleted.
fn assert_gapless(items: &[Replayed], count: u64) {
    let mut next = 1;
    for item in items {
        let (from, to) = match item {
            Replayed::Event(event) => (event.envelope.seq_nr, event.envelope.seq_nr),
            Replayed::Deleted { from, to } => (*from, *to),
            erased @ Replayed::Erased { .. } => panic!("{erased:?}"),
        };
        assert_eq!(from.get(), next, "{next} is missing");
        next = to.get() + 1;
    }
    assert_eq!(next, count + 1, "the replay ended early");
}

async fn deleted_to_3(h: &mut Harness, range: impl Fn(ReplayRange) -> ReplayRange, expected: &str) {
    let (journal, a) = (h.journal(), id("a"));
    if journal.head(&a).await.unwrap() == Head::EMPTY {
        seed(&journal, &a, 5).await;
        seed(&journal, &id("neighbour"), 5).await;
        journal.delete_to(&a, nr(3)).await.unwrap();
    }
    assert_eq!(shown_range(&journal, range(ReplayRange::all(&a))).await, expected);
}
