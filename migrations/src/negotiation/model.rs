//! All interleavings of two processes on one journal, each of which may be suspended and crash at any point, and many of three.
//!
//! A look reads the registrations and then the watermark, two steps; a change is one. A lease ends when the model says so, so every order
//! of "expired" and "still at work" is met.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Duration;

use annals_journal::{Manifest, Revision, Timestamp, WriterId};

use super::membership::{Answer, Change, Membership, Outcome, Request};
use super::{Announcement, Process, VersionTable, Watermark};
use crate::{Form, Versions};

/// A step that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Flaw {
    /// Who enters does not look again after it has registered.
    TrustsTheFirstLook,
    /// Who enters goes on beside the mark of someone who raises.
    IgnoresMarks,
    /// Who raises does not mark and look again.
    LooksBeforeItMarks,
    /// Who raises leaves the registration of a process whose lease has ended.
    PassesOverWithoutRemoving,
    /// Who raises does not say beforehand what it will write.
    DoesNotAnnounce,
    /// Who lets a version be written again forgets that it is stored.
    CancelsAsGone,
}

/// What a process of the model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Enters and serves; reads version 1.
    Older,
    /// Enters, and writes version 2; reads both.
    Newer,
    /// Removes version 2, or gives that up.
    Rewrite,
    /// Lets version 2 be written again that another one was removing.
    Undo,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    actors: Vec<Actor>,
    processes: BTreeMap<WriterId, (Revision, Process)>,
    watermark: Option<(Revision, Watermark)>,
    /// The last revision of each record, the watermark's at the end.
    last: Vec<u64>,
    /// Version 2 is in the journal.
    written: bool,
    /// It was let be written again.
    cancelled: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Actor {
    membership: Membership,
    does: Does,
    /// The registrations, of a look that has not seen the watermark.
    looking: Option<BTreeMap<WriterId, (Revision, Process)>>,
    suspended: bool,
    renewed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Does {
    Enter,
    Serve,
    Raise,
    Renew,
    MarkLeaving,
    EndLeaving,
    CancelLeaving,
    Over,
}

struct Model {
    parts: Vec<Part>,
    flaw: Option<Flaw>,
    seen: HashSet<u64>,
    hasher: RandomState,
    ends: BTreeSet<String>,
}

fn form(version: u32) -> Form {
    Form::new(Manifest::new("a.b").unwrap(), version)
}

fn id(place: usize) -> WriterId {
    WriterId::from_bytes([u8::try_from(place).unwrap() + 1; 16])
}

impl Part {
    fn hosts(self) -> bool {
        matches!(self, Self::Older | Self::Newer)
    }
}

impl Model {
    fn new(parts: &[Part], flaw: Option<Flaw>) -> Self {
        Self {
            parts: parts.to_vec(),
            flaw,
            seen: HashSet::new(),
            hasher: RandomState::new(),
            ends: BTreeSet::new(),
        }
    }

    /// Looks at all that can happen; the first thing that must not is the error.
    fn explore(&mut self) -> Result<(), String> {
        let mut todo = vec![self.start()];
        while let Some(world) = todo.pop() {
            let mut next = Vec::new();
            for place in 0..world.actors.len() {
                self.step(&world, place, &mut next)?;
            }
            for world in next {
                self.check(&world)?;
                if self.seen.insert(self.hasher.hash_one(&world)) {
                    todo.push(world);
                }
            }
        }
        Ok(())
    }

    /// Looks at some of what can happen, in an order that follows from the seed.
    fn walk(&mut self, seed: u64) -> Result<(), String> {
        let (mut world, mut drawn) = (self.start(), seed);
        loop {
            let mut next = Vec::new();
            for place in 0..world.actors.len() {
                self.step(&world, place, &mut next)?;
            }
            if next.is_empty() {
                return Ok(());
            }
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Most of the time nobody crashes.
            let over = |world: &World| world.actors.iter().filter(|actor| actor.does == Does::Over).count();
            if drawn >> 59 != 0 && next.iter().any(|next| over(next) == over(&world)) {
                next.retain(|next| over(next) == over(&world));
            }
            let chosen = usize::try_from(drawn >> 33).unwrap() % next.len();
            world = next.swap_remove(chosen);
            self.check(&world)?;
        }
    }

    fn start(&self) -> World {
        let actors = self.parts.iter().enumerate().map(|(place, part)| {
            let mut announcement = Announcement::new(format!("{place}"));
            let reads = if *part == Part::Older { 1..=1 } else { 1..=2 };
            if part.hosts() {
                let manifest = form(1).manifest;
                announcement.hosts("a", &[Versions { manifest, reads, writes: vec![] }]);
            }
            let mut membership = Membership::new(id(place), announcement, Duration::from_secs(1));
            membership.flaw = self.flaw;
            membership.enter(BTreeSet::from([form(1), form(2)]));
            Actor { membership, does: Does::Enter, looking: None, suspended: false, renewed: false }
        });
        let stored = BTreeSet::from([1]);
        World {
            actors: actors.collect(),
            processes: BTreeMap::new(),
            watermark: Some((Revision(1), Watermark { stored, ..Watermark::of("a") })),
            last: vec![1; self.parts.len() + 1],
            written: false,
            cancelled: false,
        }
    }

    /// What can happen next with one process.
    fn step(&mut self, world: &World, place: usize, next: &mut Vec<World>) -> Result<(), String> {
        let actor = &world.actors[place];
        // Its lease ends, once; it matters for those who are passed over.
        if !actor.suspended
            && self.parts[place].hosts()
            && let Some((revision, process)) = world.processes.get(&id(place))
        {
            let mut world = world.clone();
            let over = Process { until: Timestamp::from_micros(0), ..process.clone() };
            world.processes.insert(id(place), (*revision, over));
            world.actors[place].suspended = true;
            next.push(world);
        }
        if actor.does == Does::Over {
            return Ok(());
        }
        let mut world = world.clone();
        match actor.membership.request() {
            Request::Done(outcome) => return self.done(&world, place, outcome, next),
            Request::Pause => world.actors[place].membership.answer(Answer::Paused),
            Request::Look => match world.actors[place].looking.take() {
                None => world.actors[place].looking = Some(world.processes.clone()),
                Some(processes) => {
                    let watermarks = world
                        .watermark
                        .iter()
                        .map(|watermark| (form(1).manifest, watermark.clone()))
                        .collect();
                    let now = Timestamp::from_micros(1);
                    let table = VersionTable { now, processes, watermarks, ..VersionTable::default() };
                    world.actors[place].membership.answer(Answer::Seen(&table));
                }
            },
            Request::Change(change) => {
                let made = world.change(change);
                world.actors[place].membership.answer(Answer::Changed(made));
            }
        }
        next.push(world);
        // It crashes instead.
        let mut crashed = world_of(next);
        crashed.actors[place].does = Does::Over;
        crashed.actors[place].looking = None;
        next.push(crashed);
        Ok(())
    }

    fn done(
        &mut self,
        world: &World,
        place: usize,
        outcome: Outcome,
        next: &mut Vec<World>,
    ) -> Result<(), String> {
        let (part, does) = (self.parts[place], world.actors[place].does);
        let mut go = |does: Does, begin: &dyn Fn(&mut Membership)| {
            let mut world = world.clone();
            world.actors[place].does = does;
            world.actors[place].renewed |= does == Does::Renew;
            begin(&mut world.actors[place].membership);
            next.push(world);
        };
        let wanted = || BTreeSet::from([form(1), form(2)]);
        match (does, outcome) {
            (_, Outcome::Lost) => go(Does::Enter, &|membership| membership.enter(wanted())),
            (Does::Enter, Outcome::Unreadable(_)) => {
                self.ends.insert(format!("{part:?} refused"));
                go(Does::Over, &|_| {});
            }
            (Does::Enter, Outcome::Entered) => {
                self.ends.insert(format!("{part:?} entered"));
                match part {
                    Part::Older => go(Does::Serve, &|_| {}),
                    Part::Newer => go(Does::Raise, &|membership| membership.clear("a", form(2))),
                    Part::Rewrite => {
                        go(Does::MarkLeaving, &|membership| membership.begin_leaving(vec![form(2)]));
                    }
                    Part::Undo => {
                        go(Does::CancelLeaving, &|membership| membership.cancel_leaving(vec![form(2)]));
                    }
                }
            }
            (Does::Raise, Outcome::Refused(_)) => {
                self.ends.insert("raise refused".to_owned());
                go(Does::Serve, &|_| {});
            }
            (Does::MarkLeaving, Outcome::Refused(_)) => {
                self.ends.insert("leaving refused".to_owned());
                go(Does::CancelLeaving, &|membership| membership.give_up_leaving(vec![form(2)]));
            }
            (Does::MarkLeaving, Outcome::Leaving) => {
                // Something has to stay.
                go(Does::CancelLeaving, &|membership| membership.give_up_leaving(vec![form(2)]));
                // The rewrite: every event of version 2 is made one of version 1.
                let mut world = world.clone();
                world.written = false;
                world.actors[place].does = Does::EndLeaving;
                world.actors[place].membership.end_leaving(vec![form(2)]);
                next.push(world);
                self.ends.insert("rewritten".to_owned());
            }
            (Does::EndLeaving, Outcome::Done) => go(Does::Over, &|_| {}),
            (Does::CancelLeaving, Outcome::Done) => {
                let mut world = world.clone();
                (world.cancelled, world.actors[place].does) = (true, Does::Over);
                self.ends.insert("kept".to_owned());
                next.push(world);
            }
            (Does::Raise | Does::Renew, _) => go(Does::Serve, &|_| {}),
            (Does::Serve, _) => {
                let actor = &world.actors[place];
                // Once more, when it was away: it must learn what has happened.
                if actor.suspended && !actor.renewed {
                    go(Does::Renew, &|membership| membership.renew());
                }
                if actor.membership.writes().contains(&form(2)) && !world.written {
                    let registered = world.processes.contains_key(&id(place));
                    let stored = world.watermark.iter().any(|(_, watermark)| watermark.stored.contains(&2));
                    if registered && !stored {
                        return Err("a version is written that the watermark does not know".to_owned());
                    }
                    let mut world = world.clone();
                    // Who was removed may be late by one write; that one is fenced, or its entity fails typed.
                    world.written = registered;
                    if world.cancelled {
                        self.ends.insert("written after it was let be written again".to_owned());
                    }
                    next.push(world);
                    self.ends.insert("written".to_owned());
                }
            }
            (Does::Enter | Does::MarkLeaving | Does::EndLeaving | Does::CancelLeaving | Does::Over, _) => {}
        }
        Ok(())
    }

    fn check(&self, world: &World) -> Result<(), String> {
        let stored = world.watermark.iter().flat_map(|(_, watermark)| &watermark.stored);
        let highest = stored.max().copied().unwrap_or_default();
        if world.written && highest < 2 {
            return Err("a version is stored that the watermark does not know".to_owned());
        }
        for (place, actor) in world.actors.iter().enumerate() {
            let serves = matches!(actor.does, Does::Serve | Does::Raise | Does::Renew);
            let unread = self.parts[place] == Part::Older && highest > 1;
            if serves && unread && world.processes.contains_key(&id(place)) {
                return Err("a process serves, is registered, and cannot read what is stored".to_owned());
            }
        }
        Ok(())
    }
}

fn world_of(next: &[World]) -> World {
    next.last().cloned().expect("one was pushed the line before")
}

impl World {
    fn change(&mut self, change: Change) -> Option<Revision> {
        let place = match &change {
            Change::Process { id, .. } => usize::from(id.as_bytes()[0] - 1),
            Change::Watermark { .. } => self.last.len() - 1,
        };
        let made = Revision(self.last[place] + 1);
        match change {
            Change::Process { id, expected, value } => {
                if self.processes.get(&id).map(|(revision, _)| *revision) != expected {
                    return None;
                }
                match value {
                    Some(value) => self.processes.insert(id, (made, value)),
                    None => self.processes.remove(&id),
                };
            }
            Change::Watermark { expected, value, .. } => {
                if self.watermark.as_ref().map(|(revision, _)| *revision) != expected {
                    return None;
                }
                self.watermark = Some((made, value));
            }
        }
        self.last[place] += 1;
        Some(made)
    }
}

fn explore(parts: &[Part], flaw: Option<Flaw>) -> (Result<(), String>, Model) {
    let mut model = Model::new(parts, flaw);
    let result = model.explore();
    println!("{parts:?} {flaw:?}: {} states, {result:?}, {:?}", model.seen.len(), model.ends);
    (result, model)
}

#[test]
fn of_one_that_enters_and_one_that_raises_each_sees_the_other_or_is_seen() {
    let (result, model) = explore(&[Part::Older, Part::Newer], None);
    assert_eq!(result, Ok(()));
    for end in ["Older entered", "Older refused", "Newer entered", "raise refused", "written"] {
        assert!(model.ends.contains(end), "never met: {end}");
    }
}

#[test]
fn a_rewrite_never_lowers_the_mark_under_one_who_may_write_above_it() {
    let (result, model) = explore(&[Part::Newer, Part::Rewrite], None);
    assert_eq!(result, Ok(()));
    for end in ["rewritten", "written", "leaving refused", "written after it was let be written again"] {
        assert!(model.ends.contains(end), "never met: {end}");
    }
}

#[test]
fn of_one_that_removes_and_one_that_lets_it_be_neither_forgets_what_is_stored() {
    let (result, model) = explore(&[Part::Rewrite, Part::Undo], None);
    assert_eq!(result, Ok(()));
    assert!(model.ends.contains("rewritten") && model.ends.contains("kept"));
}

#[test]
fn each_step_that_is_left_out_is_noticed() {
    use Flaw::*;
    for (flaw, parts) in [
        (TrustsTheFirstLook, [Part::Older, Part::Newer]),
        (IgnoresMarks, [Part::Older, Part::Newer]),
        (LooksBeforeItMarks, [Part::Older, Part::Newer]),
        (PassesOverWithoutRemoving, [Part::Older, Part::Newer]),
        (DoesNotAnnounce, [Part::Newer, Part::Rewrite]),
        (CancelsAsGone, [Part::Newer, Part::Rewrite]),
    ] {
        assert!(explore(&parts, Some(flaw)).0.is_err(), "{flaw:?} is not noticed");
    }
}

#[test]
fn three_and_four_at_a_time_keep_to_it_too() {
    use Part::{Newer, Older, Rewrite, Undo};
    for parts in [
        &[Older, Newer, Newer][..],
        &[Older, Newer, Older],
        &[Older, Newer, Rewrite],
        &[Newer, Rewrite, Undo],
        &[Newer, Rewrite, Rewrite],
        &[Newer, Rewrite, Undo, Rewrite],
    ] {
        let mut model = Model::new(parts, None);
        for seed in 0..100 {
            assert_eq!(model.walk(seed), Ok(()), "{parts:?}, seed {seed}");
        }
        let other = if parts.contains(&Older) { "raise refused" } else { "rewritten" };
        assert!(model.ends.contains("written") && model.ends.contains(other), "{:?}", model.ends);
    }
}
