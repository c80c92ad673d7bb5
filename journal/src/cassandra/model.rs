//! The protocol of writers and readers (see `ticket.rs` and `pages.rs`) on three replicas, each of which hears of each write at its own time or
//! never; and what each of its rules is for: without it a reader misses an event.
//!
//! Writers, readers and messages take steps in any order, drawn from a seed. What is written on a condition is one step: that it is
//! linearizable is the servers' part.

use std::collections::{BTreeMap, BTreeSet};

/// What a rule says; [`broken`] leaves one out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// A writer's intents are at a quorum before it reads the floor.
    IntentsBeforeFloor,
    /// They are at a quorum, not at one replica.
    IntentsAtQuorum,
    /// A writer whose ticket is not above the floor takes another.
    FloorIsMinded,
    /// The newest ticket is at a quorum before anything is written under it.
    NewestIsKnown,
    /// A reader's floor is at a quorum before it reads intents.
    FloorBeforeIntents,
    /// It is at a quorum, not at one replica.
    FloorAtQuorum,
    /// A reader forbids what is open before it passes it.
    OpenIsForbidden,
    /// What is forbidden is not written.
    VersionIsMinded,
}

const REPLICAS: usize = 3;
const QUORUM: usize = 2;

#[derive(Debug, Default, Clone)]
struct Replica {
    floor: u64,
    newest: u64,
    intents: BTreeSet<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Mutation {
    Floor(u64),
    Newest(u64),
    Intent(u64),
}

/// A write on its way to replicas; which have it.
#[derive(Debug)]
struct Sent {
    mutation: Mutation,
    has: [bool; REPLICAS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    /// Waits for these two writes (numbers of `Sent`).
    Announced(usize, usize),
    /// Has asked so many replicas, and this was the highest floor.
    Asked(usize, u64),
    Write,
    Done,
}

#[derive(Debug)]
struct Writer {
    stage: Stage,
    ticket: u64,
    /// Whether the reading of the floor is over, where it comes first.
    asked_first: bool,
    stream: usize,
    clock: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reading {
    Begin,
    Newest(usize, u64),
    Floor(u64, usize),
    Intents(u64, usize, BTreeSet<u64>),
    Resolve(u64, BTreeSet<u64>, BTreeSet<u64>),
}

/// A page that was given.
#[derive(Debug)]
struct Given {
    complete_to: u64,
    shown: BTreeSet<u64>,
    /// What was answered when the page began.
    answered: BTreeSet<u64>,
}

#[derive(Debug, Default, Clone)]
struct Stream {
    floor: u64,
    events: BTreeSet<u64>,
}

struct World {
    left_out: Option<Rule>,
    random: u64,
    replicas: [Replica; REPLICAS],
    sent: Vec<Sent>,
    streams: [Stream; 2],
    /// Whose ticket it is: a ticket is for one stream.
    of: BTreeMap<u64, usize>,
    writers: Vec<Writer>,
    readers: Vec<(Reading, BTreeSet<u64>, u32)>,
    given: Vec<Given>,
    answered: BTreeSet<u64>,
}

impl World {
    fn new(left_out: Option<Rule>, seed: u64) -> Self {
        let mut world = Self {
            left_out,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            replicas: Default::default(),
            sent: Vec::new(),
            streams: Default::default(),
            of: BTreeMap::new(),
            writers: Vec::new(),
            readers: vec![(Reading::Begin, BTreeSet::new(), 0), (Reading::Begin, BTreeSet::new(), 0)],
            given: Vec::new(),
            answered: BTreeSet::new(),
        };
        for n in 0..3 {
            let clock = 10 + world.below(8) as u64;
            let stage = Stage::Begin;
            world.writers.push(Writer { stage, ticket: 0, asked_first: false, stream: n % 2, clock });
        }
        world
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.left_out != Some(rule)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 20) as usize % bound
    }

    fn send(&mut self, mutation: Mutation) -> usize {
        self.sent.push(Sent { mutation, has: [false; REPLICAS] });
        self.sent.len() - 1
    }

    fn is_at(&self, sent: usize, replicas: usize) -> bool {
        self.sent[sent].has.iter().filter(|has| **has).count() >= replicas
    }

    /// Some message arrives somewhere.
    fn deliver(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let (sent, replica) = (self.below(self.sent.len()), self.below(REPLICAS));
        let Sent { mutation, has } = &mut self.sent[sent];
        has[replica] = true;
        let replica = &mut self.replicas[replica];
        match *mutation {
            Mutation::Floor(floor) => replica.floor = replica.floor.max(floor),
            Mutation::Newest(newest) => replica.newest = replica.newest.max(newest),
            Mutation::Intent(ticket) => drop(replica.intents.insert(ticket)),
        }
    }

    fn step(&mut self) {
        match self.below(10) {
            0..5 => self.deliver(),
            5..8 => {
                let writer = self.below(self.writers.len());
                self.write(writer);
            }
            _ => {
                let reader = self.below(self.readers.len());
                self.read(reader);
            }
        }
    }

    fn write(&mut self, n: usize) {
        let Writer { stage, ticket, asked_first, stream, clock } = self.writers[n];
        self.writers[n].stage = match stage {
            Stage::Begin if !self.keeps(Rule::IntentsBeforeFloor) && !asked_first => Stage::Asked(0, 0),
            Stage::Begin => {
                let mut ticket = clock.max(ticket + 1);
                while self.of.contains_key(&ticket) {
                    ticket += 1;
                }
                self.of.insert(ticket, stream);
                self.writers[n].ticket = ticket;
                let intent = self.send(Mutation::Intent(ticket));
                Stage::Announced(intent, self.send(Mutation::Newest(ticket)))
            }
            Stage::Announced(intent, newest) => {
                let enough = if self.keeps(Rule::IntentsAtQuorum) { QUORUM } else { 1 };
                let known = if self.keeps(Rule::NewestIsKnown) { QUORUM } else { 0 };
                match self.is_at(intent, enough) && self.is_at(newest, known) {
                    false => stage,
                    true if asked_first => Stage::Write,
                    true => Stage::Asked(0, 0),
                }
            }
            // Two neighbours, others for each ticket.
            Stage::Asked(count, floor) if count < QUORUM => {
                let replica = (ticket as usize + n + count) % REPLICAS;
                Stage::Asked(count + 1, floor.max(self.replicas[replica].floor))
            }
            Stage::Asked(_, floor) if !self.keeps(Rule::IntentsBeforeFloor) => {
                self.writers[n].asked_first = true;
                self.writers[n].clock = clock.max(floor + 1);
                Stage::Begin
            }
            Stage::Asked(_, floor) if floor >= ticket && self.keeps(Rule::FloorIsMinded) => {
                self.writers[n].clock = floor + 1;
                Stage::Begin
            }
            Stage::Asked(..) => Stage::Write,
            Stage::Write => {
                let state = &mut self.streams[stream];
                if state.floor >= ticket && self.left_out != Some(Rule::VersionIsMinded) {
                    self.writers[n].clock = state.floor + 1;
                    self.writers[n].asked_first = false;
                    Stage::Begin
                } else {
                    state.floor = state.floor.max(ticket);
                    state.events.insert(ticket);
                    self.answered.insert(ticket);
                    Stage::Done
                }
            }
            Stage::Done => Stage::Done,
        };
    }

    fn read(&mut self, n: usize) {
        let (reading, answered, pages) = self.readers[n].clone();
        // Two neighbours, other ones for each page.
        let ask = |count: usize| (n + pages as usize + count) % REPLICAS;
        self.readers[n].0 = match reading {
            Reading::Begin => {
                self.readers[n].1 = self.answered.clone();
                Reading::Newest(0, 0)
            }
            Reading::Newest(count, newest) if count < QUORUM => {
                Reading::Newest(count + 1, newest.max(self.replicas[ask(count)].newest))
            }
            Reading::Newest(_, newest) if self.keeps(Rule::FloorBeforeIntents) => {
                Reading::Floor(newest, self.send(Mutation::Floor(newest)))
            }
            Reading::Newest(_, newest) => Reading::Intents(newest, 0, BTreeSet::new()),
            Reading::Floor(newest, sent) => {
                let enough = if self.keeps(Rule::FloorAtQuorum) { QUORUM } else { 1 };
                match self.is_at(sent, enough) {
                    true => Reading::Intents(newest, 0, BTreeSet::new()),
                    false => reading,
                }
            }
            Reading::Intents(newest, count, mut found) if count < QUORUM => {
                found.extend(self.replicas[ask(count)].intents.range(..=newest));
                Reading::Intents(newest, count + 1, found)
            }
            Reading::Intents(newest, _, found) => {
                if !self.keeps(Rule::FloorBeforeIntents) {
                    self.send(Mutation::Floor(newest));
                }
                Reading::Resolve(newest, found, BTreeSet::new())
            }
            Reading::Resolve(newest, mut open, mut shown) => match open.pop_first() {
                None => {
                    self.given.push(Given { complete_to: newest, shown, answered });
                    self.readers[n].2 += 1;
                    Reading::Begin
                }
                Some(ticket) => {
                    let forbid = self.keeps(Rule::OpenIsForbidden);
                    let stream = &mut self.streams[self.of[&ticket]];
                    if stream.events.contains(&ticket) {
                        shown.insert(ticket);
                    } else if stream.floor < ticket && forbid {
                        stream.floor = ticket;
                    }
                    Reading::Resolve(newest, open, shown)
                }
            },
        };
    }

    /// What a reader missed.
    fn missed(&self) -> Option<String> {
        let stored: BTreeSet<u64> =
            self.streams.iter().flat_map(|stream| stream.events.iter().copied()).collect();
        for given in &self.given {
            let behind = stored.range(..=given.complete_to).find(|event| !given.shown.contains(event));
            if let Some(event) = behind {
                return Some(format!("{event} appeared behind {given:?}"));
            }
            if let Some(event) = given.answered.iter().find(|event| **event > given.complete_to) {
                return Some(format!("{event} was answered before {given:?} began"));
            }
        }
        None
    }
}

/// What goes wrong without a rule, in so many histories.
fn broken(left_out: Option<Rule>, seeds: u64) -> Option<String> {
    (1..=seeds).find_map(|seed| {
        let mut world = World::new(left_out, seed);
        for _ in 0..160 {
            world.step();
        }
        world.missed().map(|missed| format!("seed {seed}: {missed}"))
    })
}

#[test]
fn a_reader_misses_nothing() {
    assert_eq!(broken(None, 20_000), None);
    let pages: usize = (1..200)
        .map(|seed| {
            let mut world = World::new(None, seed);
            (0..160).for_each(|_| world.step());
            world.given.iter().filter(|given| !given.shown.is_empty()).count()
        })
        .sum();
    assert!(pages > 50, "readers saw something in {pages} pages only");
}

macro_rules! without {
    ($($name:ident: $rule:ident)*) => {
        $(#[test]
        fn $name() {
            assert!(broken(Some(Rule::$rule), 20_000).is_some(), "nothing rests on {:?}", Rule::$rule);
        })*
    };
}

without! {
    without_intents_before_the_floor_is_read_a_reader_misses_an_event: IntentsBeforeFloor
    without_intents_at_a_quorum_a_reader_misses_an_event: IntentsAtQuorum
    without_minding_the_floor_a_reader_misses_an_event: FloorIsMinded
    without_the_newest_ticket_at_a_quorum_a_reader_misses_an_event: NewestIsKnown
    without_the_floor_before_intents_are_read_a_reader_misses_an_event: FloorBeforeIntents
    without_the_floor_at_a_quorum_a_reader_misses_an_event: FloorAtQuorum
    without_forbidding_what_is_open_a_reader_misses_an_event: OpenIsForbidden
    without_minding_the_version_a_reader_misses_an_event: VersionIsMinded
}
