use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::Event;

/// What happens in a cluster, as one node sees it.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

/// The next thing that a subscriber hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It happened.
    Event(Event),
    /// The subscriber was too slow, and so many events are lost to it: [`Cluster::view`](crate::Cluster::view) says how things are.
    Missed(u64),
}

impl Events {
    pub(super) const fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self(receiver)
    }

    /// Waits for the next; `None`: the node has ended.
    ///
    /// # Cancel safety
    ///
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(event) => Some(Heard::Event(event)),
            Err(RecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}
