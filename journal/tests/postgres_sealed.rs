//! What is done with keys, on PostgreSQL: a rotation, a rekeying, an encrypting and an erasing beside an owner that has everything in memory,
//! and an end that somebody cuts off.
#![cfg(all(feature = "postgres", feature = "encryption"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/sealed.rs"]
mod behind_keys;
#[path = "support/postgres.rs"]
mod postgres;
mod support;

use std::sync::Arc;

use annals_journal::encryption::{
    DataKeyOptions, DataKeys, Encrypter, Eraser, ErasureLog, FaultKind, KeyScope, KeyState, KeyUsage,
    MasterKeyId, NoStates, Rekeyer, ResealOptions, ResealedIds, Ring, RingKeys, RotationOptions, ScopeOf,
    SealedJournal, SealedOptions,
};
use annals_journal::postgres::PostgresJournal;
use annals_journal::postgres::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use annals_journal::{
    Journal, JournalError, JournalExt, KeyId, PersistenceId, RecordKey, Records, ReplayRange, Replayed,
    SeqNr, Token,
};
use futures::TryStreamExt as _;
use support::{append, id, nr, token};

/// A journal, an owner of an account with three events, and the database's own eyes.
struct Stage {
    store: Arc<PostgresJournal>,
    owner: SealedJournal,
    eyes: PgConnection,
    schema: String,
    alice: PersistenceId,
}

impl Stage {
    async fn new(is_sealed: bool) -> Option<Self> {
        let url = postgres::url()?;
        let schema = postgres::schema();
        let store = Arc::new(postgres::open(&url, &schema).await);
        let alice = id("alice");
        if !is_sealed {
            store.append(append(&alice, token(1, 1), 0, 3)).await.unwrap();
        }
        let owner = process(&store).await;
        if is_sealed {
            owner.append(append(&alice, token(1, 1), 0, 3)).await.unwrap();
        }
        let eyes = PgConnection::connect(&url).await.unwrap();
        Some(Self { store, owner, eyes, schema, alice })
    }

    /// What a process reads that has nothing in memory: events, and events that were erased.
    async fn read(&self) -> (usize, u64) {
        let journal = process(&self.store).await;
        let items: Vec<_> = journal.replay(ReplayRange::all(&self.alice)).try_collect().await.unwrap();
        let erased = items.iter().map(|item| match item {
            Replayed::Erased { from, to } => to.get() - from.get() + 1,
            _ => 0,
        });
        (items.iter().filter(|item| matches!(item, Replayed::Event(_))).count(), erased.sum())
    }

    /// The owner is superseded, claims again, and goes on.
    async fn owner_goes_on(&self, head: u64) {
        let stale = self.owner.append(append(&self.alice, token(1, 1), head, 1)).await.unwrap_err();
        assert!(matches!(stale, JournalError::Superseded { .. }), "{stale}");
        let activation = self.store.head(&self.alice).await.unwrap().token.activation + 1;
        let token = Token::new(annals_journal::Epoch(1), activation);
        self.owner.claim(&self.alice, token).await.unwrap();
        self.owner.append(append(&self.alice, token, head, 1)).await.unwrap();
    }

    async fn generations(&self) -> Vec<(KeyId, SeqNr)> {
        match KeyState::read(&*self.store, &[&self.alice]).await.remove(0).unwrap() {
            KeyState::Live { generations, .. } => generations,
            other => panic!("{other:?}"),
        }
    }

    async fn run(&mut self, sql: &str) {
        let sql = sql.replace("SCHEMA", &format!("\"{}\"", self.schema));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.eyes).await.unwrap();
    }

    async fn events_with(&mut self, bytes: &[u8]) -> i64 {
        let sql =
            format!("SELECT count(*) FROM \"{}\".events WHERE position($1 IN envelope) > 0", self.schema);
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(bytes).fetch_one(&mut self.eyes).await.unwrap()
    }

    async fn records_with(&mut self, bytes: &[u8]) -> i64 {
        let sql = format!("SELECT count(*) FROM \"{}\".records WHERE position($1 IN value) > 0", self.schema);
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(bytes).fetch_one(&mut self.eyes).await.unwrap()
    }
}

async fn process(store: &Arc<PostgresJournal>) -> SealedJournal {
    behind_keys::sealed(store.clone(), store.clone()).await
}

async fn wrapped(store: &PostgresJournal, name: &str) -> Vec<u8> {
    let key = RecordKey::new(&format!("encryption/key/{name}")).unwrap();
    let value = store.get(&key).await.unwrap().unwrap().value;
    // It stands at the end.
    value[value.len() - 60..].to_vec()
}

#[tokio::test]
async fn a_rotation_rewraps_every_key_while_an_owner_writes() {
    let Some(stage) = Stage::new(true).await else { return };
    let ring = |active: u32, keys: &str| {
        Ring::parse(&format!(r#"{{"active":{active},"keys":{{{keys}}}}}"#)).unwrap()
    };
    let (first, second) = ("B".repeat(42) + "A=", "C".repeat(42) + "A=");
    let both = Arc::new(RingKeys::from(ring(2, &format!(r#""1":"{first}","2":"{second}""#))));
    let keys = DataKeys::open(stage.store.clone(), both, DataKeyOptions::default()).await.unwrap();
    // The owner's process has not announced the new key.
    let options = RotationOptions { force: true, ..RotationOptions::default() };
    let summary = keys.rotate(&options, |_| ()).await.unwrap();
    assert_eq!((summary.total.rewrapped, summary.total.failed), (1, 0), "{summary:?}");
    let usage = KeyUsage::read(&*stage.store, |_| ()).await.unwrap();
    assert_eq!((usage.active, usage.master_keys[&MasterKeyId(2)].data_keys), (Some(MasterKeyId(2)), 1));
    assert!(!usage.master_keys[&MasterKeyId(1)].in_use);
    // Events are not touched, and the owner is not disturbed.
    stage.owner.append(append(&stage.alice, token(1, 1), 3, 1)).await.unwrap();
    let new = Arc::new(RingKeys::from(ring(2, &format!(r#""2":"{second}""#))));
    let keys = DataKeys::open(stage.store.clone(), new, DataKeyOptions::default()).await.unwrap();
    let journal = SealedJournal::open(stage.store.clone(), keys, SealedOptions::default()).await.unwrap();
    let items: Vec<_> = journal.replay(ReplayRange::all(&stage.alice)).try_collect().await.unwrap();
    assert_eq!(items.len(), 4);
}

#[tokio::test]
async fn a_rekeying_replaces_the_key_and_seals_the_events_again() {
    let Some(mut stage) = Stage::new(true).await else { return };
    let old = wrapped(&stage.store, "test|alice").await;
    let rekeyer = Rekeyer::new(process(&stage.store).await, Arc::new(NoStates));
    let done = rekeyer.rekey("leak", &ResealedIds::All, &ResealOptions::default(), |_| ()).await.unwrap();
    assert_eq!((done.total.changed, done.total.events, done.total.failed), (1, 3, 0), "{done:?}");
    assert_eq!(stage.generations().await, [(KeyId(2), SeqNr::FIRST)]);
    assert_eq!(stage.records_with(&old).await, 0);
    stage.owner_goes_on(3).await;
    assert_eq!(stage.read().await, (4, 0));
}

#[tokio::test]
async fn an_encrypting_seals_what_is_there_in_its_place() {
    let Some(mut stage) = Stage::new(false).await else { return };
    let payload = append(&stage.alice, token(1, 1), 0, 1).events.remove(0).payload;
    assert!(stage.events_with(&payload).await > 0, "the words that are looked for");
    let encrypter = Encrypter::new(process(&stage.store).await, Arc::new(NoStates));
    let done = encrypter.encrypt(&ResealedIds::All, &ResealOptions::default(), |_| ()).await.unwrap();
    assert_eq!((done.total.events, done.total.failed), (3, 0), "{done:?}");
    assert_eq!(stage.events_with(&payload).await, 0);
    assert_eq!(stage.generations().await, [(KeyId(1), SeqNr::FIRST)]);
    stage.owner_goes_on(3).await;
    assert_eq!(stage.read().await, (4, 0));
}

/// Dead rows until a vacuum, the log and its archives, standbys: `docs/security.md` says who has to do what.
#[tokio::test]
async fn an_erasure_destroys_the_key_and_supersedes_the_owner() {
    let Some(mut stage) = Stage::new(true).await else { return };
    // Another one, whose key that of a scope wraps.
    let scopes = Some(ScopeOf::new(|_| KeyScope::new("t7").ok()));
    let options = DataKeyOptions { scopes, ..DataKeyOptions::default() };
    let masters = Arc::new(RingKeys::from(behind_keys::ring()));
    let keys = DataKeys::open(stage.store.clone(), masters, options).await.unwrap();
    let tenant = SealedJournal::open(stage.store.clone(), keys, SealedOptions::default()).await.unwrap();
    let bob = id("bob");
    tenant.append(append(&bob, token(1, 1), 0, 2)).await.unwrap();

    let home = tempfile::tempdir().unwrap();
    let mut log = ErasureLog::open(home.path().join("erased.jsonl")).unwrap();
    let eraser = Eraser::new(stage.store.clone(), stage.store.clone());
    let [of_alice, of_scope] = [wrapped(&stage.store, "test|alice").await, wrapped(&stage.store, "t7").await];
    assert_eq!((stage.records_with(&of_alice).await, stage.records_with(&of_scope).await), (1, 1));
    eraser.erase(&stage.alice, &mut log).await.unwrap();
    eraser.erase_scope(&KeyScope::new("t7").unwrap(), &mut log).await.unwrap();
    assert_eq!((stage.records_with(&of_alice).await, stage.records_with(&of_scope).await), (0, 0));
    // What an operator does about dead rows.
    stage.run("VACUUM FULL SCHEMA.records").await;
    assert_eq!(stage.read().await, (0, 3));
    for (owner, id, head) in [(&stage.owner, &stage.alice, 3), (&tenant, &bob, 2)] {
        let stale = owner.append(append(id, token(1, 1), head, 1)).await.unwrap_err();
        assert!(matches!(stale, JournalError::Superseded { .. }), "{stale}");
        let claimed = owner.claim(id, token(2, 1)).await;
        assert!(matches!(claimed, Err(JournalError::Erased { .. })), "{claimed:?}");
    }
    assert!(eraser.allow_new_life(&stage.alice).await.unwrap());
    stage.owner.claim(&stage.alice, token(3, 1)).await.unwrap();
    stage.owner.append(append(&stage.alice, token(3, 1), 3, 1)).await.unwrap();
    assert_eq!(stage.read().await, (1, 3));
}

#[tokio::test]
async fn an_end_that_was_cut_off_is_found_by_recovery_and_by_a_check() {
    let Some(mut stage) = Stage::new(true).await else { return };
    let check = async |stage: &Stage| {
        let journal = process(&stage.store).await;
        let head = stage.store.head(&stage.alice).await.unwrap();
        let keys = KeyState::read(&*stage.store, &[&stage.alice]).await.remove(0).unwrap();
        let mut check = journal.check(&stage.alice, head, Some(keys));
        let mut items = stage.store.replay(ReplayRange::all(&stage.alice));
        while let Some(item) = items.try_next().await.unwrap() {
            let Replayed::Event(event) = item else { panic!("{item:?}") };
            check.event(&event.envelope).await.unwrap();
        }
        check.end().await
    };
    check(&stage).await.unwrap();
    for left in [2, 1] {
        // The head with it, so that nothing is missing.
        let cut =
            format!("DELETE FROM SCHEMA.events WHERE seq > {left}; UPDATE SCHEMA.streams SET head = {left}");
        stage.run(&cut).await;
        assert_eq!(check(&stage).await.unwrap_err().kind, FaultKind::CutOff);
        for journal in [stage.owner.clone(), process(&stage.store).await] {
            let newer = token(2 + 3 - left, 1);
            let claimed = journal.claim(&stage.alice, newer).await;
            let named = matches!(&claimed, Err(JournalError::Corrupt { persistence_id: Some(of), seq_nr: Some(at), .. })
                if *of == stage.alice && *at == nr(left));
            assert!(named, "{claimed:?}");
        }
    }
}
