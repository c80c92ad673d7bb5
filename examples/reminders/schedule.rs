//! What is to come: a record for each reminder, whose key begins with its time, so that the next one due is the first.
//!
//! ```text
//! add: record ──> issue ──> … its time comes … ──> ask(Remind) ──> record deleted
//!            └ crash: reminds of nothing, and is forgotten an hour later
//!                              └ crash: found at the next start      └ crash: sent again, changes nothing
//! ```

use std::sync::Arc;
use std::time::Duration;

use annals::journal::{CompareAndSet, JournalError, Record, RecordKey};
use annals::prelude::*;
use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream;
use tokio::sync::Notify;

use crate::invoice::{Invoice, Remind, Reminder};

/// The reminders to come; cheap to clone.
#[derive(Clone)]
pub(crate) struct Schedule {
    node: Node,
    /// Something was added that may be the next one due.
    added: Arc<Notify>,
    /// Told of each reminder that is being sent.
    sending: fn(&str),
}

const PREFIX: &str = "remind/";
const PAGE: usize = 100;
/// Reminders that are sent at a time.
const AT_ONCE: usize = 32;
/// How long after a failure, or before somebody else's additions are looked for.
const PAUSE: Duration = Duration::from_secs(1);
/// A reminder of an invoice that was never issued is forgotten so long after its time: nobody can be about to issue it any
/// more, because an ask ends long before.
const GIVE_UP: Duration = Duration::from_hours(1);

impl Schedule {
    pub(crate) fn new(node: Node, sending: fn(&str)) -> Self {
        Self { node, added: Arc::default(), sending }
    }

    /// Lets `Remind` come to an invoice at a time, also when the process ends before.
    ///
    /// To be called again when there was no answer: the key says what and when, so it is there once.
    pub(crate) async fn add(&self, id: &str, at: Timestamp) -> anyhow::Result<()> {
        // Microseconds with leading zeros: the order of the keys is the order of time.
        let key = RecordKey::new(&format!("{PREFIX}{:020}/{id}", at.as_micros()))?;
        let _: CompareAndSet = self.node.records().compare_and_set(&key, None, id.to_owned().into()).await?;
        self.added.notify_one();
        Ok(())
    }

    /// Sends what is due, for ever: first what became due while no process ran.
    pub(crate) async fn run(self) {
        loop {
            let pause = match self.send_due(Timestamp::now()).await {
                Ok(Some(next)) => until(next).min(PAUSE),
                Ok(None) => PAUSE,
                Err(error) => {
                    tracing::warn!("reminders could not be read: {error:#}");
                    PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.added.notified() => {}
            }
        }
    }

    /// Sends what is due, the oldest first, some at a time; answers when the next one is. One that fails stays and holds up no
    /// other.
    pub(crate) async fn send_due(&self, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
        let mut after = None;
        loop {
            let page = self.node.records().list(PREFIX, after.as_ref(), PAGE).await?;
            let due = page.iter().take_while(|(key, _)| read(key).is_ok_and(|(at, _)| at <= now));
            // Together, because their events share commits.
            stream::iter(due).for_each_concurrent(AT_ONCE, |(key, record)| self.send(key, record, now)).await;
            let next =
                page.iter().map(|(key, _)| read(key)).find(|read| !matches!(read, Ok((at, _)) if *at <= now));
            if let Some(next) = next {
                return Ok(Some(next?.0));
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => after = Some(last.clone()),
                _ => return Ok(None),
            }
        }
    }

    async fn send(&self, key: &RecordKey, record: &Record, now: Timestamp) {
        if let Err(error) = self.try_to_send(key, record, now).await {
            tracing::warn!(%key, "a reminder is left for the next round: {error:#}");
        }
    }

    async fn try_to_send(&self, key: &RecordKey, record: &Record, now: Timestamp) -> anyhow::Result<()> {
        let (at, id) = read(key)?;
        (self.sending)(id);
        let reminder = self.node.entity::<Invoice>(id).ask(Remind).await?;
        if reminder == Reminder::Done || now > at.plus(GIVE_UP) {
            self.forget(key, record).await?;
        }
        Ok(())
    }

    async fn forget(&self, key: &RecordKey, record: &Record) -> Result<(), JournalError> {
        // Changed: another process sent it too and was faster.
        let _: CompareAndSet = self.node.records().delete(key, record.revision).await?;
        Ok(())
    }
}

fn read(key: &RecordKey) -> anyhow::Result<(Timestamp, &str)> {
    let parts = key.as_str().strip_prefix(PREFIX).and_then(|rest| rest.split_once('/'));
    let (at, id) = parts.with_context(|| format!("what is {key}?"))?;
    Ok((Timestamp::from_micros(at.parse()?), id))
}

fn until(time: Timestamp) -> Duration {
    Duration::from_micros(time.as_micros().saturating_sub(Timestamp::now().as_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoice::{Issue, Pay};

    const DUE: Timestamp = Timestamp::from_micros(1_000_000);
    const BEFORE: Timestamp = Timestamp::from_micros(999_999);

    async fn schedule() -> Schedule {
        let node = Annals::builder("test").journal("memory:").entity::<Invoice>().start().await.unwrap();
        Schedule::new(node, |_| {})
    }

    async fn issue(schedule: &Schedule, id: &str) {
        schedule.add(id, DUE).await.unwrap();
        schedule.node.entity::<Invoice>(id).ask(Issue { due: DUE.as_micros() }).await.unwrap();
    }

    async fn events(schedule: &Schedule, id: &str) -> u64 {
        let id = PersistenceId::new("invoice", id).unwrap();
        schedule.node.journal().head(&id).await.unwrap().seq_nr.get()
    }

    async fn waiting(schedule: &Schedule) -> usize {
        schedule.node.records().list(PREFIX, None, PAGE).await.unwrap().len()
    }

    #[tokio::test]
    async fn nothing_is_sent_before_its_time() {
        let schedule = schedule().await;
        issue(&schedule, "i-1").await;
        assert_eq!(schedule.send_due(BEFORE).await.unwrap(), Some(DUE));
        assert_eq!((events(&schedule, "i-1").await, waiting(&schedule).await), (1, 1));
        assert_eq!(schedule.send_due(DUE).await.unwrap(), None);
        assert_eq!((events(&schedule, "i-1").await, waiting(&schedule).await), (2, 0));
    }

    #[tokio::test]
    async fn a_reminder_that_comes_again_after_a_crash_changes_nothing() {
        let schedule = schedule().await;
        issue(&schedule, "i-1").await;
        schedule.send_due(DUE).await.unwrap();
        // As if the process had died before it deleted the record.
        schedule.add("i-1", DUE).await.unwrap();
        schedule.send_due(DUE).await.unwrap();
        assert_eq!((events(&schedule, "i-1").await, waiting(&schedule).await), (2, 0));
    }

    #[tokio::test]
    async fn what_is_paid_is_not_reminded_of() {
        let schedule = schedule().await;
        issue(&schedule, "i-1").await;
        schedule.node.entity::<Invoice>("i-1").ask(Pay).await.unwrap();
        schedule.send_due(DUE).await.unwrap();
        assert_eq!((events(&schedule, "i-1").await, waiting(&schedule).await), (2, 0));
    }

    #[tokio::test]
    async fn a_reminder_ahead_of_its_invoice_waits_for_it_and_not_for_ever() {
        let schedule = schedule().await;
        schedule.add("i-1", DUE).await.unwrap();
        schedule.add("i-2", DUE).await.unwrap();
        schedule.send_due(DUE).await.unwrap();
        assert_eq!(waiting(&schedule).await, 2);
        issue(&schedule, "i-1").await;
        schedule.send_due(DUE).await.unwrap();
        assert_eq!((events(&schedule, "i-1").await, waiting(&schedule).await), (2, 1));
        schedule.send_due(DUE.plus(GIVE_UP).plus(Duration::from_micros(1))).await.unwrap();
        assert_eq!((events(&schedule, "i-2").await, waiting(&schedule).await), (0, 0));
    }

    #[tokio::test]
    async fn more_than_a_page_is_sent_the_oldest_first() {
        let schedule = schedule().await;
        for number in 0..PAGE + 1 {
            // The first page is of invoices that are never issued; they hold up nobody.
            let id = format!("i-{number}");
            if number < PAGE { schedule.add(&id, BEFORE).await.unwrap() } else { issue(&schedule, &id).await }
        }
        schedule.send_due(DUE).await.unwrap();
        assert_eq!((events(&schedule, &format!("i-{PAGE}")).await, waiting(&schedule).await), (2, PAGE));
    }
}
