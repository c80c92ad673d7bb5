//! Wakes the readers of other processes.
//!
//! ```text
//!  a commit of ours ──▶ given ──▶ notify: NOTIFY at most every 10 ms ──▶ server ──▶ listen, in every process with a live reader
//!                                                                                     └─▶ heard ──▶ readers look
//! ```
//!
//! After the commit and on a connection of its own: in the transaction of an append, a NOTIFY would have all commits of the server wait for
//! each other. What gets lost delays readers, who also look by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::{CommitListener, CommitSignal};

/// Whoever writes to a schema, and whoever reads it live.
#[derive(Debug)]
pub(super) struct Notifier {
    connect: PgConnectOptions,
    schema: Arc<str>,
    /// The server's name for the process that sends our notifications; 0: none.
    sender: Arc<AtomicU32>,
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(super) struct Owned(AbortHandle);

impl Owned {
    pub(super) fn end(&self) {
        self.0.abort();
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.end();
    }
}

impl Notifier {
    pub(super) fn new(connect: PgConnectOptions, schema: &str) -> Self {
        Self { connect, schema: schema.into(), sender: Arc::default() }
    }

    /// Tells other processes of commits; `None` outside of a runtime. Connects with the first one.
    pub(super) fn notify(&self, given: CommitListener) -> Option<Owned> {
        let runtime = Handle::try_current().ok()?;
        let task = notify(self.connect.clone(), Arc::clone(&self.schema), Arc::clone(&self.sender), given);
        Some(Owned(runtime.spawn(task).abort_handle()))
    }

    /// Hears of the commits of other processes; `None` outside of a runtime.
    pub(super) fn listen(&self, heard: CommitSignal) -> Option<Owned> {
        let runtime = Handle::try_current().ok()?;
        let task = listen(self.connect.clone(), Arc::clone(&self.schema), Arc::clone(&self.sender), heard);
        Some(Owned(runtime.spawn(task).abort_handle()))
    }
}

async fn notify(
    connect: PgConnectOptions,
    schema: Arc<str>,
    sender: Arc<AtomicU32>,
    mut given: CommitListener,
) {
    let mut connection = None;
    loop {
        given.heard().await;
        let sent = send(&mut connection, &connect, &schema, &sender).await;
        let pause = if let Err(error) = sent {
            connection = None;
            tracing::debug!(%error, "readers of other processes could not be woken; they look by themselves");
            RETRY
        } else {
            PAUSE
        };
        sleep(pause).await;
    }
}

async fn send(
    connection: &mut Option<PgConnection>,
    connect: &PgConnectOptions,
    schema: &str,
    sender: &AtomicU32,
) -> sqlx::Result<()> {
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let mut new = PgConnection::connect_with(connect).await?;
            // A wake-up that a crash forgets is worth no wait for the disk.
            sqlx::query("SET synchronous_commit = off").execute(&mut new).await?;
            let id: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut new).await?;
            sender.store(id.cast_unsigned(), Ordering::Relaxed);
            connection.insert(new)
        }
    };
    sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(schema).execute(connection).await?;
    Ok(())
}

async fn listen(connect: PgConnectOptions, schema: Arc<str>, sender: Arc<AtomicU32>, heard: CommitSignal) {
    let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let pool = pool.connect_lazy_with(connect);
    loop {
        let listened = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            // What was sent while nobody listened.
            heard.give();
            while let Some(notification) = listener.try_recv().await? {
                let ours = notification.process_id() == sender.load(Ordering::Relaxed);
                if !ours && notification.payload() == &*schema {
                    heard.give();
                }
            }
            Ok::<(), sqlx::Error>(())
        };
        if let Err(error) = listened.await {
            tracing::debug!(%error, "readers are not woken by other processes; they look by themselves");
            sleep(RETRY).await;
        }
    }
}

const CHANNEL: &str = "annals";
/// Between two notifications: what is committed meanwhile is told at once.
const PAUSE: Duration = Duration::from_millis(10);
const RETRY: Duration = Duration::from_secs(1);
