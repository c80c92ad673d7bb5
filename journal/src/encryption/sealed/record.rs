use bytes::Bytes;

use crate::encryption::Seal;
use crate::encryption::cipher::{AUTH_TAG_BYTES, NONCE_BYTES};

/// A payload as it is stored once it is sealed.
///
/// ```text
///  ┌──────────┬──────────┬────────┬─────────┬─────────────────────┬───────────────────┐
///  │ format,1 │ nonce,12 │ tag,16 │ link,16 │ out,16: only in 2   │ ciphertext, rest  │
///  └──────────┴──────────┴────────┴─────────┴─────────────────────┴───────────────────┘
/// ```
///
/// Format 1 has no `out`: what comes next builds on `link`. Format 2 is a record that was put in the place of another: its own link is
/// new, and `out` is what its successor was written upon, so that this one need not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) seal: Seal,
    pub(super) links: Links,
    /// Shares the envelope's memory.
    pub(super) ciphertext: Bytes,
}

/// 16 bytes that authenticate an event and all that came before.
pub(super) type Link = [u8; LINK_BYTES];

/// An event's place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Links {
    /// Authenticates the record, upon the link before.
    pub(super) link: Link,
    /// What its successor was written upon, when that is another.
    pub(super) out: Option<Link>,
}

impl Links {
    /// The link of an event that stands as it was written first.
    pub(super) fn only(link: Link) -> Self {
        Self { link, out: None }
    }

    /// What the successor builds on.
    pub(super) fn out(&self) -> &Link {
        self.out.as_ref().unwrap_or(&self.link)
    }
}

/// The payload is no sealed record, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRecord {
    #[error("the sealed record has format {found}, this build knows 1 and 2")]
    Format { found: u8 },
    #[error("the sealed record ends early")]
    Short,
}

impl Record {
    /// How many bytes a record has more than what is sealed in it.
    pub(super) const OVERHEAD: usize = 1 + NONCE_BYTES + AUTH_TAG_BYTES + 2 * LINK_BYTES;

    /// A buffer with room for everything before the text, and the text, which begins at the number that is answered.
    pub(super) fn draft(text: &[u8], out: Option<&Link>) -> (Vec<u8>, usize) {
        let begin = Self::OVERHEAD - if out.is_some() { 0 } else { LINK_BYTES };
        let mut bytes = Vec::with_capacity(begin + text.len());
        bytes.resize(begin, 0);
        bytes.extend_from_slice(text);
        (bytes, begin)
    }

    /// Fills in what comes before the text.
    pub(super) fn finish(mut draft: Vec<u8>, seal: &Seal, links: &Links) -> Bytes {
        draft[0] = if links.out.is_some() { FORMAT_REPLACED } else { FORMAT };
        draft[NONCE].copy_from_slice(&seal.nonce);
        draft[TAG].copy_from_slice(&seal.tag);
        draft[LINK].copy_from_slice(&links.link);
        if let Some(out) = &links.out {
            draft[OUT].copy_from_slice(out);
        }
        draft.into()
    }

    /// Reads a sealed payload.
    pub(super) fn parse(payload: &Bytes) -> Result<Self, NoRecord> {
        let (begin, replaced) = match payload.first() {
            None => return Err(NoRecord::Short),
            Some(&FORMAT) => (LINK.end, false),
            Some(&FORMAT_REPLACED) => (OUT.end, true),
            Some(&found) => return Err(NoRecord::Format { found }),
        };
        if payload.len() < begin {
            return Err(NoRecord::Short);
        }
        fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], NoRecord> {
            bytes.try_into().map_err(|_| NoRecord::Short)
        }
        let out = if replaced { Some(array(&payload[OUT])?) } else { None };
        Ok(Self {
            seal: Seal { nonce: array(&payload[NONCE])?, tag: array(&payload[TAG])? },
            links: Links { link: array(&payload[LINK])?, out },
            ciphertext: payload.slice(begin..),
        })
    }
}

pub(super) const LINK_BYTES: usize = 16;
const FORMAT: u8 = 1;
const FORMAT_REPLACED: u8 = 2;
const NONCE: std::ops::Range<usize> = 1..1 + NONCE_BYTES;
const TAG: std::ops::Range<usize> = NONCE.end..NONCE.end + AUTH_TAG_BYTES;
const LINK: std::ops::Range<usize> = TAG.end..TAG.end + LINK_BYTES;
const OUT: std::ops::Range<usize> = LINK.end..LINK.end + LINK_BYTES;
