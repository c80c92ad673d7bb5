use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Semaphore, mpsc, watch};

use super::credentials::{Credentials, Loaded};
use super::handshake::Party;
use super::metrics::TransportMetrics;
use super::parcel::{FailureKind, Outcome, Parcel};
use super::security::Security;
use super::settings::TransportSettings;
use crate::remote::{Exposures, Questions};
use crate::{ClusterState, Incarnation, MemberStatus, Message, NodeAddress, NodeId};

/// What all connections of a node share.
pub(crate) struct Context {
    pub(crate) settings: TransportSettings,
    /// With the port that is listened on.
    pub(crate) advertised: NodeAddress,
    pub(crate) credentials: Credentials,
    pub(crate) metrics: TransportMetrics,
    pub(crate) exposures: Exposures,
    pub(crate) questions: Questions,
    /// Questions of others that are under way.
    pub(crate) asked: Arc<Semaphore>,
    /// Messages of the cluster, for the node.
    pub(crate) inbox: mpsc::Sender<(NodeId, Message)>,
    /// True from the end on.
    pub(crate) closing: watch::Sender<bool>,
    incarnation: AtomicU64,
    who: RwLock<Arc<Who>>,
}

/// Who may be talked to, as far as this node knows.
#[derive(Debug, Default)]
pub(crate) struct Who(pub(crate) Option<ClusterState>);

impl Who {
    pub(crate) fn is_member(&self, incarnation: Incarnation) -> bool {
        self.0
            .as_ref()
            .and_then(|state| state.member(incarnation))
            .is_some_and(|member| member.status != MemberStatus::Down)
    }

    /// Downed, or removed: nothing of it is taken. Who has just joined and is not known yet is not gone.
    pub(crate) fn is_gone(&self, incarnation: Incarnation) -> bool {
        self.0.as_ref().is_some_and(|state| {
            state.was_removed(incarnation)
                || state.member(incarnation).is_some_and(|member| member.status == MemberStatus::Down)
        })
    }
}

impl Context {
    pub(crate) fn new(
        settings: TransportSettings,
        me: NodeId,
        credentials: Credentials,
        inbox: mpsc::Sender<(NodeId, Message)>,
    ) -> Self {
        Self {
            advertised: me.address,
            credentials,
            metrics: TransportMetrics::new(),
            exposures: Exposures::default(),
            questions: Questions::default(),
            asked: Arc::new(Semaphore::new(settings.most_questions)),
            inbox,
            closing: watch::Sender::new(false),
            incarnation: AtomicU64::new(me.incarnation.0),
            who: RwLock::default(),
            settings,
        }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation.load(Ordering::Relaxed))
    }

    pub(crate) fn is_now(&self, incarnation: Incarnation) {
        self.incarnation.store(incarnation.0, Ordering::Relaxed);
    }

    pub(crate) fn who(&self) -> Arc<Who> {
        Arc::clone(&self.who.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_who(&self, who: Who) {
        *self.who.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(who);
    }

    pub(crate) fn party(&self, loaded: &Loaded, binding: Vec<u8>) -> Party {
        Party {
            me: NodeId { address: self.advertised.clone(), incarnation: self.incarnation() },
            wires: 1..=self.settings.newest_wire,
            secrets: loaded.secrets.clone(),
            binding,
            nonce: rand::random(),
        }
    }

    /// Bytes of the longest frames that are taken, in the control lane and in the bulk lane.
    pub(crate) fn most_frame_bytes(&self) -> [usize; 2] {
        [self.settings.most_control_bytes, self.settings.most_message_bytes].map(|most| most + AROUND)
    }

    /// Whether plaintext may go to or come from other machines.
    pub(crate) const fn plaintext_anywhere(&self) -> bool {
        matches!(self.settings.security, Security::Plaintext { on_any_address: true })
    }

    /// A parcel that does not reach its peer: who asked is told.
    pub(crate) fn undelivered(&self, parcel: &Parcel, why: &NotSent) {
        self.metrics.dropped(parcel.lane(), why.label()).increment(1);
        if let Parcel::Ask { question, .. } | Parcel::Watch { question, .. } = parcel {
            self.questions.settle(*question, None, Err(why.clone()));
        }
    }
}

/// Waits until a value is such, or never changes again.
///
/// # Cancel safety
/// Dropping the future changes nothing.
pub(crate) async fn until<T>(value: &mut watch::Receiver<T>, such: impl FnMut(&T) -> bool) {
    // Without the lock that `wait_for` gives back, so that what awaits this can be sent between threads.
    let _ = value.wait_for(such).await;
}

/// What frames have around messages, at most: names, manifest, numbers.
const AROUND: usize = 1_024;

/// Why a parcel was not sent.
#[derive(Debug, Clone)]
pub(crate) enum NotSent {
    /// There is no connection, and why.
    Unreachable(Arc<str>),
    /// The queue is full.
    Full,
    /// The peer takes no frame of this length.
    TooLarge { bytes: usize, most: usize },
}

impl NotSent {
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Full => "full",
            Self::TooLarge { .. } => "too large",
        }
    }
}

impl Outcome {
    pub(crate) fn failed(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self::Failed { kind, reason: reason.into() }
    }
}
