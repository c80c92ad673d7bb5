//! What a client sends, checked before an account hears of it.

use std::convert::Infallible;
use std::time::Duration;

use annals::prelude::*;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

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

/// The body of a transfer.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferOrder {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) cents: u64,
    pub(crate) request_id: String,
}

impl Change {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let change: Self = parse(body, EXAMPLE)?;
        check_cents(change.cents)?;
        check_request_id(&change.request_id)?;
        Ok(change)
    }
}

impl TransferOrder {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let order: Self = parse(body, TRANSFER_EXAMPLE)?;
        check_cents(order.cents)?;
        check_request_id(&order.request_id)?;
        AccountId::parse(&order.from)?;
        AccountId::parse(&order.to)?;
        if order.from == order.to {
            return Err(Problem::bad_request("bad accounts: send two different ones as from and to"));
        }
        Ok(order)
    }
}

fn parse<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("bad body: {error}; send {example}")))
}

fn check_cents(cents: u64) -> Result<(), Problem> {
    if cents == 0 || cents > MAX_CENTS {
        return Err(Problem::bad_request(format!("bad cents: send a whole number from 1 to {MAX_CENTS}")));
    }
    Ok(())
}

fn check_request_id(request_id: &str) -> Result<(), Problem> {
    if request_id.is_empty() || request_id.len() > REQUEST_ID_BYTES || request_id.contains(char::is_control) {
        return Err(Problem::bad_request(format!(
            "bad request_id: send 1 to {REQUEST_ID_BYTES} bytes without control characters, such as a UUID"
        )));
    }
    Ok(())
}

impl<S: Send + Sync> FromRequest<S> for Change {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Self::parse(&body(request, state, EXAMPLE).await?)
    }
}

impl<S: Send + Sync> FromRequest<S> for TransferOrder {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Self::parse(&body(request, state, TRANSFER_EXAMPLE).await?)
    }
}

async fn body<S: Send + Sync>(request: Request, state: &S, example: &str) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            error: format!("body too large: send at most {BODY_BYTES} bytes, such as {example}"),
        },
        _ => Problem::bad_request(format!("the body could not be read: {}", error.body_text())),
    })
}

/// How long the client wants to wait for the outcome (`Prefer: wait=seconds`, RFC 7240), at most [`LONGEST_WAIT`].
#[derive(Debug)]
pub(crate) struct Patience(pub(crate) Duration);

impl<S: Send + Sync> FromRequestParts<S> for Patience {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let preferences = parts.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let wait = preferences
            .flat_map(|value| value.split(','))
            .find_map(|preference| preference.trim().strip_prefix("wait=")?.parse().ok());
        Ok(Self(wait.map_or(LONGEST_WAIT, |seconds| LONGEST_WAIT.min(Duration::from_secs(seconds)))))
    }
}

const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The largest body that is read.
pub(crate) const BODY_BYTES: usize = 16 * 1024;
/// The longest request id.
const REQUEST_ID_BYTES: usize = 128;
const EXAMPLE: &str = r#"{"cents": 100, "request_id": "a name of yours for this request"}"#;
const TRANSFER_EXAMPLE: &str =
    r#"{"from": "alice", "to": "bob", "cents": 100, "request_id": "a name of yours for this request"}"#;
