use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::cipher::KEY_BYTES;

/// Names a master key within its ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MasterKeyId(pub u32);

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key that wraps other keys.
pub(super) struct MasterKey(PlainKey);

/// 32 bytes of a key, wiped when they are dropped.
pub(super) type PlainKey = Zeroizing<[u8; KEY_BYTES]>;

impl MasterKey {
    pub(super) fn new(bytes: PlainKey) -> Self {
        Self(bytes)
    }

    /// 32 bytes in base64.
    pub(super) fn from_base64(text: &str) -> Option<Self> {
        // One more than a key: what the decoder wants to have for 44 characters.
        let mut decoded = Zeroizing::new([0; KEY_BYTES + 1]);
        if STANDARD.decode_slice(text, &mut decoded[..]).ok()? != KEY_BYTES {
            return None;
        }
        let mut bytes = PlainKey::default();
        bytes.copy_from_slice(&decoded[..KEY_BYTES]);
        Some(Self::new(bytes))
    }

    /// Appends it in base64.
    pub(super) fn write_base64(&self, text: &mut String) {
        STANDARD.encode_string(&self.0[..], text);
    }

    pub(super) fn has_bytes_of(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
