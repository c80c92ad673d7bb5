use std::time::Duration;

use super::body::{self, AnswerBody, Body};
use crate::message::{Answer, Compatibility, Digest};
use crate::{
    ClusterId, Facts, Identity, Incarnation, Known, Message, NodeAddress, Observations, Seen, Update,
};

impl From<&Message> for Body {
    fn from(message: &Message) -> Self {
        match message {
            Message::Ask(compatibility) => Self::Ask(compatibility.into()),
            Message::Answer(answer) => Self::Answer(answer.into()),
            Message::RequestVote => Self::RequestVote(body::Empty {}),
            Message::Vote { granted } => Self::Vote(body::Vote { granted: *granted }),
            Message::Join { identity, facts, compatibility } => Self::Join(body::Join {
                identity: Some((&**identity).into()),
                facts: Some((&**facts).into()),
                compatibility: Some(compatibility.into()),
            }),
            Message::Welcome { cluster, founder, members, removed } => Self::Welcome(body::Welcome {
                cluster: cluster.0,
                founder: founder.0,
                members: all(members),
                removed: all(removed),
            }),
            Message::Dissolved(cluster) => Self::Dissolved((*cluster).into()),
            Message::Digest(digest) => Self::Digest(digest.into()),
            Message::Groups { cluster, groups } => {
                Self::Groups(body::Groups { cluster: cluster.0, groups: groups.clone() })
            }
            Message::Entries { cluster, groups, known } => {
                Self::Entries(body::Entries { cluster: cluster.0, groups: *groups, known: all(known) })
            }
            Message::Delta { digest, updates, removed, wants, unknown } => Self::Delta(body::Delta {
                digest: Some(digest.into()),
                updates: all(updates),
                removed: all(removed),
                wants: all(wants),
                unknown: unknown.iter().map(|incarnation| incarnation.0).collect(),
            }),
            Message::Heartbeat { cluster, asks } => Self::Heartbeat(about(*cluster, *asks)),
            Message::HeartbeatAnswer { cluster, asked } => Self::HeartbeatAnswer(about(*cluster, *asked)),
            Message::Probe { cluster, subject } => Self::Probe(about(*cluster, Some(*subject))),
            Message::Vouch { cluster, subject } => Self::Vouch(about(*cluster, Some(*subject))),
            Message::ExitConfirmed(cluster) => Self::ExitConfirmed((*cluster).into()),
            Message::Obituary(cluster) => Self::Obituary((*cluster).into()),
            Message::Stranger(cluster) => Self::Stranger((*cluster).into()),
        }
    }
}

fn all<'a, From: 'a, Into>(from: &'a [From]) -> Vec<Into>
where
    Into: std::convert::From<&'a From>,
{
    from.iter().map(Into::from).collect()
}

fn about(cluster: ClusterId, incarnation: Option<Incarnation>) -> body::About {
    body::About { cluster: cluster.0, incarnation: incarnation.map(|incarnation| incarnation.0) }
}

impl From<ClusterId> for body::OfCluster {
    fn from(cluster: ClusterId) -> Self {
        Self { cluster: cluster.0 }
    }
}

impl From<&Compatibility> for body::Compatibility {
    fn from(from: &Compatibility) -> Self {
        Self {
            cluster_name: from.cluster_name.clone(),
            wire_version: from.wire_version,
            strategy: from.strategy,
        }
    }
}

impl From<&Answer> for body::Answer {
    fn from(answer: &Answer) -> Self {
        Self {
            body: Some(match answer {
                Answer::Outside => AnswerBody::Outside(body::Empty {}),
                Answer::Refused(reason) => AnswerBody::Refused(reason.clone()),
                Answer::InCluster { cluster, join_at, majority } => AnswerBody::InCluster(body::InCluster {
                    cluster: cluster.0,
                    join_at: Some(join_at.into()),
                    majority: *majority,
                }),
            }),
        }
    }
}

impl From<&NodeAddress> for body::Address {
    fn from(address: &NodeAddress) -> Self {
        Self { host: address.host().to_owned(), port: u32::from(address.port()) }
    }
}

impl From<&Identity> for body::Identity {
    fn from(identity: &Identity) -> Self {
        Self {
            address: Some((&identity.id.address).into()),
            incarnation: identity.id.incarnation.0,
            roles: identity.roles.iter().cloned().collect(),
            app_version: identity.app_version.clone(),
            data_center: identity.data_center.clone(),
        }
    }
}

impl From<&Facts> for body::Facts {
    fn from(facts: &Facts) -> Self {
        Self { version: facts.version(), entries: facts.entries().clone() }
    }
}

impl From<&Observations> for body::Observations {
    fn from(observations: &Observations) -> Self {
        let unreachable = observations.unreachable.iter().map(|subject| subject.0).collect();
        Self { version: observations.version, unreachable }
    }
}

impl From<&Known> for body::Known {
    fn from(known: &Known) -> Self {
        Self {
            incarnation: known.incarnation.0,
            status: known.status as u32 + 1,
            age: known.age.unwrap_or(0),
            exit_confirmed: known.exit_confirmed,
            facts: known.facts,
            observations: known.observations,
        }
    }
}

impl From<&Update> for body::Update {
    fn from(update: &Update) -> Self {
        Self {
            known: Some((&update.known).into()),
            identity: update.identity.as_deref().map(Into::into),
            facts: update.facts.as_deref().map(Into::into),
            observations: update.observations.as_deref().map(Into::into),
        }
    }
}

impl From<&(Incarnation, Duration)> for body::Removed {
    fn from((incarnation, age): &(Incarnation, Duration)) -> Self {
        Self { incarnation: incarnation.0, age_millis: u64::try_from(age.as_millis()).unwrap_or(u64::MAX) }
    }
}

impl From<&Digest> for body::Digest {
    fn from(digest: &Digest) -> Self {
        Self { cluster: digest.cluster.0, print: digest.print, seen: digest.seen.as_ref().map(Into::into) }
    }
}

impl From<&Seen> for body::Seen {
    fn from(seen: &Seen) -> Self {
        Self { members: seen.members() as u64, words: seen.words().to_vec() }
    }
}
