use crate::{SeqNr, Token};

/// Whose rows a log is made of: owners in their order, each with its last number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct History {
    segments: Vec<(Token, SeqNr)>,
}

/// What an owner writes when it takes over: below the base there is what the history names, from there on only its own rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) token: Token,
    pub(super) history: History,
}

impl History {
    /// The last number.
    pub(super) fn base(&self) -> SeqNr {
        self.segments.last().map_or(SeqNr::ZERO, |(_, last)| *last)
    }

    /// Whose row counts.
    pub(super) fn token_of(&self, seq_nr: SeqNr) -> Option<Token> {
        let segment = self.segments.partition_point(|(_, last)| *last < seq_nr);
        self.segments.get(segment).map(|(token, _)| *token)
    }

    /// The last numbers of the owners.
    pub(super) fn segments(&self) -> &[(Token, SeqNr)] {
        &self.segments
    }

    /// With an owner's numbers behind.
    pub(super) fn extended(mut self, token: Token, last: SeqNr) -> Self {
        if last > self.base() {
            match self.segments.last_mut() {
                Some((owner, end)) if *owner == token => *end = last,
                _ => self.segments.push((token, last)),
            }
        }
        self
    }

    /// What the bases of markers come to without their histories.
    pub(super) fn of_bases(markers: &[Marker]) -> Self {
        let mut newest_first: Vec<_> = markers.iter().collect();
        newest_first.sort_by_key(|marker| std::cmp::Reverse(marker.token));
        let Some((newest, older)) = newest_first.split_first() else { return Self::default() };
        let mut end = newest.history.base();
        let mut segments = Vec::new();
        for marker in older {
            if marker.history.base() < end {
                segments.push((marker.token, end));
                end = marker.history.base();
            }
        }
        segments.reverse();
        Self { segments }
    }
}
