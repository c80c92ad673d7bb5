/// The middle and the ends of some measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// `None` when there is nothing to sum up.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Some(Self { median, min, max })
    }

    /// Of the quotients of what was measured side by side: noise that slowed both down is gone from them.
    pub(crate) fn of_ratios(values: &[f64], limits: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = values.iter().zip(limits).map(|(value, limit)| value / limit).collect();
        Self::of(&ratios)
    }
}
