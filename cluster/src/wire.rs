//! Messages as bytes: protobuf (proto3), one message in one frame of the transport, which bounds its length.
//!
//! ```text
//! Envelope { oneof body }            no  body
//!                                     1  Ask { compatibility }
//!                                     2  Answer { outside | in_cluster { cluster, join_at, majority } | refused }
//!                                     3  RequestVote {}
//!                                     4  Vote { granted }
//!                                     5  Join { identity, facts, compatibility }
//!                                     6  Welcome { cluster, founder, members*, removed* }
//!                                     7  Dissolved { cluster }
//!                                     8  Digest { cluster, print, seen }
//!                                     9  Groups { cluster, groups* }
//!                                    10  Entries { cluster, groups, known* }
//!                                    11  Delta { digest, updates*, removed*, wants*, unknown* }
//!                                    12  Heartbeat { cluster, asks }          13  HeartbeatAnswer { cluster, asked }
//!                                    14  Probe { cluster, subject }           15  Vouch { cluster, subject }
//!                                    16  ExitConfirmed { cluster }  17  Obituary { cluster }  18  Stranger { cluster }
//! ```
//!
//! Cluster, incarnations and fingerprints are fixed64, because they are random; numbers are varints. A seen-set is packed words of 64
//! members in the order of their incarnations. What does not fit is an error, never a panic.

mod body;
mod from_wire;
mod into_wire;

use bytes::Bytes;
use prost::Message as _;

use crate::{FactsTooLarge, InvalidAddress, Message};

impl Message {
    /// The message as bytes.
    pub fn encode(&self) -> Bytes {
        body::Envelope { body: Some(self.into()) }.encode_to_vec().into()
    }

    /// How many bytes that are.
    pub fn encoded_len(&self) -> usize {
        body::Envelope { body: Some(self.into()) }.encoded_len()
    }

    /// Reads what [`Message::encode`] wrote, here or elsewhere.
    ///
    /// # Errors
    ///
    /// When the bytes are no message: the sender is broken or hostile, or speaks a version that this build does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidMessage> {
        let envelope = body::Envelope::decode(bytes)?;
        envelope.body.ok_or(InvalidMessage::Unknown)?.try_into()
    }
}

/// Bytes that are no message.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// They are no protobuf.
    #[error("a message of the cluster is no protobuf")]
    Protobuf(#[from] prost::DecodeError),
    /// A message of a kind that this build does not know.
    #[error(
        "a message of the cluster is of a kind that this build does not know: upgrade it, or the other nodes step by step"
    )]
    Unknown,
    /// A field that must be there is not, or has no possible value.
    #[error("a message of the cluster has no {0}, or one that cannot be")]
    Field(&'static str),
    /// An address in it.
    #[error("a message of the cluster has an address that is none")]
    Address(#[from] InvalidAddress),
    /// Facts in it.
    #[error("a message of the cluster has facts that are too large")]
    Facts(#[from] FactsTooLarge),
}

/// One message of every kind.
#[cfg(all(test, feature = "net"))]
pub(crate) use tests::every_kind as samples;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::message::{Answer, Compatibility, Digest};
    use crate::{
        ClusterId, Facts, Identity, Incarnation, Known, MemberStatus, NodeAddress, Observations, Random,
        Seen, Update,
    };

    pub(crate) fn every_kind() -> Vec<Message> {
        let cluster = ClusterId(u64::MAX);
        let address = NodeAddress::new("node-1.internal", 2_552).unwrap();
        let mut identity = Identity::new(address.clone(), Incarnation(3));
        identity.roles.insert("front".to_owned());
        identity.app_version = "1.2.3".to_owned();
        let identity = Arc::new(identity);
        let facts = Arc::new(Facts::new(BTreeMap::from([("k".to_owned(), vec![1, 2])])).unwrap());
        let compatibility = Compatibility { cluster_name: "c".to_owned(), wire_version: 1, strategy: 7 };
        let known = Known {
            incarnation: Incarnation(3),
            status: MemberStatus::Leaving,
            age: Some(4),
            exit_confirmed: true,
            facts: 1,
            observations: 9,
        };
        let observations =
            Observations { version: 9, unreachable: [Incarnation(1), Incarnation(u64::MAX)].into() };
        let whole = Update {
            known,
            identity: Some(identity.clone()),
            facts: Some(facts.clone()),
            observations: Some(Arc::new(observations)),
        };
        let small = Update {
            known: Known { facts: 0, observations: 0, ..known },
            identity: None,
            facts: None,
            observations: None,
        };
        let removed = vec![(Incarnation(5), Duration::from_millis(70))];
        let mut seen = Seen::none(70);
        seen.add(69);
        let digest = Digest { cluster, print: 11, seen: Some(seen) };
        vec![
            Message::Ask(compatibility.clone()),
            Message::Answer(Answer::Outside),
            Message::Answer(Answer::Refused("no".to_owned())),
            Message::Answer(Answer::InCluster { cluster, join_at: address, majority: true }),
            Message::RequestVote,
            Message::Vote { granted: true },
            Message::Join { identity, facts, compatibility },
            Message::Welcome {
                cluster,
                founder: Incarnation(1),
                members: vec![whole.clone(), small.clone()],
                removed: removed.clone(),
            },
            Message::Dissolved(cluster),
            Message::Digest(digest.clone()),
            Message::Digest(Digest { seen: None, ..digest.clone() }),
            Message::Groups { cluster, groups: vec![1, u64::MAX] },
            Message::Entries { cluster, groups: 6, known: vec![known] },
            Message::Delta {
                digest,
                updates: vec![small, whole],
                removed,
                wants: vec![known],
                unknown: vec![Incarnation(8)],
            },
            Message::Heartbeat { cluster, asks: Some(Incarnation(2)) },
            Message::HeartbeatAnswer { cluster, asked: None },
            Message::Probe { cluster, subject: Incarnation(2) },
            Message::Vouch { cluster, subject: Incarnation(2) },
            Message::ExitConfirmed(cluster),
            Message::Obituary(cluster),
            Message::Stranger(cluster),
        ]
    }

    #[test]
    fn every_message_comes_back_as_it_was() {
        for message in every_kind() {
            let bytes = message.encode();
            assert_eq!(bytes.len(), message.encoded_len());
            let back = Message::decode(&bytes).unwrap_or_else(|error| panic!("{message:?}: {error}"));
            assert_eq!(format!("{back:?}"), format!("{message:?}"));
        }
    }

    #[test]
    fn damaged_messages_are_errors_and_never_panics() {
        let mut random = Random::new(1);
        let mut refused = 0;
        for message in every_kind() {
            let bytes = message.encode();
            for end in 0..bytes.len() {
                refused += u32::from(Message::decode(&bytes[..end]).is_err());
            }
            for _ in 0..2_000 {
                let mut damaged = bytes.to_vec();
                for _ in 0..=random.below(3) {
                    let at = random.below(damaged.len() as u64) as usize;
                    damaged[at] = random.number() as u8;
                }
                refused += u32::from(Message::decode(&damaged).is_err());
            }
        }
        assert!(refused > 1_000, "{refused}");
    }

    #[test]
    fn a_digest_at_rest_and_a_heartbeat_are_small() {
        let digest = Digest { cluster: ClusterId(u64::MAX), print: u64::MAX, seen: None };
        assert!(Message::Digest(digest).encoded_len() <= 24);
        assert!(Message::Heartbeat { cluster: ClusterId(u64::MAX), asks: None }.encoded_len() <= 16);
    }
}
