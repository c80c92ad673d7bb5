use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// The event that everything is measured with: 195 bytes as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) account: String,
    pub(crate) amount_cents: i64,
    pub(crate) memo: String,
}

impl Event {
    pub(crate) fn example() -> Self {
        Self { account: ACCOUNT.into(), amount_cents: AMOUNT_CENTS, memo: MEMO.into() }
    }

    /// With so many bytes as JSON, 195 at least.
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        let mut event = Self::example();
        event.memo.push_str(&"x".repeat(bytes.saturating_sub(JSON_BYTES)));
        event
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_vec(self).context("encoding the event")?;
        let bytes = JSON_BYTES + self.memo.len() - MEMO.len();
        ensure!(json.len() == bytes, "the event has {} bytes, not {bytes}", json.len());
        Ok(json)
    }

    pub(crate) fn from_json(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).context("decoding an event")
    }
}

const ACCOUNT: &str = "NL91-ABNA-0417-1643-00";
const AMOUNT_CENTS: i64 = 1_234_567;
const MEMO: &str = "invoice 2026-11-0042, thirty days net, paid from the current account by standing order; \
    ref. 7d3a9c1e-2b1f-44aa-9c31-0e5d6f012";
pub(crate) const JSON_BYTES: usize = 195;
