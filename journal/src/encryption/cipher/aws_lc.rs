use std::fmt;

use aws_lc_rs::aead::{self, AES_256_GCM, Aad, LessSafeKey, UnboundKey};

use super::{AUTH_TAG_BYTES, Aead, AuthTag, KEY_BYTES, Nonce, NotAuthentic};

/// The cipher of the crate `aws-lc-rs`; its library wipes what it frees.
pub(crate) struct AesGcm(LessSafeKey);

impl Aead for AesGcm {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        // Refused for a length that is not the algorithm's.
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes")))
    }

    fn seal(&self, nonce: &Nonce, context: &[u8], buffer: &mut [u8]) -> AuthTag {
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(context), buffer)
            // Refused from 64 GiB on; the largest thing that is sealed is an event or a snapshot of a few MiB.
            .expect("a payload is shorter than 64 GiB");
        let mut bytes = [0; AUTH_TAG_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    fn open(
        &self,
        nonce: &Nonce,
        context: &[u8],
        buffer: &mut [u8],
        tag: &AuthTag,
    ) -> Result<(), NotAuthentic> {
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::from(context), tag, buffer)
            .map(|_| ())
            .map_err(|_| NotAuthentic)
    }
}

impl fmt::Debug for AesGcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesGcm(..)")
    }
}
