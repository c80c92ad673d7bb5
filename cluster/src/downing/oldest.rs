use super::view::Counted;
use super::{Verdict, View, ViewMember};

/// The side of the oldest, unless it is alone and may not be.
pub(super) fn decide(view: &View, down_if_alone: bool, role: Option<&str>) -> Verdict {
    let certain = Counted::CERTAIN;
    let verdict = of(view, oldest(view, role, certain), view.sides(role, certain), down_if_alone);
    if verdict != Verdict::DownUnreachable {
        return verdict;
    }
    // The oldest may be exiting on the other side already, and joining members may be up: only the same verdict in spite of it counts.
    let sure = Counted { joining: false, leaving: false };
    let sides = view.sides(role, Counted { joining: down_if_alone, leaving: false });
    let verdict = of(view, oldest(view, role, sure), sides, down_if_alone);
    if verdict == Verdict::DownUnreachable { verdict } else { Verdict::DownAll }
}

fn oldest<'a>(view: &'a View, role: Option<&'a str>, counted: Counted) -> Option<&'a ViewMember> {
    // Without an age it never was up, and is younger than all that were.
    view.counted(role, counted)
        .min_by_key(|member| (member.age.unwrap_or(u32::MAX), member.address().clone()))
}

fn of(
    view: &View,
    oldest: Option<&ViewMember>,
    (mine, theirs): (usize, usize),
    down_if_alone: bool,
) -> Verdict {
    let Some(oldest) = oldest else { return Verdict::DownAll };
    let stays = if view.is_unreachable(oldest) {
        down_if_alone && theirs == 1 && mine >= 2
    } else {
        !(down_if_alone && mine == 1 && theirs >= 2)
    };
    if stays { Verdict::DownUnreachable } else { Verdict::DownReachable }
}
