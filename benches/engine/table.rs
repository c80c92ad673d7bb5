use std::collections::BTreeMap;

use serde::Serialize;

use crate::stats::{Summary, noise, ratios};

/// A line of the result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Median of the raw limit, or of what else is to be compared with.
    pub(crate) limit: Option<f64>,
    /// Median of the quotients of each run by the limit's run beside it.
    pub(crate) ratio: Option<f64>,
    /// How far the quotients, where there are none the values, are apart, as a part of the median.
    pub(crate) noise: Option<f64>,
    /// What the ratio, where there is none the median, has to reach.
    pub(crate) target: Option<f64>,
    /// Whether less is better, and the target the most that is allowed.
    pub(crate) less_is_better: bool,
    /// Medians of others that did the same work.
    pub(crate) peers: BTreeMap<String, f64>,
    /// Percent of the machine that other processes had meanwhile.
    pub(crate) others: Option<f64>,
}

impl Row {
    /// `None` when nothing was measured.
    pub(crate) fn of(name: impl Into<String>, unit: &'static str, values: &[f64]) -> Option<Self> {
        let Summary { median, min, max } = Summary::of(values)?;
        Some(Self {
            name: name.into(),
            unit,
            median,
            min,
            max,
            limit: None,
            ratio: None,
            noise: noise(values),
            target: None,
            less_is_better: false,
            peers: BTreeMap::new(),
            others: None,
        })
    }

    /// Beside the limit's values of the same runs.
    pub(crate) fn beside(mut self, values: &[f64], limits: &[f64]) -> Self {
        self.limit = Summary::of(limits).map(|limit| limit.median);
        let ratios = ratios(values, limits);
        self.ratio = Summary::of(&ratios).map(|ratio| ratio.median);
        self.noise = noise(&ratios);
        self
    }

    pub(crate) fn at_least(self, target: impl Into<Option<f64>>) -> Self {
        Self { target: target.into(), less_is_better: false, ..self }
    }

    pub(crate) fn at_most(self, target: impl Into<Option<f64>>) -> Self {
        Self { target: target.into(), less_is_better: true, ..self }
    }

    fn misses_target(&self) -> bool {
        let reached = self.ratio.unwrap_or(self.median);
        self.target
            .is_some_and(|target| if self.less_is_better { reached > target } else { reached < target })
    }
}

/// The rows for a person.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:<26} {:>9} {:>11} {:>11} {:>11} {:>11} {:>6} {:>9}  peers",
        "", "unit", "median", "min", "max", "limit", "ratio", "target"
    );
    for row in rows {
        let peers: Vec<String> =
            row.peers.iter().map(|(name, median)| format!("{name} {}", number(*median))).collect();
        println!(
            "{:<26} {:>9} {:>11} {:>11} {:>11} {:>11} {:>6} {:>9}{} {}",
            row.name,
            row.unit,
            number(row.median),
            number(row.min),
            number(row.max),
            row.limit.map_or_else(String::new, number),
            row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            row.target.map_or_else(String::new, |target| bound(row, target)),
            if row.misses_target() { "!" } else { " " },
            peers.join(", ")
        );
    }
}

fn bound(row: &Row, target: f64) -> String {
    let sign = if row.less_is_better { "<=" } else { ">=" };
    if target < 10.0 { format!("{sign}{target:.2}") } else { format!("{sign}{}", number(target)) }
}

/// `12,345`, or `12.3` when it is small.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
