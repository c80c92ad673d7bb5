use super::row::{Row, short};

/// Rows beside those of a run before.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    /// One line for each row that became worse by more than the noise.
    pub(crate) slower: Vec<String>,
    /// How many rows are in both runs and say something on another day.
    pub(crate) compared: usize,
}

/// Compares ratios, and memory; values that have neither depend on the day.
pub(crate) fn compare(base: &[Row], rows: &[Row]) -> Comparison {
    let mut comparison = Comparison::default();
    for row in rows {
        let Some(before) = base.iter().find(|before| before.name == row.name) else { continue };
        let is_ratio = before.ratio.is_some() && row.ratio.is_some();
        if !is_ratio && !LASTING_UNITS.contains(&row.unit.as_str()) {
            continue;
        }
        comparison.compared += 1;
        let noise = [before.noise, row.noise].into_iter().flatten().fold(LEAST_NOISE, f64::max);
        let (was, is) = (before.reached(), row.reached());
        let change = if row.less_is_better { is / was } else { was / is };
        if change > 1.0 + noise {
            comparison.slower.push(format!(
                "{:<26} {} was {}: {:.0} % worse, the noise is {:.0} %",
                row.name,
                short(is),
                short(was),
                100.0 * (change - 1.0),
                100.0 * noise
            ));
        }
    }
    comparison
}

/// Of what does not depend on the day: memory, and how many times as fast as another library.
const LASTING_UNITS: &[&str] = &["bytes", "times"];
/// Of a measurement that happened to be the same each time.
const LEAST_NOISE: f64 = 0.03;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, ratio: Option<f64>, noise: f64) -> Row {
        let unit = "events/s".into();
        Row { name: name.into(), unit, median: 1000.0, ratio, noise: Some(noise), ..Row::default() }
    }

    fn names(comparison: &Comparison) -> Vec<&str> {
        comparison.slower.iter().filter_map(|line| line.split_whitespace().next()).collect()
    }

    #[test]
    fn a_ratio_that_fell_by_more_than_the_noise_is_named() {
        let base = [row("P1", Some(0.90), 0.02), row("P2", Some(0.70), 0.10), row("H", Some(0.5), 0.01)];
        let now = [row("P1", Some(0.80), 0.04), row("P2", Some(0.66), 0.02), row("H", Some(0.6), 0.01)];
        let comparison = compare(&base, &now);
        assert_eq!((names(&comparison), comparison.compared), (vec!["P1"], 3));
    }

    #[test]
    fn where_less_is_better_more_is_worse() {
        let of = |ratio| [Row { less_is_better: true, ..row("p99", Some(ratio), 0.05) }];
        assert_eq!(names(&compare(&of(1.5), &of(1.9))), ["p99"]);
        assert!(compare(&of(1.9), &of(1.5)).slower.is_empty());
    }

    #[test]
    fn a_value_of_another_day_is_not_compared_but_memory_is() {
        let slow = |unit: &str, median| [Row { unit: unit.into(), median, ..row("x", None, 0.0) }];
        assert_eq!(compare(&slow("events/s", 100.0), &slow("events/s", 50.0)), Comparison::default());
        let of = |median| slow("bytes", median).map(|row| Row { less_is_better: true, ..row });
        assert_eq!(names(&compare(&of(600.0), &of(700.0))), ["x"]);
    }

    #[test]
    fn a_new_row_is_compared_with_nothing() {
        assert_eq!(compare(&[], &[row("P1", Some(0.5), 0.0)]), Comparison::default());
    }
}
