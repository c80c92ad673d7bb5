//! The HTTP face of the bank: routes in, answers out.

use std::sync::Arc;
use std::time::Duration;

use annals::journal::{Journal as _, ReplayRange};
use annals::prelude::*;
use annals::shutdown::CoordinatedShutdown;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures::StreamExt;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::account::{Account, Balance, Deposit, NeverUsed, ReadBalance, Withdraw};
use crate::event_line::event_line;
use crate::problem::Problem;
use crate::request::{AccountId, BODY_BYTES, Change};
use crate::transfer_http as transfer;
use crate::transfers::Transfers;
use crate::views::{self as views_http, Views};

/// The routes of the service.
pub(crate) fn routes(
    node: Node,
    transfers: Transfers,
    views: Option<Views>,
    shutdown: CoordinatedShutdown,
) -> Router {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    Router::new()
        .route("/accounts/{id}/deposit", post(deposit))
        .route("/accounts/{id}/withdraw", post(withdraw))
        .route("/accounts/{id}/events", get(events))
        .route("/accounts/{id}", get(balance))
        .route("/accounts", get(views_http::top))
        .route("/turnover", get(views_http::turnover))
        .route("/transfers", post(transfer::begin))
        .route("/transfers/{id}", get(transfer::show))
        .layer(middleware::from_fn_with_state(in_flight, bounded))
        .route("/healthz", get(healthz))
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(Extension(transfers))
        .layer(Extension(views))
        .layer(Extension(shutdown))
        .with_state(node)
}

/// The most requests that are worked on at a time; more are answered 503 at once.
const IN_FLIGHT: usize = 4_096;

async fn deposit(State(node): State<Node>, id: AccountId, change: Change) -> Result<Json<Answer>, Problem> {
    let Change { cents, request_id } = change;
    let balance = node.entity::<Account>(id.0.entity_id()).ask(Deposit { cents, request_id }).await?;
    Ok(Answer::new(&id, balance))
}

async fn withdraw(State(node): State<Node>, id: AccountId, change: Change) -> Result<Json<Answer>, Problem> {
    let Change { cents, request_id } = change;
    let balance = node.entity::<Account>(id.0.entity_id()).ask(Withdraw { cents, request_id }).await?;
    Ok(Answer::new(&id, balance))
}

async fn balance(State(node): State<Node>, id: AccountId) -> Result<Json<Answer>, Problem> {
    let balance = node.entity::<Account>(id.0.entity_id()).ask(ReadBalance).await?;
    Ok(Answer::new(&id, balance))
}

/// Streams what the journal holds: one JSON object a line, in the order of `seq_nr`.
///
/// A journal that fails on the way breaks the connection off, so that a client cannot take a part for the whole.
async fn events(State(node): State<Node>, id: AccountId) -> Result<Response, Problem> {
    let head = node.journal().head(&id.0).await.map_err(Problem::try_later)?;
    if head.seq_nr == SeqNr::ZERO {
        return Err(Problem::not_found(NeverUsed.to_string()));
    }
    let lines = node
        .journal()
        .replay(ReplayRange::all(&id.0).to(head.seq_nr))
        .map(|item| item.and_then(|item| event_line(&item)))
        .ready_chunks(LINES_A_CHUNK)
        .map(|lines| lines.into_iter().collect::<Result<String, _>>());
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

const LINES_A_CHUNK: usize = 128;

/// 200 when the journal answers, until the bank stops.
async fn healthz(
    State(node): State<Node>,
    Extension(shutdown): Extension<CoordinatedShutdown>,
) -> Result<&'static str, Problem> {
    if let Some(reason) = shutdown.reason() {
        return Err(Problem::try_later(format!("the bank stops: {reason}")));
    }
    match tokio::time::timeout(HEALTH_PATIENCE, node.journal().persistence_ids(None, 1)).await {
        Ok(Ok(_)) => Ok("ok\n"),
        Ok(Err(error)) => Err(Problem::try_later(error)),
        Err(_) => Err(Problem::try_later(format!("the journal did not answer within {HEALTH_PATIENCE:?}"))),
    }
}

const HEALTH_PATIENCE: Duration = Duration::from_secs(2);

async fn bounded(State(in_flight): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    match in_flight.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_) => Problem::try_later(format!("{IN_FLIGHT} requests are being worked on")).into_response(),
    }
}

async fn no_such_page() -> Problem {
    Problem::not_found(format!("no such page; there are: {PAGES}"))
}

async fn no_such_method() -> Problem {
    let error = format!("this page has another method; there are: {PAGES}");
    Problem { status: StatusCode::METHOD_NOT_ALLOWED, error }
}

const PAGES: &str = "POST /accounts/{id}/deposit, POST /accounts/{id}/withdraw, GET /accounts/{id}, \
                     GET /accounts/{id}/events, GET /accounts?top=20, \
                     GET /turnover?days=7, POST /transfers, GET /transfers/{id}, GET /healthz";

/// What a change and a look at the balance are answered.
#[derive(Debug, Serialize)]
struct Answer {
    id: String,
    cents: u64,
    seq_nr: u64,
}

impl Answer {
    fn new(id: &AccountId, balance: Balance) -> Json<Self> {
        let Balance { cents, seq_nr } = balance;
        Json(Self { id: id.0.entity_id().to_owned(), cents, seq_nr })
    }
}
