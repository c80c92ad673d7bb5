use std::sync::Arc;

use futures::TryStreamExt as _;

use super::crashing::Crashing;
use super::rekeying::{append, generations, nr, process, raw, read, texts, token};
use super::sample::{id, keys, ring};
use crate::encryption::{
    Encrypter, KeysError, NoStates, ResealOptions, ResealSummary, ResealedIds, SealedJournal, SealedOptions,
};
use crate::{
    Journal, JournalError, JournalExt as _, KeyId, MemoryJournal, Offset, PageItem, PersistenceId,
    ReplayRange, SeqNr, SliceRange, StoredEvent, Token,
};

async fn encrypt(journal: &SealedJournal) -> Result<ResealSummary, KeysError> {
    let encrypter = Encrypter::new(journal.clone(), Arc::new(NoStates));
    encrypter.encrypt(&ResealedIds::All, &ResealOptions::default(), |_| ()).await
}

/// So many events in the clear, as an application without keys left them.
async fn plain(store: &MemoryJournal, id: &PersistenceId, count: u64) {
    store.claim(id, token(1)).await.unwrap();
    for at in (0..count).step_by(100) {
        store.append(append(id, token(1), at, 100_u64.min(count - at))).await.unwrap();
    }
}

/// The next token of an owner.
async fn claimed(owner: &SealedJournal, id: &PersistenceId) -> Token {
    let stored = owner.head(id).await.unwrap().token;
    let token = Token::new(stored.epoch, stored.activation + 1);
    owner.claim(id, token).await.unwrap();
    token
}

async fn strictly(store: &Arc<MemoryJournal>, id: &PersistenceId) -> Result<usize, JournalError> {
    let keys = keys(store.clone(), ring(1, &[1])).await.unwrap();
    let options = SealedOptions { refuse_plaintext: true, ..SealedOptions::default() };
    let journal = SealedJournal::open(store.clone(), keys, options).await.unwrap();
    Ok(journal.replay(ReplayRange::all(id)).try_collect::<Vec<_>>().await?.len())
}

#[tokio::test]
async fn what_was_in_the_clear_is_sealed_and_owners_and_readers_go_on() {
    let (store, alice, bob) = (Arc::new(MemoryJournal::new()), id("alice"), id("bob"));
    plain(&store, &alice, 600).await;
    plain(&store, &bob, 1).await;
    store.delete_to(&alice, nr(50)).await.unwrap();
    let old = raw(&store, &alice).await;

    // Alice's owner has keys by now, and has sealed some; bob's has looked at him.
    let owner = process(&store).await;
    let alices = claimed(&owner, &alice).await;
    owner.append(append(&alice, alices, 600, 10)).await.unwrap();
    let bobs = claimed(&owner, &bob).await;
    let reader = process(&store).await;
    let mut reading = reader.replay(ReplayRange::all(&alice));
    reading.try_next().await.unwrap().unwrap();
    let unopened = reader.inner().events_by_slice(SliceRange::ALL, Offset::BEGINNING, 1_000).await.unwrap();

    let done = encrypt(&process(&store).await).await.unwrap();
    assert_eq!((done.total.changed, done.total.events, done.total.failed), (2, 551, 0), "{done:?}");
    for (id, token, head) in [(&alice, alices, 610), (&bob, bobs, 1)] {
        let error = owner.append(append(id, token, head, 1)).await.unwrap_err();
        assert!(matches!(error, JournalError::Superseded { .. }), "{error}");
        let token = claimed(&owner, id).await;
        owner.append(append(id, token, head, 1)).await.unwrap();
        assert!(raw(&store, id).await.iter().all(|event| event.envelope.key_id == Some(KeyId(1))));
        assert_eq!(generations(&store, id).await, [(KeyId(1), SeqNr::FIRST)]);
    }
    assert_eq!(reading.try_collect::<Vec<_>>().await.unwrap().len(), 560);
    let opened = reader.vault.opened(unopened.items).await.unwrap();
    assert_eq!(opened.iter().filter(|item| matches!(item, PageItem::Event(_))).count(), 561);
    let mut expected = vec!["deleted #1 to #50".to_owned()];
    expected.extend(texts(51..=611));
    assert!(read(&store, &alice).await == expected);
    assert_eq!(read(&store, &bob).await, texts(1..=2));
    assert_eq!((strictly(&store, &alice).await.unwrap(), strictly(&store, &bob).await.unwrap()), (562, 2));

    // There is nothing left to do, and what was in the clear may not come back, wherever it stood.
    assert_eq!(encrypt(&process(&store).await).await.unwrap().total.changed, 0);
    for number in [51, 300, 600] {
        let now = event(&store, &alice, number).await;
        let before = old.iter().find(|event| event.envelope.seq_nr == nr(number)).unwrap();
        assert!(store.replace(&now, before.envelope.clone()).await.unwrap());
        let all = process(&store).await.replay(ReplayRange::all(&alice)).try_collect::<Vec<_>>().await;
        assert!(matches!(all, Err(JournalError::Corrupt { .. })), "{number}");
        let page = process(&store).await;
        let page = page.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 1_000).await;
        assert!(matches!(page, Err(JournalError::Corrupt { .. })), "{number}");
        let plain = event(&store, &alice, number).await;
        assert!(store.replace(&plain, now.envelope.clone()).await.unwrap());
    }
    assert!(read(&store, &alice).await == expected);
}

async fn event(store: &MemoryJournal, id: &PersistenceId, number: u64) -> StoredEvent {
    raw(store, id).await.into_iter().find(|event| event.envelope.seq_nr == nr(number)).unwrap()
}

/// The only event of an id is its head: the mark that encrypting gave it must not let it be plain again.
#[tokio::test]
async fn the_newest_event_may_not_be_plain_again() {
    let (store, alice) = (Arc::new(MemoryJournal::new()), id("alice"));
    plain(&store, &alice, 1).await;
    let before = event(&store, &alice, 1).await;
    encrypt(&process(&store).await).await.unwrap();
    assert_eq!(read(&store, &alice).await, texts(1..=1));
    let now = event(&store, &alice, 1).await;
    assert!(store.replace(&now, before.envelope.clone()).await.unwrap());
    let all = process(&store).await.replay(ReplayRange::all(&alice)).try_collect::<Vec<_>>().await;
    assert!(matches!(all, Err(JournalError::Corrupt { .. })), "{all:?}");
}

/// All that stood in the clear is as well guarded as what was sealed at once: somebody who takes the first ones out is found.
#[tokio::test]
async fn first_events_that_were_cut_off_what_was_encrypted_are_found() {
    for (deleted, cut) in
        [0, 2].into_iter().flat_map(|deleted| (deleted + 1..=8).map(move |cut| (deleted, cut)))
    {
        let (store, alice) = (Arc::new(MemoryJournal::new()), id("alice"));
        plain(&store, &alice, 6).await;
        // By a build without keys: only the head says so.
        store.delete_to(&alice, nr(deleted)).await.unwrap();
        let owner = process(&store).await;
        let token = claimed(&owner, &alice).await;
        owner.append(append(&alice, token, 6, 2)).await.unwrap();
        encrypt(&process(&store).await).await.unwrap();
        let mut expected: Vec<_> =
            (deleted > 0).then(|| format!("deleted #1 to #{deleted}")).into_iter().collect();
        expected.extend(texts(deleted + 1..=8));
        assert_eq!(read(&store, &alice).await, expected);
        store.delete_to(&alice, nr(cut)).await.unwrap();
        let cut_off = process(&store).await.replay(ReplayRange::all(&alice)).try_collect::<Vec<_>>().await;
        let named =
            matches!(&cut_off, Err(JournalError::Corrupt { persistence_id: Some(of), .. }) if *of == alice);
        assert!(named, "{deleted} deleted, cut to {cut}: {cut_off:?}");
    }
}

/// An owner that was killed between the record of a deletion and the deletion leaves a bound that is not in force.
#[tokio::test]
async fn a_deletion_that_was_killed_behind_plain_ones_leaves_everything_readable() {
    let (store, alice) = (Arc::new(MemoryJournal::new()), id("alice"));
    plain(&store, &alice, 10).await;
    store.delete_to(&alice, nr(4)).await.unwrap();
    let dying = Crashing::after(100, &store);
    let owner = process(&dying).await;
    let token = claimed(&owner, &alice).await;
    owner.append(append(&alice, token, 10, 1)).await.unwrap();
    encrypt(&process(&store).await).await.unwrap();
    dying.die_after(1);
    owner.delete_to(&alice, nr(8)).await.unwrap_err();
    let mut expected = vec!["deleted #1 to #4".to_owned()];
    expected.extend(texts(5..=11));
    assert_eq!(read(&store, &alice).await, expected);
    process(&store).await.delete_to(&alice, nr(8)).await.unwrap();
    let mut expected = vec!["deleted #1 to #8".to_owned()];
    expected.extend(texts(9..=11));
    assert_eq!(read(&store, &alice).await, expected);
}

/// Killed before each of its changes in turn, and begun again, it ends right; in between everything can be read and written.
#[tokio::test]
async fn an_encrypting_that_was_killed_at_any_step_goes_on() {
    for sealed_behind in [false, true] {
        let mut steps = 0;
        loop {
            let (store, alice) = (Arc::new(MemoryJournal::new()), id("alice"));
            plain(&store, &alice, 5).await;
            let owner = process(&store).await;
            let token = claimed(&owner, &alice).await;
            let mut head = 5;
            if sealed_behind {
                owner.append(append(&alice, token, 5, 1)).await.unwrap();
                head = 6;
            }
            // The process takes its own steps to start.
            let dying = Crashing::after(100, &store);
            let journal = process(&dying).await;
            dying.die_after(steps);
            let done = encrypt(&journal).await.unwrap();
            let crashed = dying.has_crashed();
            let place = format!("sealed behind: {sealed_behind}, after {steps}");
            assert_eq!(done.total.failed, u64::from(crashed), "{place}: {done:?}");
            assert_eq!(read(&store, &alice).await, texts(1..=head), "{place}");
            // From wherever it is read.
            for from in 1..=head {
                let range = ReplayRange::all(&alice).from(nr(from));
                let items: Vec<_> = process(&store).await.replay(range).try_collect().await.unwrap();
                assert_eq!(items.len() as u64, head + 1 - from, "{place}");
            }
            let page = process(&store).await.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 99).await;
            assert_eq!(page.unwrap().items.len() as u64, head, "{place}");

            match owner.append(append(&alice, token, head, 1)).await {
                Err(JournalError::Superseded { .. }) => {
                    let token = claimed(&owner, &alice).await;
                    owner.append(append(&alice, token, head, 1)).await.unwrap();
                }
                answer => {
                    answer.unwrap();
                }
            }
            let again = encrypt(&process(&store).await).await.unwrap();
            assert_eq!(again.total.failed, 0, "{place}: {again:?}");
            assert_eq!(generations(&store, &alice).await, [(KeyId(1), SeqNr::FIRST)], "{place}");
            assert_eq!(strictly(&store, &alice).await.unwrap() as u64, head + 1, "{place}");
            assert_eq!(read(&store, &alice).await, texts(1..=head + 1), "{place}");
            if !crashed {
                break;
            }
            steps += 1;
        }
        // The key, the claim, the mark, five events, the key; where something is sealed there is a key and a mark already.
        assert_eq!(steps, if sealed_behind { 7 } else { 9 });
    }
}
