use std::collections::BTreeMap;

use bytes::Bytes;

use super::replica::{Partition, Place};
use crate::cassandra::claimed::{Input, Marker, Owner, Reader};
use crate::{Epoch, SeqNr};

/// Who takes part: an owner with its activations, or a reader.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) machine: Machine,
    pub(super) calls: Vec<Call>,
    pub(super) epoch: Epoch,
    pub(super) activation: u64,
    /// The claim is at a quorum.
    pub(super) is_claimed: bool,
    /// By how much its clock is fast.
    pub(super) skew: u64,
    /// Of 100 of its writes to a replica so many are late.
    pub(super) late: usize,
    /// What it has appended and not acknowledged.
    pub(super) sent: BTreeMap<SeqNr, Bytes>,
    pub(super) has_worked: bool,
    /// The lengths of the appends that it begins with.
    pub(super) planned: Vec<u64>,
    pub(super) is_alive: bool,
}

#[derive(Debug)]
pub(super) enum Machine {
    Owner(Owner),
    Reader(Reader),
}

/// What a process waits for.
#[derive(Debug)]
pub(super) enum Call {
    Write { sent: usize, then: Input },
    Read(Read),
}

#[derive(Debug)]
pub(super) struct Read {
    pub(super) what: What,
    /// Which replicas were asked; each at its own time.
    pub(super) asked: Vec<usize>,
}

/// What is read, with what was found.
#[derive(Debug)]
pub(super) enum What {
    Markers(Vec<Marker>),
    DeletedTo(SeqNr),
    Claim(u64, Option<(u64, Epoch)>),
    Rows(Paged),
}

#[derive(Debug, Default)]
pub(super) struct Paged {
    pub(super) bucket: u64,
    /// Of the pages before.
    pub(super) found: Vec<crate::cassandra::claimed::Row>,
    pub(super) after: Option<Place>,
    /// Of this one.
    pub(super) page: Partition,
    pub(super) end: Option<Place>,
}

impl Process {
    pub(super) fn owner(&self) -> Option<&Owner> {
        match &self.machine {
            Machine::Owner(owner) => Some(owner),
            Machine::Reader(_) => None,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_alive && self.owner().is_some_and(Owner::is_ready)
    }
}
