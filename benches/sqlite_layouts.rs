//! Which layout of the tables and which driver: the numbers behind `docs/sqlite.md`.
//!
//! `cargo bench --package annals --bench sqlite_layouts` prints them; `-- --quick` shows that it runs.
//! Everything is written with `synchronous=FULL` (one fsync a commit) and with the row of the id's head changed beside each event, as
//! fencing needs it. A row is an envelope of 290 bytes, which is a payload of 195.

use std::path::Path;
use std::time::Instant;

use annals::journal::sqlite::{Options, SqliteJournal};
use annals::journal::{
    AtomicWrite, Codec, Envelope, Epoch, Journal, Manifest, PersistenceId, ReplayRange, SeqNr, Timestamp,
    Token, Write, WriterId,
};
use anyhow::Result;
use futures::TryStreamExt;
use prost::bytes::Bytes;
use rusqlite::Connection as Rusqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, Row as _};

fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let work = if quick { Work { singles: 50, batches: 2, long: 2_000 } } else { Work::FULL };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut best: Vec<Rates> = Vec::new();
    // Contestants take turns, so that a moment when the machine is busy does not hit one of them only.
    for _ in 0..if quick { 1 } else { ROUNDS } {
        let round = [
            by_rusqlite(&CLUSTERED, work)?,
            by_rusqlite(&ROWID, work)?,
            by_rusqlite(&APPEND_ORDERED, work)?,
            by_rusqlite(
                &Layout { name: "append-ordered, 50 a statement", rows: 50, ..APPEND_ORDERED },
                work,
            )?,
            runtime.block_on(by_sqlx(work, RowsAStatement::One))?,
            runtime.block_on(by_sqlx(work, RowsAStatement::Fifty))?,
            runtime.block_on(by_journal(work))?,
        ];
        best = match best.is_empty() {
            true => round.into(),
            false => best.into_iter().zip(round).map(|(best, new)| best.or_better(new)).collect(),
        };
    }
    println!(
        "| rows a second | 1 a commit | 1,000 a commit, 1,000 ids | 1,000 a commit, one id | replay of one long id | replay of ids of 100 |"
    );
    println!("|---|---|---|---|---|---|");
    for rates in best {
        println!("{rates}");
    }
    Ok(())
}

/// The best of so many is shown: others on the machine make it slower, nothing makes it faster.
const ROUNDS: u64 = 5;

#[derive(Clone, Copy)]
struct Work {
    /// Commits of one row.
    singles: u64,
    /// Commits of a thousand rows.
    batches: u64,
    /// Rows of the long id.
    long: u64,
}

impl Work {
    const FULL: Self = Self { singles: 1_000, batches: 100, long: 100_000 };
}

const IDS: u64 = 1_000;

/// Rows a second, or `None` where it was not measured.
struct Rates {
    name: String,
    single: Option<f64>,
    spread: Option<f64>,
    one_id: Option<f64>,
    replay_long: Option<f64>,
    replay_short: Option<f64>,
}

impl Rates {
    fn or_better(self, other: Self) -> Self {
        let better = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
        Self {
            name: self.name,
            single: better(self.single, other.single),
            spread: better(self.spread, other.spread),
            one_id: better(self.one_id, other.one_id),
            replay_long: better(self.replay_long, other.replay_long),
            replay_short: better(self.replay_short, other.replay_short),
        }
    }
}

impl std::fmt::Display for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "| {} |", self.name)?;
        for rate in [self.single, self.spread, self.one_id, self.replay_long, self.replay_short] {
            match rate {
                Some(rate) if rate >= 1e6 => write!(f, " {:.2} M |", rate / 1e6)?,
                Some(rate) if rate >= 1e4 => write!(f, " {:.0} k |", rate / 1e3)?,
                Some(rate) => write!(f, " {rate:.0} |")?,
                None => write!(f, " |")?,
            }
        }
        Ok(())
    }
}

fn rate(rows: u64, begin: Instant) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "a count of rows")]
    Some(rows as f64 / begin.elapsed().as_secs_f64())
}

/// Tables and the beginnings of statements. An id is its text, or its row's number.
struct Layout {
    name: &'static str,
    tables: &'static str,
    insert: &'static str,
    head: &'static str,
    replay: &'static str,
    /// Whether ids are numbers.
    numbers: bool,
    /// Rows a statement.
    rows: usize,
}

const CLUSTERED: Layout = Layout {
    name: "clustered: `(id text, seq)` WITHOUT ROWID",
    tables: "CREATE TABLE streams (id TEXT PRIMARY KEY, head INTEGER) WITHOUT ROWID;
             CREATE TABLE events (id TEXT, seq INTEGER, envelope BLOB, PRIMARY KEY (id, seq)) WITHOUT ROWID",
    insert: "INSERT INTO events (id, seq, envelope) VALUES ",
    head: "INSERT INTO streams (id, head) VALUES ",
    replay: "SELECT seq, envelope FROM events WHERE id = ?1 AND seq > 0 ORDER BY seq",
    numbers: false,
    rows: 1,
};

const ROWID: Layout = Layout {
    name: "rowid, unique `(id text, seq)`",
    tables: "CREATE TABLE streams (id TEXT PRIMARY KEY, head INTEGER) WITHOUT ROWID;
             CREATE TABLE events (ordering INTEGER PRIMARY KEY, id TEXT, seq INTEGER, envelope BLOB, UNIQUE (id, seq))",
    ..CLUSTERED
};

const APPEND_ORDERED: Layout = Layout {
    name: "append-ordered, unique `(stream number, seq)`",
    tables: "CREATE TABLE streams (id INTEGER PRIMARY KEY, head INTEGER);
             CREATE TABLE events (ordering INTEGER PRIMARY KEY, id INTEGER, seq INTEGER, envelope BLOB, UNIQUE (id, seq))",
    numbers: true,
    ..CLUSTERED
};

fn by_rusqlite(layout: &Layout, work: Work) -> Result<Rates> {
    let directory = tempfile::tempdir()?;
    let mut db = Rusqlite::open(directory.path().join("layout.db"))?;
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4000")?;
    db.execute_batch(layout.tables)?;
    let envelope = vec![b'e'; 290];
    let ids: Vec<rusqlite::types::Value> = (0..=IDS)
        .map(|n| {
            if layout.numbers {
                i64::try_from(n).unwrap_or(0).into()
            } else {
                format!("account|acc-{n:05}").into()
            }
        })
        .collect();
    let begin = Instant::now();
    for number in 1..=work.singles {
        insert(&mut db, layout, [(&ids[0], number)], &envelope)?;
    }
    let single = rate(work.singles, begin);
    let begin = Instant::now();
    for number in 1..=work.batches {
        insert(&mut db, layout, ids[1..].iter().map(|id| (id, number)), &envelope)?;
    }
    let spread = rate(work.batches * IDS, begin);
    let begin = Instant::now();
    for batch in 0..work.long / 1_000 {
        let first = work.singles + batch * 1_000 + 1;
        insert(&mut db, layout, (first..first + 1_000).map(|number| (&ids[0], number)), &envelope)?;
    }
    let one_id = rate(work.long, begin);
    let begin = Instant::now();
    let long = replay(&db, layout, &ids[0])?;
    let replay_long = rate(long, begin);
    let begin = Instant::now();
    let mut rows = 0;
    for id in &ids[1..] {
        rows += replay(&db, layout, id)?;
    }
    let replay_short = rate(rows, begin);
    let name = format!("rusqlite, {}", layout.name);
    Ok(Rates { name, single, spread, one_id, replay_long, replay_short })
}

fn insert<'a>(
    db: &mut Rusqlite,
    layout: &Layout,
    rows: impl IntoIterator<Item = (&'a rusqlite::types::Value, u64)>,
    envelope: &[u8],
) -> Result<()> {
    let transaction = db.transaction()?;
    let rows: Vec<_> = rows.into_iter().collect();
    for rows in rows.chunks(layout.rows) {
        let mut insert =
            transaction.prepare_cached(&format!("{}{}", layout.insert, tuples("(?, ?, ?)", rows.len())))?;
        let mut head = transaction.prepare_cached(&format!(
            "{}{}{MOVE_HEAD}",
            layout.head,
            tuples("(?, ?)", rows.len())
        ))?;
        for (row, (id, number)) in rows.iter().enumerate() {
            let number = i64::try_from(*number)?;
            insert.raw_bind_parameter(3 * row + 1, id)?;
            insert.raw_bind_parameter(3 * row + 2, number)?;
            insert.raw_bind_parameter(3 * row + 3, envelope)?;
            head.raw_bind_parameter(2 * row + 1, id)?;
            head.raw_bind_parameter(2 * row + 2, number)?;
        }
        insert.raw_execute()?;
        head.raw_execute()?;
    }
    Ok(transaction.commit()?)
}

fn tuples(one: &str, count: usize) -> String {
    vec![one; count].join(", ")
}

const MOVE_HEAD: &str = " ON CONFLICT (id) DO UPDATE SET head = excluded.head WHERE head = excluded.head - 1";

fn replay(db: &Rusqlite, layout: &Layout, id: &rusqlite::types::Value) -> Result<u64> {
    let mut statement = db.prepare_cached(layout.replay)?;
    let mut rows = statement.query([id])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let envelope = Bytes::copy_from_slice(row.get_ref(1)?.as_blob()?);
        count += u64::from(!envelope.is_empty());
    }
    Ok(count)
}

#[derive(Clone, Copy)]
enum RowsAStatement {
    One,
    Fifty,
}

/// The append-ordered layout through sqlx.
async fn by_sqlx(work: Work, statement: RowsAStatement) -> Result<Rates> {
    let directory = tempfile::tempdir()?;
    let mut db = connect(&directory.path().join("layout.db")).await?;
    sqlx::raw_sql(APPEND_ORDERED.tables).execute(&mut db).await?;
    let envelope = vec![b'e'; 290];
    let size = match statement {
        RowsAStatement::One => 1,
        RowsAStatement::Fifty => 50,
    };
    let begin = Instant::now();
    for number in 1..=work.singles {
        sqlx_commit(&mut db, &[(0, number)], size, &envelope).await?;
    }
    let single = rate(work.singles, begin);
    let batches = work.batches.min(20);
    let begin = Instant::now();
    for number in 1..=batches {
        let rows: Vec<_> = (1..=IDS).map(|id| (id, number)).collect();
        sqlx_commit(&mut db, &rows, size, &envelope).await?;
    }
    let spread = rate(batches * IDS, begin);
    let begin = Instant::now();
    for batch in 0..work.long / 1_000 {
        let first = work.singles + batch * 1_000 + 1;
        let rows: Vec<_> = (first..first + 1_000).map(|number| (0, number)).collect();
        sqlx_commit(&mut db, &rows, size, &envelope).await?;
    }
    let one_id = rate(work.long, begin);
    let begin = Instant::now();
    let long = sqlx_replay(&mut db, 0).await?;
    let replay_long = rate(long, begin);
    let begin = Instant::now();
    let mut rows = 0;
    for id in 1..=IDS {
        rows += sqlx_replay(&mut db, id).await?;
    }
    let replay_short = rate(rows, begin);
    let name = format!("sqlx, append-ordered, {size} a statement");
    Ok(Rates { name, single, spread, one_id, replay_long, replay_short })
}

async fn connect(path: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-16384")
        .pragma("wal_autocheckpoint", "4000");
    Ok(SqliteConnection::connect_with(&options).await?)
}

async fn sqlx_commit(
    db: &mut SqliteConnection,
    rows: &[(u64, u64)],
    size: usize,
    envelope: &[u8],
) -> Result<()> {
    let mut transaction = db.begin().await?;
    for rows in rows.chunks(size) {
        let mut events = sqlx::QueryBuilder::new("INSERT INTO events (id, seq, envelope) ");
        events.push_values(rows, |mut values, (id, number)| {
            values.push_bind(id.cast_signed()).push_bind(number.cast_signed()).push_bind(envelope);
        });
        events.build().execute(&mut *transaction).await?;
        let mut heads = sqlx::QueryBuilder::new("INSERT INTO streams (id, head) ");
        heads.push_values(rows, |mut values, (id, number)| {
            values.push_bind(id.cast_signed()).push_bind(number.cast_signed());
        });
        heads.push(MOVE_HEAD);
        heads.build().execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

async fn sqlx_replay(db: &mut SqliteConnection, id: u64) -> Result<u64> {
    let mut rows = sqlx::query(APPEND_ORDERED.replay).bind(id.cast_signed()).fetch(db);
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        let envelope = Bytes::copy_from_slice(row.try_get::<&[u8], _>(1)?);
        count += u64::from(!envelope.is_empty());
    }
    Ok(count)
}

/// The journal as it is: envelopes made and checked, tokens and heads judged.
async fn by_journal(work: Work) -> Result<Rates> {
    let directory = tempfile::tempdir()?;
    let journal = SqliteJournal::open(directory.path().join("layout.db"), Options::default()).await?;
    let ids: Vec<_> =
        (0..=IDS).map(|n| PersistenceId::new("account", &format!("acc-{n:05}"))).collect::<Result<_, _>>()?;
    let begin = Instant::now();
    for number in 1..=work.singles {
        store(&journal, vec![write(&ids[0], number, 1)?]).await?;
    }
    let single = rate(work.singles, begin);
    let begin = Instant::now();
    for number in 1..=work.batches {
        store(&journal, ids[1..].iter().map(|id| write(id, number, 1)).collect::<Result<_>>()?).await?;
    }
    let spread = rate(work.batches * IDS, begin);
    let begin = Instant::now();
    for batch in 0..work.long / 1_000 {
        store(&journal, vec![write(&ids[0], work.singles + batch * 1_000 + 1, 1_000)?]).await?;
    }
    let one_id = rate(work.long, begin);
    let begin = Instant::now();
    let long = journal_replay(&journal, &ids[0]).await?;
    let replay_long = rate(long, begin);
    let begin = Instant::now();
    let mut rows = 0;
    for id in &ids[1..] {
        rows += journal_replay(&journal, id).await?;
    }
    let replay_short = rate(rows, begin);
    let name = "**`SqliteJournal`** (rusqlite, append-ordered, with envelopes)".into();
    Ok(Rates { name, single, spread, one_id, replay_long, replay_short })
}

async fn store(journal: &SqliteJournal, writes: Vec<Write>) -> Result<()> {
    for answer in journal.write(writes).await {
        answer?;
    }
    Ok(())
}

async fn journal_replay(journal: &SqliteJournal, id: &PersistenceId) -> Result<u64> {
    Ok(journal.replay(ReplayRange::all(id)).try_fold(0, async |count, _| Ok(count + 1)).await?)
}

fn write(id: &PersistenceId, first: u64, count: u64) -> Result<Write> {
    let token = Token::new(Epoch(1), 1);
    let manifest = Manifest::new("account.deposited")?;
    let number = |number: u64| SeqNr::new(number).unwrap_or_default();
    let events = (first..first + count)
        .map(|n| Envelope {
            persistence_id: id.clone(),
            seq_nr: number(n),
            token,
            writer: WriterId::from_bytes([7; 16]),
            timestamp: Timestamp::from_micros(1_795_000_000_000_000 + n),
            manifest: manifest.clone(),
            schema_version: 1,
            codec: Codec::Json,
            tags: Vec::new(),
            trace_context: None,
            key_id: None,
            payload: Bytes::from_static(&[b'p'; 195]),
        })
        .collect();
    Ok(Write::Append(AtomicWrite {
        persistence_id: id.clone(),
        expected: number(first - 1),
        token,
        events,
        mark: None,
    }))
}
