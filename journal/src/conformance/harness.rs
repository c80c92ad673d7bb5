use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use super::{Place, Store};
use crate::{Journal, Records};

/// What a clause works with: an open store, and the way to open it again.
pub struct Harness {
    place: Place,
    open: Box<dyn Fn(Place) -> LocalBoxFuture<'static, Store>>,
    /// Only `None` while the store is closed to be opened again.
    store: Option<Store>,
    /// Others that the clause opened.
    others: Vec<Store>,
    child_test: &'static str,
}

/// Runs one clause on a runtime of its own. What [`conformance!`](crate::conformance!) generates calls this.
///
/// `child_test` is the path of the test that calls [`crash::child`](super::crash::child) with the same constructor.
///
/// # Panics
/// When the backend does not keep the clause.
pub fn run<F>(
    open: impl Fn(Place) -> F + 'static,
    clause: impl AsyncFnOnce(&mut Harness),
    child_test: &'static str,
) where
    F: Future<Output = Store> + 'static,
{
    let runtime = runtime();
    runtime.block_on(async {
        let mut harness = Harness::new(open, child_test).await;
        if let Some(missing) = &harness.store().missing {
            eprintln!("passed over: {missing}");
            return;
        }
        if tokio::time::timeout(PATIENCE, clause(&mut harness)).await.is_err() {
            panic!("the clause hangs: no end after {PATIENCE:?}");
        }
        harness.close().await;
    });
}

/// Runs one clause by itself; clauses about killed processes do nothing then.
///
/// # Panics
/// When the backend does not keep the clause.
pub fn run_clause<F>(open: impl Fn(Place) -> F + 'static, clause: impl AsyncFnOnce(&mut Harness))
where
    F: Future<Output = Store> + 'static,
{
    run(open, clause, "");
}

impl Harness {
    async fn new<F>(open: impl Fn(Place) -> F + 'static, child_test: &'static str) -> Self
    where
        F: Future<Output = Store> + 'static,
    {
        let place = Place::create();
        let open = Box::new(move |place| open(place).boxed_local());
        let store = Some(open(place.clone()).await);
        Self { place, open, store, others: Vec::new(), child_test }
    }

    /// The journal under test.
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.store().journal)
    }

    /// Its records.
    pub fn records(&self) -> Arc<dyn Records> {
        Arc::clone(&self.store().records)
    }

    /// Another handle to the same store: opened a second time where that is possible.
    pub async fn another(&mut self) -> (Arc<dyn Journal>, Arc<dyn Records>) {
        if !self.outlives_process() {
            return (self.journal(), self.records());
        }
        let store = (self.open)(self.place.clone()).await;
        let handles = (Arc::clone(&store.journal), Arc::clone(&store.records));
        self.others.push(store);
        handles
    }

    /// Whether what is stored is there after the process has ended.
    pub fn outlives_process(&self) -> bool {
        self.store().outlives_process
    }

    /// Closes the store and opens it again; nothing for one that does not outlive its handles.
    pub async fn reopen(&mut self) {
        // Only what outlives its handles is ever closed before.
        if self.store.is_none() || self.outlives_process() {
            self.close_all().await;
            self.open().await;
        }
    }

    /// Opens the store after [`Harness::close_all`].
    pub(super) async fn open(&mut self) {
        self.store = Some((self.open)(self.place.clone()).await);
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn child_test(&self) -> &'static str {
        self.child_test
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("a clause only runs while the store is open")
    }

    pub(super) async fn close_all(&mut self) {
        for store in self.others.drain(..).chain(self.store.take()) {
            store.close().await;
        }
    }

    async fn close(mut self) {
        self.close_all().await;
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.others.clear();
        self.store = None;
        self.place.remove();
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("place", &self.place)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a clause needs a runtime")
}

/// Far more than any clause takes.
const PATIENCE: Duration = Duration::from_secs(300);
