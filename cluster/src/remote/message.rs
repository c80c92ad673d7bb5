/// What can be sent to an actor on another node: protobuf, so that nodes of different builds understand each other.
///
/// Fields may be added with new numbers; a changed meaning is another manifest.
pub trait RemoteMessage: prost::Message + Default + 'static {
    /// Tells messages of one actor apart, on every node and for ever; at most 256 bytes: `till.add`.
    const MANIFEST: &'static str;
}

/// A message that is answered.
pub trait RemoteQuestion: RemoteMessage {
    /// With this.
    type Answer: prost::Message + Default + 'static;
}
