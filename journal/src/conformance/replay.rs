//! Replaying one id: bounds, order, and that an event comes back as it was written.

use bytes::Bytes;
use futures::StreamExt;

use super::Harness;
use super::sample::*;
use crate::{
    AtomicWrite, Codec, Envelope, Head, JournalExt, KeyId, Manifest, ReplayRange, Replayed, SeqNr, Timestamp,
    TraceContext, WriterId,
};

/// (1) A replay gives all events, lowest first, and the head is the last one's number.
pub async fn all_events_come_in_order(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    seed(&journal, &a, 5).await;
    let events = events(&journal, &a).await;
    let numbers: Vec<_> = events.iter().map(|event| event.envelope.seq_nr.get()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    for (number, stored) in (1..).zip(&events) {
        assert_eq!(stored.envelope.payload, payload(&a, number, OWNER));
    }
    assert_eq!(journal.head(&a).await.unwrap().seq_nr, nr(5));
}

/// (2) With a lower bound a replay begins there.
pub async fn a_lower_bound_leaves_out_what_is_before(h: &mut Harness) {
    in_range(h, |all| all.from(nr(3)), "3 4 5").await;
}

/// (3) With an upper bound a replay ends there.
pub async fn an_upper_bound_leaves_out_what_is_behind(h: &mut Harness) {
    in_range(h, |all| all.to(nr(3)), "1 2 3").await;
}

/// (4) A replay gives at most as many events as its limit.
pub async fn a_limit_bounds_the_number_of_events(h: &mut Harness) {
    in_range(h, |all| all.limit(3), "1 2 3").await;
}

/// (5) Both bounds hold together.
pub async fn both_bounds_hold(h: &mut Harness) {
    in_range(h, |all| all.from(nr(2)).to(nr(3)), "2 3").await;
}

/// (6) Both bounds and the limit hold together.
pub async fn both_bounds_and_the_limit_hold(h: &mut Harness) {
    in_range(h, |all| all.from(nr(2)).to(nr(5)).limit(2), "2 3").await;
}

/// (7) Equal bounds give one event.
pub async fn equal_bounds_give_one_event(h: &mut Harness) {
    in_range(h, |all| all.from(nr(3)).to(nr(3)), "3").await;
}

/// (8) A limit of one gives the first event of the range.
pub async fn a_limit_of_one_gives_one_event(h: &mut Harness) {
    in_range(h, |all| all.from(nr(2)).to(nr(4)).limit(1), "2").await;
}

/// (9) A limit of zero gives nothing, without an error.
pub async fn a_limit_of_zero_gives_nothing(h: &mut Harness) {
    in_range(h, |all| all.limit(0), "").await;
}

/// (10) A lower bound above the upper one gives nothing, without an error.
pub async fn crossed_bounds_give_nothing(h: &mut Harness) {
    in_range(h, |all| all.from(nr(3)).to(nr(2)), "").await;
}

/// Bounds outside of what is stored are no error.
pub async fn bounds_outside_of_the_events_give_what_is_inside(h: &mut Harness) {
    in_range(h, |all| all.from(SeqNr::ZERO).to(nr(1_000)), "1 2 3 4 5").await;
    in_range(h, |all| all.from(nr(6)), "").await;
    in_range(h, |all| all.to(SeqNr::ZERO), "").await;
}

/// (11) An id that was never written gives nothing, and its head is empty.
pub async fn an_unknown_id_gives_nothing(h: &mut Harness) {
    let (journal, unknown) = (h.journal(), id("unknown"));
    seed(&journal, &id("other"), 3).await;
    assert_eq!(shown_range(&journal, ReplayRange::all(&unknown)).await, "");
    assert_eq!(journal.head(&unknown).await.unwrap(), Head::EMPTY);
}

/// (20, 21) An event comes back with every field and every byte that was written.
pub async fn an_event_comes_back_as_it_was_written(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("Ä|ö 語 '\"%_\\"));
    let mut all_bytes: Vec<u8> = (0..=255).collect();
    all_bytes.extend([0; 3]);
    let full = Envelope {
        writer: WriterId::from_bytes(std::array::from_fn(|n| 0xf0 | u8::try_from(n).unwrap())),
        timestamp: Timestamp::from_micros(u64::MAX),
        manifest: Manifest::new("Kind.some-thing_9").unwrap(),
        schema_version: u32::MAX,
        codec: Codec::Custom(u32::MAX),
        tags: vec![tag("b"), tag("a"), tag("größe='1'|%")],
        trace_context: TraceContext::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        key_id: journal.limits().marks.then_some(KeyId(0)),
        payload: Bytes::from(all_bytes),
        ..event(&a, 1, token(i64::MAX as u64, i64::MAX as u64))
    };
    let bare = Envelope {
        token: full.token,
        timestamp: Timestamp::from_micros(0),
        payload: Bytes::new(),
        ..event(&a, 2, full.token)
    };
    let events_written = vec![full, bare];
    let write = AtomicWrite {
        persistence_id: a.clone(),
        expected: SeqNr::ZERO,
        token: events_written[0].token,
        events: events_written.clone(),
        mark: None,
    };
    journal.append(write).await.unwrap();
    h.reopen().await;
    let stored = events(&h.journal(), &a).await;
    assert_eq!(stored.iter().map(|event| event.envelope.clone()).collect::<Vec<_>>(), events_written);
    // A layer that keeps its own marks stores what it made of the envelope.
    for event in stored.into_iter().filter(|_| journal.limits().marks) {
        assert_eq!(event.bytes, event.envelope.encode(), "the stored bytes are the encoded envelope");
    }
}

/// A long history is streamed whole and in order, each event once.
pub async fn a_long_history_is_streamed_whole(h: &mut Harness) {
    const APPENDS: u64 = 25;
    const EACH: u64 = 200;
    let (journal, a) = (h.journal(), id("long"));
    for n in 0..APPENDS {
        journal.append(append(&a, OWNER, n * EACH, EACH)).await.unwrap();
    }
    let mut stream = journal.replay(ReplayRange::all(&a));
    for number in 1..=APPENDS * EACH {
        let Replayed::Event(event) = stream.next().await.unwrap().unwrap() else {
            panic!("{number} was never deleted")
        };
        assert_eq!(event.envelope.seq_nr, nr(number));
        assert_eq!(event.envelope.payload, payload(&a, number, OWNER));
    }
    assert!(stream.next().await.is_none());
}

/// Events that are appended while a replay runs are not part of it.
pub async fn a_replay_has_what_was_stored_when_it_began(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    seed(&journal, &a, 3).await;
    let mut stream = journal.replay(ReplayRange::all(&a));
    let first = stream.next().await.unwrap().unwrap();
    journal.append(append(&a, OWNER, 3, 2)).await.unwrap();
    let rest: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert_eq!((shown(&[first]).as_str(), shown(&rest).as_str()), ("1", "2 3"));
}

/// A replay that its reader leaves in the middle disturbs nobody.
pub async fn a_replay_may_be_left_in_the_middle(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    for n in 0..10 {
        journal.append(append(&a, OWNER, n * 100, 100)).await.unwrap();
    }
    for taken in 0..20 {
        let stream = journal.replay(ReplayRange::all(&a));
        assert_eq!(stream.take(taken * 31).count().await, taken * 31);
    }
    journal.append(append(&a, OWNER, 1000, 1)).await.unwrap();
    assert_eq!(events(&journal, &a).await.len(), 1001);
}

async fn in_range(h: &mut Harness, range: impl Fn(ReplayRange) -> ReplayRange, expected: &str) {
    let (journal, a) = (h.journal(), id("a"));
    if journal.head(&a).await.unwrap() == Head::EMPTY {
        seed(&journal, &a, 5).await;
        seed(&journal, &id("neighbour"), 7).await;
    }
    assert_eq!(shown_range(&journal, range(ReplayRange::all(&a))).await, expected);
    assert_eq!(journal.head(&a).await.unwrap().seq_nr, nr(5));
}
