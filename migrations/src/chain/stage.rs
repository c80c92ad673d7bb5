use std::any::{Any, type_name};

use annals_journal::Codec;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{CodecError, codec};

/// A payload on its way through a chain. It is parsed at the first step, and made into bytes again only where bytes are wanted.
pub(crate) enum Stage {
    /// As it is stored.
    Stored(Codec, Bytes),
    /// As a JSON value.
    Json(Value),
    /// As the type that a step yielded.
    Typed(Box<dyn Typed>),
    /// What one was divided into, each with the number of its place among the step's targets.
    Parts(Vec<(usize, Value)>),
    /// The end: a `Vec` of what the chain leads to.
    Ended(Box<dyn Any + Send>),
    /// The end: it means nothing any more.
    Nothing,
}

/// A value of some type that knows its stored form.
pub(crate) trait Typed: Send {
    /// The value as an `Option` that can be taken.
    fn slot(&mut self) -> &mut dyn Any;
    fn json(&self) -> Result<Value, CodecError>;
    fn stored(&self) -> Result<(Codec, Bytes), CodecError>;
}

impl Stage {
    /// What a step that works with serde has made.
    pub(crate) fn of_serde<T: Serialize + Send + 'static>(value: T) -> Self {
        match same_type(value) {
            Ok(json) => Self::Json(json),
            Err(value) => Self::Typed(Box::new(OfSerde(Some(value)))),
        }
    }

    /// What a step that works with prost has made.
    pub(crate) fn of_prost<M: prost::Message + 'static>(message: M) -> Self {
        Self::Typed(Box::new(OfProst(Some(message))))
    }

    /// As the type that a step takes, which serde reads.
    pub(crate) fn into_serde<T: DeserializeOwned + 'static>(self) -> Result<T, CodecError> {
        match self {
            Self::Stored(Codec::Json, bytes) => codec::decode_json(&bytes),
            Self::Stored(other, _) => Err(stored_otherwise(other, Codec::Json)),
            Self::Typed(mut typed) => match take(&mut *typed) {
                Some(value) => Ok(value),
                None => Self::Json(typed.json()?).into_serde(),
            },
            Self::Json(json) => same_type(json).or_else(|json| Ok(T::deserialize(json)?)),
            Self::Parts(_) | Self::Ended(_) | Self::Nothing => Err(ended()),
        }
    }

    /// As the message that a step takes.
    pub(crate) fn into_prost<M: prost::Message + Default + 'static>(self) -> Result<M, CodecError> {
        match self {
            Self::Stored(Codec::Protobuf, bytes) => codec::decode_protobuf(&bytes),
            Self::Stored(other, _) => Err(stored_otherwise(other, Codec::Protobuf)),
            Self::Typed(mut typed) => match take(&mut *typed) {
                Some(message) => Ok(message),
                None => {
                    let (codec, bytes) = typed.stored()?;
                    Self::Stored(codec, bytes).into_prost()
                }
            },
            Self::Json(_) => Err(stored_otherwise(Codec::Json, Codec::Protobuf)),
            Self::Parts(_) | Self::Ended(_) | Self::Nothing => Err(ended()),
        }
    }

    /// As what is stored.
    pub(crate) fn into_stored(self) -> Result<(Codec, Bytes), CodecError> {
        match self {
            Self::Stored(codec, bytes) => Ok((codec, bytes)),
            Self::Json(value) => Ok((Codec::Json, codec::encode_json(&value)?)),
            Self::Typed(typed) => typed.stored(),
            Self::Parts(_) | Self::Ended(_) | Self::Nothing => Err(ended()),
        }
    }
}

/// The value, when it is of the type that is wanted.
pub(crate) fn take<T: 'static>(typed: &mut dyn Typed) -> Option<T> {
    typed.slot().downcast_mut::<Option<T>>()?.take()
}

/// The value as another type, when both are one.
fn same_type<From: 'static, To: 'static>(value: From) -> Result<To, From> {
    let mut slot = Some(value);
    if let Some(same) = (&mut slot as &mut dyn Any).downcast_mut::<Option<To>>()
        && let Some(value) = same.take()
    {
        return Ok(value);
    }
    match slot {
        Some(value) => Err(value),
        None => unreachable!("it is taken only where it is returned"),
    }
}

struct OfSerde<T>(Option<T>);

impl<T: Serialize + Send + 'static> Typed for OfSerde<T> {
    fn slot(&mut self) -> &mut dyn Any {
        &mut self.0
    }

    fn json(&self) -> Result<Value, CodecError> {
        let value = self.0.as_ref().ok_or_else(ended)?;
        Ok(serde_json::to_value(value)?)
    }

    fn stored(&self) -> Result<(Codec, Bytes), CodecError> {
        let value = self.0.as_ref().ok_or_else(ended)?;
        Ok((Codec::Json, codec::encode_json(value)?))
    }
}

struct OfProst<M>(Option<M>);

impl<M: prost::Message + 'static> Typed for OfProst<M> {
    fn slot(&mut self) -> &mut dyn Any {
        &mut self.0
    }

    fn json(&self) -> Result<Value, CodecError> {
        let name = type_name::<M>();
        Err(CodecError::custom(format!(
            "the step before yields the protobuf message {name}, this one reads JSON"
        )))
    }

    fn stored(&self) -> Result<(Codec, Bytes), CodecError> {
        let message = self.0.as_ref().ok_or_else(ended)?;
        Ok((Codec::Protobuf, codec::encode_protobuf(message)))
    }
}

fn stored_otherwise(stored: Codec, wanted: Codec) -> CodecError {
    CodecError::custom(format!("it is {stored}, the step reads {wanted}"))
}

fn ended() -> CodecError {
    CodecError::custom("the step before has ended the chain".to_owned())
}
