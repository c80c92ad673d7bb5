//! Copies of journals that are sealed: as they are, and under other keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_journal::encryption::{
    DataKeyOptions, DataKeys, Eraser, ErasureLog, Ring, RingKeys, SealedJournal, SealedOptions,
};
use annals_journal::{
    AtomicWrite, Envelope, Epoch, Journal, JournalError, JournalExt, Offset, PageItem, PersistenceId,
    ReplayRange, Replayed, SeqNr, SliceRange, Token, last_epoch, next_epoch, raise_epoch,
};
use annals_migrations::copy::{Copy, CopyError, Side};
use annals_snapshot::{SealedSnapshots, Snapshot, SnapshotStore};
use futures::TryStreamExt;
use proptest::prelude::*;

use crate::history::{Stored, envelope, histories, id, moved};

/// A store behind keys.
struct Sealed {
    stored: Stored,
    keys: DataKeys,
    journal: Arc<dyn Journal>,
    snapshots: Arc<dyn SnapshotStore>,
}

impl Sealed {
    async fn open(stored: Stored, ring: &Ring) -> Self {
        let (journal, masters) = (stored.journal.clone(), Arc::new(RingKeys::from(ring.clone())));
        let keys = DataKeys::open(journal.clone(), masters, DataKeyOptions::default()).await.unwrap();
        let snapshots = Arc::new(SealedSnapshots::new(stored.snapshots.clone(), keys.clone()));
        let journal = SealedJournal::open(journal, keys.clone(), SealedOptions::default()).await.unwrap();
        Self { stored, keys, journal: Arc::new(journal), snapshots }
    }

    async fn new(ring: &Ring) -> Self {
        Self::open(Stored::empty(), ring).await
    }

    fn side(&self, name: &str) -> Side {
        let (journal, snapshots) = (self.journal.clone(), self.snapshots.clone());
        Side { name: name.to_owned(), journal, records: self.stored.journal.clone(), snapshots }
    }

    /// As it is stored.
    fn raw(&self, name: &str) -> Side {
        raw(name, &self.stored)
    }
}

fn raw(name: &str, stored: &Stored) -> Side {
    Side {
        name: name.to_owned(),
        journal: stored.journal.clone(),
        records: stored.journal.clone(),
        snapshots: stored.snapshots.clone(),
    }
}

type Seen = BTreeMap<PersistenceId, (SeqNr, SeqNr, Vec<Envelope>, Vec<Snapshot>)>;

/// Head, what is deleted, events and snapshots of each id, without the numbers of keys.
async fn seen(side: &Side) -> Seen {
    let mut seen = BTreeMap::new();
    for id in side.journal.persistence_ids(None, 100).await.unwrap() {
        let head = side.journal.head(&id).await.unwrap();
        let items: Vec<_> = side.journal.replay(ReplayRange::all(&id)).try_collect().await.unwrap();
        let events = items.into_iter().filter_map(|item| match item {
            Replayed::Event(event) => Some(event.envelope),
            _ => None,
        });
        let mut snapshots = Vec::new();
        for number in side.snapshots.list(&id).await.unwrap() {
            let snapshot = side.snapshots.load(&id, number).await.unwrap().unwrap();
            snapshots.push(Snapshot { key_id: None, ..snapshot });
        }
        seen.insert(id, (head.seq_nr, head.deleted_to.max(head.erased_to), events.collect(), snapshots));
    }
    seen
}

async fn is_all_sealed(stored: &Stored) -> bool {
    let page = stored.journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10_000).await.unwrap();
    page.items.iter().all(|item| match item {
        PageItem::Event(event) => event.envelope.key_id.is_some(),
        _ => true,
    })
}

async fn append(journal: &dyn Journal, id: &PersistenceId, token: Token) {
    let expected = journal.head(id).await.unwrap().seq_nr;
    let events = vec![envelope(id, expected.next(), token, &moved(3, 7, "EUR"))];
    let append = AtomicWrite { persistence_id: id.clone(), expected, token, events, mark: None };
    journal.append(append).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Plain into sealed, sealed into sealed under another ring while owners write, and that with its keys into another place.
    #[test]
    fn a_copy_under_other_keys_is_the_journal(history in histories(), more in 0..3_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (first, second) = (Ring::generate().unwrap(), Ring::generate().unwrap());
            let plain = Stored::of(&history).await;
            raise_epoch(&*plain.journal, Epoch(2)).await.unwrap();
            let ours = raw("plain", &plain);
            let a = Sealed::new(&first).await;
            Copy::new(ours.clone(), a.side("a")).reseals(true).cut_over(&|_| {}).await.unwrap();
            assert_eq!(seen(&a.side("a")).await, seen(&ours).await);
            assert!(is_all_sealed(&a.stored).await);

            let b = Sealed::new(&second).await;
            let copy = || Copy::new(a.side("a"), b.side("b")).reseals(true);
            for _ in 0..more {
                copy().fill(&|_| {}).await.unwrap();
                let token = Token::new(next_epoch(&*a.stored.journal).await.unwrap(), 1);
                append(&*a.journal, &id(0), token).await;
                append(&*a.journal, &id(7), token).await;
            }
            let report = copy().cut_over(&|_| {}).await.unwrap();
            let of_b = seen(&b.side("b")).await;
            assert_eq!((report.compared as usize, &of_b), (of_b.len(), &seen(&a.side("a")).await));
            assert!(is_all_sealed(&b.stored).await);
            assert!(copy().cut_over(&|_| {}).await.unwrap().was_finished);

            // As it is stored, key ids and all: the same ring opens it.
            let c = Stored::empty();
            Copy::new(b.raw("b"), raw("c", &c)).cut_over(&|_| {}).await.unwrap();
            assert_eq!(seen(&raw("c", &c)).await, seen(&b.raw("b")).await);
            let c = Sealed::open(c, &second).await;
            assert_eq!(seen(&c.side("c")).await, of_b);
            let token = Token::new(next_epoch(&*c.stored.journal).await.unwrap(), 1);
            append(&*c.journal, &id(0), token).await;
            for sealed in [a, b, c] {
                sealed.keys.close().await;
            }
        });
    }
}

#[tokio::test]
async fn what_was_erased_stands_as_deleted_under_other_keys_and_a_new_life_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::generate().unwrap();
    let (from, to) = (Sealed::new(&ring).await, Sealed::new(&Ring::generate().unwrap()).await);
    let copy = |from: &Sealed, to: &Sealed| Copy::new(from.side("from"), to.side("to")).reseals(true);
    let token = Token::new(next_epoch(&*from.stored.journal).await.unwrap(), 1);
    for number in [1, 1, 2, 2, 3] {
        append(&*from.journal, &id(number), token).await;
    }
    copy(&from, &to).fill(&|_| {}).await.unwrap();
    let eraser = Eraser::new(from.stored.journal.clone(), from.stored.journal.clone());
    let mut log = ErasureLog::open(folder.path().join("erased.jsonl")).unwrap();
    for number in [1, 2] {
        eraser.erase(&id(number), &mut log).await.unwrap();
    }
    assert!(eraser.allow_new_life(&id(2)).await.unwrap());
    from.keys.close().await;
    // Another process, which has none of the keys in memory.
    let from = Sealed::open(from.stored, &ring).await;
    let token = Token::new(next_epoch(&*from.stored.journal).await.unwrap(), 1);
    append(&*from.journal, &id(2), token).await;
    copy(&from, &to).cut_over(&|_| {}).await.unwrap();
    let now = seen(&to.side("to")).await;
    assert_eq!(now, seen(&from.side("from")).await);
    let of = |number: usize| {
        let (head, gone_to, events, _) = &now[&id(number)];
        (head.get(), gone_to.get(), events.len())
    };
    assert_eq!([of(1), of(2), of(3)], [(2, 2, 0), (3, 2, 1), (1, 0, 1)]);
    // Nothing of it is in the target under any key.
    let kept = to.stored.journal.replay(ReplayRange::all(&id(1)));
    let kept: Vec<Replayed> = kept.try_collect().await.unwrap();
    assert!(matches!(kept[..], [Replayed::Deleted { .. }]), "{kept:?}");
}

#[tokio::test]
async fn a_copy_goes_on_as_it_was_begun() {
    let (plain, sealed) = (Stored::empty(), Sealed::new(&Ring::generate().unwrap()).await);
    plain
        .append(&id(1), Token::new(next_epoch(&*plain.journal).await.unwrap(), 1), &moved(1, 7, "EUR"))
        .await;
    let ours = raw("plain", &plain);
    assert!(Copy::new(ours.clone(), sealed.side("sealed")).reseals(true).reserve().await.unwrap());
    Copy::new(ours.clone(), sealed.side("sealed")).reseals(true).fill(&|_| {}).await.unwrap();
    let error = Copy::new(ours.clone(), sealed.raw("sealed")).cut_over(&|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("begun with keys of its own"), "{error}");
    Copy::new(ours, sealed.side("sealed")).reseals(true).cut_over(&|_| {}).await.unwrap();

    let (plain, sealed) = (Stored::empty(), Sealed::new(&Ring::generate().unwrap()).await);
    plain
        .append(&id(1), Token::new(next_epoch(&*plain.journal).await.unwrap(), 1), &moved(1, 7, "EUR"))
        .await;
    let ours = raw("plain", &plain);
    Copy::new(ours.clone(), sealed.raw("sealed")).fill(&|_| {}).await.unwrap();
    let error = Copy::new(ours, sealed.side("sealed")).reseals(true).fill(&|_| {}).await.unwrap_err();
    assert!(matches!(error, CopyError::Closed { .. }), "{error}");
    assert!(error.to_string().contains("begun without keys"), "{error}");
}

/// Nobody can own an id of the target with what he was told in the source, so claims alone are not copied.
#[tokio::test]
async fn an_id_that_was_only_claimed_is_not_copied_and_its_token_is_worth_nothing() {
    let (from, to) = (Stored::empty(), Stored::empty());
    let epoch = next_epoch(&*from.journal).await.unwrap();
    from.append(&id(1), Token::new(epoch, 1), &moved(1, 7, "EUR")).await;
    let later = next_epoch(&*from.journal).await.unwrap();
    from.journal.claim(&id(2), Token::new(later, 5)).await.unwrap();
    let report = Copy::new(raw("from", &from), raw("to", &to)).cut_over(&|_| {}).await.unwrap();
    assert_eq!((report.compared, to.journal.persistence_ids(None, 9).await.unwrap()), (1, vec![id(1)]));
    assert_eq!(last_epoch(&*to.journal).await.unwrap(), later);
    assert!(next_epoch(&*to.journal).await.unwrap() > later);
    let refused = from.journal.claim(&id(2), Token::new(later, 6)).await;
    assert!(matches!(refused, Err(JournalError::Rejected { .. })), "{refused:?}");
}
