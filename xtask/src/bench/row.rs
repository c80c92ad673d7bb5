use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A line of the result, as the driver in benches/engine writes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) limit: Option<f64>,
    /// The median of the quotients of each run by the limit's run beside it.
    pub(crate) ratio: Option<f64>,
    /// How far the quotients, where there are none the values, are apart, as a part of the median.
    pub(crate) noise: Option<f64>,
    /// What the ratio, where there is none the median, has to reach.
    pub(crate) target: Option<f64>,
    /// Whether less is better, and the target the most that is allowed.
    pub(crate) less_is_better: bool,
    pub(crate) peers: BTreeMap<String, f64>,
    /// Percent of the machine that other processes had meanwhile.
    pub(crate) others: Option<f64>,
}

impl Row {
    /// What is compared with a target, and with other runs.
    pub(crate) fn reached(&self) -> f64 {
        self.ratio.unwrap_or(self.median)
    }

    pub(crate) fn misses_target(&self) -> bool {
        self.target.is_some_and(|target| {
            if self.less_is_better { self.reached() > target } else { self.reached() < target }
        })
    }

    /// `at least 0.85`, `at most 700`.
    pub(crate) fn target_in_words(&self) -> Option<String> {
        let bound = if self.less_is_better { "at most" } else { "at least" };
        self.target.map(|target| format!("{bound} {}", short(target)))
    }
}

/// Rows that were written before.
pub(crate) fn read(path: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} holds no rows", path.display()))
}

/// The rows of all, each once, as the last has it, and where the first had it.
pub(crate) fn joined(files: impl IntoIterator<Item = Vec<Row>>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for row in files.into_iter().flatten() {
        match rows.iter_mut().find(|earlier| earlier.name == row.name && earlier.unit == row.unit) {
            Some(earlier) => *earlier = row,
            None => rows.push(row),
        }
    }
    rows
}

/// A ratio or a value.
pub(crate) fn short(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { number(value) }
}

/// `12,345`, or `12.3` when it is small.
pub(crate) fn number(value: f64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_rows_that_several_files_have_the_last_stays_at_the_place_of_the_first() {
        let row = |name: &str, median| Row { name: name.into(), median, ..Row::default() };
        let joined = joined([vec![row("P1", 1.0), row("P2", 2.0)], vec![row("H", 3.0), row("P1", 4.0)]]);
        let rows: Vec<_> = joined.iter().map(|row| (row.name.as_str(), row.median)).collect();
        assert_eq!(rows, [("P1", 4.0), ("P2", 2.0), ("H", 3.0)]);
    }
}
