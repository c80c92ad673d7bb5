use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use annals::actors::Stores;
use annals::journal::encryption::KeyScope;
use annals::journal::sqlite::Database;
use annals::prelude::*;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::program::annals;

/// An account, as an application has it.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) owner: String,
    pub(crate) cents: i64,
}

#[derive(Serialize, Deserialize, Event)]
pub(crate) enum AccountEvent {
    Opened { owner: String, iban: String },
    Booked { cents: i64, with: String },
}

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    type Event = AccountEvent;
    type Commands = (Open, Book);

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { owner, .. } => self.owner.clone_from(owner),
            AccountEvent::Booked { cents, .. } => self.cents += cents,
        }
    }
}

#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Open {
    pub(crate) owner: String,
}

impl Handle<Open> for Account {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, open: &Open, ctx: &mut Context<Self, Open>) -> Effect<Self, Open> {
        let event = AccountEvent::Opened { owner: open.owner.clone(), iban: format!("DE-{}", open.owner) };
        ctx.persist(event).reply_with(())
    }
}

#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Book {
    pub(crate) cents: i64,
    pub(crate) with: String,
}

impl Handle<Book> for Account {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, book: &Book, ctx: &mut Context<Self, Book>) -> Effect<Self, Book> {
        let event = AccountEvent::Booked { cents: book.cents, with: book.with.clone() };
        ctx.persist(event).reply(|account| account.cents)
    }
}

/// A node of the bank on a file of a directory, and the file.
pub(crate) async fn node(directory: &Path, file: &str, kind: Kind<Account>) -> (Node, Database) {
    node_behind(directory, file, kind, None).await
}

/// The same behind the keys in a file of the directory.
pub(crate) async fn node_behind(
    directory: &Path,
    file: &str,
    kind: Kind<Account>,
    ring: Option<&str>,
) -> (Node, Database) {
    let journal =
        annals::journal::open(&format!("sqlite://{}", directory.join(file).display())).await.unwrap();
    let snapshots = annals::snapshot::open_beside(&journal).await.unwrap();
    let database = journal.database.clone().unwrap();
    let stores = Stores { journal: journal.journal, records: journal.records, snapshots };
    let mut node = Annals::builder("bank").stores(stores).kind(kind);
    if let Some(ring) = ring {
        // Accounts such as `t7-4` belong to `t7`.
        node = node
            .keys(format!("file:{}", directory.join(ring).display()))
            .key_scopes(|id| KeyScope::new(id.entity_id().split_once('-')?.0).ok());
    }
    (node.start().await.unwrap(), database)
}

/// Alice, Bob and Carol, who have 10, 7 and 4 events; nothing is deleted, and no snapshot taken.
pub(crate) fn bank() -> TempDir {
    bank_of(Kind::new().snapshots(SnapshotPolicy::never()), false)
}

/// The same, but events are deleted behind snapshots that are taken each 4 events or soon after.
pub(crate) fn pruned_bank() -> TempDir {
    let kind = Kind::new().snapshots(SnapshotPolicy::every_events(4));
    bank_of(kind.retention(Retention::keep(1).delete_events()), false)
}

/// The same as the first, left by a process that was killed: what it wrote is in the log.
pub(crate) fn killed_bank() -> TempDir {
    bank_of(Kind::new().snapshots(SnapshotPolicy::never()), true)
}

/// The first again, sealed with the keys in `ring.json`.
pub(crate) fn sealed_bank() -> TempDir {
    sealed_bank_of(Kind::new().snapshots(SnapshotPolicy::never()))
}

/// The second again, sealed with the keys in `ring.json`.
pub(crate) fn sealed_pruned_bank() -> TempDir {
    let kind = Kind::new().snapshots(SnapshotPolicy::every_events(4));
    sealed_bank_of(kind.retention(Retention::keep(1).delete_events()))
}

#[tokio::main]
async fn sealed_bank_of(kind: Kind<Account>) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    annals(directory.path(), &["keys", "generate", "ring.json"]).exits(0);
    let (node, database) = node_behind(directory.path(), "bank.db", kind, Some("ring.json")).await;
    book(&node).await;
    node.shutdown().await;
    database.close().await;
    directory
}

#[tokio::main]
async fn bank_of(kind: Kind<Account>, killed: bool) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (node, database) = node(directory.path(), "bank.db", kind).await;
    book(&node).await;
    node.shutdown().await;
    let copy = killed.then(|| {
        let copy = tempfile::tempdir().unwrap();
        for name in ["bank.db", "bank.db-wal"] {
            fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
        }
        copy
    });
    database.close().await;
    copy.unwrap_or(directory)
}

pub(crate) async fn book(node: &Node) {
    for (owner, bookings) in [("alice", 9), ("bob", 6), ("carol", 3)] {
        let account = node.entity::<Account>(owner);
        account.ask(Open { owner: owner.to_owned() }).await.unwrap();
        for cents in 1..=bookings {
            account.ask(Book { cents, with: "bob".into() }).await.unwrap();
        }
    }
}

/// Up to where an account's events were deleted, and its only snapshot.
pub(crate) fn pruned(directory: &Path, owner: &str) -> (u64, u64) {
    let conn = rusqlite::Connection::open(directory.join("bank.db")).unwrap();
    let number = |sql: &str| {
        conn.query_row(sql, [format!("account|{owner}")], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
    };
    let deleted = number("SELECT deleted_to FROM streams WHERE persistence_id = ?");
    (deleted, number("SELECT max(seq) FROM snapshots WHERE persistence_id = ?"))
}

/// What an account has, asked of a node that recovers it.
pub(crate) fn balance(directory: &Path, file: &str, owner: &str) -> i64 {
    balance_behind(directory, file, owner, None)
}

/// The same behind the keys in a file of the directory.
#[tokio::main]
pub(crate) async fn balance_behind(directory: &Path, file: &str, owner: &str, ring: Option<&str>) -> i64 {
    let kind = Kind::new().snapshots(SnapshotPolicy::never());
    let (node, database) = node_behind(directory, file, kind, ring).await;
    let cents = node.entity::<Account>(owner).ask(Book { cents: 0, with: String::new() }).await.unwrap();
    node.shutdown().await;
    database.close().await;
    cents
}

/// Changes a file as no journal does, for what a disk or a person may do to it.
pub(crate) fn damage(directory: &Path, sql: &str) {
    let conn = rusqlite::Connection::open(directory.join("bank.db")).unwrap();
    conn.execute_batch(sql).unwrap();
}

/// Every file, its length and a hash of its bytes; but for the index of a log, which is memory that processes share, and for a log without
/// anything in it, which is there while somebody has the file open.
pub(crate) fn files(directory: &Path) -> BTreeMap<String, (usize, u64)> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let bytes = fs::read(&path).unwrap();
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, (bytes.len(), hasher.finish()))
        })
        .filter(|(name, (bytes, _))| !(name.ends_with("-shm") || name.ends_with("-wal") && *bytes == 0))
        .collect()
}
