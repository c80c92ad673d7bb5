use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::encryption::{KeyBytes, KeysError, MasterKeyError, MasterKeyId, MasterKeys};
use async_trait::async_trait;
use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};

/// The master keys of a service: it wraps and opens, and never gives one away.
#[derive(Debug)]
pub(crate) struct KmsKeys {
    service: Arc<Connection>,
    keys: Keys,
}

/// What the service says about its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keys {
    pub(crate) active: u32,
    pub(crate) ids: Vec<u32>,
}

/// What is to be wrapped or opened, and what it is bound to; bytes are base64.
#[derive(Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) text: String,
    pub(crate) context: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) text: String,
}

impl KmsKeys {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, KeysError> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let service = Arc::new(Connection { client, address });
        let keys = service.keys().await?;
        Ok(Self { service, keys })
    }
}

#[async_trait]
impl MasterKeys for KmsKeys {
    fn active(&self) -> MasterKeyId {
        MasterKeyId(self.keys.active)
    }

    fn ids(&self) -> Vec<MasterKeyId> {
        self.keys.ids.iter().copied().map(MasterKeyId).collect()
    }

    async fn wrap(
        &self,
        under: MasterKeyId,
        context: &[u8],
        key: &KeyBytes,
    ) -> Result<Bytes, MasterKeyError> {
        let wrapped = self.service.ask(under, "wrap", context, key.as_bytes()).await?;
        Ok(wrapped.into())
    }

    async fn unwrap(
        &self,
        under: MasterKeyId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<KeyBytes, MasterKeyError> {
        let key = self.service.ask(under, "unwrap", context, wrapped).await?;
        let key = key.try_into().map_err(|_| unavailable("the key that it opened has not 32 bytes"))?;
        Ok(KeyBytes::new(key))
    }

    async fn reload(&self) -> Result<Option<Arc<dyn MasterKeys>>, KeysError> {
        let keys = self.service.keys().await?;
        let newer = || Arc::new(Self { service: self.service.clone(), keys: keys.clone() });
        Ok((keys != self.keys).then(|| newer() as Arc<dyn MasterKeys>))
    }
}

#[derive(Debug)]
struct Connection {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

impl Connection {
    async fn keys(&self) -> Result<Keys, KeysError> {
        let failed = |reason: String| KeysError::Unreadable { place: self.address.to_string(), reason };
        let (status, body) =
            self.send(Method::GET, "keys", Bytes::new()).await.map_err(|error| failed(error.to_string()))?;
        if status != StatusCode::OK {
            return Err(failed(status.to_string()));
        }
        // An answer of the service is no secret, but an error about it shall not depend on that.
        serde_json::from_slice(&body).map_err(|_| failed("its list of keys cannot be read".to_owned()))
    }

    async fn ask(
        &self,
        id: MasterKeyId,
        verb: &str,
        context: &[u8],
        text: &[u8],
    ) -> Result<Vec<u8>, MasterKeyError> {
        let question = Question { text: STANDARD.encode(text), context: STANDARD.encode(context) };
        let question = serde_json::to_vec(&question).map_err(|error| unavailable(error.to_string()))?;
        let (status, body) = self.send(Method::POST, &format!("keys/{id}/{verb}"), question.into()).await?;
        match status {
            StatusCode::OK => {
                let answer: Answer =
                    serde_json::from_slice(&body).map_err(|_| unavailable("its answer cannot be read"))?;
                STANDARD.decode(answer.text).map_err(|_| unavailable("its answer is not in base64"))
            }
            StatusCode::NOT_FOUND => Err(MasterKeyError::Missing { id }),
            StatusCode::UNPROCESSABLE_ENTITY => Err(MasterKeyError::Refused { id }),
            other => Err(unavailable(other.to_string())),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), MasterKeyError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}/{path}", self.address))
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| unavailable(error.to_string()))?;
        let exchange = async {
            let response =
                self.client.request(request).await.map_err(|error| unavailable(error.to_string()))?;
            let status = response.status();
            let body =
                response.into_body().collect().await.map_err(|error| unavailable(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| unavailable("no answer in time"))?
    }
}

fn unavailable(reason: impl Into<String>) -> MasterKeyError {
    MasterKeyError::Unavailable { reason: reason.into() }
}

const PATIENCE: Duration = Duration::from_secs(10);
