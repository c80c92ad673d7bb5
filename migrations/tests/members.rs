//! Processes that register with a journal, write, are away and come back.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals_journal::{
    JournalError, Manifest, MemoryJournal, Record, RecordChange, RecordKey, Records, Timestamp, Verdict,
    WriterId,
};
use annals_migrations::{Announcement, Form, Member, MemberError, VersionRecords, Versions};
use async_trait::async_trait;

/// Records whose clock a test sets forward.
#[derive(Debug, Default)]
struct Clocked {
    journal: MemoryJournal,
    now: AtomicU64,
}

impl Clocked {
    fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

#[async_trait]
impl Records for Clocked {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        self.journal.get(key).await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        self.journal.change(changes).await
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        Ok(Timestamp::from_micros(self.now.load(Ordering::SeqCst)))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        self.journal.list(prefix, after, limit).await
    }
}

fn moved(version: u32) -> Form {
    Form::new(Manifest::new("account.moved").unwrap(), version)
}

fn build(name: &str, reads: RangeInclusive<u32>) -> Announcement {
    let mut announcement = Announcement::new(name);
    let manifest = moved(1).manifest;
    announcement.hosts("account", &[Versions { manifest, reads, writes: vec![] }]);
    announcement
}

const LEASE: Duration = Duration::from_secs(10);

async fn enter(records: &Arc<Clocked>, build: Announcement) -> Result<Member, MemberError> {
    let wanted = BTreeSet::from([moved(1), moved(2)]);
    Member::enter(records.clone(), WriterId::random(), build, LEASE, wanted).await
}

async fn stored(records: &Arc<Clocked>) -> Vec<u32> {
    let table = VersionRecords::new(records.clone()).table().await.unwrap();
    table.watermarks.get(&moved(1).manifest).into_iter().flat_map(|(_, mark)| mark.stored.clone()).collect()
}

#[tokio::test]
async fn a_version_that_a_registered_process_does_not_read_is_not_written_until_it_leaves() {
    let records = Arc::new(Clocked::default());
    let older = enter(&records, build("old", 1..=1)).await.unwrap();
    let mut newer = enter(&records, build("new", 1..=2)).await.unwrap();
    let refused = newer.clear("account", &moved(2)).await.unwrap_err().to_string();
    assert!(refused.starts_with("account.moved version 2: process \"old\" ("), "{refused}");
    assert!(refused.ends_with("reads version 1 of it"), "{refused}");
    newer.clear("account", &moved(1)).await.unwrap();
    assert_eq!(stored(&records).await, [1]);
    older.leave().await.unwrap();
    newer.clear("account", &moved(2)).await.unwrap();
    assert_eq!(stored(&records).await, [1, 2]);
    assert_eq!(*newer.writes(), [moved(1), moved(2)].into());
}

#[tokio::test]
async fn who_does_not_read_what_is_stored_is_told_what_to_do() {
    let records = Arc::new(Clocked::default());
    let mut newer = enter(&records, build("new", 1..=2)).await.unwrap();
    newer.clear("account", &moved(2)).await.unwrap();
    let refused = enter(&records, build("old", 1..=1)).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "version 2 of account.moved (kind \"account\") is stored, and this build reads version 1 of it: start a build that reads them, \
         or bring the journal down with `annals migrate rewrite --to LOCKFILE`, or start with --allow-unreadable account.moved, and only \
         the entities that hold such events fail"
    );
    let mut bold = build("old", 1..=1);
    bold.allow_unreadable(&moved(1).manifest);
    enter(&records, bold).await.unwrap();
    // One that reads only newer versions than are stored, too.
    newer.clear("account", &moved(1)).await.unwrap();
    let refused = enter(&records, build("newest", 2..=3)).await.unwrap_err().to_string();
    assert!(refused.contains("with that build's `annals migrate rewrite`"), "{refused}");
    assert!(enter(&records, Announcement::new("hosts nothing")).await.is_ok());
}

#[tokio::test]
async fn a_process_that_was_away_for_longer_than_its_lease_is_passed_over_and_learns_it() {
    let records = Arc::new(Clocked::default());
    let mut older = enter(&records, build("old", 1..=1)).await.unwrap();
    let mut newer = enter(&records, build("new", 1..=2)).await.unwrap();
    records.pass(6);
    older.renew().await.unwrap();
    newer.renew().await.unwrap();
    records.pass(6);
    assert!(newer.clear("account", &moved(2)).await.is_err(), "both have renewed");
    records.pass(6);
    newer.clear("account", &moved(2)).await.unwrap();
    let gone = older.renew().await.unwrap_err();
    assert!(matches!(gone, MemberError::Unreadable(_)), "{gone}");
    let table = VersionRecords::new(records.clone()).table().await.unwrap();
    assert_eq!(table.processes.keys().copied().collect::<Vec<_>>(), [newer.id()]);
}

#[tokio::test]
async fn a_process_that_was_away_and_that_nobody_passed_over_goes_on() {
    let records = Arc::new(Clocked::default());
    let mut older = enter(&records, build("old", 1..=1)).await.unwrap();
    older.clear("account", &moved(1)).await.unwrap();
    records.pass(60);
    older.renew().await.unwrap();
    assert_eq!(*older.writes(), [moved(1)].into());
    let mut newer = enter(&records, build("new", 1..=2)).await.unwrap();
    assert!(newer.clear("account", &moved(2)).await.is_err());
}

#[tokio::test]
async fn registrations_of_processes_that_were_killed_do_not_stay() {
    let records = Arc::new(Clocked::default());
    for _ in 0..20 {
        drop(enter(&records, build("killed", 1..=2)).await.unwrap());
    }
    let mut living = enter(&records, build("living", 1..=2)).await.unwrap();
    let count = async || VersionRecords::new(records.clone()).table().await.unwrap().processes.len();
    for expected in [21, 21, 21, 1] {
        records.pass(6);
        living.renew().await.unwrap();
        assert_eq!(count().await, expected);
    }
}

#[tokio::test]
async fn a_hold_keeps_a_version_from_being_written_until_it_is_released() {
    let (records, manifest) = (Arc::new(Clocked::default()), moved(1).manifest);
    let holds = VersionRecords::new(records.clone());
    let mut newer = enter(&records, build("new", 1..=2)).await.unwrap();
    assert_eq!(holds.hold(&manifest, 1).await.unwrap(), None);
    let held = newer.clear("account", &moved(2)).await.unwrap_err().to_string();
    assert_eq!(
        held,
        "account.moved version 2: account.moved is held at version 1 (`annals schema release account.moved` ends it)"
    );
    assert_eq!(stored(&records).await, [0; 0]);
    assert_eq!(holds.hold(&manifest, 2).await.unwrap(), Some(1));
    assert_eq!(holds.release(&manifest).await.unwrap(), Some(2));
    assert_eq!(holds.release(&manifest).await.unwrap(), None);
    newer.clear("account", &moved(2)).await.unwrap();
    // A process's own hold counts for all.
    let mut holding = build("careful", 1..=3);
    holding.hold(manifest, 2);
    let holding = enter(&records, holding).await.unwrap();
    assert!(newer.clear("account", &moved(3)).await.is_err());
    holding.leave().await.unwrap();
}

#[tokio::test]
async fn a_rewrite_lowers_the_mark_when_nobody_may_write_above_it() {
    let records = Arc::new(Clocked::default());
    let mut newer = enter(&records, build("new", 1..=2)).await.unwrap();
    newer.clear("account", &moved(1)).await.unwrap();
    newer.clear("account", &moved(2)).await.unwrap();
    let mut rewrite = enter(&records, Announcement::new("rewrite")).await.unwrap();
    let refused = rewrite.begin_leaving(&[moved(2)]).await.unwrap_err().to_string();
    assert!(refused.contains("process \"new\""), "{refused}");
    // It gives the form up; what it has encoded may be on its way until the renewal after the next.
    newer.keep(|form| form.version < 2);
    newer.renew().await.unwrap();
    assert!(rewrite.begin_leaving(&[moved(2)]).await.is_err());
    newer.renew().await.unwrap();
    rewrite.begin_leaving(&[moved(2)]).await.unwrap();
    assert!(newer.clear("account", &moved(2)).await.unwrap_err().to_string().contains("a rewrite"));
    rewrite.end_leaving(&[moved(2)]).await.unwrap();
    assert_eq!(stored(&records).await, [1]);
    let older = enter(&records, build("old", 1..=1)).await.unwrap();
    older.leave().await.unwrap();
}

/// Of three at once: the first has swept when the second lets the form be, somebody stores it again, and the third begins to remove it.
#[tokio::test]
async fn a_rewrite_does_not_end_the_mark_of_another_one() {
    let records = Arc::new(Clocked::default());
    let mut newer = enter(&records, build("new", 1..=2)).await.unwrap();
    newer.clear("account", &moved(2)).await.unwrap();
    newer.leave().await.unwrap();
    let mut rewrites = Vec::new();
    for name in ["first", "second", "third"] {
        let announcement = Announcement::new(name);
        rewrites.push(
            Member::enter(records.clone(), WriterId::random(), announcement, LEASE, BTreeSet::new())
                .await
                .unwrap(),
        );
    }
    let [first, second, third] = &mut rewrites[..] else { panic!("there are three") };
    first.begin_leaving(&[moved(2)]).await.unwrap();
    second.begin_leaving(&[moved(2)]).await.unwrap();

    // One that gives up lets the others go on.
    second.give_up_leaving(&[moved(2)]).await.unwrap();
    let mut newer = enter(&records, build("new", 1..=2)).await.unwrap();
    assert!(newer.clear("account", &moved(2)).await.unwrap_err().to_string().contains("a rewrite"));

    second.cancel_leaving(&[moved(2)]).await.unwrap();
    newer.clear("account", &moved(2)).await.unwrap();
    newer.leave().await.unwrap();
    third.begin_leaving(&[moved(2)]).await.unwrap();
    first.end_leaving(&[moved(2)]).await.unwrap();
    assert_eq!(stored(&records).await, [2], "what was stored since the first has looked");
    third.end_leaving(&[moved(2)]).await.unwrap();
    assert_eq!(stored(&records).await, [0; 0]);

    // The mark of one that is gone does not stay.
    let mut newer = enter(&records, build("new", 1..=2)).await.unwrap();
    newer.clear("account", &moved(2)).await.unwrap();
    newer.leave().await.unwrap();
    first.begin_leaving(&[moved(2)]).await.unwrap();
    records.pass(2 * LEASE.as_secs());
    third.renew().await.unwrap();
    third.begin_leaving(&[moved(2)]).await.unwrap();
    third.give_up_leaving(&[moved(2)]).await.unwrap();
    let mut newer = enter(&records, build("new", 1..=2)).await.unwrap();
    newer.clear("account", &moved(2)).await.unwrap();
}
