/// How surprising silence is: -1,000 · log10 of the chance that an answer comes even later, given that answers were spread around a
/// mean with a standard deviation (a normal distribution). 8,000 is once in 100 million.
///
/// Computed with whole numbers and a table, so that two machines never differ.
pub(crate) fn milli_phi(silence: u64, mean: u64, deviation: u64) -> u64 {
    let late = silence.saturating_sub(mean);
    // In 1/1,000 of a quarter of the deviation.
    let steps = late.saturating_mul(4_000) / deviation.max(1);
    let index = usize::try_from(steps / 1_000).unwrap_or(usize::MAX);
    let Some((low, high)) = TABLE.get(index).zip(TABLE.get(index.saturating_add(1))) else { return LAST };
    low + (high - low) * (steps % 1_000) / 1_000
}

const LAST: u64 = TABLE[TABLE.len() - 1];

/// -1,000 · log10(1 - Φ(y)) at y = 0, 1/4, 2/4, … 12.
const TABLE: [u64; 49] = [
    301, 397, 511, 645, 800, 976, 1175, 1397, 1643, 1913, 2207, 2526, 2870, 3239, 3633, 4053, 4499, 4971,
    5469, 5993, 6543, 7119, 7721, 8350, 9006, 9688, 10396, 11131, 11893, 12681, 13496, 14338, 15206, 16101,
    17023, 17972, 18947, 19950, 20979, 22035, 23118, 24228, 25365, 26528, 27719, 28936, 30181, 31452, 32750,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_normal_distribution() {
        // The tail by Laplace's continued fraction, from y = 2 on.
        for (index, entry) in TABLE.iter().enumerate().skip(8) {
            let y = index as f64 / 4.0;
            let fraction = (1..200).rev().fold(y, |rest, k| y + f64::from(k) / rest);
            let tail = (-y * y / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() / fraction;
            let phi = -1_000.0 * tail.log10();
            assert!((phi - *entry as f64).abs() < 1.0, "{y}: {phi} and {entry}");
        }
    }

    #[test]
    fn suspicion_only_grows_with_silence() {
        let mut last = 0;
        for silence in 0..20_000 {
            let phi = milli_phi(silence, 4_000, 250);
            assert!(phi >= last);
            last = phi;
        }
        assert_eq!(last, LAST);
        assert!(milli_phi(5_000, 4_000, 250) < 8_000 && milli_phi(5_500, 4_000, 250) > 8_000);
        assert_eq!(milli_phi(u64::MAX, 0, 0), LAST);
    }
}
