use std::sync::Arc;
use std::time::Duration;

use super::InvalidMessage;
use super::body::{self, AnswerBody, Body};
use crate::message::{Answer, Compatibility, Digest};
use crate::{
    ClusterId, Facts, Identity, Incarnation, Known, MemberStatus, Message, NodeAddress, NodeId, Observations,
    Seen, Update,
};

type Result<T> = std::result::Result<T, InvalidMessage>;

impl TryFrom<Body> for Message {
    type Error = InvalidMessage;

    fn try_from(body: Body) -> Result<Self> {
        Ok(match body {
            Body::Ask(compatibility) => Self::Ask(compatibility.into()),
            Body::Answer(answer) => Self::Answer(answer.try_into()?),
            Body::RequestVote(_) => Self::RequestVote,
            Body::Vote(vote) => Self::Vote { granted: vote.granted },
            Body::Join(join) => Self::Join {
                identity: Arc::new(needed(join.identity, "identity")?.try_into()?),
                facts: Arc::new(join.facts.unwrap_or_default().try_into()?),
                compatibility: needed(join.compatibility, "compatibility")?.into(),
            },
            Body::Welcome(welcome) => Self::Welcome {
                cluster: ClusterId(welcome.cluster),
                founder: Incarnation(welcome.founder),
                members: all(welcome.members)?,
                removed: welcome.removed.into_iter().map(Into::into).collect(),
            },
            Body::Dissolved(of) => Self::Dissolved(ClusterId(of.cluster)),
            Body::Digest(digest) => Self::Digest(digest.try_into()?),
            Body::Groups(groups) => {
                Self::Groups { cluster: ClusterId(groups.cluster), groups: groups.groups }
            }
            Body::Entries(entries) => Self::Entries {
                cluster: ClusterId(entries.cluster),
                groups: entries.groups,
                known: all(entries.known)?,
            },
            Body::Delta(delta) => Self::Delta {
                digest: needed(delta.digest, "digest")?.try_into()?,
                updates: all(delta.updates)?,
                removed: delta.removed.into_iter().map(Into::into).collect(),
                wants: all(delta.wants)?,
                unknown: delta.unknown.into_iter().map(Incarnation).collect(),
            },
            Body::Heartbeat(about) => Self::Heartbeat {
                cluster: ClusterId(about.cluster),
                asks: about.incarnation.map(Incarnation),
            },
            Body::HeartbeatAnswer(about) => Self::HeartbeatAnswer {
                cluster: ClusterId(about.cluster),
                asked: about.incarnation.map(Incarnation),
            },
            Body::Probe(about) => {
                Self::Probe { cluster: ClusterId(about.cluster), subject: subject(&about)? }
            }
            Body::Vouch(about) => {
                Self::Vouch { cluster: ClusterId(about.cluster), subject: subject(&about)? }
            }
            Body::ExitConfirmed(of) => Self::ExitConfirmed(ClusterId(of.cluster)),
            Body::Obituary(of) => Self::Obituary(ClusterId(of.cluster)),
            Body::Stranger(of) => Self::Stranger(ClusterId(of.cluster)),
        })
    }
}

fn needed<T>(field: Option<T>, name: &'static str) -> Result<T> {
    field.ok_or(InvalidMessage::Field(name))
}

fn all<From, Into>(from: Vec<From>) -> Result<Vec<Into>>
where
    Into: TryFrom<From, Error = InvalidMessage>,
{
    from.into_iter().map(Into::try_from).collect()
}

fn subject(about: &body::About) -> Result<Incarnation> {
    needed(about.incarnation.map(Incarnation), "subject")
}

impl From<body::Compatibility> for Compatibility {
    fn from(from: body::Compatibility) -> Self {
        Self { cluster_name: from.cluster_name, wire_version: from.wire_version, strategy: from.strategy }
    }
}

impl TryFrom<body::Answer> for Answer {
    type Error = InvalidMessage;

    fn try_from(answer: body::Answer) -> Result<Self> {
        Ok(match needed(answer.body, "answer")? {
            AnswerBody::Outside(_) => Self::Outside,
            AnswerBody::Refused(reason) => Self::Refused(reason),
            AnswerBody::InCluster(body) => Self::InCluster {
                cluster: ClusterId(body.cluster),
                join_at: needed(body.join_at, "address")?.try_into()?,
                majority: body.majority,
            },
        })
    }
}

impl TryFrom<body::Address> for NodeAddress {
    type Error = InvalidMessage;

    fn try_from(address: body::Address) -> Result<Self> {
        let port = u16::try_from(address.port).map_err(|_| InvalidMessage::Field("port"))?;
        Ok(Self::new(&address.host, port)?)
    }
}

impl TryFrom<body::Identity> for Identity {
    type Error = InvalidMessage;

    fn try_from(identity: body::Identity) -> Result<Self> {
        Ok(Self {
            id: NodeId {
                address: needed(identity.address, "address")?.try_into()?,
                incarnation: Incarnation(identity.incarnation),
            },
            roles: identity.roles.into_iter().collect(),
            app_version: identity.app_version,
            data_center: identity.data_center,
        })
    }
}

impl TryFrom<body::Facts> for Facts {
    type Error = InvalidMessage;

    fn try_from(facts: body::Facts) -> Result<Self> {
        Ok(Self::of_version(facts.version, facts.entries)?)
    }
}

impl From<body::Observations> for Observations {
    fn from(observations: body::Observations) -> Self {
        let unreachable = observations.unreachable.into_iter().map(Incarnation).collect();
        Self { version: observations.version, unreachable }
    }
}

impl TryFrom<body::Known> for Known {
    type Error = InvalidMessage;

    fn try_from(known: body::Known) -> Result<Self> {
        let index = usize::try_from(known.status).ok().and_then(|status| status.checked_sub(1));
        let status = index.and_then(|index| MemberStatus::ALL.get(index)).copied();
        Ok(Self {
            incarnation: Incarnation(known.incarnation),
            status: needed(status, "status")?,
            age: (known.age > 0).then_some(known.age),
            exit_confirmed: known.exit_confirmed,
            facts: known.facts,
            observations: known.observations,
        })
    }
}

impl TryFrom<body::Update> for Update {
    type Error = InvalidMessage;

    fn try_from(update: body::Update) -> Result<Self> {
        let known: Known = needed(update.known, "member")?.try_into()?;
        let identity = update.identity.map(Identity::try_from).transpose()?;
        if identity.as_ref().is_some_and(|identity| identity.id.incarnation != known.incarnation) {
            return Err(InvalidMessage::Field("incarnation that is the member's"));
        }
        let facts = update.facts.map(Facts::try_from).transpose()?;
        let observations = update.observations.map(Observations::from).map(Arc::new);
        Ok(Self { known, identity: identity.map(Arc::new), facts: facts.map(Arc::new), observations })
    }
}

impl From<body::Removed> for (Incarnation, Duration) {
    fn from(removed: body::Removed) -> Self {
        (Incarnation(removed.incarnation), Duration::from_millis(removed.age_millis))
    }
}

impl TryFrom<body::Digest> for Digest {
    type Error = InvalidMessage;

    fn try_from(digest: body::Digest) -> Result<Self> {
        let seen = digest.seen.map(Seen::try_from).transpose()?;
        Ok(Self { cluster: ClusterId(digest.cluster), print: digest.print, seen })
    }
}

impl TryFrom<body::Seen> for Seen {
    type Error = InvalidMessage;

    fn try_from(seen: body::Seen) -> Result<Self> {
        let members =
            usize::try_from(seen.members).map_err(|_| InvalidMessage::Field("number of members"))?;
        needed(Self::from_words(seen.words, members), "seen-set")
    }
}
