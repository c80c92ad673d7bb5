use metrics::{Counter, Gauge, counter, gauge};

use super::lane::Lane;
use crate::NodeAddress;
use crate::telemetry::{
    DECISIONS, DROPPED, FAILED_CONNECTIONS, FAILED_RELOADS, MEMBERS, QUEUED_MESSAGES, RECEIVED_BYTES,
    RECEIVED_MESSAGES, REFUSED_CONNECTIONS, SENT_BYTES, SENT_MESSAGES, UNDELIVERED, UNREACHABLE_MEMBERS,
};

/// Of one node.
pub(crate) struct TransportMetrics {
    pub(crate) members: Gauge,
    pub(crate) unreachable_members: Gauge,
    pub(crate) decisions: Counter,
    pub(crate) failed_reloads: Counter,
}

impl TransportMetrics {
    pub(crate) fn new() -> Self {
        Self {
            members: gauge!(MEMBERS),
            unreachable_members: gauge!(UNREACHABLE_MEMBERS),
            decisions: counter!(DECISIONS),
            failed_reloads: counter!(FAILED_RELOADS),
        }
    }

    pub(crate) fn sent_messages(&self, peer: &NodeAddress, lane: Lane) -> Counter {
        counter!(SENT_MESSAGES, "peer" => peer.to_string(), "lane" => lane.label())
    }

    pub(crate) fn sent_bytes(&self, peer: &NodeAddress, lane: Lane) -> Counter {
        counter!(SENT_BYTES, "peer" => peer.to_string(), "lane" => lane.label())
    }

    pub(crate) fn received_messages(&self, peer: &NodeAddress, lane: Lane) -> Counter {
        counter!(RECEIVED_MESSAGES, "peer" => peer.to_string(), "lane" => lane.label())
    }

    pub(crate) fn received_bytes(&self, peer: &NodeAddress, lane: Lane) -> Counter {
        counter!(RECEIVED_BYTES, "peer" => peer.to_string(), "lane" => lane.label())
    }

    pub(crate) fn queued_messages(&self, peer: &NodeAddress, lane: Lane) -> Gauge {
        gauge!(QUEUED_MESSAGES, "peer" => peer.to_string(), "lane" => lane.label())
    }

    pub(crate) fn dropped(&self, lane: Lane, reason: &'static str) -> Counter {
        counter!(DROPPED, "lane" => lane.label(), "reason" => reason)
    }

    pub(crate) fn undelivered(&self, reason: &'static str) -> Counter {
        counter!(UNDELIVERED, "reason" => reason)
    }

    pub(crate) fn failed_connections(&self, reason: &'static str) -> Counter {
        counter!(FAILED_CONNECTIONS, "reason" => reason)
    }

    pub(crate) fn refused_connections(&self, reason: &'static str) -> Counter {
        counter!(REFUSED_CONNECTIONS, "reason" => reason)
    }
}
