use std::collections::BTreeSet;

use super::{Strategy, View};
use crate::Incarnation;

/// Whether there are members that some reach and others do not.
pub(super) fn is_there_any(view: &View) -> bool {
    !connected(view).is_empty()
}

/// Members that are found unreachable and yet take part: a split or a crash has none of them.
pub(super) fn connected(view: &View) -> BTreeSet<Incarnation> {
    &mutual(view) | &have_seen(view)
}

/// Both observers and subjects.
fn mutual(view: &View) -> BTreeSet<Incarnation> {
    let observers: BTreeSet<_> = view.records.iter().map(|(observer, _)| *observer).collect();
    view.records.iter().map(|(_, subject)| *subject).filter(|subject| observers.contains(subject)).collect()
}

/// Both ends of a record whose subject has seen the present state all the same.
fn have_seen(view: &View) -> BTreeSet<Incarnation> {
    let contradicted = view.records.iter().filter(|(_, subject)| view.seen.contains(subject));
    contradicted.flat_map(|(observer, subject)| [*observer, *subject]).collect()
}

/// Those members, and whom the strategy downs when what they say of each other is left out.
pub(super) fn to_down(
    strategy: &Strategy,
    view: &View,
    downable: &BTreeSet<Incarnation>,
) -> BTreeSet<Incarnation> {
    let connected = connected(view);
    let mut to_down = downable & &connected;
    if view.unreachable.is_subset(&connected) {
        return to_down;
    }
    let rest = without_their_records(view, downable);
    let verdict = strategy.decide(&rest);
    if verdict.is_indirect() {
        // A second time the same: nothing can be known, so nobody goes on.
        return downable.clone();
    }
    to_down.extend(strategy.to_down(&rest, verdict));
    to_down
}

fn without_their_records(view: &View, downable: &BTreeSet<Incarnation>) -> View {
    let (mutual, have_seen) = (mutual(view), have_seen(view));
    let mut rest = view.clone();
    rest.records.retain(|(observer, subject)| {
        let both = |set: &BTreeSet<Incarnation>| set.contains(observer) && set.contains(subject);
        both(downable) && !both(&mutual) && !both(&have_seen)
    });
    rest.unreachable = rest.records.iter().map(|(_, subject)| *subject).collect();
    rest
}
