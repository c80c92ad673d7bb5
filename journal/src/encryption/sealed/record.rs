use std::ops::Range;

use bytes::Bytes;

use crate::encryption::Seal;
use crate::encryption::cipher::{AUTH_TAG_BYTES, NONCE_BYTES};

/// A payload as it is stored once it is sealed.
///
/// ```text
///  ┌──────────┬──────────┬────────┬───────────┬─────────────────────┬───────────────────┐
///  │ format,1 │ nonce,12 │ tag,16 │ before,24 │ out,24: only in 2   │ ciphertext, rest  │
///  └──────────┴──────────┴────────┴───────────┴─────────────────────┴───────────────────┘
/// ```
///
/// `before` is the link of the event before. Its own link is not stored with it: its successor has it as `before`, that of the newest is in the mark. Format 1 has no
/// `out`: what comes next builds on its link. Format 2 is a record that was put in the place of another: its own link is new, and `out` is what
/// its successor was written upon, so that this one need not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record<T = Bytes> {
    pub(super) seal: Seal,
    /// What it stands upon.
    pub(super) before: Link,
    /// What its successor was written upon, when that is another than its own link.
    pub(super) out: Option<Link>,
    /// Shares the envelope's memory.
    pub(super) ciphertext: T,
}

/// Stands for an event and all that came before: 16 bytes that authenticate them, and the beginning of the event's tag.
pub(super) type Link = [u8; LINK_BYTES];

/// An event's place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Links {
    /// Of the record as it is.
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
    pub(super) const OVERHEAD: usize = OUT.end;

    /// A buffer with room for everything before the text, and the text, which begins at the number that is answered.
    pub(super) fn draft(text: &[u8], out: Option<&Link>) -> (Vec<u8>, usize) {
        let begin = if out.is_some() { OUT.end } else { BEFORE.end };
        let mut bytes = Vec::with_capacity(begin + text.len());
        bytes.resize(begin, 0);
        bytes.extend_from_slice(text);
        (bytes, begin)
    }

    /// Fills in what comes before the text.
    pub(super) fn finish(mut draft: Vec<u8>, seal: &Seal, before: &Link, out: Option<&Link>) -> Bytes {
        draft[0] = if out.is_some() { FORMAT_REPLACED } else { FORMAT };
        draft[NONCE].copy_from_slice(&seal.nonce);
        draft[TAG].copy_from_slice(&seal.tag);
        draft[BEFORE].copy_from_slice(before);
        if let Some(out) = out {
            draft[OUT].copy_from_slice(out);
        }
        draft.into()
    }

    /// Reads a sealed payload.
    pub(super) fn parse(payload: &Bytes) -> Result<Self, NoRecord> {
        let Record { seal, before, out, ciphertext } = Record::read(payload)?;
        Ok(Self { seal, before, out, ciphertext: payload.slice_ref(ciphertext) })
    }
}

impl<T> Record<T> {
    /// What is left when its text is somewhere else.
    pub(super) fn without_text(self) -> Record<()> {
        let Self { seal, before, out, .. } = self;
        Record { seal, before, out, ciphertext: () }
    }

    /// Whether it stands upon an event: upon what that says to its successor, or upon itself.
    pub(super) fn follows(&self, links: &Links) -> bool {
        self.before == *links.out() || self.before == links.link
    }

    /// Whether it stands upon a record that is authentic; that is known by the tag alone.
    pub(super) fn follows_record<U>(&self, record: &Record<U>) -> bool {
        self.before[AUTHENTIC_BYTES..] == record.seal.tag[..TAG_BYTES] || record.out == Some(self.before)
    }
}

impl<'a> Record<&'a [u8]> {
    /// The same without a share of the memory.
    pub(super) fn read(payload: &'a [u8]) -> Result<Self, NoRecord> {
        let (begin, replaced) = match payload.first() {
            None => return Err(NoRecord::Short),
            Some(&FORMAT) => (BEFORE.end, false),
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
            before: array(&payload[BEFORE])?,
            out,
            ciphertext: &payload[begin..],
        })
    }
}

/// Of an HMAC, of which a link has the first bytes.
pub(super) const AUTHENTIC_BYTES: usize = 16;
/// Of an event's tag.
pub(super) const TAG_BYTES: usize = 8;
pub(super) const LINK_BYTES: usize = AUTHENTIC_BYTES + TAG_BYTES;
const FORMAT: u8 = 1;
const FORMAT_REPLACED: u8 = 2;
const NONCE: Range<usize> = 1..1 + NONCE_BYTES;
const TAG: Range<usize> = NONCE.end..NONCE.end + AUTH_TAG_BYTES;
const BEFORE: Range<usize> = TAG.end..TAG.end + LINK_BYTES;
const OUT: Range<usize> = BEFORE.end..BEFORE.end + LINK_BYTES;
