use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::discovery::Discovery;
use crate::transport::TransportSettings;
use crate::{Facts, Settings};

/// What a node is, how it talks, and how it finds its cluster.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClusterSettings {
    /// How it takes part.
    pub membership: Settings,
    /// How it talks.
    pub transport: TransportSettings,
    /// Where it finds contact points. Their count is taken from it, if it knows that and
    /// [`FormingSettings::contact_points`](crate::FormingSettings::contact_points) says nothing.
    pub discovery: Arc<dyn Discovery>,
    /// How often it looks for contact points. Default 5 s.
    pub discover_every: Duration,
    /// What it is for.
    pub roles: BTreeSet<String>,
    /// Version of the application.
    pub app_version: String,
    /// Where it runs. Default: empty, the only one.
    pub data_center: String,
    /// What it announces from the beginning.
    pub facts: Facts,
    /// Where it remembers its cluster over restarts: a file of its own. With it a node that starts looks for those members first, and the
    /// downed side of a split forms no second cluster. Default: it remembers nothing.
    pub memory_file: Option<PathBuf>,
    /// For [`Strategy::LeaseMajority`](crate::downing::Strategy::LeaseMajority).
    pub lease: Option<Arc<dyn DowningLease>>,
    pub(crate) hand_over: HandOver,
}

/// Hands over what this node runs, before it ends.
pub(crate) type HandOver = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

impl ClusterSettings {
    /// With defaults for everything else.
    pub fn new(transport: TransportSettings, discovery: impl Discovery) -> Self {
        Self {
            membership: Settings::default(),
            transport,
            discovery: Arc::new(discovery),
            discover_every: Duration::from_secs(5),
            roles: BTreeSet::new(),
            app_version: String::new(),
            data_center: String::new(),
            facts: Facts::default(),
            memory_file: None,
            lease: None,
            hand_over: Arc::new(|| std::future::ready(()).boxed()),
        }
    }

    /// What is done when this node leaves, while it is still a member: the others wait for it. Default: nothing.
    #[must_use]
    pub fn on_hand_over<F: Future<Output = ()> + Send + 'static>(
        mut self,
        hand_over: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        self.hand_over = Arc::new(move || hand_over().boxed());
        self
    }
}

/// The lease of which the sides of a split get one at most.
#[async_trait]
pub trait DowningLease: Send + Sync + 'static {
    /// Tries once; `true`: the lease is `owner`'s, with enough time left to act on it. Whoever has it keeps renewing it until
    /// [`release`](Self::release). No answer within 10 s counts as `false`.
    async fn acquire(&self, owner: &str) -> bool;

    /// Gives it back, if it is `owner`'s.
    async fn release(&self, owner: &str);
}
