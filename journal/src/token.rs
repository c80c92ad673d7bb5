use std::fmt;

/// Number of one incarnation of an owner; a later owner has a higher one.
///
/// On one node the journal hands it out at start ([`next_epoch`](crate::next_epoch)); in a cluster it
/// comes with the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A writer's right to append: an epoch, and the activation within it. Ordered by epoch, then activation.
///
/// Each start or recovery of an entity, and each unknown outcome, takes a new activation, so that
/// what an entity sent from a state that was thrown away is an older writer's too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Token {
    /// Which incarnation of the owner.
    pub epoch: Epoch,
    /// Which activation of the entity within the incarnation.
    pub activation: u64,
}

impl Token {
    /// Older than every writer: the token of an id that nobody has claimed.
    pub const NONE: Self = Self { epoch: Epoch(0), activation: 0 };

    /// A token of an epoch and an activation.
    pub const fn new(epoch: Epoch, activation: u64) -> Self {
        Self { epoch, activation }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.activation)
    }
}
