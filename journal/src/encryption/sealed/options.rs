/// How a [`SealedJournal`](super::SealedJournal) is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedOptions {
    /// Whether a plain event is corrupt wherever it stands; `false` by default: plain events that are older than an id's first sealed one
    /// are read as they are. Set it where everything was sealed from the beginning.
    pub refuse_plaintext: bool,
    /// Of how many ids is known where their histories end, about 300 bytes each; 100,000 by default.
    pub known_ids: usize,
}

impl Default for SealedOptions {
    fn default() -> Self {
        Self { refuse_plaintext: false, known_ids: 100_000 }
    }
}
