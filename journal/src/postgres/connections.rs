use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::failure::code;
use super::lineage;

/// A few connections, each used by one caller at a time.
///
/// Not `sqlx`'s pool, which asks the server after each use whether the connection is still well: a round trip a commit.
pub(super) struct Connections {
    connect: PgConnectOptions,
    /// Statements for a new connection.
    setup: String,
    /// Whether a new connection looks whether the server is still the one on which the generation of offsets began.
    watches_lineage: AtomicBool,
    wait: Duration,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<(PgConnection, Instant)>>,
}

/// A connection that is lent.
///
/// Give it back with [`Connection::done`] when its last statement has ended well; otherwise it is closed, because nobody knows what it
/// is in the middle of.
pub struct Connection {
    /// Only `None` once it was given back.
    connection: Option<PgConnection>,
    from: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(connect: PgConnectOptions, setup: String, most: u32, wait: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(usize::try_from(most.max(1)).unwrap_or(1)));
        let watches_lineage = AtomicBool::new(false);
        Self { connect, setup, watches_lineage, wait, permits, idle: Mutex::default() }
    }

    /// From now on each connection has looked whether the generation of offsets is still the server's.
    pub(super) fn watch_lineage(&self) {
        self.watches_lineage.store(true, Ordering::Relaxed);
        let unseen = std::mem::take(&mut *self.idle());
        drop(unseen);
    }

    /// Lends a connection. Certainly nothing was sent when this fails.
    pub(super) async fn lend(self: &Arc<Self>) -> sqlx::Result<Connection> {
        match timeout(self.wait, Arc::clone(&self.permits).acquire_owned()).await {
            Err(_) => Err(sqlx::Error::PoolTimedOut),
            Ok(Err(_)) => Err(sqlx::Error::PoolClosed),
            Ok(Ok(permit)) => {
                let connection = Some(self.connection().await?);
                Ok(Connection { connection, from: Arc::clone(self), _permit: permit })
            }
        }
    }

    async fn connection(&self) -> sqlx::Result<PgConnection> {
        loop {
            let Some((mut connection, since)) = self.idle().pop() else { break };
            if since.elapsed() < FRESH || matches!(timeout(self.wait, connection.ping()).await, Ok(Ok(()))) {
                return Ok(connection);
            }
        }
        self.connect().await
    }

    /// A new connection; waits for a server that is about to start.
    async fn connect(&self) -> sqlx::Result<PgConnection> {
        let began = Instant::now();
        loop {
            let left = self.wait.saturating_sub(began.elapsed());
            let error = match timeout(left, self.try_to_connect()).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => error,
                Err(_) => sqlx::Error::PoolTimedOut,
            };
            if !may_pass(&error) || began.elapsed() + RETRY > self.wait {
                return Err(error);
            }
            sleep(RETRY).await;
        }
    }

    async fn try_to_connect(&self) -> sqlx::Result<PgConnection> {
        let mut connection = PgConnection::connect_with(&self.connect).await?;
        // The schema's name was checked, and nothing else is put in.
        sqlx::raw_sql(AssertSqlSafe(self.setup.as_str())).execute(&mut connection).await?;
        if self.watches_lineage.load(Ordering::Relaxed) {
            lineage::check(&mut connection).await?;
        }
        Ok(connection)
    }

    /// Lends nothing any more; what is lent is closed when it comes back.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for (connection, _) in idle {
            // The server notices anyway.
            let _ = connection.close().await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(PgConnection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Gives it back: its last statement ended well.
    pub fn done(mut self) {
        if let Some(connection) = self.connection.take()
            && !self.from.permits.is_closed()
        {
            self.from.idle().push((connection, Instant::now()));
        }
    }

    /// Closes it, whatever the server still sends; nothing broke.
    pub(super) fn abandon(mut self) {
        drop(self.connection.take());
    }
}

impl Drop for Connection {
    /// What broke this connection may have broken the others: they are opened anew.
    fn drop(&mut self) {
        if self.connection.is_some() {
            let idle = std::mem::take(&mut *self.from.idle());
            drop(idle);
        }
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().unwrap_or_else(|| unreachable!("{LENT}"))
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().unwrap_or_else(|| unreachable!("{LENT}"))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("free", &self.permits.available_permits()).finish_non_exhaustive()
    }
}

/// Whether the same may succeed a moment later.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            std::io::ErrorKind::ConnectionRefused
                | std::io::ErrorKind::ConnectionReset
                | std::io::ErrorKind::UnexpectedEof
        ),
        // It starts, it stops, or all its connections are taken.
        error => matches!(code(error).as_deref(), Some("57P03" | "57P01" | "57P02" | "53300")),
    }
}

/// Taken only by giving it back, which takes the whole.
const LENT: &str = "a lent connection is there until it is given back";
/// Whoever used it a moment ago would have met what is wrong with it.
const FRESH: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(20);
