use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use annals_journal::encryption::{KeyBytes, MasterKeyError, MasterKeyId, MasterKeys as _, Ring, RingKeys};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::kms_keys::{Answer, Keys, Question};

/// A service that keeps master keys to itself, on loopback.
pub(crate) struct Service {
    address: SocketAddr,
    state: Arc<Kept>,
}

struct Kept {
    ring: Mutex<Ring>,
    disabled: Mutex<BTreeSet<MasterKeyId>>,
    fails: AtomicBool,
    asked: AtomicUsize,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Kept {
            ring: Mutex::new(Ring::generate().unwrap()),
            disabled: Mutex::default(),
            fails: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        });
        let routes = Router::new()
            .route("/keys", get(keys))
            .route("/keys/{id}/{verb}", post(answer))
            .with_state(state.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new key, which is the active one.
    pub(crate) fn add_key(&self) {
        let mut ring = self.state.ring.lock().unwrap();
        let added = ring.add().unwrap();
        assert!(ring.activate(added));
    }

    pub(crate) fn disable(&self, id: MasterKeyId) {
        self.state.disabled.lock().unwrap().insert(id);
    }

    /// Answers nothing but an error.
    pub(crate) fn fail(&self, fails: bool) {
        self.state.fails.store(fails, Ordering::SeqCst);
    }

    /// How often it wrapped or opened.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

async fn keys(State(state): State<Arc<Kept>>) -> Result<Json<Keys>, StatusCode> {
    if state.fails.load(Ordering::SeqCst) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let (ring, disabled) = (state.ring.lock().unwrap(), state.disabled.lock().unwrap());
    let ids = ring.ids().filter(|id| !disabled.contains(id)).map(|id| id.0).collect();
    Ok(Json(Keys { active: ring.active().0, ids }))
}

async fn answer(
    State(state): State<Arc<Kept>>,
    Path((id, verb)): Path<(u32, String)>,
    Json(question): Json<Question>,
) -> Result<Json<Answer>, StatusCode> {
    state.asked.fetch_add(1, Ordering::SeqCst);
    if state.fails.load(Ordering::SeqCst) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let id = MasterKeyId(id);
    if state.disabled.lock().unwrap().contains(&id) {
        return Err(StatusCode::NOT_FOUND);
    }
    let masters = RingKeys::from(state.ring.lock().unwrap().clone());
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| StatusCode::BAD_REQUEST);
    let (text, context) = (decode(&question.text)?, decode(&question.context)?);
    let refused = |error| match error {
        MasterKeyError::Missing { .. } => StatusCode::NOT_FOUND,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let text = match verb.as_str() {
        "wrap" => {
            let key = text.try_into().map_err(|_| StatusCode::BAD_REQUEST)?;
            masters.wrap(id, &context, &KeyBytes::new(key)).await.map_err(refused)?.to_vec()
        }
        "unwrap" => masters.unwrap(id, &context, &text).await.map_err(refused)?.as_bytes().to_vec(),
        _ => return Err(StatusCode::NOT_FOUND),
    };
    Ok(Json(Answer { text: STANDARD.encode(text) }))
}
