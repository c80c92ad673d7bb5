use std::ops::Range;

use annals_journal::{Offset, PersistenceId, SeqNr};

use crate::{Gone, Projected};

/// What a page has for a projection.
#[derive(Debug)]
pub(crate) struct Batch<E> {
    pub(crate) units: Vec<Unit>,
    events: Vec<Projected<E>>,
}

/// What is projected whole or not at all: a stored event, which may mean none or several events today.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) offset: Offset,
    pub(crate) persistence_id: PersistenceId,
    pub(crate) seq_nr: SeqNr,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Events(Range<usize>),
    Gone(Gone),
    Unreadable(String),
}

/// Units that are handed on together.
pub(crate) enum Part<'a, E> {
    Events(&'a [Projected<E>]),
    /// The unit's index goes along.
    Gone(usize, &'a Gone),
    Unreadable(usize, &'a str),
}

impl<E> Batch<E> {
    pub(crate) fn new() -> Self {
        Self { units: Vec::new(), events: Vec::new() }
    }

    /// A stored event, as the events that it means, or why it cannot be read.
    pub(crate) fn push(
        &mut self,
        offset: Offset,
        persistence_id: PersistenceId,
        seq_nr: SeqNr,
        events: Result<Vec<Projected<E>>, String>,
    ) {
        let content = match events {
            Ok(events) => {
                let from = self.events.len();
                self.events.extend(events);
                Content::Events(from..self.events.len())
            }
            Err(error) => Content::Unreadable(error),
        };
        self.units.push(Unit { offset, persistence_id, seq_nr, content });
    }

    pub(crate) fn push_gone(&mut self, gone: Gone) {
        let (offset, persistence_id, seq_nr) = (gone.offset, gone.persistence_id.clone(), gone.to);
        self.units.push(Unit { offset, persistence_id, seq_nr, content: Content::Gone(gone) });
    }

    /// The last event of some units.
    pub(crate) fn last_event(&self, units: Range<usize>) -> Option<&Projected<E>> {
        self.events(units).last()
    }

    /// How many events some units have.
    pub(crate) fn count(&self, units: Range<usize>) -> usize {
        self.events(units).len()
    }

    fn events(&self, units: Range<usize>) -> &[Projected<E>] {
        let mut ranges = self.units[units].iter().filter_map(|unit| match &unit.content {
            Content::Events(range) => Some(range),
            Content::Gone(_) | Content::Unreadable(_) => None,
        });
        match ranges.next() {
            None => &[],
            Some(first) => &self.events[first.start..ranges.next_back().unwrap_or(first).end],
        }
    }

    /// Some units in their order, neighbouring events together.
    pub(crate) fn parts(&self, units: Range<usize>) -> Vec<Part<'_, E>> {
        let mut parts = Vec::new();
        let mut together: Option<Range<usize>> = None;
        for (index, unit) in units.clone().zip(&self.units[units]) {
            if let Content::Events(range) = &unit.content {
                together = Some(together.map_or(range.clone(), |before| before.start..range.end));
                continue;
            }
            parts.extend(together.take().map(|range| Part::Events(&self.events[range])));
            match &unit.content {
                Content::Gone(gone) => parts.push(Part::Gone(index, gone)),
                Content::Unreadable(error) => parts.push(Part::Unreadable(index, error)),
                Content::Events(_) => {}
            }
        }
        parts.extend(together.map(|range| Part::Events(&self.events[range])));
        parts
    }
}
