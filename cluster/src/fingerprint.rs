use crate::random::mix;

/// A number that stands for a value: the same on every machine and in every build, other than `std`'s hashes.
///
/// Finds differences between honest nodes; it is no defence against a forger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) const fn new() -> Self {
        Self(0x243F_6A88_85A3_08D3)
    }

    pub(crate) const fn number(self, number: u64) -> Self {
        Self(mix(self.0.rotate_left(5) ^ mix(number.wrapping_add(0x9E37_79B9_7F4A_7C15))))
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let mut print = self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            print = print.number(u64::from_le_bytes(word));
        }
        print
    }

    pub(crate) const fn finish(self) -> u64 {
        self.0
    }
}
