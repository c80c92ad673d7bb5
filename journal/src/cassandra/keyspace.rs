use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{ExecutionError, NewSessionError};
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::Row;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::address::Address;
use super::clock::Clock;
use super::failure::{malformed, unavailable, write_failure};
use super::state::State;
use super::statements::{Statements, levels};
use super::value::Value;
use super::{OpenError, Options, schema};
use crate::{JournalError, PersistenceId};

/// A keyspace on Cassandra with a session, in which a journal and its snapshots are kept. A clone is another handle.
///
/// Its futures have to be polled in a tokio runtime.
#[derive(Clone)]
pub struct Keyspace(Arc<Inner>);

pub(super) struct Inner {
    pub(super) session: Session,
    pub(super) statements: Statements,
    pub(super) options: Options,
    pub(super) clock: Clock,
    /// Where ids stood when this process wrote them last. A write is conditional on it, so that it may be wrong.
    pub(super) states: Cache<PersistenceId, Arc<State>>,
    /// Lane and span that have their row.
    pub(super) spans: Cache<String, u64>,
    /// One process changes records one after the other: together they would only be in each other's way.
    pub(super) records_turn: Mutex<()>,
    /// The revision of the gate behind which nothing is on its way any more.
    pub(super) settled_gate: AtomicU64,
    /// Told apart from all other processes that write, below 2^31.
    pub(super) instance: u64,
    nodes: String,
    read_only: bool,
    closed: AtomicBool,
}

impl Keyspace {
    /// Connects, and makes keyspace and tables when they are missing. The URL is
    /// `cassandra://USER:PASSWORD@HOST:PORT,HOST:PORT/KEYSPACE`, the port 9042 when it is left out.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open(url: &str, options: Options) -> Result<Self, OpenError> {
        Self::connect(url, options, false).await
    }

    /// Connects to a keyspace that is there, for reading only: nothing is made, and what changes it is refused.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open_read_only(url: &str, options: Options) -> Result<Self, OpenError> {
        Self::connect(url, options, true).await
    }

    async fn connect(url: &str, options: Options, read_only: bool) -> Result<Self, OpenError> {
        let address = Address::of(url)?;
        let nodes = address.nodes.join(",");
        let profile = ExecutionProfile::builder()
            .request_timeout(Some(options.request_timeout))
            .consistency(levels(options.consistency).0)
            .serial_consistency(Some(levels(options.consistency).2))
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&address.nodes)
            .default_execution_profile_handle(profile.into_handle())
            .keyspaces_to_fetch([address.keyspace.as_str()]);
        if let Some((user, password)) = &address.user {
            builder = builder.user(user, password);
        }
        let session = Box::pin(builder.build()).await.map_err(|error| unreachable_nodes(&nodes, &error))?;
        if !read_only {
            schema::make(&session, &nodes, &address.keyspace, &options).await?;
        }
        schema::check(&session, &nodes, &address.keyspace).await?;
        let prepared = Box::pin(Statements::prepare(&session, &address.keyspace, options.consistency)).await;
        let statements = prepared
            .map_err(|error| OpenError::CannotOpen { nodes: nodes.clone(), reason: error.to_string() })?;
        let mut inner = Inner {
            session,
            statements,
            options,
            clock: Clock::default(),
            states: Cache::new(STATES),
            spans: Cache::new(SPANS),
            records_turn: Mutex::new(()),
            settled_gate: AtomicU64::new(0),
            instance: 0,
            nodes,
            read_only,
            closed: AtomicBool::new(false),
        };
        inner.warn().await;
        if !read_only {
            inner.instance = inner.new_instance().await.map_err(|error| OpenError::CannotOpen {
                nodes: inner.nodes.clone(),
                reason: error.to_string(),
            })?;
        }
        Ok(Self(Arc::new(inner)))
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Ends it for all handles; whoever asks afterwards is told so.
    pub async fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
    }

    /// Whether it was opened for reading only.
    pub fn is_read_only(&self) -> bool {
        self.0.read_only
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Stores a snapshot's bytes.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`], also when it may be stored: storing it again does no harm.
    pub async fn save_snapshot(
        &self,
        id: &PersistenceId,
        seq: u64,
        stored: bytes::Bytes,
    ) -> Result<(), JournalError> {
        let inner = &self.0;
        inner.writable()?;
        let values = vec![inner.journal(), Value::text(id.as_str()), Value::int(seq), Value::Bytes(stored)];
        inner.execute(&inner.statements.save_snapshot, values).await.map(drop)
    }

    /// The newest snapshot up to a number, with its number.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn load_snapshot(
        &self,
        id: &PersistenceId,
        at_most: u64,
    ) -> Result<Option<(u64, bytes::Bytes)>, JournalError> {
        let inner = &self.0;
        let values = vec![inner.journal(), Value::text(id.as_str()), Value::int(at_most)];
        let rows: Vec<(i64, bytes::Bytes)> = inner.rows(&inner.statements.load_snapshot, values).await?;
        Ok(rows.into_iter().next().map(|(seq, stored)| (seq.cast_unsigned(), stored)))
    }

    /// Deletes the snapshots from one number to another.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn delete_snapshots(&self, id: &PersistenceId, from: u64, to: u64) -> Result<(), JournalError> {
        let inner = &self.0;
        inner.writable()?;
        let values = vec![inner.journal(), Value::text(id.as_str()), Value::int(from), Value::int(to)];
        inner.execute(&inner.statements.delete_snapshots, values).await.map(drop)
    }

    /// The numbers of all snapshots, the lowest first.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn list_snapshots(&self, id: &PersistenceId) -> Result<Vec<u64>, JournalError> {
        let inner = &self.0;
        let values = vec![inner.journal(), Value::text(id.as_str())];
        let rows: Vec<(i64,)> = inner.rows(&inner.statements.list_snapshots, values).await?;
        Ok(rows.into_iter().map(|(seq,)| seq.cast_unsigned()).collect())
    }
}

impl Inner {
    pub(super) fn journal(&self) -> Value {
        Value::text(&self.options.journal)
    }

    pub(super) fn nodes(&self) -> &str {
        &self.nodes
    }

    /// Refuses what changes something in a keyspace that was opened for reading only.
    pub(super) fn writable(&self) -> Result<(), JournalError> {
        if self.read_only {
            return Err(JournalError::rejected(&self.nodes, "the journal was opened for reading only"));
        }
        self.open()
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn open(&self) -> Result<(), JournalError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(JournalError::Unavailable { reason: "the journal was closed".into(), source: None });
        }
        Ok(())
    }

    /// A statement that may be done again.
    pub(super) async fn execute(
        &self,
        statement: &PreparedStatement,
        values: Vec<Value>,
    ) -> Result<QueryResult, JournalError> {
        let mut patience = Patience::default();
        loop {
            self.open()?;
            match Box::pin(self.session.execute_unpaged(statement, &values)).await {
                Ok(result) => return Ok(result),
                Err(error) if patience.waits_after(&error).await => {}
                Err(error) => return Err(unavailable(&self.nodes, error)),
            }
        }
    }

    /// The rows of a statement.
    pub(super) async fn rows<R>(
        &self,
        statement: &PreparedStatement,
        values: Vec<Value>,
    ) -> Result<Vec<R>, JournalError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let result = self.execute(statement, values).await?;
        let rows = result.into_rows_result().map_err(|error| malformed(&self.nodes, error))?;
        let rows = rows.rows::<R>().map_err(|error| malformed(&self.nodes, error))?;
        rows.collect::<Result<_, _>>().map_err(|error| malformed(&self.nodes, error))
    }

    /// A batch of one partition of which the first statement has a condition; whether it was met.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]: it was not made. [`JournalError::Unknown`]: it may be, also later.
    pub(super) async fn conditional(
        &self,
        statements: Vec<(&PreparedStatement, Vec<Value>)>,
    ) -> Result<bool, JournalError> {
        let mut batch = Batch::new(BatchType::Unlogged);
        let (_, _, serial) = levels(self.options.consistency);
        batch.set_serial_consistency(Some(serial));
        batch.set_consistency(levels(self.options.consistency).0);
        batch.set_is_idempotent(false);
        // What was sent twice is not met by its own condition, and would be taken for refused.
        batch.set_retry_policy(Some(Arc::new(FallthroughRetryPolicy::new())));
        let mut values = Vec::with_capacity(statements.len());
        for (statement, row) in statements {
            batch.append_statement(statement.clone());
            values.push(row);
        }
        let mut patience = Patience::default();
        let result = loop {
            self.open()?;
            match Box::pin(self.session.batch(&batch, &values)).await {
                Ok(result) => break result,
                Err(error) if patience.waits_after(&error).await => {}
                Err(error) => return Err(write_failure(&self.nodes, error)),
            }
        };
        let applied = result.into_rows_result().ok().and_then(|rows| applied(&rows));
        applied.ok_or_else(|| JournalError::Unknown {
            reason: format!("Cassandra at {} did not say whether a condition was met", self.nodes),
            source: None,
        })
    }

    async fn new_instance(&self) -> Result<u64, JournalError> {
        for _ in 0..ATTEMPTS {
            let found: Vec<(String, Option<i64>)> =
                self.rows(&self.statements.instances, vec![self.journal()]).await?;
            let last = found.first().and_then(|(_, last)| *last);
            let next = last.unwrap_or(0) + 1;
            let (statement, mut values) = match last {
                None => (&self.statements.first_instance, Vec::new()),
                Some(last) => (&self.statements.next_instance, vec![Value::Int(last)]),
            };
            values.splice(0..0, [Value::Int(next), self.journal()]);
            if self.conditional(vec![(statement, values)]).await? {
                return Ok(next.cast_unsigned() & INSTANCES);
            }
        }
        Err(JournalError::Unavailable {
            reason: format!("too many processes open the journal at {} at once", self.nodes),
            source: None,
        })
    }

    /// Says when the server answers writes before they are on its disk, and has no other that could have them.
    async fn warn(&self) {
        let asked = "SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'";
        let Ok(found) = self.session.query_unpaged(asked, ()).await else { return };
        let Ok(rows) = found.into_rows_result() else { return };
        let sync = rows.maybe_first_row::<(Option<String>,)>().ok().flatten().and_then(|(sync,)| sync);
        let alone = self.session.get_cluster_state().get_nodes_info().len() == 1;
        if alone && sync.is_some_and(|sync| sync.eq_ignore_ascii_case("periodic")) {
            tracing::warn!(
                nodes = self.nodes,
                "one Cassandra node with commitlog_sync periodic loses what it answered in the last moments before it is killed; set batch or group, or run three"
            );
        }
    }
}

fn applied(rows: &QueryRowsResult) -> Option<bool> {
    let row = rows.first_row::<Row>().ok()?;
    row.columns.into_iter().next()??.as_boolean()
}

fn unreachable_nodes(nodes: &str, error: &NewSessionError) -> OpenError {
    OpenError::Unreachable { nodes: nodes.to_owned(), reason: error.to_string() }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace")
            .field("nodes", &self.0.nodes)
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

/// For how long a node is waited for to which there is no connection: what is asked was not sent.
struct Patience {
    until: Instant,
    pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { until: Instant::now() + CONNECTING, pause: Duration::from_millis(10) }
    }
}

impl Patience {
    async fn waits_after(&mut self, error: &ExecutionError) -> bool {
        let is_unsent = matches!(error, ExecutionError::ConnectionPoolError(_) | ExecutionError::EmptyPlan);
        if !is_unsent || Instant::now() >= self.until {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_millis(200));
        true
    }
}

const CONNECTING: Duration = Duration::from_secs(5);
const STATES: usize = 100_000;
const SPANS: usize = 10_000;
const ATTEMPTS: u32 = 100;
/// An instance is the upper half of an offset's fine part, which is below 2^63.
const INSTANCES: u64 = (1 << 31) - 1;
