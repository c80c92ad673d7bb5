//! The protobuf messages of a handshake. They are the same in every version of the wire: fields are only ever added.
//!
//! ```text
//! Hello     { address, incarnation, asked_for, lane, oldest_wire, newest_wire, nonce, secret }   initiator
//! Challenge { nonce, wire }          or  Refusal { kind, reason }                                 acceptor
//! Proof     { proof }                                                                             initiator
//! Accepted  { proof, incarnation, most_bytes }  or  Refusal                                       acceptor
//! ```

use std::fmt;

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Address {
    #[prost(string, tag = "1")]
    pub(crate) host: String,
    #[prost(uint32, tag = "2")]
    pub(crate) port: u32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Hello {
    #[prost(message, optional, tag = "1")]
    pub(crate) address: Option<Address>,
    #[prost(fixed64, tag = "2")]
    pub(crate) incarnation: u64,
    /// Whom the initiator believes to speak to.
    #[prost(message, optional, tag = "3")]
    pub(crate) asked_for: Option<Address>,
    #[prost(uint32, tag = "4")]
    pub(crate) lane: u32,
    #[prost(uint32, tag = "5")]
    pub(crate) oldest_wire: u32,
    #[prost(uint32, tag = "6")]
    pub(crate) newest_wire: u32,
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) nonce: Vec<u8>,
    /// Whether it has a cluster secret.
    #[prost(bool, tag = "8")]
    pub(crate) secret: bool,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Challenge {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) nonce: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(crate) wire: u32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Proof {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) proof: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Accepted {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) proof: Vec<u8>,
    #[prost(fixed64, tag = "2")]
    pub(crate) incarnation: u64,
    /// Of the longest frame that it takes in this lane.
    #[prost(uint32, tag = "3")]
    pub(crate) most_bytes: u32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct WireRefusal {
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    #[prost(string, tag = "2")]
    pub(crate) reason: String,
}

/// What the acceptor says.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct FromAcceptor {
    #[prost(oneof = "AcceptorBody", tags = "1, 2, 3")]
    pub(crate) body: Option<AcceptorBody>,
}

#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub(crate) enum AcceptorBody {
    #[prost(message, tag = "1")]
    Challenge(Challenge),
    #[prost(message, tag = "2")]
    Accepted(Accepted),
    #[prost(message, tag = "3")]
    Refused(WireRefusal),
}

/// Why two nodes do not talk, in words that name the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    pub(crate) reason: String,
}

/// What did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// What came is no handshake of this protocol.
    Protocol,
    /// No common version of the wire.
    Version,
    /// Another node listens there than was meant.
    Address,
    /// The certificate does not name who it should.
    Certificate,
    /// The cluster secret.
    Secret,
    /// The acceptor has as many connections as it takes.
    Full,
}

impl RefusalKind {
    const ALL: [Self; 6] =
        [Self::Protocol, Self::Version, Self::Address, Self::Certificate, Self::Secret, Self::Full];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Version => "version",
            Self::Address => "address",
            Self::Certificate => "certificate",
            Self::Secret => "secret",
            Self::Full => "full",
        }
    }
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    pub(crate) fn into_wire(self) -> WireRefusal {
        let kind = RefusalKind::ALL.iter().position(|kind| *kind == self.kind).unwrap_or(0);
        WireRefusal { kind: u32::try_from(kind + 1).unwrap_or(1), reason: self.reason }
    }

    /// A peer's words go to logs: control characters do not.
    pub(crate) fn of_wire(wire: &WireRefusal) -> Self {
        let kind = usize::try_from(wire.kind).unwrap_or(0).checked_sub(1);
        let kind = kind.and_then(|kind| RefusalKind::ALL.get(kind).copied()).unwrap_or(RefusalKind::Protocol);
        let words = wire.reason.chars().filter(|character| !character.is_control()).take(400);
        Self { kind, reason: format!("the other node refuses: {}", words.collect::<String>()) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}
