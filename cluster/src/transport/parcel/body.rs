//! The protobuf messages, as the drawing in the parent has them.
#![allow(clippy::derive_partial_eq_without_eq, reason = "prost derives what it can")]

use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Envelope {
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5")]
    pub(super) body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Body {
    #[prost(message, tag = "1")]
    Membership(Membership),
    #[prost(message, tag = "2")]
    Tell(Tell),
    #[prost(message, tag = "3")]
    Ask(Ask),
    #[prost(message, tag = "4")]
    Answer(Answer),
    #[prost(message, tag = "5")]
    Watch(Watch),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Membership {
    #[prost(fixed64, tag = "1")]
    pub(super) from: u64,
    #[prost(fixed64, optional, tag = "2")]
    pub(super) to: Option<u64>,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) message: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireRecipient {
    #[prost(uint32, tag = "1")]
    pub(super) number: u32,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) manifest: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Tell {
    #[prost(message, optional, tag = "1")]
    pub(super) to: Option<WireRecipient>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) message: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Ask {
    #[prost(message, optional, tag = "1")]
    pub(super) to: Option<WireRecipient>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) message: Bytes,
    #[prost(uint64, tag = "3")]
    pub(super) question: u64,
    #[prost(uint64, tag = "4")]
    pub(super) limit_millis: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Answer {
    #[prost(uint64, tag = "1")]
    pub(super) question: u64,
    #[prost(oneof = "WireOutcome", tags = "2, 3, 4, 5")]
    pub(super) outcome: Option<WireOutcome>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum WireOutcome {
    #[prost(bytes = "bytes", tag = "2")]
    Message(Bytes),
    #[prost(message, tag = "3")]
    Failure(Failure),
    #[prost(fixed64, tag = "4")]
    Runs(u64),
    #[prost(bool, tag = "5")]
    Ended(bool),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Failure {
    #[prost(uint32, tag = "1")]
    pub(super) kind: u32,
    #[prost(string, tag = "2")]
    pub(super) reason: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Watch {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(fixed64, optional, tag = "2")]
    pub(super) actor: Option<u64>,
    #[prost(uint64, tag = "3")]
    pub(super) question: u64,
}
