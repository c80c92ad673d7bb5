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
}

/// The quotients of what was measured side by side: noise that slowed both down is gone from them.
pub(crate) fn ratios(values: &[f64], limits: &[f64]) -> Vec<f64> {
    values.iter().zip(limits).map(|(value, limit)| value / limit).collect()
}

/// How far measurements are apart, up or down, as a part of their median. Of five or more, the two at the ends do not count.
pub(crate) fn noise(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let inner = if sorted.len() >= 5 { &sorted[1..sorted.len() - 1] } else { &sorted };
    let Summary { median, .. } = Summary::of(values)?;
    Some((inner.last()? - inner.first()?) / 2.0 / median)
}
