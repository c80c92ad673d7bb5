use serde_json::Number;

use super::TimeUnit;

/// Microseconds since 1970 of `2019-04-01T12:00:00.5+02:00`, `2019-04-01 12:00:00` or `2019-04-01`; without a zone it is UTC.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let (clock, zone) = match rest.strip_prefix(['T', 't', ' ']) {
        None if rest.is_empty() => return micros(days(year, month, day) * 86_400, 0),
        None => return None,
        Some(rest) => rest.split_at(rest.find(['Z', 'z', '+', '-', ' ']).unwrap_or(rest.len())),
    };
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = whole.split(':').map(number);
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if hour > 23 || minute > 59 || second > 60 || parts.next().is_some() {
        return None;
    }
    let seconds =
        days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset(zone.trim())?;
    micros(seconds, micros_of(fraction)?)
}

/// Microseconds since 1970 of a number.
pub(super) fn since_1970(value: &Number, unit: TimeUnit) -> Option<u64> {
    let factor: u64 = match unit {
        TimeUnit::Seconds => 1_000_000,
        TimeUnit::Milliseconds => 1_000,
        TimeUnit::Microseconds => 1,
    };
    if let Some(whole) = value.as_u64() {
        return whole.checked_mul(factor);
    }
    let micros = value.as_f64()? * factor as f64;
    // Beyond that a float has no microseconds.
    (0.0..9.0e15).contains(&micros).then_some(micros.round() as u64)
}

fn micros(seconds: i64, fraction: i64) -> Option<u64> {
    u64::try_from(seconds.checked_mul(1_000_000)?.checked_add(fraction)?).ok()
}

fn micros_of(fraction: &str) -> Option<i64> {
    if fraction.is_empty() {
        return Some(0);
    }
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    number(&digits).filter(|_| fraction.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Seconds that a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z" | "UTC") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone.strip_prefix(['+', '-'])?.chars().filter(|char| *char != ':').collect();
    let (hours, minutes) = match digits.len() {
        2 => (number(&digits)?, 0),
        4 => (number(&digits[..2])?, number(&digits[2..])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Howard Hinnant's `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use annals_journal::Timestamp;

    use super::*;

    #[test]
    fn times_are_read_as_other_programs_write_them() {
        for (text, shown) in [
            ("1970-01-01", "1970-01-01T00:00:00.000000Z"),
            ("2024-02-29T23:59:59.25Z", "2024-02-29T23:59:59.250000Z"),
            ("2019-04-01 12:00:00", "2019-04-01T12:00:00.000000Z"),
            ("2019-04-01 12:00", "2019-04-01T12:00:00.000000Z"),
            ("2019-04-01T12:00:00+02:00", "2019-04-01T10:00:00.000000Z"),
            ("2019-04-01T12:00:00.1234567-0530", "2019-04-01T17:30:00.123456Z"),
            ("2019-04-01 12:00:00 +02", "2019-04-01T10:00:00.000000Z"),
        ] {
            assert_eq!(
                parse(text).map(|micros| Timestamp::from_micros(micros).to_string()).as_deref(),
                Some(shown)
            );
        }
        for wrong in [
            "",
            "2019",
            "2019-13-01",
            "2019-02-29",
            "2019-04-01T",
            "2019-04-01T25:00",
            "2019-04-01X12:00",
            "1969-12-31",
            "2019-04-01T12:00:00+2:0:0",
            "2019-04-01T12:00:00.x",
            "2019-04-0é T",
            "+019-04-01",
            "2019-04-01T12:00:00 noon",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_number_counts_what_it_is_said_to() {
        let of = |text: &str, unit| since_1970(&serde_json::from_str::<Number>(text).unwrap(), unit);
        assert_eq!(of("2", TimeUnit::Seconds), Some(2_000_000));
        assert_eq!(of("2.5", TimeUnit::Seconds), Some(2_500_000));
        assert_eq!(of("2", TimeUnit::Milliseconds), Some(2_000));
        assert_eq!(of("2", TimeUnit::Microseconds), Some(2));
        assert_eq!(of("-1", TimeUnit::Seconds), None);
        assert_eq!(of("1e300", TimeUnit::Seconds), None);
    }

    proptest::proptest! {
        #[test]
        fn what_a_timestamp_shows_is_read(micros in 0..200_000_000_000_000_000_u64) {
            proptest::prop_assert_eq!(parse(&Timestamp::from_micros(micros).to_string()), (micros < 253_402_300_800_000_000).then_some(micros));
        }

        #[test]
        fn any_text_is_no_trouble(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
