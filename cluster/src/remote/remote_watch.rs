use tokio::task::AbortHandle;

/// Why an actor on another node is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteEnd {
    /// It has terminated, or is exposed no longer.
    Terminated,
    /// Its node is no member any more: it has left, or was downed. The actor may run on there until the node has stopped.
    NodeRemoved,
    /// Nothing of its name was exposed there when the watch began.
    Unknown,
}

/// A watch of an actor on another node. Dropping it ends the watch.
#[derive(Debug)]
pub struct RemoteWatch(AbortHandle);

impl RemoteWatch {
    pub(crate) fn spawn(watching: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(watching).abort_handle())
    }
}

impl Drop for RemoteWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}
