//! The protobuf messages, as the drawing in the parent has them.
#![allow(clippy::derive_partial_eq_without_eq, reason = "prost derives what it can")]

use std::collections::BTreeMap;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Envelope {
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18")]
    pub(super) body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Body {
    #[prost(message, tag = "1")]
    Ask(Compatibility),
    #[prost(message, tag = "2")]
    Answer(Answer),
    #[prost(message, tag = "3")]
    RequestVote(Empty),
    #[prost(message, tag = "4")]
    Vote(Vote),
    #[prost(message, tag = "5")]
    Join(Join),
    #[prost(message, tag = "6")]
    Welcome(Welcome),
    #[prost(message, tag = "7")]
    Dissolved(OfCluster),
    #[prost(message, tag = "8")]
    Digest(Digest),
    #[prost(message, tag = "9")]
    Groups(Groups),
    #[prost(message, tag = "10")]
    Entries(Entries),
    #[prost(message, tag = "11")]
    Delta(Delta),
    #[prost(message, tag = "12")]
    Heartbeat(About),
    #[prost(message, tag = "13")]
    HeartbeatAnswer(About),
    #[prost(message, tag = "14")]
    Probe(About),
    #[prost(message, tag = "15")]
    Vouch(About),
    #[prost(message, tag = "16")]
    ExitConfirmed(OfCluster),
    #[prost(message, tag = "17")]
    Obituary(OfCluster),
    #[prost(message, tag = "18")]
    Stranger(OfCluster),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OfCluster {
    #[prost(fixed64, tag = "1")]
    pub(super) cluster: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct About {
    #[prost(fixed64, tag = "1")]
    pub(super) cluster: u64,
    #[prost(fixed64, optional, tag = "2")]
    pub(super) incarnation: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Compatibility {
    #[prost(string, tag = "1")]
    pub(super) cluster_name: String,
    #[prost(uint32, tag = "2")]
    pub(super) wire_version: u32,
    #[prost(fixed64, tag = "3")]
    pub(super) strategy: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Answer {
    #[prost(oneof = "AnswerBody", tags = "1, 2, 3")]
    pub(super) body: Option<AnswerBody>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum AnswerBody {
    #[prost(message, tag = "1")]
    Outside(Empty),
    #[prost(message, tag = "2")]
    InCluster(InCluster),
    #[prost(string, tag = "3")]
    Refused(String),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InCluster {
    #[prost(fixed64, tag = "1")]
    pub(super) cluster: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) join_at: Option<Address>,
    #[prost(bool, tag = "3")]
    pub(super) majority: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Address {
    #[prost(string, tag = "1")]
    pub(super) host: String,
    #[prost(uint32, tag = "2")]
    pub(super) port: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Vote {
    #[prost(bool, tag = "1")]
    pub(super) granted: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Join {
    #[prost(message, optional, tag = "1")]
    pub(super) identity: Option<Identity>,
    #[prost(message, optional, tag = "2")]
    pub(super) facts: Option<Facts>,
    #[prost(message, optional, tag = "3")]
    pub(super) compatibility: Option<Compatibility>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Identity {
    #[prost(message, optional, tag = "1")]
    pub(super) address: Option<Address>,
    #[prost(fixed64, tag = "2")]
    pub(super) incarnation: u64,
    #[prost(string, repeated, tag = "3")]
    pub(super) roles: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) app_version: String,
    #[prost(string, tag = "5")]
    pub(super) data_center: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Facts {
    #[prost(uint64, tag = "1")]
    pub(super) version: u64,
    #[prost(btree_map = "string, bytes", tag = "2")]
    pub(super) entries: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Observations {
    #[prost(uint64, tag = "1")]
    pub(super) version: u64,
    #[prost(fixed64, repeated, tag = "2")]
    pub(super) unreachable: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Known {
    #[prost(fixed64, tag = "1")]
    pub(super) incarnation: u64,
    /// 1 joining, 2 weakly up, 3 up, 4 leaving, 5 exiting, 6 down.
    #[prost(uint32, tag = "2")]
    pub(super) status: u32,
    /// From 1; 0: none.
    #[prost(uint32, tag = "3")]
    pub(super) age: u32,
    #[prost(bool, tag = "4")]
    pub(super) exit_confirmed: bool,
    #[prost(uint64, tag = "5")]
    pub(super) facts: u64,
    #[prost(uint64, tag = "6")]
    pub(super) observations: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Update {
    #[prost(message, optional, tag = "1")]
    pub(super) known: Option<Known>,
    #[prost(message, optional, tag = "2")]
    pub(super) identity: Option<Identity>,
    #[prost(message, optional, tag = "3")]
    pub(super) facts: Option<Facts>,
    #[prost(message, optional, tag = "4")]
    pub(super) observations: Option<Observations>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Removed {
    #[prost(fixed64, tag = "1")]
    pub(super) incarnation: u64,
    #[prost(uint64, tag = "2")]
    pub(super) age_millis: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Welcome {
    #[prost(fixed64, tag = "1")]
    pub(super) cluster: u64,
    #[prost(fixed64, tag = "2")]
    pub(super) founder: u64,
    #[prost(message, repeated, tag = "3")]
    pub(super) members: Vec<Update>,
    #[prost(message, repeated, tag = "4")]
    pub(super) removed: Vec<Removed>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Digest {
    #[prost(fixed64, tag = "1")]
    pub(super) cluster: u64,
    #[prost(fixed64, tag = "2")]
    pub(super) print: u64,
    /// Absent: all who must have seen it.
    #[prost(message, optional, tag = "3")]
    pub(super) seen: Option<Seen>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Seen {
    #[prost(uint64, tag = "1")]
    pub(super) members: u64,
    #[prost(fixed64, repeated, tag = "2")]
    pub(super) words: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Groups {
    #[prost(fixed64, tag = "1")]
    pub(super) cluster: u64,
    #[prost(fixed64, repeated, tag = "2")]
    pub(super) groups: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entries {
    #[prost(fixed64, tag = "1")]
    pub(super) cluster: u64,
    #[prost(fixed32, tag = "2")]
    pub(super) groups: u32,
    #[prost(message, repeated, tag = "3")]
    pub(super) known: Vec<Known>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Delta {
    #[prost(message, optional, tag = "1")]
    pub(super) digest: Option<Digest>,
    #[prost(message, repeated, tag = "2")]
    pub(super) updates: Vec<Update>,
    #[prost(message, repeated, tag = "3")]
    pub(super) removed: Vec<Removed>,
    #[prost(message, repeated, tag = "4")]
    pub(super) wants: Vec<Known>,
    #[prost(fixed64, repeated, tag = "5")]
    pub(super) unknown: Vec<u64>,
}
