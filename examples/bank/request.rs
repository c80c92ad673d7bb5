//! What a client sends, checked before an account hears of it.

use annals::prelude::*;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;

use crate::account::{Account, MAX_CENTS};
use crate::problem::Problem;

/// The account id in the path: what a [`PersistenceId`] allows.
#[derive(Debug)]
pub(crate) struct AccountId(pub(crate) PersistenceId);

impl AccountId {
    fn parse(text: &str) -> Result<Self, Problem> {
        match PersistenceId::new(Account::KIND, text) {
            Ok(id) => Ok(Self(id)),
            Err(error) => Err(Problem::bad_request(format!("bad account id: {error}"))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AccountId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::bad_request(format!("bad account id: {}", error.body_text())))?;
        Self::parse(&text)
    }
}

/// The body of a deposit or a withdrawal.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub(crate) cents: u64,
    pub(crate) request_id: String,
}

impl Change {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let change: Self = serde_json::from_slice(body)
            .map_err(|error| Problem::bad_request(format!("bad body: {error}; send {EXAMPLE}")))?;
        if change.cents == 0 || change.cents > MAX_CENTS {
            return Err(Problem::bad_request(format!(
                "bad cents: send a whole number from 1 to {MAX_CENTS}"
            )));
        }
        let request_id = &change.request_id;
        if request_id.is_empty()
            || request_id.len() > REQUEST_ID_BYTES
            || request_id.contains(char::is_control)
        {
            return Err(Problem::bad_request(format!(
                "bad request_id: send 1 to {REQUEST_ID_BYTES} bytes without control characters, such as a UUID"
            )));
        }
        Ok(change)
    }
}

impl<S: Send + Sync> FromRequest<S> for Change {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                error: format!("body too large: send at most {BODY_BYTES} bytes, such as {EXAMPLE}"),
            },
            _ => Problem::bad_request(format!("the body could not be read: {}", error.body_text())),
        })?;
        Self::parse(&body)
    }
}

/// The largest body that is read.
pub(crate) const BODY_BYTES: usize = 16 * 1024;
/// The longest request id.
const REQUEST_ID_BYTES: usize = 128;
const EXAMPLE: &str = r#"{"cents": 100, "request_id": "a name of yours for this request"}"#;
