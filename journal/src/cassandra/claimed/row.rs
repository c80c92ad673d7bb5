use bytes::Bytes;

use crate::{SeqNr, Token};

/// An event as it is stored: under its number and the token of who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) seq_nr: SeqNr,
    pub(super) token: Token,
    pub(super) batch: Batch,
    /// What its writer had acknowledged when it wrote it.
    pub(super) settled: SeqNr,
    pub(super) payload: Bytes,
}

/// The events of one append: they count together, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) first: SeqNr,
    pub(super) last: SeqNr,
}
