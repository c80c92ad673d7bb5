use std::sync::Arc;
use std::time::Duration;

use crate::NodeId;

/// Why a message did not reach an actor on another node, or no answer came back.
///
/// | variant | was it handled? | what to do next |
/// |---|---|---|
/// | [`Unreachable`](Self::Unreachable) | no | repeat later, or elsewhere |
/// | [`TooLarge`](Self::TooLarge) | no; when the answer was, yes | send less |
/// | [`Unknown`](Self::Unknown) | no | expose it there |
/// | [`Refused`](Self::Refused) | no | see the reason; repeat later |
/// | [`NoReply`](Self::NoReply) | begun, perhaps not ended | see the log there; repeat only what may be done twice |
/// | [`TimedOut`](Self::TimedOut) | perhaps, or it will be | repeat only what may be done twice |
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteFailure {
    /// There is no connection to the node, or it is no member any more.
    #[error("{node} is not reached: {reason}")]
    Unreachable {
        /// Which node.
        node: NodeId,
        /// Why.
        reason: Arc<str>,
    },
    /// No answer came in time. The question may have been handled, or may be yet.
    #[error(
        "{name} on {node} did not answer within {limit:?}: it may have done what was asked, or do it yet"
    )]
    TimedOut {
        /// Which node.
        node: NodeId,
        /// Who was asked there.
        name: Arc<str>,
        /// How long the ask waited.
        limit: Duration,
    },
    /// The message, or the answer to it, is longer than a frame may be.
    #[error(
        "a message of {bytes} bytes for {name} on {node} is too large ({most} may be): send less, or raise `most_message_bytes` on all nodes"
    )]
    TooLarge {
        /// Which node.
        node: NodeId,
        /// Who was meant there.
        name: Arc<str>,
        /// Bytes of the message; 0: it was the answer.
        bytes: usize,
        /// Bytes that may be.
        most: usize,
    },
    /// Nobody of this name may be addressed there, or not with this kind of message.
    #[error("{node} does not know {name} for this message: {reason}")]
    Unknown {
        /// Which node.
        node: NodeId,
        /// Who was meant there.
        name: Arc<str>,
        /// What is not known.
        reason: String,
    },
    /// The node or the actor does not take it now.
    #[error("{name} on {node} does not take it: {reason}")]
    Refused {
        /// Which node.
        node: NodeId,
        /// Who was meant there.
        name: Arc<str>,
        /// Why not.
        reason: String,
    },
    /// The actor dropped the question: its handler failed or forgot to answer, or it stopped first.
    #[error(
        "{name} on {node} dropped the question without an answer: the log there says whether it failed or stopped"
    )]
    NoReply {
        /// Which node.
        node: NodeId,
        /// Who was asked there.
        name: Arc<str>,
    },
}
