use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An amount in a currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Money {
    pub(crate) cents: u64,
    pub(crate) currency: String,
}

impl Money {
    /// What a log has as a text or a number: `20000`, `20000.5`, `20000.50`. `None`: it is no amount.
    pub(crate) fn euros(value: &Value) -> Option<Self> {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let (euros, cents) = text.split_once('.').unwrap_or((&text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if euros.is_empty() || !digits(euros) || !digits(cents) || cents.len() > 2 {
            return None;
        }
        let cents: u64 = format!("{cents:0<2}").parse().ok()?;
        let cents = euros.parse::<u64>().ok()?.checked_mul(100)?.checked_add(cents)?;
        Some(Self { cents, currency: "EUR".to_owned() })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02} {}", self.cents / 100, self.cents % 100, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_as_logs_write_it() {
        let shown = |value: Value| Money::euros(&value).map(|money| money.to_string());
        assert_eq!(shown("20000".into()).as_deref(), Some("20000.00 EUR"));
        assert_eq!(shown("0.5".into()).as_deref(), Some("0.50 EUR"));
        assert_eq!(shown(7.into()).as_deref(), Some("7.00 EUR"));
        for wrong in ["", "-5", "1e3", "1.234", "99999999999999999999", "much"] {
            assert_eq!(shown(wrong.into()), None, "{wrong}");
        }
    }
}
