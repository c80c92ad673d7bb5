use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Holds calls back until it lets them pass; made by [`Order::waits`](super::Order::waits). Opens when it is dropped.
#[must_use = "a gate that is dropped is open"]
pub struct Gate {
    bars: Bars,
}

/// A gate's other side.
#[derive(Clone)]
pub(super) struct Bars {
    arrived: Arc<Semaphore>,
    passes: Arc<Semaphore>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { bars: Bars { arrived: Arc::new(Semaphore::new(0)), passes: Arc::new(Semaphore::new(0)) } }
    }

    pub(super) fn bars(&self) -> Bars {
        self.bars.clone()
    }

    /// Waits until one more call has come to the gate than this was awaited for.
    ///
    /// # Cancel safety
    /// A dropped future has counted nobody.
    pub async fn arrived(&self) {
        if let Ok(one) = self.bars.arrived.acquire().await {
            one.forget();
        }
    }

    /// Lets so many calls pass, those that wait first. The entries of one list of writes pass together, as one.
    pub fn let_pass(&self, calls: usize) {
        self.bars.passes.add_permits(calls);
    }

    /// Lets all calls pass, also those that come later.
    pub fn open(&self) {
        self.bars.passes.close();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("open", &self.bars.passes.is_closed()).finish_non_exhaustive()
    }
}

impl Bars {
    pub(super) async fn pass(&self) {
        self.arrived.add_permits(1);
        if let Ok(one) = self.passes.acquire().await {
            one.forget();
        }
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.passes, &other.passes)
    }
}
