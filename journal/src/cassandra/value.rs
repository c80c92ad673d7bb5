use bytes::Bytes;
use scylla::frame::response::result::ColumnType;
use scylla::serialize::SerializationError;
use scylla::serialize::value::SerializeValue;
use scylla::serialize::writers::{CellWriter, WrittenCellProof};
use scylla::value::Unset;

use crate::Tag;

/// A bound value, so that the statements of one batch can have rows of different types.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Int(i64),
    /// For a column, or a limit, of 32 bits.
    Small(i64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Bytes(Bytes),
    /// Leaves the column as it is.
    Unset,
}

impl Value {
    /// A number of ours, which is below 2^63.
    pub(super) fn int(number: u64) -> Self {
        Self::Int(number.cast_signed())
    }

    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// An event's tags.
    pub(super) fn labels(tags: &[Tag]) -> Self {
        if tags.is_empty() {
            return Self::Unset;
        }
        Self::Texts(tags.iter().map(|tag| tag.as_str().to_owned()).collect())
    }
}

impl SerializeValue for Value {
    fn serialize<'b>(
        &self,
        typ: &ColumnType<'_>,
        writer: CellWriter<'b>,
    ) -> Result<WrittenCellProof<'b>, SerializationError> {
        match self {
            Self::Int(value) => value.serialize(typ, writer),
            Self::Small(value) => i32::try_from(*value).unwrap_or(i32::MAX).serialize(typ, writer),
            Self::Bool(value) => value.serialize(typ, writer),
            Self::Text(value) => value.serialize(typ, writer),
            Self::Texts(value) => value.serialize(typ, writer),
            Self::Bytes(value) => value.serialize(typ, writer),
            Self::Unset => Unset.serialize(typ, writer),
        }
    }
}
