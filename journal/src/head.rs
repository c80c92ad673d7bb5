use crate::{Mark, SeqNr, Token};

/// Where an id stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The highest number ever stored; [`SeqNr::ZERO`] when there is none.
    pub seq_nr: SeqNr,
    /// The newest token that claimed or wrote.
    pub token: Token,
    /// Events up to this number were deleted; [`SeqNr::ZERO`] when none was.
    pub deleted_to: SeqNr,
    /// Events up to this number were erased, and a new life begins behind them; [`SeqNr::ZERO`] when none was. Only a journal that seals
    /// says so.
    pub erased_to: SeqNr,
    /// What the newest append with a mark left here; `None` when there was none.
    pub mark: Option<Mark>,
}

impl Head {
    /// The head of an id that nobody has claimed or written.
    pub const EMPTY: Self = Self {
        seq_nr: SeqNr::ZERO,
        token: Token::NONE,
        deleted_to: SeqNr::ZERO,
        erased_to: SeqNr::ZERO,
        mark: None,
    };
}
