use std::fmt;

/// How a payload was made into bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// JSON text; the default.
    Json,
    /// A protobuf message.
    Protobuf,
    /// The user's own, numbered from [`Codec::FIRST_CUSTOM`] on.
    Custom(u32),
}

impl Codec {
    /// The first number for codecs of the user's own.
    pub const FIRST_CUSTOM: u32 = 64;

    /// The number in the stored form.
    pub const fn number(self) -> u32 {
        match self {
            Self::Json => 1,
            Self::Protobuf => 2,
            Self::Custom(number) => number,
        }
    }

    /// The codec with this number, or `None` when no codec can have it.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Json),
            2 => Some(Self::Protobuf),
            Self::FIRST_CUSTOM.. => Some(Self::Custom(number)),
            _ => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json => f.write_str("JSON"),
            Self::Protobuf => f.write_str("protobuf"),
            Self::Custom(number) => write!(f, "codec {number}"),
        }
    }
}
