//! A view of accounts wherever it may be: cents and number of events, so that an event too many or too few shows.

use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use annals_actors::plain::{ActorSystem, BoxError};
use annals_journal::postgres::sqlx::postgres::PgConnection;
use annals_journal::postgres::sqlx::{self, AssertSqlSafe};
use annals_journal::postgres::{self, PostgresJournal};
use annals_journal::sqlite::rusqlite::Connection;
use annals_journal::sqlite::{self, SqliteJournal};
use annals_journal::{Journal, MemoryJournal, Records};
use annals_projections::{
    Gone, Handler, Missed, PostgresView, Projected, Projection, ProjectionBuilder, ProjectionError,
    SqliteView,
};
use tempfile::TempDir;

use crate::accounts::{AccountEvent, Bank, POISON, Rows};

/// Where a view and its journal are.
pub(crate) enum Place {
    Memory(MemoryJournal),
    Sqlite { journal: SqliteJournal, _folder: TempDir },
    Postgres(PostgresJournal),
}

pub(crate) async fn places() -> Vec<Place> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.db");
    let journal = SqliteJournal::open(&file, sqlite::Options::default()).await.unwrap();
    let mut places = vec![Place::Memory(MemoryJournal::new()), Place::Sqlite { journal, _folder: folder }];
    match std::env::var("DATABASE_URL") {
        Ok(url) => {
            let schema = format!("annals_{}", unique());
            // Other tests have transactions open on the same server, so pages wait for them; and it may be slow.
            let options = postgres::Options::default()
                .schema(schema)
                .patience(std::time::Duration::from_secs(60))
                .acquire_timeout(std::time::Duration::from_secs(60));
            places.push(Place::Postgres(PostgresJournal::open(&url, options).await.unwrap()));
        }
        Err(_) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI tests with PostgreSQL, and DATABASE_URL is not set"
            );
            // Not through `eprintln!`, which a passing test keeps to itself.
            let _ = writeln!(std::io::stderr(), "!!! NOT TESTED with PostgreSQL: DATABASE_URL is not set");
        }
    }
    places
}

/// A name that no other test has.
fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

impl Place {
    pub(crate) fn journal(&self) -> (Arc<dyn Journal>, Arc<dyn Records>) {
        match self {
            Self::Memory(journal) => (Arc::new(journal.clone()), Arc::new(journal.clone())),
            Self::Sqlite { journal, .. } => (Arc::new(journal.clone()), Arc::new(journal.clone())),
            Self::Postgres(journal) => (Arc::new(journal.clone()), Arc::new(journal.clone())),
        }
    }

    pub(crate) fn is_exactly_once(&self) -> bool {
        !matches!(self, Self::Memory(_))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory(_) => "memory",
            Self::Sqlite { .. } => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        })
    }
}

#[derive(Clone)]
pub(crate) struct View<'a> {
    place: &'a Place,
    sums: Sums,
}

#[derive(Clone)]
struct Sums {
    table: &'static str,
    memory: Arc<Mutex<Rows>>,
    mood: Arc<Mood>,
}

/// What it makes of what it does not like.
#[derive(Default)]
struct Mood {
    eats_anything: AtomicBool,
    panics: AtomicBool,
    does_without: AtomicBool,
}

impl<'a> View<'a> {
    pub(crate) fn new(place: &'a Place) -> Self {
        Self::in_table(place, "sums")
    }

    /// In other tables.
    pub(crate) fn beside(place: &'a Place) -> Self {
        Self::in_table(place, "other_sums")
    }

    fn in_table(place: &'a Place, table: &'static str) -> Self {
        Self { place, sums: Sums { table, memory: Arc::default(), mood: Arc::default() } }
    }

    pub(crate) fn eats_anything(&self) {
        self.sums.mood.eats_anything.store(true, Ordering::SeqCst);
    }

    pub(crate) fn panics(&self) {
        self.sums.mood.panics.store(true, Ordering::SeqCst);
    }

    pub(crate) fn does_without(&self) {
        self.sums.mood.does_without.store(true, Ordering::SeqCst);
    }

    pub(crate) fn start(
        &self,
        name: &str,
        bank: &Bank,
        settings: impl FnOnce(ProjectionBuilder<AccountEvent>) -> ProjectionBuilder<AccountEvent>,
    ) -> Result<Projection, ProjectionError> {
        self.start_in(bank.node.system(), name, bank, settings)
    }

    pub(crate) fn start_in(
        &self,
        system: &ActorSystem,
        name: &str,
        bank: &Bank,
        settings: impl FnOnce(ProjectionBuilder<AccountEvent>) -> ProjectionBuilder<AccountEvent>,
    ) -> Result<Projection, ProjectionError> {
        let builder = settings(Projection::builder(name, bank.source()));
        let sums = self.sums.clone();
        match self.place {
            Place::Memory(_) => builder.at_least_once(sums).start(system),
            Place::Sqlite { journal, .. } => builder.in_sqlite(journal.database(), sums).start(system),
            Place::Postgres(journal) => builder.in_postgres(journal.database(), sums).start(system),
        }
    }

    /// What the view has.
    pub(crate) async fn rows(&self) -> Rows {
        let sql = format!("SELECT account, cents, events FROM {}", self.sums.table);
        let rows: Vec<(String, i64, i64)> = match self.place {
            Place::Memory(_) => return self.sums.memory.lock().unwrap().clone(),
            Place::Sqlite { journal, .. } => {
                let read = journal.database().read(move |conn| {
                    let mut select = conn.prepare(&sql)?;
                    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
                });
                read.await.unwrap()
            }
            Place::Postgres(journal) => {
                let mut connection = journal.database().reader().await.unwrap();
                let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut *connection).await.unwrap();
                connection.done();
                rows
            }
        };
        rows.into_iter()
            .map(|(account, cents, events)| (account, (cents.cast_unsigned(), events.cast_unsigned())))
            .collect()
    }
}

impl Sums {
    fn taste(&self, event: &AccountEvent) -> Result<u64, BoxError> {
        let AccountEvent::Deposited { cents } = event;
        if *cents == POISON && !self.mood.eats_anything.load(Ordering::SeqCst) {
            assert!(!self.mood.panics.load(Ordering::SeqCst), "it tastes bad");
            return Err("it tastes bad".into());
        }
        Ok(*cents)
    }

    fn switch(&self) -> String {
        format!("DROP TABLE sums; ALTER TABLE {} RENAME TO sums", self.table)
    }

    fn misses(&self, gone: &Gone) -> Result<(), BoxError> {
        if self.mood.does_without.load(Ordering::SeqCst) { Ok(()) } else { Err(Missed::from(gone).into()) }
    }
}

impl SqliteView for Sums {
    type Event = AccountEvent;

    fn prepare(&self, view: &Connection) -> Result<(), BoxError> {
        let table = self.table;
        Ok(view.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {table} (account TEXT PRIMARY KEY, cents INTEGER NOT NULL, events INTEGER NOT NULL)"
        ))?)
    }

    fn apply(&self, view: &Connection, event: &Projected<AccountEvent>) -> Result<(), BoxError> {
        let table = self.table;
        let mut add = view.prepare_cached(&format!(
            "INSERT INTO {table} VALUES (?1, ?2, 1)
             ON CONFLICT (account) DO UPDATE SET cents = cents + ?2, events = events + 1"
        ))?;
        // It is changed before the taste is known: what failed must leave nothing.
        let AccountEvent::Deposited { cents } = &event.event;
        add.execute((event.persistence_id.entity_id(), cents.cast_signed()))?;
        self.taste(&event.event).map(|_| ())
    }

    fn gone(&self, _: &Connection, gone: &Gone) -> Result<(), BoxError> {
        self.misses(gone)
    }

    fn clear(&self, view: &Connection) -> Result<(), BoxError> {
        Ok(view.execute_batch(&format!("DELETE FROM {}", self.table))?)
    }

    fn replace(&self, view: &Connection) -> Result<(), BoxError> {
        Ok(view.execute_batch(&self.switch())?)
    }
}

impl PostgresView for Sums {
    type Event = AccountEvent;

    async fn prepare(&self, view: &mut PgConnection) -> Result<(), BoxError> {
        let table = self.table;
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {table} (account text PRIMARY KEY, cents int8 NOT NULL, events int8 NOT NULL)"
        );
        sqlx::query(AssertSqlSafe(create)).execute(view).await?;
        Ok(())
    }

    async fn apply(&self, view: &mut PgConnection, event: &Projected<AccountEvent>) -> Result<(), BoxError> {
        let table = self.table;
        let add = format!(
            "INSERT INTO {table} AS t VALUES ($1, $2, 1)
             ON CONFLICT (account) DO UPDATE SET cents = t.cents + $2, events = t.events + 1"
        );
        let AccountEvent::Deposited { cents } = &event.event;
        let add =
            sqlx::query(AssertSqlSafe(add)).bind(event.persistence_id.entity_id()).bind(cents.cast_signed());
        add.execute(view).await?;
        self.taste(&event.event).map(|_| ())
    }

    async fn gone(&self, _: &mut PgConnection, gone: &Gone) -> Result<(), BoxError> {
        self.misses(gone)
    }

    async fn clear(&self, view: &mut PgConnection) -> Result<(), BoxError> {
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {}", self.table))).execute(view).await?;
        Ok(())
    }

    async fn replace(&self, view: &mut PgConnection) -> Result<(), BoxError> {
        sqlx::raw_sql(AssertSqlSafe(self.switch())).execute(view).await?;
        Ok(())
    }
}

impl Handler for Sums {
    type Event = AccountEvent;

    async fn handle(&self, event: &Projected<AccountEvent>) -> Result<(), BoxError> {
        let cents = self.taste(&event.event)?;
        let mut rows = self.memory.lock().unwrap();
        let row = rows.entry(event.persistence_id.entity_id().to_owned()).or_default();
        *row = (row.0 + cents, row.1 + 1);
        Ok(())
    }

    async fn gone(&self, gone: &Gone) -> Result<(), BoxError> {
        self.misses(gone)
    }

    async fn clear(&self) -> Result<(), BoxError> {
        self.memory.lock().unwrap().clear();
        Ok(())
    }
}
