use std::fmt;

use rand::TryRng as _;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::NoNewKey;
use super::cipher::KEY_BYTES;

/// The 32 bytes of a key: wiped when they are dropped, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyBytes(Zeroizing<[u8; KEY_BYTES]>);

impl KeyBytes {
    /// Takes a key from where it was made.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new key, of the system's randomness.
    ///
    /// # Errors
    /// [`NoNewKey::NoRandomness`] when there is none.
    pub fn random() -> Result<Self, NoNewKey> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        SysRng.try_fill_bytes(&mut bytes[..]).map_err(|_| NoNewKey::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// The key.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(..)")
    }
}
