use annals_journal::sqlite::{Options, SqliteJournal};
use annals_journal::{
    Epoch, Gate, Journal, JournalError, JournalExt, Offset, PageItem, ReaderName, Readers, RecordKey,
    Records, SeqNr, SliceRange, Timestamp, Token, next_epoch,
};
use annals_migrations::copy::{Copy, CopyError, Side};
use annals_snapshot::{SnapshotStore, SqliteSnapshotStore};
use proptest::prelude::*;
use std::sync::Arc;

use crate::history::{Stored, histories, id, moved};

fn side(name: &str, stored: &Stored) -> Side {
    Side {
        name: name.to_owned(),
        journal: stored.journal.clone(),
        records: stored.journal.clone(),
        snapshots: stored.snapshots.clone(),
    }
}

fn copy(from: &Stored, to: &Stored) -> Copy {
    Copy::new(side("from", from), side("to", to))
}

/// Everything of a journal but its offsets.
async fn everything(stored: &Stored) -> Vec<String> {
    let mut all = Vec::new();
    for id in stored.journal.persistence_ids(None, 100).await.unwrap() {
        let head = stored.journal.head(&id).await.unwrap();
        all.push(format!("{id} {:?} {:?} {:?}", head.seq_nr, head.deleted_to, head.mark));
        for number in stored.snapshots.list(&id).await.unwrap() {
            all.push(format!("{:?}", stored.snapshots.load(&id, number).await.unwrap()));
        }
    }
    let page = stored.journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10_000).await.unwrap();
    all.extend(page.items.into_iter().filter_map(|item| match item {
        PageItem::Event(event) => Some(format!("{:?}", event.envelope)),
        _ => None,
    }));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_copy_is_the_journal_and_takes_its_place(history in histories(), more in histories(), rounds in 0..3_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (from, to) = (Stored::of(&history).await, Stored::empty());
            let key = RecordKey::new("own/setting").unwrap();
            let _ = from.journal.compare_and_set(&key, None, "kept".into()).await.unwrap();
            let readers = Readers::new(from.journal.clone());
            readers.register(&ReaderName::new("totals").unwrap(), Offset::BEGINNING, Timestamp::from_micros(1)).await.unwrap();
            let _ = next_epoch(&*from.journal).await.unwrap();
            // Copied some way, while the owners go on: events, takeovers, deletions of what was copied and of what was not.
            for round in 0..rounds {
                copy(&from, &to).fill(&|_| {}).await.unwrap();
                for (number, events) in more.ids.iter().enumerate().skip(round) {
                    let token = Token::new(Epoch(2), round as u64);
                    for (old, _) in events {
                        from.append(&id(number), token, old).await;
                    }
                    let head = from.journal.head(&id(number)).await.unwrap();
                    let to = SeqNr::new(head.seq_nr.get() * more.ends[number].0 / 4).unwrap();
                    from.journal.delete_to(&id(number), to.max(head.deleted_to)).await.unwrap();
                }
            }
            let owner = Token::new(Epoch(9), 1);
            if rounds > 0 {
                let refused = to.journal.claim(&id(0), owner).await;
                assert!(matches!(refused, Err(JournalError::Rejected { .. })), "{refused:?}");
            }
            let report = copy(&from, &to).cut_over(&|_| {}).await.unwrap();
            assert_eq!(report.compared as usize, from.journal.persistence_ids(None, 100).await.unwrap().len());

            assert_eq!(everything(&to).await, everything(&from).await);
            assert_eq!(to.seen().await, from.seen().await);
            assert_eq!(to.journal.get(&key).await.unwrap().unwrap().value, "kept");
            assert!(Readers::new(to.journal.clone()).list().await.unwrap().is_empty());
            let error = from.journal.claim(&id(0), owner).await.unwrap_err();
            assert!(matches!(&error, JournalError::Rejected { .. }) && error.to_string().contains("to goes on"), "{error}");
            assert_eq!(next_epoch(&*to.journal).await.unwrap(), Epoch(2));
            to.append(&id(0), owner, &moved(3, 1, "EUR")).await;

            // Started once more, it says that it is done, and does nothing.
            assert!(copy(&from, &to).cut_over(&|_| {}).await.unwrap().was_finished);
        });
    }
}

#[tokio::test]
async fn a_target_that_is_not_empty_is_left_alone() {
    let (from, to) = (Stored::empty(), Stored::empty());
    let token = Token::new(Epoch(1), 1);
    from.append(&id(0), token, &moved(1, 7, "EUR")).await;
    to.append(&id(5), token, &moved(1, 8, "EUR")).await;
    for tried in [copy(&from, &to).fill(&|_| {}).await, copy(&from, &to).cut_over(&|_| {}).await] {
        assert!(matches!(tried.unwrap_err(), CopyError::NotEmpty { .. }));
    }
    assert_eq!(to.journal.get(Gate::key()).await.unwrap(), None);
    // Nor is one that is filled from elsewhere.
    let (elsewhere, other) = (Stored::empty(), Stored::empty());
    Copy::new(side("elsewhere", &elsewhere), side("to", &other)).fill(&|_| {}).await.unwrap();
    let error = copy(&from, &other).fill(&|_| {}).await.unwrap_err();
    assert!(matches!(&error, CopyError::Closed { .. }) && error.to_string().contains("elsewhere"), "{error}");
}

#[tokio::test]
async fn a_copy_that_is_given_up_leaves_the_source_open_and_the_target_closed() {
    let (from, to) = (Stored::empty(), Stored::empty());
    let token = Token::new(Epoch(1), 1);
    from.append(&id(0), token, &moved(1, 7, "EUR")).await;
    assert!(matches!(copy(&from, &to).give_up().await.unwrap_err(), CopyError::Closed { .. }));
    copy(&from, &to).fill(&|_| {}).await.unwrap();
    // As a copy leaves them that was killed when it had sealed the source.
    let sealed = Gate::Sealed { to: "to".into() };
    let _ = from.journal.compare_and_set(Gate::key(), None, sealed.encode()).await.unwrap();
    copy(&from, &to).give_up().await.unwrap();
    copy(&from, &to).give_up().await.unwrap();
    from.append(&id(0), token, &moved(1, 8, "EUR")).await;
    assert!(to.journal.claim(&id(0), token).await.unwrap_err().to_string().contains("given up"));
    let error = copy(&from, &to).cut_over(&|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("given up"), "{error}");
    from.append(&id(0), token, &moved(1, 9, "EUR")).await;
}

/// What is not the same and cannot be made so opens the source again, and never the target.
#[tokio::test]
async fn a_difference_ends_the_cut_over() {
    let (from, to) = (Stored::empty(), Stored::empty());
    let token = Token::new(Epoch(1), 1);
    from.append(&id(0), token, &moved(1, 7, "EUR")).await;
    copy(&from, &to).fill(&|_| {}).await.unwrap();
    to.append(&id(0), token, &moved(1, 8, "EUR")).await;
    let error = copy(&from, &to).cut_over(&|_| {}).await.unwrap_err();
    assert!(matches!(error, CopyError::Different { .. }), "{error}");
    from.append(&id(0), token, &moved(1, 9, "EUR")).await;
    assert!(to.journal.claim(&id(0), Token::new(Epoch(2), 1)).await.is_err());
}

#[tokio::test]
async fn a_sqlite_file_is_copied_into_another_one() {
    let directory = tempfile::tempdir().unwrap();
    let from = Stored::empty();
    for n in 0..40 {
        from.append(&id(n % 5), Token::new(Epoch(1), 1), &moved(1, n.cast_signed() as i64, "EUR")).await;
    }
    from.journal.delete_to(&id(1), SeqNr::new(3).unwrap()).await.unwrap();
    let mut files = Vec::new();
    for name in ["a.db", "b.db"] {
        let journal = SqliteJournal::open(directory.path().join(name), Options::default()).await.unwrap();
        let snapshots = SqliteSnapshotStore::in_database(journal.database().clone()).await.unwrap();
        let journal = Arc::new(journal);
        let snapshots: Arc<dyn SnapshotStore> = Arc::new(snapshots);
        files.push(Side { name: name.into(), journal: journal.clone(), records: journal, snapshots });
    }
    Copy::new(side("memory", &from), files[0].clone()).cut_over(&|_| {}).await.unwrap();
    let report = Copy::new(files[0].clone(), files[1].clone()).cut_over(&|_| {}).await.unwrap();
    // The deleted ones are no events.
    assert_eq!((report.events, report.compared, report.compared_events), (37, 5, 37));
    let plan = Copy::new(files[1].clone(), files[0].clone()).plan(&|_| {}).await.unwrap();
    assert_eq!((plan.events.values().sum::<u64>(), plan.ids, plan.deleted), (37, 5, 3));
    let head = files[1].journal.head(&id(1)).await.unwrap();
    assert_eq!((head.seq_nr.get(), head.deleted_to.get()), (8, 3));
}

/// An interrupted copy brings offsets out of order, so that the same events meet late, or not at all, when pages are compared.
#[tokio::test]
async fn a_target_whose_events_are_in_another_order_is_the_same() {
    let (from, to) = (Stored::empty(), Stored::empty());
    let token = Token::new(Epoch(1), 1);
    let mut events = Vec::new();
    for n in 0..6_000_usize {
        events.push((n % 3, moved(1, n.cast_signed() as i64, "EUR")));
    }
    for (n, event) in &events {
        from.append(&id(*n), token, event).await;
    }
    // One id after the other.
    for wanted in 0..3 {
        for (_, event) in events.iter().filter(|(n, _)| *n == wanted) {
            to.append(&id(wanted), token, event).await;
        }
    }
    let filling = Gate::Filling { from: side("from", &from).name };
    let set = to.journal.compare_and_set(Gate::key(), None, filling.encode()).await.unwrap();
    assert!(matches!(set, annals_journal::CompareAndSet::Set(_)));
    let report = copy(&from, &to).cut_over(&|_| {}).await.unwrap();
    assert_eq!((report.events, report.compared, report.compared_events, report.replaced), (0, 3, 6_000, 0));
}
