#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
// With the other it is what tests compare it with.
#[cfg(any(test, not(feature = "aws-lc-rs")))]
mod rust_crypto;

/// AES-256-GCM under one key, whose schedule is kept: making one costs more than sealing a small event.
///
/// Every implementation makes the same bytes, so that one may be put in the place of another: the golden vectors below hold for
/// each. All of them wipe their key schedule when they are dropped.
pub(crate) trait Aead: Send + Sync + 'static {
    /// The cipher under a key.
    fn new(key: &[u8; KEY_BYTES]) -> Self
    where
        Self: Sized;

    /// Encrypts `buffer` in its place and authenticates it together with `context`, which is not part of the result.
    ///
    /// A nonce must never be used twice under one key.
    fn seal(&self, nonce: &Nonce, context: &[u8], buffer: &mut [u8]) -> AuthTag;

    /// Decrypts `buffer` in its place.
    ///
    /// # Errors
    /// When any bit of the buffer, the tag, the nonce or the context is another than was sealed, or the key is; `buffer` must not be
    /// used then.
    fn open(
        &self,
        nonce: &Nonce,
        context: &[u8],
        buffer: &mut [u8],
        tag: &AuthTag,
    ) -> Result<(), NotAuthentic>;
}

/// The implementation that this build uses.
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) type Cipher = rust_crypto::AesGcm;
/// The implementation that this build uses.
#[cfg(feature = "aws-lc-rs")]
pub(crate) type Cipher = aws_lc::AesGcm;

pub(crate) const KEY_BYTES: usize = 32;
pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const AUTH_TAG_BYTES: usize = 16;
pub(crate) type Nonce = [u8; NONCE_BYTES];
pub(crate) type AuthTag = [u8; AUTH_TAG_BYTES];

/// What was sealed, its context or its key is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the authentication tag does not match")]
pub struct NotAuthentic;

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap()).collect()
    }

    /// Key, nonce, context, plain text, sealed text, tag: cases 13 to 16 of McGrew and Viega, "The Galois/Counter Mode of Operation",
    /// appendix B.
    const KNOWN_ANSWERS: [[&str; 6]; 4] = [
        [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "000000000000000000000000",
            "",
            "",
            "",
            "530f8afbc74536b9a963b4f1c4cb738b",
        ],
        [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "000000000000000000000000",
            "",
            "00000000000000000000000000000000",
            "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919",
        ],
        [
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "cafebabefacedbaddecaf888",
            "",
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
            "b094dac5d93471bdec1a502270e3cc6c",
        ],
        [
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "cafebabefacedbaddecaf888",
            "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ],
    ];

    fn gives_the_known_answers<C: Aead>() {
        for [key, nonce, context, plain, sealed, tag] in KNOWN_ANSWERS {
            let cipher = C::new(&hex(key).try_into().unwrap());
            let (nonce, context) = (hex(nonce).try_into().unwrap(), hex(context));
            let mut buffer = hex(plain);
            assert_eq!(cipher.seal(&nonce, &context, &mut buffer).to_vec(), hex(tag));
            assert_eq!(buffer, hex(sealed));
            cipher.open(&nonce, &context, &mut buffer, &hex(tag).try_into().unwrap()).unwrap();
            assert_eq!(buffer, hex(plain));
        }
    }

    fn refuses_any_change<C: Aead>() {
        let (cipher, other) = (C::new(&[7; KEY_BYTES]), C::new(&[8; KEY_BYTES]));
        let (nonce, context) = ([1; NONCE_BYTES], *b"account|alice 1");
        let mut sealed = *b"deposited 100";
        let tag = cipher.seal(&nonce, &context, &mut sealed);
        let opens = |cipher: &C, nonce: &Nonce, context: &[u8], sealed: &[u8], tag: &AuthTag| {
            cipher.open(nonce, context, &mut sealed.to_vec(), tag).is_ok()
        };
        assert!(opens(&cipher, &nonce, &context, &sealed, &tag));
        assert!(!opens(&other, &nonce, &context, &sealed, &tag));
        assert!(!opens(&cipher, &nonce, &context[1..], &sealed, &tag));
        assert!(!opens(&cipher, &nonce, &context, &sealed[1..], &tag));
        fn flipped<const N: usize>(mut bytes: [u8; N], bit: usize) -> [u8; N] {
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        }
        for bit in 0..8 * nonce.len() {
            assert!(!opens(&cipher, &flipped(nonce, bit), &context, &sealed, &tag), "nonce, bit {bit}");
        }
        for bit in 0..8 * context.len() {
            assert!(!opens(&cipher, &nonce, &flipped(context, bit), &sealed, &tag), "context, bit {bit}");
        }
        for bit in 0..8 * sealed.len() {
            assert!(!opens(&cipher, &nonce, &context, &flipped(sealed, bit), &tag), "sealed, bit {bit}");
        }
        for bit in 0..8 * tag.len() {
            assert!(!opens(&cipher, &nonce, &context, &sealed, &flipped(tag, bit)), "tag, bit {bit}");
        }
    }

    #[test]
    fn rust_crypto_gives_the_known_answers() {
        gives_the_known_answers::<rust_crypto::AesGcm>();
    }

    #[test]
    fn rust_crypto_refuses_any_change() {
        refuses_any_change::<rust_crypto::AesGcm>();
    }

    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn aws_lc_gives_the_known_answers() {
        gives_the_known_answers::<aws_lc::AesGcm>();
    }

    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn aws_lc_refuses_any_change() {
        refuses_any_change::<aws_lc::AesGcm>();
    }

    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn each_opens_what_the_other_seals() {
        fn sealed_by<S: Aead, O: Aead>(key: &[u8; KEY_BYTES], text: &[u8]) {
            let (nonce, context) = ([3; NONCE_BYTES], &text[..text.len() / 2]);
            let mut buffer = text.to_vec();
            let tag = S::new(key).seal(&nonce, context, &mut buffer);
            O::new(key).open(&nonce, context, &mut buffer, &tag).unwrap();
            assert_eq!(buffer, text);
        }
        // Around the sizes at which an implementation takes another path.
        for len in [0, 1, 15, 16, 17, 127, 128, 129, 255, 256, 257, 1023, 4096, 65_537] {
            let text: Vec<u8> = (0..len).map(|n: usize| (n * 7) as u8).collect();
            sealed_by::<rust_crypto::AesGcm, aws_lc::AesGcm>(&[5; KEY_BYTES], &text);
            sealed_by::<aws_lc::AesGcm, rust_crypto::AesGcm>(&[5; KEY_BYTES], &text);
        }
    }
}
