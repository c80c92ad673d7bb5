//! How values become bytes; what `#[derive(Event)]` writes calls these, and so can an [`Event`](crate::Event)
//! written by hand.
//!
//! ```text
//! variant                        JSON payload
//! Deposited { cents: i64 }       {"cents":100}
//! Renamed(String)                "new name"
//! Moved(u32, u32)                [1,2]
//! Closed                         null
//! ```

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{CodecError, Shape};

mod scratch;
mod shape;
mod variant_reader;
mod variant_writer;

pub(crate) use shape::{Shapes, mix, shape};
pub(crate) use variant_reader::VariantReader;
use variant_writer::VariantWriter;

/// A whole value as JSON.
///
/// # Errors
/// [`CodecError::Json`] when it has no JSON form.
pub fn encode_json<T: Serialize>(value: &T) -> Result<Bytes, CodecError> {
    scratch::written(|out| Ok(serde_json::to_writer(out, value)?))
}

/// The value that [`encode_json`] wrote.
///
/// # Errors
/// [`CodecError::Json`] when the bytes are not its JSON form.
pub fn decode_json<T: DeserializeOwned>(payload: &Bytes) -> Result<T, CodecError> {
    Ok(serde_json::from_slice(payload)?)
}

/// The fields of an enum's variant as JSON, without the variant's name.
///
/// # Errors
/// [`CodecError::Json`] when they have no JSON form, or when serde does not see an externally tagged enum.
pub fn encode_variant<T: Serialize>(event: &T) -> Result<Bytes, CodecError> {
    scratch::written(|out| Ok(event.serialize(VariantWriter(&mut serde_json::Serializer::new(out)))?))
}

/// The variant that [`encode_variant`] wrote, told by its index among the variants that serde reads.
///
/// # Errors
/// [`CodecError::Json`] when the bytes are not the JSON form of that variant's fields.
pub fn decode_variant<T: DeserializeOwned>(index: u32, payload: &Bytes) -> Result<T, CodecError> {
    let mut json = serde_json::Deserializer::from_slice(payload);
    let event = T::deserialize(VariantReader { index, fields: &mut json })?;
    json.end()?;
    Ok(event)
}

/// The variant whose fields are this JSON value, told by its index among the variants that serde reads.
///
/// # Errors
/// [`CodecError::Json`] when the value is not the JSON form of that variant's fields.
pub fn decode_variant_value<T: DeserializeOwned>(
    index: u32,
    fields: serde_json::Value,
) -> Result<T, CodecError> {
    Ok(T::deserialize(VariantReader { index, fields })?)
}

/// A value of a type whose JSON this is.
///
/// # Errors
/// [`CodecError::Json`] when it is not.
pub fn decode_json_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, CodecError> {
    Ok(T::deserialize(value)?)
}

/// The shape of the fields of an enum's variant, told by its index among the variants that serde reads.
pub fn variant_shape<T: DeserializeOwned>(index: u32) -> Shape {
    Shape::of_variant::<T>(index)
}

/// A protobuf message.
pub fn encode_protobuf<M: prost::Message>(message: &M) -> Bytes {
    message.encode_to_vec().into()
}

/// The message that [`encode_protobuf`] wrote.
///
/// # Errors
/// [`CodecError::Protobuf`] when the bytes are no such message.
pub fn decode_protobuf<M: prost::Message + Default>(payload: &Bytes) -> Result<M, CodecError> {
    Ok(M::decode(payload.clone())?)
}
