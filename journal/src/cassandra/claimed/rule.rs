/// What the protocol rests on. A test leaves one out and shows what goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// T1: the claim is at a quorum before anything is read.
    ClaimIsWaitedFor,
    /// T1: the claim's time stamp is its epoch, not a clock.
    ClaimIsStampedByEpoch,
    /// T2: what is deleted is read after the rows.
    DeletedIsReadAfterRows,
    /// T2: behind the last number that is known comes the bucket of the next number, not the next bucket.
    BucketOfTheNextNumber,
    /// T2: and those before it in which a batch that has it may begin.
    BatchBeginsEarlier,
    /// T2: of a batch at the end all is there, or nothing counts.
    WholeBatches,
    /// T3: what was adopted is written again.
    AdoptedRowsAreWrittenAgain,
    /// T3: and is at a quorum before the marker is written.
    AdoptedRowsAreWaitedFor,
    /// T4: a marker says whose rows count; without, the highest token of each number does.
    MarkerDecides,
    /// T4: it is a marker, and not the adopted rows written under the new token, one after the other.
    MarkerInsteadOfRewriting,
    /// T4: the marker has the history, not its base only.
    MarkerHasHistory,
    /// T4: the marker is at a quorum before anything is exposed.
    MarkerIsWaitedFor,
    /// T5: the claim is read before anything is exposed.
    RecoveryIsVerified,
    /// A2: the claim is read before an append is acknowledged.
    AppendIsVerified,
    /// A2: and after the append is at a quorum.
    AppendIsVerifiedAfterwards,
    /// A3: appends are acknowledged in their order.
    AcknowledgedInOrder,
    /// An outcome that is unknown takes another token.
    UnknownTakesAnotherToken,
    /// P2a: a reader shows what is settled, not what it reads.
    ReaderShowsSettled,
    /// The number is at a quorum before the rows are deleted.
    DeletedIsWaitedFor,
    /// What is written is at a quorum.
    WriteAtQuorum,
    /// What is read is read of a quorum.
    ReadAtQuorum,
}

/// The rules that hold: all of them, but for one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    left_out: Option<Rule>,
}

impl Rules {
    pub(super) fn without(rule: Rule) -> Self {
        Self { left_out: Some(rule) }
    }

    pub(super) fn keep(self, rule: Rule) -> bool {
        self.left_out != Some(rule)
    }
}
