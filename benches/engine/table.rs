use std::collections::BTreeMap;

use serde::Serialize;

use crate::stats::Summary;

/// A line of the result.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Median of the raw limit.
    pub(crate) limit: Option<f64>,
    /// Median of the quotients of each run by the limit's run beside it.
    pub(crate) ratio: Option<f64>,
    /// The least ratio; where there is no limit, the least value.
    pub(crate) target: Option<f64>,
    /// Medians of others that did the same work.
    pub(crate) peers: BTreeMap<&'static str, f64>,
}

impl Row {
    pub(crate) fn new(name: String, unit: &'static str, summary: Summary) -> Self {
        let Summary { median, min, max } = summary;
        Self { name, unit, median, min, max, limit: None, ratio: None, target: None, peers: BTreeMap::new() }
    }

    pub(crate) fn is_below_target(&self) -> bool {
        self.target.is_some_and(|target| self.ratio.unwrap_or(self.median) < target)
    }
}

/// The rows for a person.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:<18} {:>9} {:>10} {:>10} {:>10} {:>10} {:>6} {:>7}  peers",
        "", "unit", "median", "min", "max", "limit", "ratio", "target"
    );
    for row in rows {
        let peers: Vec<String> =
            row.peers.iter().map(|(name, median)| format!("{name} {}", number(*median))).collect();
        println!(
            "{:<18} {:>9} {:>10} {:>10} {:>10} {:>10} {:>6} {:>7}{} {}",
            row.name,
            row.unit,
            number(row.median),
            number(row.min),
            number(row.max),
            row.limit.map_or_else(String::new, number),
            row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            row.target.map_or_else(String::new, short),
            if row.is_below_target() { "!" } else { " " },
            peers.join(", ")
        );
    }
}

/// What did not reach its target; the end of every run.
pub(crate) fn print_below_target(rows: &[Row]) {
    let below: Vec<&Row> = rows.iter().filter(|row| row.is_below_target()).collect();
    if below.is_empty() {
        println!("\nno row is below its target");
        return;
    }
    println!("\nbelow target:");
    for row in below {
        let reached = row.ratio.unwrap_or(row.median);
        println!(
            "  {:<18} {} of at least {}",
            row.name,
            short(reached),
            row.target.map_or_else(String::new, short)
        );
    }
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

/// A ratio or a value.
fn short(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { number(value) }
}
