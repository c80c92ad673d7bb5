use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};

use super::write_plan::error;
use super::{Fault, JournalAnswer, JournalCall, JournalOperation, Script, Ticket};
use crate::{Journal, JournalError, PersistenceId, ReplayRange, Replayed, SeqNr};

/// A replay that is told where to stop, to wait, or to break.
pub(super) struct FaultyReplay {
    items: BoxStream<'static, Result<Replayed, JournalError>>,
    id: PersistenceId,
    script: Script<JournalOperation, JournalAnswer>,
    ticket: Ticket,
    /// Until its place has come.
    fault: Option<Fault<JournalAnswer>>,
    events: u64,
    ended: bool,
}

impl FaultyReplay {
    pub(super) fn start(
        inner: &Arc<dyn Journal>,
        script: &Script<JournalOperation, JournalAnswer>,
        range: ReplayRange,
    ) -> BoxStream<'static, Result<Replayed, JournalError>> {
        let id = range.persistence_id.clone();
        let to = if range.to == SeqNr::MAX { String::new() } else { format!("{:?}", range.to) };
        let what = format!("{:?}..{to}", range.from);
        let (ticket, faults) =
            script.asked(vec![JournalCall::new(JournalOperation::Replay, Some(&id), what)]);
        let replay = Self {
            items: inner.replay(range),
            id,
            script: script.clone(),
            ticket,
            fault: faults.into_iter().next(),
            events: 0,
            ended: false,
        };
        stream::unfold(replay, |mut replay| async move { replay.next().await.map(|item| (item, replay)) })
            .boxed()
    }

    async fn next(&mut self) -> Option<Result<Replayed, JournalError>> {
        if self.ended {
            return None;
        }
        if let Some(fault) = self.fault.take_if(|fault| fault.after_events <= self.events) {
            fault.begin().await;
            let failure = match &fault.answer {
                JournalAnswer::Panic(message) => panic!("{message}"),
                other => error(other, Some(&self.id)),
            };
            if let Some(failure) = failure {
                self.end(format!("{failure}, after {} events", self.events));
                return Some(Err(failure));
            }
            Fault::end_all(std::slice::from_ref(&fault)).await;
        }
        let item = self.items.next().await;
        match &item {
            Some(Ok(Replayed::Event(_))) => self.events += 1,
            Some(Ok(_)) => {}
            Some(Err(error)) => self.end(format!("{error}, after {} events", self.events)),
            None => self.end(format!("{} events", self.events)),
        }
        item
    }

    fn end(&mut self, answer: String) {
        self.ended = true;
        self.script.answered(self.ticket, 0, answer);
    }
}
