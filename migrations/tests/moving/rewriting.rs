use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_journal::sqlite::{Options, SqliteJournal};
use annals_journal::{
    AtomicWrite, Envelope, Epoch, GroupCommit, GroupCommitSettings, Journal, JournalExt, Manifest,
    ReplayRange, Replayed, SeqNr, Token,
};
use annals_migrations::rewrite::{RewriteError, RewriteSettings, Sweep, Target};
use annals_migrations::{EventAdapter, Form, ListAdapter, Versions};
use annals_snapshot::{MemorySnapshotStore, SnapshotStore};
use futures::StreamExt;
use proptest::prelude::*;

use crate::history::{Change, Seen, Stored, envelope, events, histories, id, moved, rewriter};

fn sweep(stored: &Stored, target: Target) -> Sweep {
    Sweep::new(stored.journal.clone(), stored.snapshots.clone(), rewriter(), target)
}

fn form(manifest: &str, version: u32) -> Form {
    Form::new(Manifest::new(manifest).unwrap(), version)
}

/// What the first build reads.
fn first_build() -> Target {
    let versions = ["account.moved", "account.noted", "account.both", "account.pinged", "account.state"];
    Target::readable_by(versions.map(|name| Versions::only(Manifest::new(name).unwrap(), 1)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_rewriting_changes_no_state_and_nothing_but_the_form(history in histories()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stored = Stored::of(&history).await;
            let (seen, frame) = (stored.seen().await, stored.frame().await);

            let planned = sweep(&stored, Target::Newest).plan(&|_| {}).await.unwrap();
            assert_eq!(stored.frame().await, frame, "a plan writes nothing");
            let (done, found) = sweep(&stored, Target::Newest).apply(&|_| {}).await.unwrap();
            assert_eq!(done, planned);
            assert_eq!((found.replaced(), found.left_alone), (0, 0));
            assert_eq!(found.seen(), planned.seen());
            assert_eq!(stored.seen().await, seen);
            assert_eq!(stored.frame().await, frame);
            for (name, version) in stored.forms().await.into_keys() {
                let newest = [("account.moved", 3), ("account.noted", 1), ("annals.list", 1)];
                assert!(newest.contains(&(name.as_str(), version)), "{name} version {version} is left");
            }

            // What would lose its currency stays, and is named; everything else is what the first build reads.
            let sek = seen.values().flat_map(|(changes, _)| changes).flat_map(|(_, changes)| changes);
            let sek = sek.filter(|change| matches!(change, Change::Moved { currency, .. } if currency == "SEK")).count();
            let (_, found) = sweep(&stored, first_build()).apply(&|_| {}).await.unwrap();
            let events_left = found.named.iter().filter(|left| !left.is_snapshot).count();
            assert_eq!((found.replaced(), events_left), (0, sek));
            assert!(found.named.iter().all(|left| left.is_snapshot || left.reason.contains("lose")));
            assert_eq!(stored.frame().await, frame);
            for ((name, version), count) in stored.forms().await {
                assert!(version == 1 || count == sek, "{count} {name} of version {version} are left");
            }
            let after = stored.seen().await;
            let events_of = |of: &Seen| of.values().map(|(changes, _)| changes.clone()).collect::<Vec<_>>();
            assert_eq!(events_of(&after), events_of(&seen));

            // With leave to lose it, nothing is left.
            let settings = RewriteSettings { allow_loss: true, ..RewriteSettings::default() };
            let (_, found) = sweep(&stored, first_build()).settings(settings).apply(&|_| {}).await.unwrap();
            assert_eq!((found.replaced(), found.left_alone), (0, 0));
            assert!(stored.forms().await.into_keys().all(|(_, version)| version == 1));
        });
    }
}

/// What a step down cannot write stays and is named, with the reason.
#[tokio::test]
async fn what_the_other_build_cannot_read_is_named() {
    let stored = Stored::empty();
    stored.append(&id(1), Token::new(Epoch(1), 1), &moved(3, 7, "EUR")).await;
    let nobody = Target::readable_by([Versions::only(Manifest::new("account.noted").unwrap(), 1)]);
    let (done, found) = sweep(&stored, nobody).apply(&|_| {}).await.unwrap();
    assert_eq!((done.replaced(), found.left_alone), (0, 1));
    assert_eq!((&found.named[0].persistence_id, found.named[0].seq_nr), (&id(1), SeqNr::FIRST));
    assert!(found.named[0].reason.contains("add a downcaster"), "{}", found.named[0].reason);
}

/// Nothing is written in a form that somebody who runs cannot read.
#[tokio::test]
async fn a_form_that_is_not_cleared_is_not_written() {
    let stored = Stored::empty();
    for (number, version) in [(1, 3), (2, 1), (3, 1)] {
        stored.append(&id(number), Token::new(Epoch(1), 1), &moved(version, 7, "EUR")).await;
    }
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let refused = sweep(&stored, Target::Newest).clear_with(Box::new(move |kind, wanted| {
        count.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            assert_eq!((kind.as_str(), &wanted), ("account", &form("account.moved", 3)));
            Err("process 7 reads version 1".to_owned())
        })
    }));
    let error = refused.apply(&|_| {}).await.unwrap_err();
    assert!(
        matches!(&error, RewriteError::Refused { form: of, .. } if *of == form("account.moved", 3)),
        "{error}"
    );
    assert!(error.to_string().contains("process 7"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(stored.forms().await[&("account.moved".to_owned(), 1)], 2);
}

/// Owners of two builds write while everything is rewritten: nobody is fenced, nothing is lost or undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn owners_write_while_a_journal_is_rewritten() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = SqliteJournal::open(directory.path().join("moving.db"), Options::default()).await.unwrap();
    let journal: Arc<dyn Journal> =
        Arc::new(GroupCommit::new(Arc::new(sqlite), GroupCommitSettings::default()));
    let (token, snapshots) = (Token::new(Epoch(1), 1), Arc::new(MemorySnapshotStore::new()));
    for number in 0..4 {
        write(&journal, number, token, 0, 150, 1).await;
    }
    let owners: Vec<_> = (0..4)
        .map(|number| {
            let journal = journal.clone();
            let version = if number % 2 == 0 { 1 } else { 3 };
            tokio::spawn(async move { write(&journal, number, token, 150, 150, version).await })
        })
        .collect();
    let snapshots: Arc<dyn SnapshotStore> = snapshots;
    let sweep = || Sweep::new(journal.clone(), snapshots.clone(), rewriter(), Target::Newest);
    sweep().apply(&|_| {}).await.unwrap();
    for owner in owners {
        owner.await.unwrap();
    }
    let (_, found) = sweep().apply(&|_| {}).await.unwrap();
    assert_eq!((found.replaced(), found.left_alone, found.seen()), (0, 0, 1_200));
    let adapter = ListAdapter::new(events());
    for number in 0..4 {
        let mut items = journal.replay(ReplayRange::all(&id(number)));
        let mut expected = 0;
        while let Some(item) = items.next().await {
            let Replayed::Event(event) = item.unwrap() else { panic!("nothing was deleted") };
            assert_eq!((event.envelope.schema_version, event.envelope.token), (3, token));
            let each = &mut |change| {
                assert_eq!(change, Change::Moved { cents: expected, currency: "EUR".into() });
            };
            adapter.from_journal(&event.envelope, each).unwrap();
            expected += 1;
        }
        assert_eq!(expected, 300);
    }
}

async fn write(journal: &Arc<dyn Journal>, number: usize, token: Token, from: u64, count: u64, version: u32) {
    let id = id(number);
    for n in from..from + count {
        let expected = SeqNr::new(n).unwrap();
        let event = envelope(&id, expected.next(), token, &moved(version, n.cast_signed(), "EUR"));
        let append =
            AtomicWrite { persistence_id: id.clone(), expected, token, events: vec![event], mark: None };
        journal.append(append).await.unwrap();
    }
}

/// What owners delete while everything is rewritten does not hide what somebody else has changed behind its back.
#[tokio::test]
async fn everything_is_compared_in_the_end_also_while_owners_delete() {
    for meddles in [false, true] {
        let stored = Stored::empty();
        for number in 0..5_000_usize {
            let event = moved(1, number.cast_signed() as i64, "EUR");
            stored.append(&id(number % 2), Token::new(Epoch(1), 1), &event).await;
        }
        let (journal, calls) = (stored.journal.clone(), AtomicU64::new(0));
        // The third page of three was worked on, so the first was written.
        let meanwhile = |_| {
            if calls.fetch_add(1, Ordering::SeqCst) != 2 {
                return;
            }
            futures::executor::block_on(async {
                journal.delete_to(&id(1), SeqNr::new(10).unwrap()).await.unwrap();
                if meddles {
                    let range = ReplayRange::all(&id(0)).to(SeqNr::FIRST);
                    let Some(Ok(Replayed::Event(old))) = journal.replay(range).next().await else {
                        panic!("it is there");
                    };
                    assert_eq!(old.envelope.schema_version, 3, "it was rewritten");
                    let payload = r#"{"cents":8,"currency":"EUR"}"#.into();
                    let other = Envelope { payload, ..old.envelope.clone() };
                    assert!(journal.replace(&old, other).await.unwrap());
                }
            });
        };
        let rewritten = sweep(&stored, Target::Newest).apply(&meanwhile).await;
        if meddles {
            let error = rewritten.unwrap_err();
            assert!(matches!(error, RewriteError::Different { of: 5_000 }), "{error}");
        } else {
            let (_, found) = rewritten.unwrap();
            assert_eq!((found.compared, found.replaced(), found.left_alone), (Some(4_990), 0, 0));
        }
    }
}
