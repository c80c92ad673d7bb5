/// How far a node has stopped, see [`Node::stop_through`](crate::Node::stop_through). Each stage comes after those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StopStage {
    /// The plain actors have stopped, or were aborted; entities still answer.
    Actors,
    /// The entities have carried out what waited, or refused it, and have left memory.
    Entities,
    /// All that was written is on disk; nothing can be written any more.
    Flushed,
    /// The node's registration is removed: others no longer count on it.
    Left,
    /// The stores that the node itself has opened are closed.
    Closed,
}

impl StopStage {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Actors, Self::Entities, Self::Flushed, Self::Left, Self::Closed];
}
