use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Cluster secrets: the first is used, all are accepted. Never sent; see the drawing in [`handshake`](super::handshake).
///
/// To replace one on running nodes: add the new one at the end everywhere, then put it first everywhere, then take the old one away.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<[Zeroizing<Vec<u8>>]>);

/// Who proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prover {
    Initiator,
    Acceptor,
}

impl Secrets {
    /// One secret a line; empty lines and lines that begin with `#` do not count.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidSecrets> {
        let lines = text.lines().map(str::trim).enumerate();
        let mut secrets = Vec::new();
        for (index, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            if line.len() < Self::LEAST {
                return Err(InvalidSecrets::TooShort { line: index + 1 });
            }
            secrets.push(Zeroizing::new(line.as_bytes().to_vec()));
        }
        if secrets.is_empty() { Err(InvalidSecrets::None) } else { Ok(Self(secrets.into())) }
    }

    /// Characters of the shortest secret: what can be guessed can be guessed from a proof.
    const LEAST: usize = 32;

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Proves that the first is known; nothing without secrets.
    pub(crate) fn prove(&self, prover: Prover, binding: &[u8], transcript: &[u8; 32]) -> Vec<u8> {
        let first = self.0.first();
        first.map_or_else(Vec::new, |secret| {
            keyed(secret, prover, binding, transcript).finalize().into_bytes().to_vec()
        })
    }

    /// Whether this proves that one of them is known. Without secrets nothing must be proven, and nothing may be.
    pub(crate) fn accept(&self, prover: Prover, binding: &[u8], transcript: &[u8; 32], proof: &[u8]) -> bool {
        if self.is_empty() {
            return proof.is_empty();
        }
        let proves = |secret: &Zeroizing<Vec<u8>>| {
            keyed(secret, prover, binding, transcript).verify_slice(proof).is_ok()
        };
        // All are tried, in the same time whichever fits.
        self.0.iter().fold(false, |accepted, secret| accepted | proves(secret))
    }
}

fn keyed(secret: &[u8], prover: Prover, binding: &[u8], transcript: &[u8; 32]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of every length");
    mac.update(match prover {
        Prover::Initiator => b"annals cluster secret, initiator\0",
        Prover::Acceptor => b"annals cluster secret, acceptor\0",
    });
    // 32 bytes, or none: it cannot be confused with what follows.
    mac.update(&[u8::try_from(binding.len()).unwrap_or(u8::MAX)]);
    mac.update(binding);
    mac.update(transcript);
    mac
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Secrets({})", self.0.len())
    }
}

/// A list of secrets that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSecrets {
    /// It is empty.
    #[error("there is no secret in it: write one a line, such as what `openssl rand -hex 32` gives")]
    None,
    /// A secret that could be guessed.
    #[error("the secret in line {line} has fewer than 32 characters: take what `openssl rand -hex 32` gives")]
    TooShort {
        /// Which, from 1.
        line: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "00000000000000000000000000000000";
    const NEW: &str = "11111111111111111111111111111111";

    fn secrets(lines: &[&str]) -> Secrets {
        Secrets::parse(&lines.join("\n")).unwrap()
    }

    #[test]
    fn the_first_secret_is_used_and_all_are_accepted() {
        let (binding, transcript) = ([1; 32], [2; 32]);
        let proof = secrets(&[OLD, NEW]).prove(Prover::Initiator, &binding, &transcript);
        let accepts =
            |lines: &[&str]| secrets(lines).accept(Prover::Initiator, &binding, &transcript, &proof);
        assert!(accepts(&[OLD]) && accepts(&["# rotation", NEW, "", OLD]));
        assert!(!accepts(&[NEW]));
        assert!(!Secrets::default().accept(Prover::Initiator, &binding, &transcript, &proof));
    }

    #[test]
    fn a_proof_counts_in_its_channel_for_its_prover_and_transcript_alone() {
        let secrets = secrets(&[OLD]);
        let proof = secrets.prove(Prover::Initiator, &[1; 32], &[2; 32]);
        assert!(!secrets.accept(Prover::Acceptor, &[1; 32], &[2; 32], &proof));
        assert!(!secrets.accept(Prover::Initiator, &[3; 32], &[2; 32], &proof));
        assert!(!secrets.accept(Prover::Initiator, &[1; 32], &[3; 32], &proof));
        assert!(!secrets.accept(Prover::Initiator, &[1; 32], &[2; 32], &[]));
    }

    #[test]
    fn what_can_be_guessed_is_refused_and_nothing_is_shown() {
        assert_eq!(Secrets::parse(&format!("{OLD}\nhunter2")), Err(InvalidSecrets::TooShort { line: 2 }));
        assert_eq!(Secrets::parse("# none\n\n"), Err(InvalidSecrets::None));
        assert!(!format!("{:?}", secrets(&[OLD])).contains("000"));
    }
}
