use super::sent::Entry;
use crate::PersistenceId;

/// An id that most of the waiting entries are of, while others wait, too.
///
/// ```text
/// waiting            h h h a h h b h h h h c h h …   (156 of h, 100 of others)
/// this commit        100 of h and the 100 of others, each id's in their order
/// the next one       what is left of h, and who came meanwhile
/// ```
/// A commit takes as long as all that is in it, and what it puts into the file has to be copied once more: whoever has one command in
/// flight would wait for hundreds of somebody else's, time and again.
pub(super) struct Crowd {
    id: PersistenceId,
    /// How many of its entries are still let into the commit.
    may_go: usize,
}

/// When a call is committed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    Later,
    /// And all that come behind it, because they may have to stay behind it.
    LaterWithAll,
}

impl Crowd {
    /// `ids` are those of the waiting entries, one for each.
    pub(super) fn among<'a>(ids: impl Iterator<Item = &'a PersistenceId> + Clone) -> Option<Self> {
        // Who is left when each meets one of another id is the only one that can be more than half.
        let (mut of_most, mut ahead, mut all) = (None, 0_usize, 0_usize);
        for id in ids.clone() {
            all += 1;
            if of_most == Some(id) {
                ahead += 1;
            } else if ahead == 0 {
                (of_most, ahead) = (Some(id), 1);
            } else {
                ahead -= 1;
            }
        }
        let id = of_most.filter(|_| ahead < all)?;
        let others = ids.filter(|other| *other != id).count();
        let may_go = others.max(ALWAYS_LET_IN);
        (may_go < all - others).then(|| Self { id: id.clone(), may_go })
    }

    /// When a call is committed that has these entries.
    pub(super) fn turn(&mut self, entries: &[impl Entry]) -> Turn {
        let of_crowd = entries.iter().filter(|entry| *entry.persistence_id() == self.id).count();
        if of_crowd == 0 {
            return Turn::Now;
        }
        if self.may_go > 0 {
            // A list goes whole, so that it goes at all.
            self.may_go = self.may_go.saturating_sub(of_crowd);
            return Turn::Now;
        }
        if of_crowd == entries.len() { Turn::Later } else { Turn::LaterWithAll }
    }
}

/// So many entries of one id go into a commit however few are of others: they cost it little.
pub(super) const ALWAYS_LET_IN: usize = 64;
