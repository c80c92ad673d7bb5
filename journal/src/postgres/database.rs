use std::fmt;
use std::sync::{Arc, OnceLock};

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Postgres};

use super::connections::{Connection, Connections};
use super::failure::{read_failure, was_ended};
use super::held_up::HeldUp;
use super::notifier::{Notifier, Owned};
use super::open_error::Place;
use super::replay_pages::{FIRST_PAGES, Found, Wanted};
use super::{OpenError, Options, Schema, Together, schema};
use crate::{CommitListener, CommitSignal, JournalError};

/// A schema on a PostgreSQL server, and the connections to it. A clone is another handle.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    connect: PgConnectOptions,
    options: Options,
    server: String,
    read_only: bool,
    writers: Arc<Connections>,
    readers: Arc<Connections>,
    /// Given after each commit with events in it, of this process.
    given: CommitSignal,
    /// The same, of all processes: for readers.
    commits: CommitSignal,
    notifier: Notifier,
    /// `None` within: there was no runtime.
    notifies: OnceLock<Option<Owned>>,
    listens: OnceLock<Option<Owned>>,
    held_up: HeldUp,
    first_pages: Together<Wanted, Found>,
}

impl Database {
    /// Connects, and makes the schema when it is missing.
    ///
    /// The URL is `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with the parameters of libpq that `sqlx` knows (`sslmode`, `sslrootcert`,
    /// `sslcert`, `sslkey`, `application_name`, `options`). What it leaves out comes from `PGHOST` and so on, and from `~/.pgpass`.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open(url: &str, options: Options) -> Result<Self, OpenError> {
        let database = Self::new(url, options, false)?;
        schema::prepare(&database).await?;
        Ok(database)
    }

    /// Connects for tools that look: nothing is created or migrated, and the server refuses what would change something.
    ///
    /// # Errors
    /// [`OpenError`], also when there is no journal.
    pub async fn open_read_only(url: &str, options: Options) -> Result<Self, OpenError> {
        let database = Self::new(url, options, true)?;
        schema::look_at(&database).await?;
        Ok(database)
    }

    fn new(url: &str, options: Options, read_only: bool) -> Result<Self, OpenError> {
        if !Options::is_schema(&options.schema) {
            let reason = format!("{:?} can be no schema: {SCHEMA_RULE}", options.schema);
            return Err(OpenError::Url { reason });
        }
        let connect: PgConnectOptions =
            url.parse().map_err(|error: sqlx::Error| OpenError::Url { reason: error.to_string() })?;
        let connect = if connect.get_application_name().is_none() {
            connect.application_name("annals")
        } else {
            connect
        };
        // Whole statements as warnings, whenever a disk is slow; the metrics have the times.
        let connect = connect.disable_statement_logging();
        let database = connect.get_database().unwrap_or_else(|| connect.get_username());
        let server = format!("{}:{}/{database}", connect.get_host(), connect.get_port());
        let mut setup = format!("SET search_path TO \"{}\"; {SETUP}", options.schema);
        if read_only {
            setup.push_str(" SET default_transaction_read_only = on;");
        }
        let pool = |most| {
            let (connect, setup) = (connect.clone(), setup.clone());
            Arc::new(Connections::new(connect, setup, most, options.acquire_timeout))
        };
        let (writers, readers) = (pool(options.writers), pool(options.readers));
        let first_pages = Together::new(options.reading_together(), FIRST_PAGES);
        Ok(Self {
            inner: Arc::new(Inner {
                notifier: Notifier::new(connect.clone(), &options.schema),
                connect,
                options,
                server,
                read_only,
                writers,
                readers,
                given: CommitSignal::default(),
                commits: CommitSignal::default(),
                notifies: OnceLock::new(),
                listens: OnceLock::new(),
                held_up: HeldUp::default(),
                first_pages,
            }),
        })
    }

    /// Brings a component's tables to its newest version, in one transaction; of several processes that do so at once one does it.
    ///
    /// # Errors
    /// [`OpenError::NewerSchema`] when a newer build has been here; [`OpenError::OlderSchema`] when the database was opened for reading
    /// only and would have to be migrated; what [`Database::open`] gives.
    pub async fn migrate(&self, schema: &Schema) -> Result<(), OpenError> {
        schema::migrate(self, schema).await
    }

    /// The journal is in it: whoever writes looks whether the generation of offsets is still the server's.
    pub(super) fn watch_lineage(&self) {
        if !self.inner.read_only {
            self.inner.writers.watch_lineage();
        }
    }

    /// Events were committed: wakes readers, here and in other processes.
    pub(super) fn committed(&self) {
        let Inner { given, commits, notifier, notifies, .. } = &*self.inner;
        notifies.get_or_init(|| notifier.notify(given.listen()));
        given.give();
        commits.give();
    }

    /// Hears of commits with events in them, of all processes.
    pub(super) fn listen(&self) -> CommitListener {
        let Inner { commits, notifier, listens, .. } = &*self.inner;
        listens.get_or_init(|| notifier.listen(commits.clone()));
        commits.listen()
    }

    pub(super) fn first_pages(&self) -> &Together<Wanted, Found> {
        &self.inner.first_pages
    }

    pub(super) fn held_up(&self) -> &HeldUp {
        &self.inner.held_up
    }

    /// A connection for statements that write.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]; [`JournalError::Rejected`] when the database was opened for reading only.
    pub async fn writer(&self) -> Result<Connection, JournalError> {
        if self.inner.read_only {
            return Err(JournalError::rejected(self.server(), "the journal was opened for reading only"));
        }
        self.inner.writers.lend().await.map_err(|error| read_failure(self.server(), error))
    }

    /// A connection for statements that read.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn reader(&self) -> Result<Connection, JournalError> {
        self.inner.readers.lend().await.map_err(|error| read_failure(self.server(), error))
    }

    /// The rows that a statement reads. One whose connection turns out to have been ended is done again, once.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]; [`JournalError::Corrupt`] when a row is none of ours.
    pub async fn rows<'q>(
        &self,
        statement: impl Fn() -> Query<'q, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, JournalError> {
        let mut again = true;
        loop {
            let mut connection = self.reader().await?;
            let query = statement();
            match query.fetch_all(&mut *connection).await {
                Ok(rows) => {
                    connection.done();
                    return Ok(rows);
                }
                Err(error) if again && was_ended(&error) => again = false,
                Err(error) => return Err(read_failure(self.server(), error)),
            }
        }
    }

    /// Closes the connections; whoever asks afterwards is told so.
    pub async fn close(&self) {
        [&self.inner.notifies, &self.inner.listens]
            .into_iter()
            .filter_map(OnceLock::get)
            .flatten()
            .for_each(Owned::end);
        self.inner.writers.close().await;
        self.inner.readers.close().await;
    }

    /// Host, port and database, for messages.
    pub fn server(&self) -> &str {
        &self.inner.server
    }

    /// Its settings.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Whether it was opened with [`Database::open_read_only`].
    pub fn is_read_only(&self) -> bool {
        self.inner.read_only
    }

    /// A connection that nothing was set on but the way to the tables.
    pub(super) async fn connect(&self) -> Result<PgConnection, OpenError> {
        let failed = |error: sqlx::Error| self.failed(&error);
        let connecting = PgConnection::connect_with(&self.inner.connect);
        let connected = tokio::time::timeout(self.inner.options.acquire_timeout, connecting).await;
        let mut connection = connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(failed)?;
        // The name was checked.
        let path = format!("SET search_path TO \"{}\"", self.inner.options.schema);
        sqlx::raw_sql(AssertSqlSafe(path)).execute(&mut connection).await.map_err(failed)?;
        Ok(connection)
    }

    pub(super) fn failed(&self, error: &sqlx::Error) -> OpenError {
        let Inner { connect, options, server, .. } = &*self.inner;
        let place = Place { server, user: connect.get_username(), waited: options.acquire_timeout };
        OpenError::from_sqlx(&place, error)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("server", &self.inner.server)
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

/// Plans that hold however large the tables become: each is made once a connection, perhaps while they are empty. All that is looked for
/// has an index, so a nested loop over it is always right.
const SETUP: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
    SET enable_mergejoin = off; SET jit = off; SET default_transaction_isolation = 'read committed';";
pub(super) const SCHEMA_RULE: &str = "1 to 63 lower-case letters, digits and _, a letter first";
