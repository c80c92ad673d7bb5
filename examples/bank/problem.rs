//! What the service answers when it cannot do what it was asked.

use std::fmt::Display;

use annals::actors::OutcomeUnknown;
use annals::prelude::*;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::account::{NeverUsed, Refusal};
use crate::transfer::OtherTransfer;

/// A status and a sentence that says what to do next.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) error: String,
}

impl Problem {
    /// The request is not one that this service understands: change it.
    pub(crate) fn bad_request(error: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: error.into() }
    }

    /// There is nothing of this name.
    pub(crate) fn not_found(error: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, error: error.into() }
    }

    /// The bank understands the request and says no.
    pub(crate) fn refused(error: impl Into<String>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, error: error.into() }
    }

    /// Not now: the same request may succeed later. The answer carries `Retry-After`.
    pub(crate) fn try_later(cause: impl Display) -> Self {
        tracing::warn!(%cause, "answered 503");
        let error = format!("{cause}; send the same request again later, with the same request_id");
        Self { status: StatusCode::SERVICE_UNAVAILABLE, error }
    }

    /// The same request fails again until an operator has looked.
    pub(crate) fn broken(cause: impl Display) -> Self {
        tracing::error!(%cause, "answered 500");
        let error = format!("{cause}; an operator must look at this account, see the log");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, error }
    }
}

impl From<AskError<Refusal>> for Problem {
    fn from(error: AskError<Refusal>) -> Self {
        match error {
            AskError::Rejected(refusal) => Self::refused(refusal.to_string()),
            AskError::Failed(failure) => failure.into(),
            AskError::Unknown(unknown) => unknown.into(),
        }
    }
}

impl From<AskError<NeverUsed>> for Problem {
    fn from(error: AskError<NeverUsed>) -> Self {
        match error {
            AskError::Rejected(never_used) => Self::not_found(never_used.to_string()),
            AskError::Failed(failure) => failure.into(),
            AskError::Unknown(unknown) => unknown.into(),
        }
    }
}

impl From<AskError<OtherTransfer>> for Problem {
    fn from(error: AskError<OtherTransfer>) -> Self {
        match error {
            AskError::Rejected(other) => Self::refused(other.to_string()),
            AskError::Failed(failure) => failure.into(),
            AskError::Unknown(unknown) => unknown.into(),
        }
    }
}

impl From<AskError<NeverRejected>> for Problem {
    fn from(error: AskError<NeverRejected>) -> Self {
        match error {
            AskError::Rejected(never) => match never {},
            AskError::Failed(failure) => failure.into(),
            AskError::Unknown(unknown) => unknown.into(),
        }
    }
}

/// Nothing was changed.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            // Another process has this account now; the one in front of us will find it.
            Failure::Fenced { .. } => Self::try_later(failure),
            _ if failure.is_transient() => Self::try_later(failure),
            _ => Self::broken(failure),
        }
    }
}

/// It may have been changed: the request id makes sending it again safe.
impl From<OutcomeUnknown> for Problem {
    fn from(unknown: OutcomeUnknown) -> Self {
        Self::try_later(unknown)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
        }
        let unavailable = self.status == StatusCode::SERVICE_UNAVAILABLE;
        let mut response = (self.status, axum::Json(Body { error: self.error })).into_response();
        if unavailable {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

const RETRY_AFTER_SECONDS: &str = "1";
