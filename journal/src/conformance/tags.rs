//! Reading by tag.

use super::Harness;
use super::sample::*;
use crate::{Offset, SliceRange};

/// A tag's events come in the order of offsets, over all ids, at the offsets that every other read gives.
pub async fn a_tags_events_come_in_the_order_of_offsets(h: &mut Harness) {
    let (journal, a, b) = (h.journal(), id("a"), id("b"));
    store_tagged(&journal, &a, 0, &["red"]).await;
    store_tagged(&journal, &b, 0, &["blue"]).await;
    store_tagged(&journal, &b, 1, &["red", "blue"]).await;
    store_tagged(&journal, &a, 1, &[]).await;
    store_tagged(&journal, &a, 2, &["blue", "red"]).await;
    let all = all_slices(&journal, Offset::BEGINNING, 10).await;
    for (label, shown) in [("red", "a1 b2 a3"), ("blue", "b1 b2 a3"), ("green", "")] {
        let found = all_tagged(&journal, label, Offset::BEGINNING).await;
        assert_eq!(shown_page(&found), shown, "{label}");
        assert!(
            found.iter().all(|item| all.contains(item)),
            "{label}: another offset or event than by slice"
        );
    }
}

/// A tag is found by all its bytes and nothing else.
pub async fn a_tag_is_found_exactly(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    let labels = ["red", "Red", "red ", "re", "r%", "r_d", "größe", "grösse", "a|b", "'"];
    for (expected, label) in (0..).zip(labels) {
        store_tagged(&journal, &a, expected, &[label]).await;
    }
    for (number, label) in (1..).zip(labels) {
        let found = all_tagged(&journal, label, Offset::BEGINNING).await;
        assert_eq!(shown_page(&found), format!("a{number}"), "{label:?}");
    }
}

/// An event that carries a tag twice is one event, and keeps its tags as they were written.
pub async fn a_tag_that_is_given_twice_is_found_once(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    store_tagged(&journal, &a, 0, &["red", "blue", "red"]).await;
    assert_eq!(shown_page(&all_tagged(&journal, "red", Offset::BEGINNING).await), "a1");
    assert_eq!(events(&journal, &a).await[0].envelope.tags, [tag("red"), tag("blue"), tag("red")]);
}

/// A tag's pages go on where the last one ended.
pub async fn a_tags_pages_go_on_where_the_last_one_ended(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    for expected in 0..30 {
        store_tagged(&journal, &a, expected, if expected % 3 == 0 { &["red"] } else { &["blue"] }).await;
    }
    let (red, mut after, mut seen) = (tag("red"), Offset::BEGINNING, Vec::new());
    loop {
        let page = journal.events_by_tag(&red, after, 4).await.unwrap();
        check_page(&page, after, 4);
        after = page.complete_to;
        let last = page.items.len() < 4;
        seen.extend(page.items);
        if last {
            break;
        }
    }
    assert_eq!(shown_page(&seen), "a1 a4 a7 a10 a13 a16 a19 a22 a25 a28");
    let empty = journal.events_by_tag(&red, after, 4).await.unwrap();
    assert_eq!((empty.items.len(), empty.complete_to), (0, after));
}

/// A page with room left passes events that do not carry its tag, so that a reader of a rare tag gets on.
pub async fn a_page_with_room_passes_events_without_its_tag(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    for expected in 0..20 {
        store_tagged(&journal, &a, expected, &["common"]).await;
    }
    let end = all_slices(&journal, Offset::BEGINNING, 100).await.last().unwrap().offset();
    let page = journal.events_by_tag(&tag("rare"), Offset::BEGINNING, 5).await.unwrap();
    assert!(page.items.is_empty());
    assert!(page.complete_to >= end, "complete to {}, the last event is at {end}", page.complete_to);
    let ours = id("a").slice().number();
    let others = SliceRange::new(if ours == 0 { 1..=1023 } else { 0..=ours - 1 }).unwrap();
    let page = journal.events_by_slice(others, Offset::BEGINNING, 5).await.unwrap();
    assert!(page.items.is_empty());
    assert!(page.complete_to >= end, "complete to {}, the last event is at {end}", page.complete_to);
}
