use std::fmt;
use std::ops::RangeInclusive;

use crate::PersistenceId;

/// One of 1,024 parts into which persistence ids are divided, for readers that work in parallel.
///
/// An id's slice never changes: it is the 64-bit FNV-1a hash of the id's UTF-8 bytes, folded to ten bits (see [`Slice::of`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slice(u16);

impl Slice {
    /// How many slices there are.
    pub const COUNT: u16 = 1024;

    /// The slice with this number, or `None` from [`Slice::COUNT`] on.
    pub fn new(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// The slice of an id.
    pub fn of(id: &PersistenceId) -> Self {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in id.as_str().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let folded = hash ^ (hash >> 32);
        let slice = (folded ^ (folded >> 10) ^ (folded >> 20)) & u64::from(Self::COUNT - 1);
        Self(u16::try_from(slice).unwrap_or_default())
    }

    /// The number, 0 to 1,023.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Neighbouring slices, from the first to the last inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SliceRange {
    first: Slice,
    last: Slice,
}

impl SliceRange {
    /// Every slice.
    pub const ALL: Self = Self { first: Slice(0), last: Slice(Slice::COUNT - 1) };

    /// The slices of a range, or `None` when it is empty or reaches past the last slice.
    pub fn new(range: RangeInclusive<u16>) -> Option<Self> {
        let (first, last) = (Slice::new(*range.start())?, Slice::new(*range.end())?);
        (first <= last).then_some(Self { first, last })
    }

    /// The first slice.
    pub fn first(self) -> Slice {
        self.first
    }

    /// The last slice, which is part of the range.
    pub fn last(self) -> Slice {
        self.last
    }

    /// Whether the range has this slice.
    pub fn contains(self, slice: Slice) -> bool {
        self.first <= slice && slice <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slice_of_an_id_never_changes() {
        for (id, slice) in [("account|alice", 972), ("account|bob", 931), ("loan|173688", 956), ("k|é", 75)]
        {
            assert_eq!(PersistenceId::parse(id).unwrap().slice().number(), slice, "{id}");
        }
    }

    #[test]
    fn ids_spread_evenly() {
        let mut counts = vec![0_u32; usize::from(Slice::COUNT)];
        for n in 0..102_400 {
            let id = PersistenceId::new("account", &format!("acc-{n}")).unwrap();
            counts[usize::from(id.slice().number())] += 1;
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*least > 50 && *most < 160, "least {least}, most {most}, mean 100");
    }
}
