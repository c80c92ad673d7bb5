use std::fmt;

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};

use super::{Aead, AuthTag, KEY_BYTES, Nonce, NotAuthentic};

/// The cipher of the crate `aes-gcm`.
#[derive(Clone)]
pub(crate) struct AesGcm(Aes256Gcm);

impl Aead for AesGcm {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    fn seal(&self, nonce: &Nonce, context: &[u8], buffer: &mut [u8]) -> AuthTag {
        self.0
            .encrypt_inout_detached(nonce.into(), context, InOutBuf::from(buffer))
            // Refused from 64 GiB on; the largest thing that is sealed is an event or a snapshot of a few MiB.
            .expect("a payload is shorter than 64 GiB")
            .into()
    }

    fn open(
        &self,
        nonce: &Nonce,
        context: &[u8],
        buffer: &mut [u8],
        tag: &AuthTag,
    ) -> Result<(), NotAuthentic> {
        self.0
            .decrypt_inout_detached(nonce.into(), context, InOutBuf::from(buffer), tag.into())
            .map_err(|_| NotAuthentic)
    }
}

impl fmt::Debug for AesGcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesGcm(..)")
    }
}
