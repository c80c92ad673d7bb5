use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use zeroize::Zeroizing;

use super::KeyBytes;
use super::cipher::{AUTH_TAG_BYTES, Aead as _, Cipher, KEY_BYTES, NONCE_BYTES, NotAuthentic};

/// Names a master key within its ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MasterKeyId(pub u32);

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key that wraps other keys.
///
/// ```text
///  wrapped key: 60 bytes
///  ┌───────────┬────────────────┬─────────┐
///  │ nonce, 12 │ ciphertext, 32 │ tag, 16 │   AES-256-GCM; the nonce is random, the context is the caller's
///  └───────────┴────────────────┴─────────┘
/// ```
pub(super) struct MasterKey {
    bytes: KeyBytes,
    cipher: Cipher,
}

impl MasterKey {
    pub(super) fn new(bytes: KeyBytes) -> Self {
        let cipher = Cipher::new(bytes.as_bytes());
        Self { bytes, cipher }
    }

    /// 32 bytes in base64.
    pub(super) fn from_base64(text: &str) -> Option<Self> {
        // One more than a key: what the decoder wants to have for 44 characters.
        let mut decoded = Zeroizing::new([0; KEY_BYTES + 1]);
        if STANDARD.decode_slice(text, &mut decoded[..]).ok()? != KEY_BYTES {
            return None;
        }
        let key = decoded.first_chunk::<KEY_BYTES>()?;
        Some(Self::new(KeyBytes::new(*key)))
    }

    /// Appends it in base64.
    pub(super) fn write_base64(&self, text: &mut String) {
        STANDARD.encode_string(self.bytes.as_bytes(), text);
    }

    pub(super) fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        self.bytes.as_bytes()
    }

    pub(super) fn has_bytes_of(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }

    pub(super) fn wrap(&self, context: &[u8], key: &KeyBytes) -> Bytes {
        let nonce = rand::random();
        let mut buffer = Zeroizing::new(*key.as_bytes());
        let tag = self.cipher.seal(&nonce, context, &mut buffer[..]);
        let mut wrapped = BytesMut::with_capacity(WRAPPED_BYTES);
        wrapped.put_slice(&nonce);
        wrapped.put_slice(&buffer[..]);
        wrapped.put_slice(&tag);
        wrapped.freeze()
    }

    pub(super) fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<KeyBytes, NotAuthentic> {
        let (nonce, rest) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or(NotAuthentic)?;
        let (sealed, tag) = rest.split_last_chunk::<AUTH_TAG_BYTES>().ok_or(NotAuthentic)?;
        let mut key = Zeroizing::new(<[u8; KEY_BYTES]>::try_from(sealed).map_err(|_| NotAuthentic)?);
        self.cipher.open(nonce, context, &mut key[..], tag)?;
        Ok(KeyBytes::new(*key))
    }
}

const WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + AUTH_TAG_BYTES;
