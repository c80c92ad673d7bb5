//! The record that closes a journal: judged in the same step as each write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Harness;
use super::sample::*;
use crate::{
    CompareAndSet, Gate, GatedCall, Journal, JournalError, JournalExt, Offset, Records, Revision, SliceRange,
    next_epoch,
};

/// A sealed journal stores nothing, whoever asks, and says where to go; reads go on.
pub async fn a_sealed_journal_stores_nothing(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    seed(&journal, &a, 3).await;
    let sealed = Gate::Sealed { to: "elsewhere".into() };
    set(&h.records(), None, &sealed).await;
    let (other, _) = h.another().await;
    for journal in [&journal, &other] {
        refuses_everything(journal, &sealed).await;
    }
    h.reopen().await;
    let journal = h.journal();
    refuses_everything(&journal, &sealed).await;
    assert!(next_epoch(&*h.records()).await.unwrap_err().to_string().contains("elsewhere"));
    assert_eq!(shown_range(&journal, crate::ReplayRange::all(&a)).await, "1 2 3");
    assert_eq!(journal.persistence_ids(None, 9).await.unwrap(), [a]);
}

/// A journal that is filled takes appends, deletions and replacements, and refuses claims and verifications.
pub async fn a_journal_that_is_filled_has_no_owners(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    set(&h.records(), None, &Gate::Filling { from: "there".into() }).await;
    refused!(journal.claim(&a, OWNER).await, Rejected);
    journal.append(append(&a, OWNER, 0, 3)).await.unwrap();
    refused!(journal.verify(&a, OWNER).await, Rejected);
    refused!(journal.claim(&a, token(9, 9)).await, Rejected);
    let page = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 9).await.unwrap();
    let crate::PageItem::Event(last) = &page.items[2] else { panic!("{:?}", page.items[2]) };
    let new = crate::Envelope { schema_version: 2, ..last.envelope.clone() };
    assert!(journal.replace(last, new).await.unwrap());
    journal.delete_to(&a, nr(1)).await.unwrap();
    assert!(next_epoch(&*h.records()).await.unwrap_err().to_string().contains("there"));
    assert_eq!(shown_range(&journal, crate::ReplayRange::all(&a)).await, "[1-1] 2 3");
}

/// A gate that is taken away leaves the journal as it was, and one that is given up is closed.
pub async fn a_gate_is_opened_again(h: &mut Harness) {
    let (journal, records, a) = (h.journal(), h.records(), id("a"));
    seed(&journal, &a, 2).await;
    let revision = set(&records, None, &Gate::Filling { from: "there".into() }).await;
    let given_up = Gate::GivenUp { from: "there".into() };
    let revision = set(&records, Some(revision), &given_up).await;
    refuses_everything(&journal, &given_up).await;
    let opened = records.delete(Gate::key(), revision).await.unwrap();
    assert!(matches!(opened, CompareAndSet::Set(_)), "{opened:?}");
    journal.claim(&a, OWNER).await.unwrap();
    journal.append(append(&a, OWNER, 2, 1)).await.unwrap();
    let (other, _) = h.another().await;
    other.append(append(&a, OWNER, 3, 1)).await.unwrap();
    assert!(next_epoch(&*records).await.is_ok());
}

/// What was stored when the journal was sealed is all that there will be: no write is stored behind the answer.
pub async fn nothing_is_stored_behind_the_seal(h: &mut Harness) {
    let (other, _) = h.another().await;
    let sealed = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|n| {
            let journal = if n % 2 == 0 { h.journal() } else { Arc::clone(&other) };
            let (id, sealed) = (id(&format!("w{n}")), Arc::clone(&sealed));
            tokio::spawn(async move {
                let mut head = 0;
                loop {
                    let was_sealed = sealed.load(Ordering::SeqCst);
                    match journal.append(append(&id, OWNER, head, 1)).await {
                        Ok(_) => {
                            assert!(!was_sealed, "stored behind the seal");
                            head += 1;
                            // A journal in memory answers at once; nobody else on this thread would ever run.
                            tokio::task::yield_now().await;
                        }
                        Err(JournalError::Rejected { .. }) => return (id, head),
                        // The other handle waits for the file's lock.
                        Err(JournalError::Unavailable { .. }) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    let journal = h.journal();
    while journal.head(&id("w0")).await.unwrap().seq_nr < nr(5) {
        tokio::task::yield_now().await;
    }
    set(&h.records(), None, &Gate::Sealed { to: "elsewhere".into() }).await;
    sealed.store(true, Ordering::SeqCst);
    let mut at_the_seal = Vec::new();
    for n in 0..4 {
        at_the_seal.push(journal.head(&id(&format!("w{n}"))).await.unwrap().seq_nr);
    }
    for (writer, at_the_seal) in writers.into_iter().zip(at_the_seal) {
        let (id, answered) = writer.await.unwrap();
        assert_eq!(journal.head(&id).await.unwrap().seq_nr, at_the_seal, "{id}: stored behind the seal");
        assert_eq!(nr(answered), at_the_seal);
    }
}

async fn set(records: &Arc<dyn Records>, expected: Option<Revision>, gate: &Gate) -> Revision {
    match records.compare_and_set(Gate::key(), expected, gate.encode()).await.unwrap() {
        CompareAndSet::Set(revision) => revision,
        CompareAndSet::Changed { current } => panic!("{current:?}"),
    }
}

async fn refuses_everything(journal: &Arc<dyn Journal>, gate: &Gate) {
    let (a, new) = (id("a"), id("new"));
    let page = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 1).await.unwrap();
    let crate::PageItem::Event(first) = &page.items[0] else { panic!("{:?}", page.items[0]) };
    let head = journal.head(&a).await.unwrap();
    let expected = gate.check(GatedCall::Store).unwrap_err().to_string();
    let next = head.seq_nr.get();
    let answers = [
        journal.append(append(&a, OWNER, next, 1)).await.map(drop),
        journal.append(append(&new, OWNER, 0, 1)).await.map(drop),
        journal.claim(&a, token(99, 1)).await.map(drop),
        journal.claim(&new, token(99, 1)).await.map(drop),
        journal.verify(&a, head.token).await.map(drop),
        journal.delete_to(&a, nr(1)).await,
        journal.replace(first, first.envelope.clone()).await.map(drop),
    ];
    for answer in answers {
        assert_eq!(answer.unwrap_err().to_string(), expected);
    }
    assert_eq!(journal.head(&a).await.unwrap(), head);
}
