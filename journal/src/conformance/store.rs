use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::{Journal, MemoryJournal, Records};

/// An open store, as a backend's constructor gives it to the suite.
pub struct Store {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) records: Arc<dyn Records>,
    pub(super) outlives_process: bool,
    pub(super) missing: Option<String>,
    close: Option<Close>,
}

type Close = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()>>;

impl Store {
    /// A store that is gone with its last handle.
    pub fn new(journal: Arc<dyn Journal>, records: Arc<dyn Records>) -> Self {
        Self { journal, records, outlives_process: false, missing: None, close: None }
    }

    /// In the place of a store whose server cannot be had: the clause is passed over, and says so with these words.
    pub fn missing(what: impl Into<String>) -> Self {
        let nothing = Arc::new(MemoryJournal::new());
        Self { missing: Some(what.into()), ..Self::new(nothing.clone(), nothing) }
    }

    /// The same, and what it stores is there when the constructor is called again with its place, also by another process.
    #[must_use]
    pub fn outlives_process(self) -> Self {
        Self { outlives_process: true, ..self }
    }

    /// The same, with something to do before the store is opened again or its place removed. Without it, dropping closes.
    #[must_use]
    pub fn on_close<F>(self, close: impl FnOnce() -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self { close: Some(Box::new(|| close().boxed_local())), ..self }
    }

    pub(super) async fn close(mut self) {
        let close = self.close.take();
        drop(self);
        if let Some(close) = close {
            close().await;
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("journal", &self.journal).finish_non_exhaustive()
    }
}
