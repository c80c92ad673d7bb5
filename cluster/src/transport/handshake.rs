//! How two nodes find out that they may talk, as two state machines without a socket.
//!
//! ```text
//! initiator                                        acceptor
//!   (TLS: both show certificates for the host that they are advertised under)
//!   "ANNALS" 0 1, Hello ───────────────────────────→  wire version, address, name in the certificate
//!                  ←─────────────────────── Challenge
//!   Proof ─────────────────────────────────────────→  MAC(secret; initiator, channel, transcript)
//!                  ←──────────────────────── Accepted  MAC(secret; acceptor, channel, transcript)
//! ```
//!
//! *channel* is 32 bytes of keying material that TLS exports (RFC 9266 does the same for other protocols), so that nobody between both can
//! pass proofs on; without TLS it is empty. *transcript* is SHA-256 over Hello and Challenge, each with its length; both carry 32 random
//! bytes, so that what was recorded proves nothing later. The initiator proves first: who only connects learns nothing to guess from.

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::frame::put_frame;
use super::hello::{
    Accepted, AcceptorBody, Address, Challenge, FromAcceptor, Hello, Proof, Refusal, RefusalKind,
};
use super::lane::Lane;
use super::secret::{Prover, Secrets};
use super::wire_version;
use crate::{Incarnation, NodeAddress, NodeId};

/// What a connection begins with: the protocol and the version of its handshake.
pub(crate) const PREAMBLE: [u8; 8] = *b"ANNALS\x00\x01";

/// Bytes of the longest frame of a handshake.
pub(crate) const MOST_HANDSHAKE_BYTES: usize = 4 * 1024;

/// What a node brings to a handshake.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    pub(crate) me: NodeId,
    pub(crate) wires: RangeInclusive<u32>,
    pub(crate) secrets: Secrets,
    /// What TLS exports; empty without.
    pub(crate) binding: Vec<u8>,
    pub(crate) nonce: [u8; 32],
}

/// What both have agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) peer: NodeId,
    pub(crate) lane: Lane,
    pub(crate) wire: u32,
    /// Bytes of the longest frame that the peer takes.
    pub(crate) most_bytes: usize,
}

/// What a step of a handshake leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Send(Bytes),
    /// Send this, if there is something, and talk.
    Done(Agreed, Option<Bytes>),
}

/// Who connects.
#[derive(Debug)]
pub(crate) struct Initiator {
    party: Party,
    to: NodeAddress,
    lane: Lane,
    transcript: Sha256,
    proven: Option<(u32, [u8; 32])>,
}

impl Initiator {
    /// With what it sends first.
    pub(crate) fn begin(party: Party, to: NodeAddress, lane: Lane) -> (Self, Bytes) {
        let hello = Hello {
            address: Some(address_to_wire(&party.me.address)),
            incarnation: party.me.incarnation.0,
            asked_for: Some(address_to_wire(&to)),
            lane: lane.number(),
            oldest_wire: *party.wires.start(),
            newest_wire: *party.wires.end(),
            nonce: party.nonce.to_vec(),
            secret: !party.secrets.is_empty(),
        };
        let mut out = BytesMut::from(&PREAMBLE[..]);
        put_frame(&mut out, &hello);
        let mut transcript = Sha256::new();
        transcribe(&mut transcript, &out[PREAMBLE.len() + super::frame::HEADER..]);
        (Self { party, to, lane, transcript, proven: None }, out.freeze())
    }

    pub(crate) fn received(&mut self, frame: &Bytes) -> Result<Progress, Refusal> {
        let body = FromAcceptor::decode(frame.clone()).ok().and_then(|message| message.body);
        match (body, self.proven) {
            (Some(AcceptorBody::Refused(refusal)), _) => Err(Refusal::of_wire(&refusal)),
            (Some(AcceptorBody::Challenge(challenge)), None) => self.challenged(frame, &challenge),
            (Some(AcceptorBody::Accepted(accepted)), Some((wire, transcript))) => {
                self.accepted(&accepted, wire, &transcript)
            }
            _ => Err(protocol()),
        }
    }

    fn challenged(&mut self, frame: &[u8], challenge: &Challenge) -> Result<Progress, Refusal> {
        if challenge.nonce.len() != 32 {
            return Err(protocol());
        }
        if !self.party.wires.contains(&challenge.wire) {
            return Err(Refusal::new(
                RefusalKind::Version,
                format!("{} chose wire version {}, which was not offered", self.to, challenge.wire),
            ));
        }
        transcribe(&mut self.transcript, frame);
        let transcript = self.transcript.clone().finalize().into();
        self.proven = Some((challenge.wire, transcript));
        let proof = self.party.secrets.prove(Prover::Initiator, &self.party.binding, &transcript);
        Ok(Progress::Send(framed(&Proof { proof })))
    }

    fn accepted(&self, accepted: &Accepted, wire: u32, transcript: &[u8; 32]) -> Result<Progress, Refusal> {
        let Party { secrets, binding, .. } = &self.party;
        if !secrets.accept(Prover::Acceptor, binding, transcript, &accepted.proof) {
            return Err(wrong_secret(&self.to, secrets));
        }
        let peer = NodeId { address: self.to.clone(), incarnation: Incarnation(accepted.incarnation) };
        let most_bytes = usize::try_from(accepted.most_bytes).unwrap_or(usize::MAX);
        Ok(Progress::Done(Agreed { peer, lane: self.lane, wire, most_bytes }, None))
    }
}

/// Who is connected to.
#[derive(Debug)]
pub(crate) struct Acceptor {
    party: Party,
    most_bytes: [u32; 2],
    proving: Option<(Agreed, [u8; 32])>,
}

impl Acceptor {
    /// With the longest frames that it takes, in the control lane and in the bulk lane.
    pub(crate) fn new(party: Party, most_bytes: [u32; 2]) -> Self {
        Self { party, most_bytes, proving: None }
    }

    /// A refusal is to be sent, as [`refusal_frame`], before the connection ends. `names` says whether the initiator has shown that it may
    /// speak for a host.
    pub(crate) fn received(
        &mut self,
        frame: &Bytes,
        names: &dyn Fn(&NodeAddress) -> Result<(), String>,
    ) -> Result<Progress, Refusal> {
        match self.proving.take() {
            None => self.greeted(frame, names),
            Some((agreed, transcript)) => self.proven(frame, agreed, &transcript),
        }
    }

    fn greeted(
        &mut self,
        frame: &Bytes,
        names: &dyn Fn(&NodeAddress) -> Result<(), String>,
    ) -> Result<Progress, Refusal> {
        let hello = Hello::decode(frame.clone()).map_err(|_| protocol())?;
        let (Some(address), Some(asked_for)) =
            (address_of_wire(hello.address.as_ref()), address_of_wire(hello.asked_for.as_ref()))
        else {
            return Err(protocol());
        };
        let lane = Lane::of(hello.lane).filter(|_| hello.nonce.len() == 32).ok_or_else(protocol)?;
        let theirs = hello.oldest_wire..=hello.newest_wire;
        let wire = wire_version::common(&self.party.wires, &theirs).ok_or_else(|| {
            let (ours, theirs) = (&self.party.wires, &theirs);
            let reason = format!(
                "wire versions {} to {} are spoken here, {} to {} there: upgrade step by step",
                ours.start(),
                ours.end(),
                theirs.start(),
                theirs.end()
            );
            Refusal::new(RefusalKind::Version, reason)
        })?;
        let me = &self.party.me.address;
        if asked_for != *me {
            let reason = format!(
                "{asked_for} was asked for, but {me} answers: contact points must be what nodes are advertised as"
            );
            return Err(Refusal::new(RefusalKind::Address, reason));
        }
        if address == *me {
            let reason = format!("{address} is this node's own address: give each node one of its own");
            return Err(Refusal::new(RefusalKind::Address, reason));
        }
        names(&address).map_err(|reason| Refusal::new(RefusalKind::Certificate, reason))?;
        if hello.secret == self.party.secrets.is_empty() {
            return Err(wrong_secret(&address, &self.party.secrets));
        }
        let challenge = Challenge { nonce: self.party.nonce.to_vec(), wire };
        let body = Some(AcceptorBody::Challenge(challenge));
        let challenge = FromAcceptor { body }.encode_to_vec();
        let mut transcript = Sha256::new();
        transcribe(&mut transcript, frame);
        transcribe(&mut transcript, &challenge);
        let peer = NodeId { address, incarnation: Incarnation(hello.incarnation) };
        let agreed = Agreed { peer, lane, wire, most_bytes: 0 };
        self.proving = Some((agreed, transcript.finalize().into()));
        let mut out = BytesMut::new();
        out.extend_from_slice(&u32::try_from(challenge.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&challenge);
        Ok(Progress::Send(out.freeze()))
    }

    fn proven(&self, frame: &Bytes, agreed: Agreed, transcript: &[u8; 32]) -> Result<Progress, Refusal> {
        let Party { secrets, binding, .. } = &self.party;
        let proof = Proof::decode(frame.clone()).map_err(|_| protocol())?;
        if !secrets.accept(Prover::Initiator, binding, transcript, &proof.proof) {
            return Err(wrong_secret(&agreed.peer.address, secrets));
        }
        let accepted = Accepted {
            proof: secrets.prove(Prover::Acceptor, binding, transcript),
            incarnation: self.party.me.incarnation.0,
            most_bytes: self.most_bytes[usize::from(agreed.lane == Lane::Bulk)],
        };
        let body = Some(AcceptorBody::Accepted(accepted));
        Ok(Progress::Done(agreed, Some(framed(&FromAcceptor { body }))))
    }
}

/// What tells the initiator why.
pub(crate) fn refusal_frame(refusal: Refusal) -> Bytes {
    framed(&FromAcceptor { body: Some(AcceptorBody::Refused(refusal.into_wire())) })
}

/// What came does not belong there.
pub(crate) fn protocol() -> Refusal {
    Refusal::new(
        RefusalKind::Protocol,
        "what came is no handshake of a node: see what listens or connects there",
    )
}

fn wrong_secret(peer: &NodeAddress, ours: &Secrets) -> Refusal {
    let here = if ours.is_empty() { "there is none here" } else { "here it is another one" };
    Refusal::new(
        RefusalKind::Secret,
        format!("{peer} has not the same cluster secret, {here}: give all nodes the same list"),
    )
}

fn framed(message: &impl prost::Message) -> Bytes {
    let mut out = BytesMut::new();
    put_frame(&mut out, message);
    out.freeze()
}

fn transcribe(transcript: &mut Sha256, frame: &[u8]) {
    transcript.update((frame.len() as u64).to_be_bytes());
    transcript.update(frame);
}

fn address_to_wire(address: &NodeAddress) -> Address {
    Address { host: address.host().to_owned(), port: address.port().into() }
}

fn address_of_wire(address: Option<&Address>) -> Option<NodeAddress> {
    let address = address?;
    NodeAddress::new(&address.host, u16::try_from(address.port).ok()?).ok()
}

#[cfg(test)]
mod tests;
