//! A node's files as they were at one instant are a backup: a node that is started on a copy has all that was acknowledged by then, readers go
//! on where they were, and who had read further is told so.
#![cfg(feature = "cassandra")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/cassandra.rs"]
mod cassandra;
mod support;

use std::path::Path;

use annals_journal::cassandra::CassandraJournal;
use annals_journal::{Journal, JournalError, JournalExt, Offset, PageItem, ReplayRange, SliceRange};
use annals_services::cassandra::{Installation, Private, Settings};
use futures::TryStreamExt as _;
use support::{append, id, nr, token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_nodes_files_has_all_that_was_acknowledged_and_readers_go_on() {
    let Some(installation) = Installation::find().filter(|_| cassandra::url().is_some()) else { return };
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = annals_services::folder(target).join(cassandra::name());
    let (original, copy) = (folder.join("original"), folder.join("copy"));
    let (a, b, owner) = (id("a"), id("b"), token(1, 1));

    let (node, journal) = open(&installation, &original).await;
    journal.append(append(&a, owner, 0, 3)).await.unwrap();
    let read = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await.unwrap();
    assert_eq!(read.items.len(), 3);
    journal.append(append(&a, owner, 3, 2)).await.unwrap();
    journal.append(append(&b, owner, 0, 4)).await.unwrap();
    journal.delete_to(&a, nr(1)).await.unwrap();
    // As a snapshot of the file system has them: nobody said that the node should be ready for it.
    node.kill().unwrap();
    copy_folder(&original, &copy);
    journal.keyspace().close().await;
    drop(node);

    let (node, journal) = open(&installation, &copy).await;
    let numbers = |id| {
        let replayed = journal.replay(ReplayRange::all(id)).try_collect::<Vec<_>>();
        async { replayed.await.unwrap().len() }
    };
    // What was deleted of the first is one item.
    assert_eq!((numbers(&a).await, numbers(&b).await), (5, 4));
    assert_eq!(journal.head(&a).await.unwrap().seq_nr, nr(5));
    let next = journal.events_by_slice(SliceRange::ALL, read.complete_to, 10).await.unwrap();
    let of = |id| {
        let events = next.items.iter().filter_map(|item| match item {
            PageItem::Event(event) => Some(&event.envelope),
            _ => None,
        });
        let of_id = events.filter(|envelope| envelope.persistence_id == id);
        of_id.map(|envelope| envelope.seq_nr.get()).collect::<Vec<_>>()
    };
    assert_eq!((of(a.clone()), of(b.clone())), (vec![4, 5], vec![1, 2, 3, 4]));
    let ahead = Offset { major: next.complete_to.major + 1, ..next.complete_to };
    let refused = journal.events_by_slice(SliceRange::ALL, ahead, 10).await.unwrap_err();
    assert!(matches!(refused, JournalError::Rejected { .. }), "{refused:?}");
    assert!(refused.to_string().contains("backup"), "{refused}");
    // Owners come back and go on, and so do readers.
    let owner = token(2, 1);
    assert_eq!(journal.claim(&b, owner).await.unwrap().seq_nr, nr(4));
    journal.append(append(&b, owner, 4, 1)).await.unwrap();
    let last = journal.events_by_slice(SliceRange::ALL, next.complete_to, 10).await.unwrap();
    assert_eq!(last.items.len(), 1, "{last:?}");
    journal.keyspace().close().await;
    drop(node);
    std::fs::remove_dir(folder).unwrap();
}

async fn open(installation: &Installation, folder: &Path) -> (Private, CassandraJournal) {
    let settings = Settings { batch: true };
    let (node, address) = Private::start(installation.clone(), folder, settings).unwrap();
    let journal =
        cassandra::open(&format!("cassandra://{address}/annals"), cassandra::options("annals")).await;
    (node, journal)
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
