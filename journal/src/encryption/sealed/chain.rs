use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::record::{AUTHENTIC_BYTES, LINK_BYTES, Link, Links, TAG_BYTES};
use crate::encryption::{KeyBytes, Seal};
use crate::{Head, Mark, PersistenceId, SeqNr};

/// What links an id's events, each to the one before, under the journal's chain key.
///
/// ```text
///  begins(id, n)  = HMAC(k1, n, id), 24                                            what the first sealed event builds on, n before it
///  link           = HMAC(k2, context | nonce | tag | ciphertext), 16 | tag, 8      the context has the link before
///  mark           = link | HMAC(k3, number of the newest event, its link, id), 8   beside the head
///  deletion       = HMAC(k4, bound, the link at the bound, id), 16                 in a record of its own
/// ```
///
/// k1 to k4 are HMACs of the chain key over their names; each is SHA-256's, cut to so many bytes. The context is that of the seal, so a link
/// authenticates every field and every byte of an event, and through the link before all that came earlier; no data key is needed to check it.
///
/// Who has the data key need not compute it: an event whose seal is right is the one that was sealed with that tag, and its successor's seal is right
/// with its tag in its context alone. So replays compare tags, and compute the link of the newest event, and those where they change over from
/// one piece to another.
#[derive(Clone)]
pub(super) struct Chain {
    begins: Hmac<Sha256>,
    links: Hmac<Sha256>,
    marks: Hmac<Sha256>,
    deletions: Hmac<Sha256>,
}

impl Chain {
    pub(super) fn new(key: &KeyBytes) -> Self {
        let of = |name: &str| {
            let mut subkey = keyed(key.as_bytes());
            subkey.update(name.as_bytes());
            keyed(subkey.finalize().as_bytes())
        };
        Self {
            begins: of("annals chain begins"),
            links: of("annals chain link"),
            marks: of("annals chain mark"),
            deletions: of("annals chain deletion"),
        }
    }

    /// What the first sealed event of an id builds on when this many come before it; also what stands for a plain event in the chain.
    pub(super) fn begins(&self, id: &PersistenceId, before: SeqNr) -> Link {
        let mut mac = self.begins.clone();
        mac.update(&before.get().to_be_bytes());
        mac.update(id.as_str().as_bytes());
        cut(mac)
    }

    /// The link of an event whose context says what it stands upon.
    pub(super) fn link(&self, context: &[u8], seal: &Seal, ciphertext: &[u8]) -> Link {
        let mut mac = self.links.clone();
        mac.update(context);
        mac.update(&seal.nonce);
        mac.update(&seal.tag);
        mac.update(ciphertext);
        let mut link = [0; LINK_BYTES];
        link[..AUTHENTIC_BYTES].copy_from_slice(&cut::<AUTHENTIC_BYTES>(mac));
        link[AUTHENTIC_BYTES..].copy_from_slice(&seal.tag[..TAG_BYTES]);
        link
    }

    /// The mark of an id whose newest event has this number and this link.
    pub(super) fn mark(&self, id: &PersistenceId, newest: SeqNr, link: &Link) -> Mark {
        let mut bytes = [0; Mark::BYTES];
        let (first, second) = bytes.split_at_mut(LINK_BYTES);
        first.copy_from_slice(link);
        second.copy_from_slice(&cut::<MARK_BYTES>(self.mark_mac(id, newest, link)));
        Mark::from_bytes(bytes)
    }

    /// The link in a head's mark; `Ok(None)` when there is no mark.
    ///
    /// # Errors
    /// When the mark is not one that was made for this id and this number.
    pub(super) fn newest(&self, id: &PersistenceId, head: &Head) -> Result<Option<Link>, ForeignMark> {
        let Some(mark) = head.mark else { return Ok(None) };
        let (link, authentic) = mark.as_bytes().split_at(LINK_BYTES);
        let link: Link = link.try_into().map_err(|_| ForeignMark)?;
        let mac = self.mark_mac(id, head.seq_nr, &link);
        mac.verify_truncated_left(authentic).map(|()| Some(link)).map_err(|_| ForeignMark)
    }

    fn mark_mac(&self, id: &PersistenceId, newest: SeqNr, link: &Link) -> Hmac<Sha256> {
        let mut mac = self.marks.clone();
        mac.update(&newest.get().to_be_bytes());
        mac.update(link);
        mac.update(id.as_str().as_bytes());
        mac
    }

    /// Authenticates that an id's events may be deleted up to a bound, and the links there.
    pub(super) fn deletion(&self, id: &PersistenceId, bound: SeqNr, links: &Links) -> [u8; 16] {
        let mut mac = self.deletions.clone();
        mac.update(&bound.get().to_be_bytes());
        mac.update(&links.link);
        mac.update(links.out());
        mac.update(id.as_str().as_bytes());
        cut(mac)
    }
}

/// A mark that does not belong to the head beside which it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ForeignMark;

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chain(..)")
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length.
    Hmac::new_from_slice(key).expect("32 bytes are a key")
}

/// The first bytes; there are 32.
fn cut<const BYTES: usize>(mac: Hmac<Sha256>) -> [u8; BYTES] {
    let whole = mac.finalize().into_bytes();
    let mut first = [0; BYTES];
    first.copy_from_slice(&whole[..BYTES]);
    first
}

/// Whoever wants to guess them has to have a mark looked at for each guess.
const MARK_BYTES: usize = Mark::BYTES - LINK_BYTES;
