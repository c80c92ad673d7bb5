use bytes::Bytes;

use crate::{CodecError, Migrations, Schema, Shape, codec};

/// What can happen to one kind of entity: an enum with one schema a variant, or a struct.
///
/// Made by `#[derive(Event)]`; written by hand for a codec of your own. It knows how the fields become bytes, not under
/// which manifest they are stored: that is an [`EventAdapter`](crate::EventAdapter)'s.
pub trait Event: Sized + Send + Sync + 'static {
    /// The schemas, in the order of the variants.
    const SCHEMAS: &'static [Schema];

    /// Which of [`Event::SCHEMAS`] this event has, as its index.
    fn schema(&self) -> usize;

    /// The bytes of the fields, without the variant's name.
    ///
    /// # Errors
    /// [`CodecError`] when the value has no stored form, such as a map whose keys are no texts. A command that leads to
    /// such an event is refused; the state stays as it was.
    fn encode(&self) -> Result<Bytes, CodecError>;

    /// The event that [`Event::encode`] made these bytes of.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are none of that schema's; never a panic, whatever the bytes are.
    fn decode(schema: usize, payload: &Bytes) -> Result<Self, CodecError>;

    /// The event whose [`Event::encode`] is the text of this JSON value; what a chain of steps ends with.
    ///
    /// # Errors
    /// As [`Event::decode`].
    fn decode_value(schema: usize, payload: serde_json::Value) -> Result<Self, CodecError> {
        Self::decode(schema, &codec::encode_json(&payload)?)
    }

    /// The shape of what [`Event::decode`] reads of a schema, for the lock file; `None` by default: it cannot be seen, and only samples
    /// tell when it changes.
    fn shape(schema: usize) -> Option<Shape> {
        let _ = schema;
        None
    }

    /// How older versions are read, and today's written for older builds. None by default.
    fn migrations() -> Migrations<Self> {
        Migrations::new()
    }
}
