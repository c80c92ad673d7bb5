//! Drives transfers to their end, each by one task of this process, and finds those that a crash left on their way.
//!
//! A record `transfer/{id}` is there from before a transfer begins until nothing is left to do: after a crash the records
//! say which transfers to go on with, without a look at all that ever were.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use annals::actors::Ask;
use annals::journal::{CompareAndSet, JournalError, RecordKey, Revision};
use annals::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::account::Account;
use crate::transfer::{Look, Note, Order, Outcome, Stage, Status, Transfer};
use crate::transit::{GiveBack, Pay, Settle, Take};

/// All transfers under way of this process; cheap to clone.
#[derive(Clone)]
pub(crate) struct Transfers(Arc<Shared>);

struct Shared {
    node: OnceLock<Node>,
    timeout: Duration,
    permits: Arc<Semaphore>,
    /// Each is closed when its transfer has an outcome.
    under_way: Mutex<HashMap<String, watch::Receiver<()>>>,
}

/// The most transfers that are driven at a time; more are refused, or wait for the next sweep.
const UNDER_WAY: u32 = 512;
/// How often transfers are looked for that nobody drives.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
const PREFIX: &str = "transfer/";
const PAGE: usize = 256;

impl Transfers {
    /// For transfers whose accounts must agree within a time.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self(Arc::new(Shared {
            node: OnceLock::new(),
            timeout,
            permits: Arc::new(Semaphore::new(UNDER_WAY as usize)),
            under_way: Mutex::default(),
        }))
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    pub(crate) fn are_too_many(&self) -> bool {
        self.0.permits.available_permits() == 0
    }

    /// Goes on with what an earlier process left, and keeps looking for transfers that nobody drives.
    ///
    /// To be called once, before any request is taken: a transfer that never began is forgotten here, and only here nobody can be
    /// about to begin it.
    pub(crate) async fn resume(&self, node: &Node) -> Result<(), JournalError> {
        let _ = self.0.node.set(node.clone());
        let mut after = None;
        while let Some(page) = announced(node, &mut after).await? {
            for (key, revision, id) in page {
                match node.entity::<Transfer>(&id).ask(Look).await {
                    Ok(None) => drop(node.records().delete(&key, revision).await?),
                    _ => self.drive(&id),
                }
            }
        }
        let (transfers, node) = (self.clone(), node.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                if let Err(error) = transfers.sweep(&node).await {
                    tracing::warn!(%error, "transfers that nobody drives could not be looked for");
                }
            }
        });
        Ok(())
    }

    async fn sweep(&self, node: &Node) -> Result<(), JournalError> {
        let mut after = None;
        while let Some(page) = announced(node, &mut after).await? {
            page.iter().for_each(|(_, _, id)| self.drive(id));
        }
        Ok(())
    }

    /// Makes sure that a crash from now on does not forget the transfer.
    pub(crate) async fn announce(&self, node: &Node, id: &str) -> Result<(), JournalError> {
        // Set already: an earlier try announced it.
        let _ = node.records().compare_and_set(&key(id)?, None, id.to_owned().into()).await?;
        Ok(())
    }

    /// Drives a transfer on a task of its own, unless one does.
    pub(crate) fn drive(&self, id: &str) {
        let Some(node) = self.0.node.get() else { return };
        let Ok(permit) = Arc::clone(&self.0.permits).try_acquire_owned() else { return };
        let (undecided, outcome) = watch::channel(());
        {
            // Two drivers could hear different answers of an account, and tell both.
            let mut under_way = self.under_way();
            if under_way.contains_key(id) {
                return;
            }
            under_way.insert(id.to_owned(), outcome);
        }
        let seat = Seat { transfers: self.clone(), id: id.to_owned(), _permit: permit };
        let node = node.clone();
        tokio::spawn(async move {
            if let Err(cause) = to_the_end(&node, &seat.id, undecided).await {
                tracing::warn!(transfer = seat.id, "left for the next sweep: {cause:#}");
            }
        });
    }

    /// Waits until a driven transfer has an outcome.
    pub(crate) async fn outcome(&self, id: &str) {
        let driven = self.under_way().get(id).cloned();
        if let Some(mut outcome) = driven {
            let _ = outcome.changed().await;
        }
    }

    /// Waits until no transfer is driven; those that the node's stop interrupted go on with the next start.
    pub(crate) async fn ended(&self) {
        let _ = self.0.permits.acquire_many(UNDER_WAY).await;
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<()>>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held while a transfer is driven.
struct Seat {
    transfers: Transfers,
    id: String,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.transfers.under_way().remove(&self.id);
    }
}

/// Every step may be repeated: an account remembers its part of a transfer until that is settled.
async fn to_the_end(node: &Node, id: &str, undecided: watch::Sender<()>) -> anyhow::Result<()> {
    let transfer = node.entity::<Transfer>(id);
    let stage = loop {
        let Ok(Some(status)) = insist(|| transfer.ask(Look)).await? else { return Ok(()) };
        let outcome = match &status.stage {
            Stage::Started => movement(node, id, &status).await?,
            Stage::GivingBack { .. } => {
                let from = node.entity::<Account>(&status.order.from);
                let _ = insist(|| from.ask(GiveBack { transfer: id.to_owned() })).await?;
                Outcome::GivenBack
            }
            Stage::Completed | Stage::Failed { .. } => break status,
        };
        let _ = insist(|| transfer.ask(Note { outcome: outcome.clone() })).await?;
    };
    drop(undecided);
    if stage.stage == Stage::Completed {
        settle(node, id, &stage.order).await?;
    }
    forget(node, id).await
}

/// Has the sender pay and the receiver take.
async fn movement(node: &Node, id: &str, status: &Status) -> anyhow::Result<Outcome> {
    let Status { order, by, .. } = status;
    let (cents, by) = (order.cents, *by);
    let (from, to) = (node.entity::<Account>(&order.from), node.entity::<Account>(&order.to));
    if let Err(refusal) = insist(|| from.ask(Pay { transfer: id.to_owned(), cents, by })).await? {
        return Ok(Outcome::SenderRefused { reason: format!("{:?}: {refusal}", order.from) });
    }
    match insist(|| to.ask(Take { transfer: id.to_owned(), cents, by })).await? {
        Ok(()) => Ok(Outcome::Moved),
        Err(refusal) => Ok(Outcome::ReceiverRefused { reason: format!("{:?}: {refusal}", order.to) }),
    }
}

/// Lets both accounts forget the transfer: no step of it comes again.
async fn settle(node: &Node, id: &str, order: &Order) -> anyhow::Result<()> {
    for account in [&order.from, &order.to] {
        let account = node.entity::<Account>(account);
        let _ = insist(|| account.ask(Settle { transfer: id.to_owned() })).await?;
    }
    Ok(())
}

async fn forget(node: &Node, id: &str) -> anyhow::Result<()> {
    let key = key(id)?;
    if let Some(record) = node.records().get(&key).await? {
        // Changed in between: the next sweep sees to it.
        let _: CompareAndSet = node.records().delete(&key, record.revision).await?;
    }
    Ok(())
}

/// Asks until there is an answer, as long as that may help.
async fn insist<C, A: Handle<C>>(
    ask: impl Fn() -> Ask<A, C>,
) -> anyhow::Result<Result<A::Reply, A::Rejection>>
where
    C: Command,
{
    let mut pause = Duration::from_millis(20);
    loop {
        match ask().await {
            Ok(reply) => return Ok(Ok(reply)),
            Err(AskError::Rejected(rejection)) => return Ok(Err(rejection)),
            // Another process, or the next start of this one, goes on.
            Err(AskError::Failed(failure @ Failure::Stopping { .. })) => return Err(failure.into()),
            Err(AskError::Failed(failure)) if !failure.is_transient() => return Err(failure.into()),
            Err(AskError::Failed(_) | AskError::Unknown(_)) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// The next announced transfers; `None` when there are no more.
async fn announced(
    node: &Node,
    after: &mut Option<RecordKey>,
) -> Result<Option<Vec<(RecordKey, Revision, String)>>, JournalError> {
    let page = node.records().list(PREFIX, after.as_ref(), PAGE).await?;
    let Some((last, _)) = page.last() else { return Ok(None) };
    *after = Some(last.clone());
    let named = page.into_iter().filter_map(|(key, record)| {
        let id = key.as_str().strip_prefix(PREFIX)?.to_owned();
        Some((key, record.revision, id))
    });
    Ok(Some(named.collect()))
}

fn key(id: &str) -> Result<RecordKey, JournalError> {
    RecordKey::new(&format!("{PREFIX}{id}"))
        .map_err(|error| JournalError::rejected(format_args!("transfer {id:?}"), error.to_string()))
}
