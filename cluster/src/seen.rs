/// Which members have seen a state: one bit each, in the order of their incarnations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    words: Vec<u64>,
    members: usize,
}

impl Seen {
    pub(crate) fn none(members: usize) -> Self {
        Self { words: vec![0; members.div_ceil(64)], members }
    }

    /// As many bits as there are members; those beyond are not set.
    pub(crate) fn from_words(words: Vec<u64>, members: usize) -> Option<Self> {
        let beyond =
            words.last().is_some_and(|last| !members.is_multiple_of(64) && last >> (members % 64) != 0);
        (words.len() == members.div_ceil(64) && !beyond).then_some(Self { words, members })
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// How many members there are.
    pub const fn members(&self) -> usize {
        self.members
    }

    pub(crate) fn add(&mut self, index: usize) {
        if let Some(word) = self.words.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        self.words.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    pub(crate) fn includes(&self, other: &Self) -> bool {
        self.members == other.members
            && self.words.iter().zip(&other.words).all(|(mine, theirs)| theirs & !mine == 0)
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        if self.members == other.members {
            for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
                *mine |= theirs;
            }
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_includes_what_was_added_and_nothing_else() {
        let mut all = Seen::none(70);
        (0..70).for_each(|index| all.add(index));
        let mut some = Seen::none(70);
        some.add(69);
        assert!(all.includes(&some) && !some.includes(&all));
        assert!(some.contains(69) && !some.contains(5));
        assert_eq!((all.count(), some.count()), (70, 1));
        some.add_all(&all);
        assert_eq!(some, all);
        assert!(!Seen::none(71).includes(&Seen::none(70)));
    }

    #[test]
    fn bits_of_nobody_are_refused() {
        assert!(Seen::from_words(vec![0b111], 3).is_some());
        assert!(Seen::from_words(vec![0b1000], 3).is_none());
        assert!(Seen::from_words(vec![0, 0], 3).is_none());
        assert!(Seen::from_words(vec![], 0).is_some());
    }
}
