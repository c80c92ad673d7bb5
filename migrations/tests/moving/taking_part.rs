//! A rewriting as one of the processes that use the journal.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_journal::{Epoch, Manifest, MemoryJournal, Records, Token, WriterId};
use annals_migrations::rewrite::{RewriteError, RewriteSettings, Rewriting, Target};
use annals_migrations::{Announcement, EventAdapter, Form, Member, MemberError, VersionRecords, Versions};

use crate::history::{Old, Stored, events, id, moved, rewriter, states};

const LEASE: Duration = Duration::from_secs(5);

fn rewriting(stored: &Stored, target: Target) -> Rewriting {
    let (journal, snapshots) = (stored.journal.clone(), stored.snapshots.clone());
    Rewriting::new(journal.clone(), journal, snapshots, rewriter(), target).wait(Duration::ZERO)
}

fn form(version: u32) -> Form {
    Form::new(Manifest::new("account.moved").unwrap(), version)
}

/// What the first build reads.
fn first_build() -> Vec<Versions> {
    ["account.moved", "account.noted", "account.both", "account.pinged", "account.state"]
        .map(|name| Versions::only(Manifest::new(name).unwrap(), 1))
        .to_vec()
}

fn down() -> Target {
    Target::readable_by(first_build())
}

async fn enter(journal: &Arc<MemoryJournal>, node: &str, reads: &[Versions]) -> Result<Member, MemberError> {
    let mut announcement = Announcement::new(node);
    announcement.hosts("account", reads);
    Member::enter(journal.clone(), WriterId::random(), announcement, LEASE, BTreeSet::new()).await
}

async fn older(stored: &Stored) -> Result<Member, MemberError> {
    enter(&stored.journal, "older", &first_build()).await
}

async fn newer(stored: &Stored) -> Member {
    enter(&stored.journal, "newer", &[events().versions(), states().versions()].concat()).await.unwrap()
}

/// What of `account.moved` is stored, and what leaves.
async fn watermark(stored: &Stored) -> (Vec<u32>, Vec<u32>) {
    let table = VersionRecords::new(stored.journal.clone()).table().await.unwrap();
    let (_, watermark) = &table.watermarks[&form(1).manifest];
    (watermark.stored.iter().copied().collect(), watermark.leaving.keys().copied().collect())
}

async fn append(stored: &Stored, number: usize, old: &Old) {
    stored.append(&id(number), Token::new(Epoch(1), 1), old).await;
}

/// A journal that a newer build has written to, and left.
async fn written() -> Stored {
    let stored = Stored::empty();
    let mut member = newer(&stored).await;
    member.clear("account", &form(3)).await.unwrap();
    for number in 1..4 {
        append(&stored, number, &moved(3, 7, "EUR")).await;
    }
    member.leave().await.unwrap();
    stored
}

#[tokio::test]
async fn an_older_build_starts_when_the_journal_was_brought_down() {
    let stored = written().await;
    let refused = older(&stored).await.unwrap_err().to_string();
    assert!(refused.contains("annals migrate rewrite --to LOCKFILE"), "{refused}");
    let rewrote = rewriting(&stored, down()).apply(&|_| {}, &|_| {}).await.unwrap();
    assert_eq!((rewrote.done.replaced(), rewrote.found.replaced()), (3, 0));
    assert_eq!((rewrote.gone, rewrote.found.compared), ([form(3)].into(), Some(3)));
    assert_eq!(watermark(&stored).await, (vec![1], vec![]));
    older(&stored).await.unwrap().leave().await.unwrap();

    // And up again: then a build that reads nothing older starts, too.
    let rewrote = rewriting(&stored, Target::Newest).apply(&|_| {}, &|_| {}).await.unwrap();
    assert_eq!((rewrote.done.replaced(), rewrote.gone), (3, [form(1)].into()));
    let newest = Versions { reads: 3..=4, ..Versions::only(form(3).manifest, 3) };
    enter(&stored.journal, "newest", &[newest]).await.unwrap();
}

#[tokio::test]
async fn who_would_store_it_again_stands_in_the_way_until_it_is_held() {
    let stored = written().await;
    let mut running = newer(&stored).await;
    let plan = rewriting(&stored, down()).plan(&|_| {}).await.unwrap();
    let reason = plan.in_the_way.unwrap();
    assert!(
        reason.contains("process \"newer\"") && reason.contains("annals schema hold account.moved 1"),
        "{reason}"
    );
    let error = rewriting(&stored, down()).apply(&|_| {}, &|_| {}).await.unwrap_err();
    assert!(matches!(&error, RewriteError::InTheWay { form: of, .. } if *of == form(3)), "{error}");
    assert_eq!(watermark(&stored).await, (vec![3], vec![]), "nothing is begun");

    let records = VersionRecords::new(stored.journal.clone());
    for (manifest, at) in [("account.moved", 1), ("account.state", 1)] {
        records.hold(&Manifest::new(manifest).unwrap(), at).await.unwrap();
    }
    // It has said that it is about to write it, and not yet that it does not.
    running.clear("account", &form(3)).await.unwrap_err();
    let error = rewriting(&stored, down()).apply(&|_| {}, &|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("may still write it"), "{error}");
    running.renew().await.unwrap();
    rewriting(&stored, down()).apply(&|_| {}, &|_| {}).await.unwrap();
    assert_eq!(watermark(&stored).await, (vec![1], vec![]));
    running.renew().await.unwrap();
    let refused = running.clear("account", &form(3)).await.unwrap_err().to_string();
    assert!(refused.contains("held at version 1"), "{refused}");
    older(&stored).await.unwrap();
}

#[tokio::test]
async fn nothing_is_lost_that_somebody_has_in_memory() {
    let stored = written().await;
    append(&stored, 1, &moved(3, 7, "SEK")).await;
    let running = newer(&stored).await;
    let settings = RewriteSettings { allow_loss: true, ..RewriteSettings::default() };
    let error = rewriting(&stored, down()).settings(settings).apply(&|_| {}, &|_| {}).await.unwrap_err();
    assert!(matches!(&error, RewriteError::Hosted { node, .. } if node == "newer"), "{error}");
    running.leave().await.unwrap();
    rewriting(&stored, down()).settings(settings).apply(&|_| {}, &|_| {}).await.unwrap();
    older(&stored).await.unwrap();
}

#[tokio::test]
async fn on_the_way_up_nothing_is_written_that_somebody_does_not_read() {
    let stored = Stored::empty();
    let mut running = older(&stored).await.unwrap();
    running.clear("account", &form(1)).await.unwrap();
    append(&stored, 1, &moved(1, 7, "EUR")).await;
    let error = rewriting(&stored, Target::Newest).apply(&|_| {}, &|_| {}).await.unwrap_err();
    assert!(matches!(&error, RewriteError::Refused { form: of, .. } if *of == form(3)), "{error}");
    assert!(error.to_string().contains("process \"older\""), "{error}");
    running.leave().await.unwrap();
    rewriting(&stored, Target::Newest).apply(&|_| {}, &|_| {}).await.unwrap();
    older(&stored).await.unwrap_err();
}

/// What has no way down is stored after all: nobody is kept from writing it.
#[tokio::test]
async fn what_is_left_may_be_written_again() {
    let stored = written().await;
    append(&stored, 1, &moved(3, 7, "SEK")).await;
    let rewrote = rewriting(&stored, down()).apply(&|_| {}, &|_| {}).await.unwrap();
    assert_eq!((rewrote.found.left_alone, rewrote.left), (1, [form(3)].into()));
    assert_eq!(watermark(&stored).await, (vec![1, 3], vec![]));
    older(&stored).await.unwrap_err();
    newer(&stored).await.clear("account", &form(3)).await.unwrap();
}

/// Polls until something has happened, and then no more.
async fn killed_when(happened: &AtomicBool, work: impl Future) {
    let mut work = std::pin::pin!(work);
    while !happened.load(Ordering::SeqCst) {
        tokio::select! {
            biased;
            _ = &mut work => break,
            () = tokio::task::yield_now() => {}
        }
    }
}

/// One that goes the other way waits until the first has ended.
#[tokio::test]
async fn two_that_go_different_ways_do_not_undo_each_other() {
    let stored = written().await;
    for number in 4..600 {
        append(&stored, number, &moved(3, 7, "EUR")).await;
    }
    let first_page = AtomicBool::new(false);
    let slow = RewriteSettings { events_per_second: Some(2_000), ..RewriteSettings::default() };
    let progress = |_| first_page.store(true, Ordering::SeqCst);
    let mut downwards = std::pin::pin!(rewriting(&stored, down()).settings(slow).apply(&progress, &|_| {}));
    while !first_page.load(Ordering::SeqCst) {
        tokio::select! {
            biased;
            done = &mut downwards => panic!("it has ended: {done:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    let error = rewriting(&stored, Target::Newest).apply(&|_| {}, &|_| {}).await.unwrap_err();
    assert!(matches!(&error, RewriteError::Refused { form: of, .. } if *of == form(3)), "{error}");
    assert_eq!(watermark(&stored).await.1, [3]);
    let rewrote = downwards.await.unwrap();
    assert_eq!((rewrote.gone, rewrote.left.len()), ([form(3)].into(), 0));
    assert_eq!(watermark(&stored).await, (vec![1], vec![]));
    rewriting(&stored, Target::Newest).apply(&|_| {}, &|_| {}).await.unwrap();
}

/// Whoever is registered is forgotten, as when his lease has ended.
async fn leases_end(stored: &Stored) {
    for (key, record) in stored.journal.list("schema/process/", None, 100).await.unwrap() {
        let _ = stored.journal.delete(&key, record.revision).await.unwrap();
    }
}

/// One that was killed has marked what leaves; one that is run after it ends that, in either direction.
#[tokio::test]
async fn one_that_was_killed_is_ended_by_the_next_one() {
    for (target, is_stored) in [(down(), 1), (Target::Newest, 3)] {
        let stored = written().await;
        for number in 4..600 {
            append(&stored, number, &moved(3, 7, "EUR")).await;
        }
        let first_page = AtomicBool::new(false);
        let slow = RewriteSettings { events_per_second: Some(100), ..RewriteSettings::default() };
        let progress = |_| first_page.store(true, Ordering::SeqCst);
        let killed = rewriting(&stored, down()).settings(slow);
        killed_when(&first_page, killed.apply(&progress, &|_| {})).await;
        assert_eq!(watermark(&stored).await.1, [3]);
        leases_end(&stored).await;
        // Who comes meanwhile writes an older form, if it has one.
        let mut running = newer(&stored).await;
        let refused = running.clear("account", &form(3)).await.unwrap_err().to_string();
        assert!(refused.contains("one that was killed is run again"), "{refused}");
        let moved = events().versions().into_iter().find(|of| of.manifest == form(3).manifest).unwrap();
        assert_eq!(running.table().agreement().form("account", &moved).unwrap(), form(2));
        running.leave().await.unwrap();
        let rewrote = rewriting(&stored, target).apply(&|_| {}, &|_| {}).await.unwrap();
        assert_eq!((rewrote.found.left_alone, rewrote.found.replaced(), rewrote.found.seen()), (0, 0, 599));
        assert_eq!(watermark(&stored).await, (vec![is_stored], vec![]));
    }
}
