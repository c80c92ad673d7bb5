//! The transfer's routes.

use std::fmt::Write as _;

use annals::prelude::*;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use crate::problem::Problem;
use crate::request::{Patience, TransferOrder};
use crate::transfer::{Begin, Look, Order, OtherTransfer, Stage, Status, Transfer};
use crate::transfers::Transfers;

/// Begins a transfer and waits a while for its outcome.
pub(crate) async fn begin(
    State(node): State<Node>,
    Extension(transfers): Extension<Transfers>,
    Patience(patience): Patience,
    request: TransferOrder,
) -> Result<Response, Problem> {
    let TransferOrder { from, to, cents, request_id: id } = request;
    let order = Order { from, to, cents };
    let transfer = node.entity::<Transfer>(&id);
    match transfer.ask(Look).await? {
        Some(status) if status.order != order => return Err(Problem::refused(OtherTransfer.to_string())),
        Some(status) if status.stage.is_final() => return answer(id, status.stage),
        Some(_) => {}
        None if transfers.are_too_many() => {
            return Err(Problem::try_later("too many transfers are under way"));
        }
        None => transfers.announce(&node, &id).await.map_err(Problem::try_later)?,
    }
    transfer.ask(Begin { order }).await?;
    transfers.drive(&id);
    // Too long is no error: the look tells how far it is.
    let _ = tokio::time::timeout(patience, transfers.outcome(&id)).await;
    match transfer.ask(Look).await? {
        Some(status) => answer(id, status.stage),
        None => Err(Problem::broken("the transfer was begun and is not there")),
    }
}

/// Says how far a transfer is.
pub(crate) async fn show(State(node): State<Node>, Path(id): Path<String>) -> Result<Json<Shown>, Problem> {
    let never_begun = || Problem::not_found("this transfer was never begun; send it to POST /transfers");
    // What is no id names no transfer; asking would say that an operator must look.
    PersistenceId::new(Transfer::KIND, &id).map_err(|_| never_begun())?;
    let Some(Status { order, stage, .. }) = node.entity::<Transfer>(&id).ask(Look).await? else {
        return Err(never_begun());
    };
    let Order { from, to, cents } = order;
    let state = state(&stage);
    let reason = match stage {
        Stage::GivingBack { reason } | Stage::Failed { reason } => Some(reason),
        Stage::Started | Stage::Completed => None,
    };
    Ok(Json(Shown { id, state, from, to, cents, reason }))
}

/// What a look at a transfer is answered.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    id: String,
    state: &'static str,
    from: String,
    to: String,
    cents: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

fn answer(id: String, stage: Stage) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Body {
        id: String,
        state: &'static str,
    }
    let state = state(&stage);
    match stage {
        Stage::Completed => Ok(Json(Body { id, state }).into_response()),
        Stage::Failed { reason } => Err(Problem::refused(format!("the transfer failed: {reason}"))),
        Stage::Started | Stage::GivingBack { .. } => {
            let location = format!("/transfers/{}", percent_encoded(&id));
            Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(Body { id, state }))
                .into_response())
        }
    }
}

fn state(stage: &Stage) -> &'static str {
    match stage {
        Stage::Started => "started",
        Stage::GivingBack { .. } => "giving_back",
        Stage::Completed => "completed",
        Stage::Failed { .. } => "failed",
    }
}

/// Any text as one segment of a path.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
