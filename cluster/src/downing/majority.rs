use super::view::Counted;
use super::{Verdict, View, ViewMember};
use crate::flaw::{Flaw, Flaws};

/// The larger side; of two equal ones that with the lowest address.
pub(super) fn decide(view: &View, role: Option<&str>, flaws: Flaws) -> Verdict {
    let verdict =
        larger(view, view.sides(role, Counted::CERTAIN), view.counted(role, Counted::CERTAIN).next(), flaws);
    if verdict != Verdict::DownUnreachable {
        return verdict;
    }
    // A member may have come up or left on the other side just before the split, which this side has not heard: only a majority in
    // spite of it is one.
    let sure = Counted { joining: false, leaving: false };
    let (mine, _) = view.sides(role, sure);
    let (_, theirs) = view.sides(role, Counted { joining: true, leaving: true });
    let verdict = larger(view, (mine, theirs), view.counted(role, sure).next(), flaws);
    if verdict == Verdict::DownUnreachable { verdict } else { Verdict::DownAll }
}

fn larger(view: &View, (mine, theirs): (usize, usize), lowest: Option<&ViewMember>, flaws: Flaws) -> Verdict {
    let Some(lowest) = lowest else { return Verdict::DownAll };
    let wins = match mine.cmp(&theirs) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => !view.is_unreachable(lowest) || flaws.has(Flaw::TieGoesOn),
        std::cmp::Ordering::Less => flaws.has(Flaw::MinorityGoesOn),
    };
    if wins { Verdict::DownUnreachable } else { Verdict::DownReachable }
}

/// Whether the own side is the smaller one.
pub(super) fn is_smaller(view: &View, role: Option<&str>) -> bool {
    let (mine, theirs) = view.sides(role, Counted::CERTAIN);
    let lowest_is_there =
        || view.counted(role, Counted::CERTAIN).next().is_some_and(|lowest| view.is_unreachable(lowest));
    mine < theirs || (mine == theirs && lowest_is_there())
}
