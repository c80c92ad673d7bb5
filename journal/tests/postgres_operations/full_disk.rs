use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use annals_journal::postgres::PostgresJournal;
use annals_journal::{Journal, JournalError, JournalExt, ReplayRange, Replayed};
use annals_services::Settings;
use bytes::Bytes;
use futures::TryStreamExt as _;

use crate::support::{append, id, token};
use crate::{folder, postgres, run, server};

/// A file system of a few megabytes; unmounted when it is dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None`, said aloud, where this process may mount nothing.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        if mount(at, "size=24m,mode=0700") {
            return Some(Self(at.to_owned()));
        }
        let _ = writeln!(
            std::io::stderr(),
            "!!! NOT TESTED: a full disk under PostgreSQL; it needs the right to mount a tmpfs"
        );
        None
    }

    fn grow(&self) {
        assert!(mount(&self.0, "remount,size=200m"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server may still have files open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn mount(at: &Path, options: &str) -> bool {
    let mut command = Command::new("mount");
    let output = command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
    output.is_ok_and(|output| output.status.success())
}

async fn count(journal: &PostgresJournal, name: &str) -> u64 {
    let events: Vec<_> = journal.replay(ReplayRange::all(&id(name))).try_collect().await.unwrap();
    for (event, number) in events.iter().zip(1..) {
        let Replayed::Event(event) = event else { panic!("{event:?}") };
        assert_eq!(event.envelope.seq_nr.get(), number);
    }
    events.len() as u64
}

#[tokio::test]
async fn a_full_disk_refuses_and_the_journal_goes_on_when_there_is_room() {
    let Some((server, url)) = server(&Settings::default()) else { return };
    let Some(disk) = Disk::mount(&folder()) else { return };
    server.give(&disk.0).unwrap();
    run(&url, &format!("CREATE TABLESPACE small LOCATION '{}'", disk.0.display())).await;
    let small = format!("{url}?options=-c%20default_tablespace=small");
    let journal = PostgresJournal::open(&small, postgres::options("annals")).await.unwrap();
    let mut stored = 0;
    let error = loop {
        let mut event = append(&id("alice"), token(1, 1), stored, 1);
        // Nothing that the server could compress.
        event.events[0].payload =
            (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Bytes>();
        match journal.append(event).await {
            Ok(head) => stored = head.seq_nr.get(),
            Err(error) => break error,
        }
        assert!(stored < 10_000, "the disk does not fill");
    };
    assert!(matches!(error, JournalError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("disk is full"), "{error}");
    // What was answered is there, and can be read; what was refused is not.
    assert_eq!(count(&journal, "alice").await, stored);
    let mut big = append(&id("bob"), token(1, 1), 0, 1);
    big.events[0].payload = Bytes::from(vec![7; 10]);
    // A small one may still have room in a page that is there.
    let bob = journal.append(big).await.map_or(0, |head| head.seq_nr.get());
    assert_eq!(count(&journal, "bob").await, bob);
    disk.grow();
    let head = journal.append(append(&id("alice"), token(1, 1), stored, 2)).await.unwrap();
    assert_eq!(head.seq_nr.get(), stored + 2);
    assert_eq!(count(&journal, "alice").await, stored + 2);
    journal.database().close().await;
}
