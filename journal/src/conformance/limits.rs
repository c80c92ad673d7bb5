//! What every backend takes, and that it refuses what it does not take.

use std::sync::Arc;

use bytes::Bytes;

use super::Harness;
use super::sample::*;
use crate::{
    AtomicWrite, Envelope, Journal, JournalExt, Manifest, Offset, PersistenceId, ReplayRange, SeqNr, Tag,
    Write,
};

/// A backend's limits are at least what every backend promises.
pub async fn the_limits_are_at_least_the_promised_ones(h: &mut Harness) {
    let limits = h.journal().limits();
    assert!(limits.max_payload_bytes >= MIB, "{limits:?}");
    assert!(limits.max_events >= 256, "{limits:?}");
}

/// An event of 1 MiB is stored and replayed whole.
pub async fn an_event_of_a_mebibyte_is_stored(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    let payload = noise(MIB);
    journal.append(with_payload(&a, payload.clone())).await.unwrap();
    h.reopen().await;
    assert_eq!(events(&h.journal(), &a).await[0].envelope.payload, payload);
}

/// An append of 256 events, and a few of the largest ones in one append, are stored.
pub async fn an_append_of_many_events_is_stored(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    assert_eq!(journal.append(append(&a, OWNER, 0, 256)).await.unwrap().seq_nr, nr(256));
    let large = id("large");
    let mut write = append(&large, OWNER, 0, 4);
    for event in &mut write.events {
        event.payload = noise(MIB);
    }
    journal.append(write.clone()).await.unwrap();
    let stored: Vec<_> = events(&journal, &large).await.into_iter().map(|event| event.envelope).collect();
    assert!(stored == write.events, "another event than was written");
}

/// An event or an append above the limits is rejected, its neighbours in the list are stored, and the journal goes on.
pub async fn what_is_above_the_limits_is_rejected(h: &mut Harness) {
    let (journal, a, b, c) = (h.journal(), id("a"), id("b"), id("c"));
    let limits = journal.limits();
    let too_large = with_payload(&b, Bytes::from(vec![b'x'; limits.max_payload_bytes + 1]));
    let too_many = append(&b, OWNER, 0, limits.max_events as u64 + 1);
    let mut too_many_tags = append(&b, OWNER, 0, 1);
    too_many_tags.events[0].tags = (0..=Tag::MAX_PER_EVENT).map(|n| tag(&format!("t{n}"))).collect();
    for (round, refused) in (0..).zip([too_large, too_many, too_many_tags]) {
        let list = vec![write(&a, OWNER, round, 1), Write::Append(refused), write(&c, OWNER, round, 1)];
        let answers = journal.write(list).await;
        assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
        refused!(answers[1].clone(), Rejected);
        assert_eq!(journal.head(&b).await.unwrap(), crate::Head::EMPTY);
    }
    assert_eq!(shown_range(&journal, ReplayRange::all(&b)).await, "");
    assert_eq!(journal.append(append(&b, OWNER, 0, 1)).await.unwrap().seq_nr, nr(1));
}

/// The longest names and the most tags are stored and found.
pub async fn the_longest_names_are_stored(h: &mut Harness) {
    let journal = h.journal();
    let longest = [
        PersistenceId::new(
            &"k".repeat(PersistenceId::MAX_KIND_BYTES),
            &"e".repeat(PersistenceId::MAX_ENTITY_BYTES),
        ),
        PersistenceId::new(&"k".repeat(PersistenceId::MAX_KIND_BYTES), &"語".repeat(170)),
    ];
    let tags: Vec<_> = (0..Tag::MAX_PER_EVENT)
        .map(|n| Tag::new(&format!("{n:02}{}", "t".repeat(Tag::MAX_BYTES - 2))).unwrap())
        .collect();
    for a in longest.map(Result::unwrap) {
        let envelope = Envelope {
            manifest: Manifest::new(&"m".repeat(Manifest::MAX_BYTES)).unwrap(),
            tags: tags.clone(),
            ..event(&a, 1, OWNER)
        };
        let write = AtomicWrite {
            persistence_id: a.clone(),
            expected: SeqNr::ZERO,
            token: OWNER,
            events: vec![envelope.clone()],
            mark: None,
        };
        journal.append(write).await.unwrap();
        assert_eq!(events(&journal, &a).await[0].envelope, envelope);
        assert_eq!(journal.head(&a).await.unwrap().seq_nr, nr(1));
    }
    for tag in &tags {
        assert_eq!(all_tagged(&journal, tag.as_str(), Offset::BEGINNING).await.len(), 2);
    }
}

/// A list of many small writes over many ids is one call.
pub async fn a_long_list_is_stored(h: &mut Harness) {
    let journal: Arc<dyn Journal> = h.journal();
    let list = (0..2_000).map(|n| write(&id(&format!("e{}", n % 500)), OWNER, n / 500, 1)).collect();
    let answers = journal.write(list).await;
    assert_eq!(answers.len(), 2_000);
    for (n, answer) in (0..).zip(answers) {
        assert_eq!(answer.unwrap().seq_nr, nr(n / 500 + 1));
    }
    assert_eq!(all_slices(&journal, Offset::BEGINNING, 300).await.len(), 2_000);
}

fn with_payload(id: &PersistenceId, payload: Bytes) -> AtomicWrite {
    let mut write = append(id, OWNER, 0, 1);
    write.events[0].payload = payload;
    write
}

/// Bytes that do not compress and hold every value.
fn noise(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect::<Vec<_>>()
        .into()
}

const MIB: usize = 1024 * 1024;
