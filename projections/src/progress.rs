//! How far a projection is, slice by slice.
//!
//! ```text
//! stored as text   0-255@0.0.17 256-1023@0.0.20        slices first-last @ offset, in the order of the slices
//! ```

use std::fmt;
use std::str::FromStr;

use annals_journal::{Offset, Slice, SliceRange};

/// Up to which offset each of some slices was projected.
///
/// Ranges of slices can be cut anew at any time, because what lies behind is known for each slice: a reader of several pieces begins at
/// the lowest offset and passes over what a piece has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// In the order of their slices; neighbours have other offsets.
    pieces: Vec<(SliceRange, Offset)>,
}

impl Progress {
    /// Nothing of these slices was projected.
    #[cfg(test)]
    pub(crate) fn beginning(slices: SliceRange) -> Self {
        Self { pieces: vec![(slices, Offset::BEGINNING)] }
    }

    /// What `stored` says of some slices; those of which it says nothing are at the beginning.
    pub(crate) fn cut(stored: &[Self], slices: SliceRange) -> Self {
        let mut offsets = vec![Offset::BEGINNING; usize::from(Slice::COUNT)];
        for (of, offset) in stored.iter().flat_map(|progress| &progress.pieces) {
            offsets[index(of.first())..=index(of.last())].fill(*offset);
        }
        let mut pieces: Vec<(SliceRange, Offset)> = Vec::new();
        for number in slices.first().number()..=slices.last().number() {
            let offset = offsets[usize::from(number)];
            let first = match pieces.last() {
                Some((range, same)) if *same == offset => {
                    let first = range.first().number();
                    pieces.pop();
                    first
                }
                _ => number,
            };
            pieces.extend(SliceRange::new(first..=number).map(|range| (range, offset)));
        }
        Self { pieces }
    }

    /// Where a reader of all these slices begins.
    pub(crate) fn start(&self) -> Offset {
        self.pieces.iter().map(|(_, offset)| *offset).min().unwrap_or_default()
    }

    /// Whether an event of a slice was projected, or is another reader's.
    pub(crate) fn has_passed(&self, slice: Slice, offset: Offset) -> bool {
        self.pieces
            .iter()
            .find(|(slices, _)| slices.contains(slice))
            .is_none_or(|(_, passed)| offset <= *passed)
    }

    /// The same, once all slices are projected up to `to`.
    pub(crate) fn advanced(&self, to: Offset) -> Self {
        let mut pieces: Vec<(SliceRange, Offset)> = Vec::with_capacity(self.pieces.len());
        for (slices, offset) in &self.pieces {
            let offset = to.max(*offset);
            match pieces.last_mut() {
                Some((before, same)) if *same == offset && touch(*before, *slices) => {
                    let joined = SliceRange::new(before.first().number()..=slices.last().number());
                    *before = joined.unwrap_or(*before);
                }
                _ => pieces.push((*slices, offset)),
            }
        }
        Self { pieces }
    }
}

/// All slices in so many ranges of about the same size.
pub(crate) fn ranges(parallelism: u16) -> Vec<SliceRange> {
    let parallelism = parallelism.clamp(1, Slice::COUNT);
    let bound = |n: u16| u32::from(n) * u32::from(Slice::COUNT) / u32::from(parallelism);
    (0..parallelism)
        .filter_map(|n| {
            let (first, end) = (u16::try_from(bound(n)).ok()?, u16::try_from(bound(n + 1)).ok()?);
            SliceRange::new(first..=end - 1)
        })
        .collect()
}

/// How a range of slices is written.
pub(crate) fn name_of(slices: SliceRange) -> String {
    format!("{}-{}", slices.first(), slices.last())
}

fn touch(one: SliceRange, next: SliceRange) -> bool {
    one.last().number() + 1 == next.first().number()
}

fn index(slice: Slice) -> usize {
    usize::from(slice.number())
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (slices, offset)) in self.pieces.iter().enumerate() {
            let gap = if n == 0 { "" } else { " " };
            write!(f, "{gap}{}@{offset}", name_of(*slices))?;
        }
        Ok(())
    }
}

impl FromStr for Progress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let piece = |piece: &str| {
            let (slices, offset) = piece.split_once('@')?;
            let (first, last) = slices.split_once('-')?;
            let slices = SliceRange::new(first.parse().ok()?..=last.parse().ok()?)?;
            Some((slices, offset.parse().ok()?))
        };
        let pieces: Option<Vec<_>> = text.split_whitespace().map(piece).collect();
        pieces
            .filter(|pieces| pieces.is_sorted_by(|(one, _), (next, _)| one.last() < next.first()))
            .map(|pieces| Self { pieces })
            .ok_or_else(|| format!("{text:?} is no progress of a projection"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(position: u64) -> Offset {
        Offset::of_position(position)
    }

    #[test]
    fn ranges_cover_every_slice_once() {
        for parallelism in [0, 1, 2, 3, 7, 64, 1000, 1024, 5000] {
            let ranges = ranges(parallelism);
            assert_eq!(ranges.len(), usize::from(parallelism.clamp(1, 1024)));
            assert_eq!(ranges[0].first().number(), 0);
            assert_eq!(ranges[ranges.len() - 1].last().number(), 1023);
            assert!(ranges.windows(2).all(|pair| touch(pair[0], pair[1])));
        }
    }

    #[test]
    fn what_was_not_stored_is_at_the_beginning() {
        let half: Progress = "512-1023@0.0.9".parse().unwrap();
        assert_eq!(Progress::cut(&[half], SliceRange::ALL).to_string(), "0-511@0.0.0 512-1023@0.0.9");
    }

    #[test]
    fn what_is_no_progress_is_refused() {
        for bad in ["0-511", "0-511@1.2", "5-2@0.0.1", "0-1024@0.0.1", "8-9@0.0.1 0-1@0.0.1", "x"] {
            assert!(bad.parse::<Progress>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// However often and into however many ranges it is cut, and however far each reader went: no slice's offset changes.
        #[test]
        fn cutting_loses_no_offset(
            steps in prop::collection::vec((1_u16..40, prop::collection::vec(0_u64..50, 40)), 1..6)
        ) {
            let mut stored = Vec::<Progress>::new();
            let mut model = vec![Offset::BEGINNING; 1024];
            for (parallelism, readers) in steps {
                let mut next = Vec::new();
                for (range, to) in ranges(parallelism).into_iter().zip(readers) {
                    let cut = Progress::cut(&stored, range);
                    for number in range.first().number()..=range.last().number() {
                        let slice = Slice::new(number).unwrap();
                        let model = &mut model[usize::from(number)];
                        prop_assert!(cut.start() <= *model);
                        prop_assert!(cut.has_passed(slice, *model));
                        prop_assert!(!cut.has_passed(slice, at(model.minor + 1)));
                        *model = at(to).max(*model);
                    }
                    let advanced = cut.advanced(at(to));
                    prop_assert_eq!(advanced.to_string().parse::<Progress>().unwrap(), advanced.clone());
                    next.push(advanced);
                }
                stored = next;
            }
        }
    }
}
