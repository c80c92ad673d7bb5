use std::time::Duration;

use anyhow::{Result, bail};

use crate::search::Search;

/// How long the searches may take.
pub(crate) struct Budget {
    total: Duration,
    searches: &'static [Search],
}

impl Budget {
    /// All of them together, at most.
    pub(crate) fn new(total: Duration, searches: &'static [Search]) -> Self {
        Self { total, searches }
    }

    /// As long as each needs to have seen enough, or thereabouts: some go on for as long as they may.
    pub(crate) fn whole(searches: &'static [Search]) -> Self {
        let count = u32::try_from(searches.len()).unwrap_or(u32::MAX);
        Self { total: WHOLE.saturating_mul(count.max(1)), searches }
    }

    /// What each search gets.
    pub(crate) fn share(&self) -> Duration {
        share(self.total, self.searches.len())
    }

    /// What each search gets, for a person.
    pub(crate) fn describe(&self) -> String {
        let (total, share) = (self.total.as_secs(), self.share().as_secs());
        let mut text = format!("{} searches share {total} s, {share} s each at most:", self.searches.len());
        for search in self.searches {
            text.push_str("\n  ");
            text.push_str(search.name);
        }
        text
    }
}

const WHOLE: Duration = Duration::from_secs(600);

/// Tells a search how many seconds it has.
pub(crate) const VARIABLE: &str = "ANNALS_TIME_BUDGET_SECS";

/// Whole seconds, equal for all, at least one.
fn share(total: Duration, searches: usize) -> Duration {
    let searches = u64::try_from(searches).unwrap_or(u64::MAX).max(1);
    Duration::from_secs((total.as_secs() / searches).max(1))
}

/// Reads `90`, `90s`, `6m`, `1h` and sums such as `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration> {
    let mut seconds = 0_u64;
    let mut number = String::new();
    for character in text.chars() {
        let unit = match character {
            '0'..='9' => {
                number.push(character);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            _ => bail!("`{character}` is no unit of time: write 90s, 6m, 1h or 1h30m"),
        };
        seconds = plus(seconds, &number, unit)?;
        number.clear();
    }
    if !number.is_empty() {
        if number.len() != text.len() {
            bail!("`{number}` has no unit: write 90s, 6m, 1h or 1h30m");
        }
        seconds = plus(seconds, &number, 1)?;
    }
    if seconds == 0 {
        bail!("needs at least one second");
    }
    Ok(Duration::from_secs(seconds))
}

fn plus(seconds: u64, number: &str, unit: u64) -> Result<u64> {
    let Ok(number) = number.parse::<u64>() else {
        bail!("a unit needs a number before it: write 90s, 6m, 1h or 1h30m");
    };
    match number.checked_mul(unit).and_then(|more| seconds.checked_add(more)) {
        Some(sum) => Ok(sum),
        None => bail!("too long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("6m", 360), ("1h", 3_600), ("1h30m5s", 5_405)] {
            assert_eq!(parse_duration(text).expect(text), Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "0", "m", "6x", "1h30", "99999999999999999999s", "6000000000000000000h", "-5m"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn searches_share_alike_and_never_get_nothing() {
        let total = Duration::from_secs(360);
        assert_eq!(share(total, 4), Duration::from_secs(90));
        assert_eq!(share(total, 0), total);
        assert_eq!(share(total, 1_000), Duration::from_secs(1));
    }
}
