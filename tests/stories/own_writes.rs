//! Whoever was answered sees what they wrote: at the entity, in the journal, after a crash, and after a takeover.

use std::path::Path;

use annals::journal::{Offset, PageItem, SliceRange};
use annals::prelude::*;
use serde::{Deserialize, Serialize};

/// Remembers all numbers that it was ever given.
#[derive(Default, Serialize, Deserialize)]
struct Diary(Vec<u64>);

#[derive(Serialize, Deserialize, Event)]
enum DiaryEvent {
    Written { number: u64 },
}

impl PersistentActor for Diary {
    const KIND: &'static str = "diary";
    type Event = DiaryEvent;
    type Commands = (Write, Read);

    fn apply(&mut self, DiaryEvent::Written { number }: &DiaryEvent) {
        self.0.push(*number);
    }
}

#[derive(Serialize, Deserialize, Command)]
struct Write(u64);

#[derive(Serialize, Deserialize, Command)]
struct Read;

impl Handle<Write> for Diary {
    type Reply = u64;
    type Rejection = NeverRejected;

    fn handle(&self, write: &Write, ctx: &mut Context<Self, Write>) -> Effect<Self, Write> {
        let seq_nr = ctx.seq_nr().next().get();
        ctx.persist(DiaryEvent::Written { number: write.0 }).reply_with(seq_nr)
    }
}

impl Handle<Read> for Diary {
    type Reply = Vec<u64>;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Read, ctx: &mut Context<Self, Read>) -> Effect<Self, Read> {
        ctx.reply(self.0.clone())
    }
}

async fn open(file: &Path) -> Node {
    let url = format!("sqlite://{}", file.display());
    Annals::builder("diaries").journal(url).entity::<Diary>().start().await.unwrap()
}

/// The numbers of all written events, as a reader of the journal sees them now.
async fn in_the_journal(node: &Node) -> Vec<u64> {
    let (mut seen, mut after) = (Vec::new(), Offset::BEGINNING);
    loop {
        let page = node.journal().events_by_slice(SliceRange::ALL, after, 100).await.unwrap();
        for item in &page.items {
            let PageItem::Event(event) = item else { panic!("nothing was deleted") };
            let written: serde_json::Value = serde_json::from_slice(&event.envelope.payload).unwrap();
            seen.push(written["number"].as_u64().unwrap());
        }
        if page.complete_to == after {
            return seen;
        }
        after = page.complete_to;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_writers_sees_what_was_answered_at_the_entity_and_in_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(&folder.path().join("diaries.db")).await;
    let writers = (0..8_u64).map(|writer| {
        let node = node.clone();
        tokio::spawn(async move {
            let shared = node.entity::<Diary>("shared");
            for turn in 0..20 {
                let number = writer * 100 + turn;
                let seq_nr = shared.ask(Write(number)).await.unwrap();
                let (read, journal) = (shared.ask(Read).await.unwrap(), in_the_journal(&node).await);
                let place = usize::try_from(seq_nr).unwrap() - 1;
                assert_eq!(read.get(place), Some(&number), "the entity");
                assert_eq!(journal.get(place), Some(&number), "a reader that begins after the answer");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    node.shutdown().await;
}

#[tokio::test]
async fn what_was_answered_is_read_after_the_owner_is_gone_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("diaries.db");
    let before = open(&file).await;
    before.entity::<Diary>("mine").ask(Write(7)).await.unwrap();
    // Not shut down: as after a crash, only that the old owner can still be asked.
    let after = open(&file).await;
    assert_eq!(after.entity::<Diary>("mine").ask(Read).await.unwrap(), [7]);
    after.entity::<Diary>("mine").ask(Write(8)).await.unwrap();
    // The old owner does not know of 8; confirmed, it says so instead of showing what is no longer true.
    let stale = before.entity::<Diary>("mine").ask(Read).confirmed().await;
    assert!(matches!(stale, Err(AskError::Failed(Failure::Fenced { .. }))), "{stale:?}");
    assert_eq!(after.entity::<Diary>("mine").ask(Read).confirmed().await.unwrap(), [7, 8]);
    after.shutdown().await;
    before.shutdown().await;
}
