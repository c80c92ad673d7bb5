use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Discovery, DiscoveryError};
use crate::NodeAddress;

/// Contact points by the endpoints of a service in Kubernetes, asked of the API server.
///
/// ```text
/// GET https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT
///     /apis/discovery.k8s.io/v1/namespaces/NAMESPACE/endpointslices?labelSelector=kubernetes.io/service-name=SERVICE
/// Authorization: Bearer (token of the service account)
/// ```
///
/// The service account needs `list` on `endpointslices` of `discovery.k8s.io` in the namespace. All endpoints count, ready or not: a node
/// that is in no cluster yet is not ready. Each node must advertise its pod's IP address (`status.podIP`), or it does not know itself
/// among the contact points.
///
/// Token and root certificate are read anew at each look: Kubernetes replaces them.
/// [`FormingSettings::contact_points`](crate::FormingSettings::contact_points) says how many nodes may form a cluster, which is the number of replicas at the
/// beginning: endpoints may be fewer for a while.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    server: NodeAddress,
    /// `token` and `ca.crt`.
    account: PathBuf,
    namespace: String,
    service: String,
    port: EndpointPort,
}

/// Which port of an endpoint is that of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointPort {
    /// The one that the service calls so.
    Named(String),
    /// This one, whatever the service says.
    Number(u16),
}

impl Kubernetes {
    /// Within a pod: the server, the namespace and the account that Kubernetes gives it.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError`] when this is no pod, or it has no service account mounted.
    pub fn in_pod(service: &str, port: EndpointPort) -> Result<Self, DiscoveryError> {
        let by = format!("Kubernetes service {service}");
        let variable = |name: &str| {
            std::env::var(name).map_err(|error| {
                DiscoveryError::new(&by, format!("{name} is not set: this is no pod")).with_source(error)
            })
        };
        let (host, number) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let server = number.parse().ok().and_then(|number| NodeAddress::new(&host, number).ok());
        let server = server.ok_or_else(|| {
            DiscoveryError::new(&by, format!("{host} and {number} are no address of an API server"))
        })?;
        let path = Path::new(ACCOUNT).join("namespace");
        let namespace = std::fs::read_to_string(&path).map_err(|error| {
            let reason = format!("{} cannot be read: {error}; {MOUNT}", path.display());
            DiscoveryError::new(&by, reason).with_source(error)
        })?;
        Self::new(server, ACCOUNT, namespace.trim(), service, port)
    }

    /// By another server, or another folder with `token` and `ca.crt`.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError`] when namespace or service are no names that Kubernetes allows.
    pub fn new(
        server: NodeAddress,
        account: impl Into<PathBuf>,
        namespace: &str,
        service: &str,
        port: EndpointPort,
    ) -> Result<Self, DiscoveryError> {
        for name in [namespace, service] {
            let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || name.len() > 63 || !name.bytes().all(label) {
                let reason = format!("{name:?} is no name: it has lower case letters, digits and hyphens");
                return Err(DiscoveryError::new(format!("Kubernetes service {service}"), reason));
            }
        }
        let (namespace, service) = (namespace.to_owned(), service.to_owned());
        Ok(Self { server, account: account.into(), namespace, service, port })
    }

    fn error(&self, reason: impl Into<String>) -> DiscoveryError {
        DiscoveryError::new(format!("Kubernetes service {}/{}", self.namespace, self.service), reason)
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, DiscoveryError> {
        let path = self.account.join(name);
        tokio::fs::read(&path).await.map_err(|error| {
            self.error(format!("{} cannot be read: {error}; {MOUNT}", path.display())).with_source(error)
        })
    }

    async fn tls(&self) -> Result<TlsConnector, DiscoveryError> {
        let pem = self.read("ca.crt").await?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let added = certificate.map_err(Box::<dyn Error + Send + Sync>::from);
            let added = added.and_then(|certificate| Ok(roots.add(certificate)?));
            added.map_err(|error| self.error("ca.crt is no certificate in PEM").with_source(error))?;
        }
        if roots.is_empty() {
            return Err(self.error("ca.crt has no certificate in it"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| self.error("this build has no TLS").with_source(error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    async fn ask(&self) -> Result<(StatusCode, Bytes), DiscoveryError> {
        let token = String::from_utf8_lossy(&self.read("token").await?).trim().to_owned();
        let tls = self.tls().await?;
        let (host, port) = (self.server.host(), self.server.port());
        let away = |error: Box<dyn Error + Send + Sync>| {
            let why = format!("the API server {} is not reached: {error}", self.server);
            self.error(why).with_source(error)
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| away(error.into()))?;
        let stream = TcpStream::connect((host, port)).await.map_err(|error| away(error.into()))?;
        let stream = tls.connect(name, stream).await.map_err(|error| {
            let why = format!("the API server {} does not prove itself by ca.crt: {error}", self.server);
            self.error(why).with_source(error)
        })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| away(error.into()))?;
        let request = Request::get(format!(
            "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{}",
            self.namespace, self.service
        ))
        .header(header::HOST, self.server.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|error| self.error("the token of the service account has characters that no token has").with_source(error))?;
        let exchange = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await?;
            Ok::<_, Box<dyn Error + Send + Sync>>((status, body.to_bytes()))
        };
        // Both in this task: dropping the future ends the connection.
        let connection = async {
            match connection.await {
                // Whoever waits for the answer is told.
                Ok(()) => std::future::pending().await,
                Err(error) => Err(Box::<dyn Error + Send + Sync>::from(error)),
            }
        };
        tokio::select! {
            biased;
            answer = exchange => answer.map_err(away),
            ended = connection => ended.map_err(away),
        }
    }

    /// Why the server did not say, and who can change that.
    fn refused(&self, status: StatusCode, body: &[u8]) -> DiscoveryError {
        let said = serde_json::from_slice::<Refusal>(body).map(|refusal| refusal.message).unwrap_or_default();
        let remedy = match status {
            StatusCode::UNAUTHORIZED => {
                "its token is not accepted: is the mounted service account the pod's own?"
            }
            StatusCode::FORBIDDEN => {
                "the service account may not `list` endpointslices of discovery.k8s.io in the namespace: give it a Role and a RoleBinding"
            }
            StatusCode::NOT_FOUND => {
                "there is no such namespace, or the server is older than Kubernetes 1.21"
            }
            _ => "the API server does not answer as it should; the next look may succeed",
        };
        self.error(format!("{status}, {remedy} ({said})"))
    }

    fn endpoints(&self, slices: &[Slice]) -> Result<Vec<NodeAddress>, DiscoveryError> {
        let mut found = Vec::new();
        for slice in slices {
            let number = match &self.port {
                EndpointPort::Number(number) => Some(*number),
                EndpointPort::Named(name) => {
                    let named = |port: &&Port| port.name.as_deref().unwrap_or_default() == name;
                    slice.ports.iter().flatten().find(named).and_then(|port| port.port)
                }
            };
            for address in slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses) {
                let number = number.ok_or_else(|| {
                    let EndpointPort::Named(name) = &self.port else { return self.error("it has no port") };
                    self.error(format!(
                        "it has no port named {name:?}: name it in the service, or give its number"
                    ))
                })?;
                found.push(NodeAddress::new(address, number).map_err(|error| {
                    self.error("an endpoint has an address that is none").with_source(error)
                })?);
            }
        }
        if found.is_empty() {
            return Err(self.error(
                "it has no endpoints: is there such a service, does it select the pods, and does it publish addresses that are not ready \
                 (publishNotReadyAddresses)?",
            ));
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

#[async_trait]
impl Discovery for Kubernetes {
    async fn contact_points(&self) -> Result<Vec<NodeAddress>, DiscoveryError> {
        let (status, body) = self.ask().await?;
        if status != StatusCode::OK {
            return Err(self.refused(status, &body));
        }
        let list: SliceList = serde_json::from_slice(&body).map_err(|error| {
            self.error("the API server answers what is no EndpointSliceList").with_source(error)
        })?;
        self.endpoints(&list.items)
    }
}

/// `EndpointSliceList` of `discovery.k8s.io/v1`, as far as it is used.
#[derive(Deserialize)]
struct SliceList {
    items: Vec<Slice>,
}

#[derive(Deserialize)]
struct Slice {
    // Both are null, not empty, when there are none.
    endpoints: Option<Vec<Endpoint>>,
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
struct Endpoint {
    addresses: Vec<String>,
}

#[derive(Deserialize)]
struct Port {
    name: Option<String>,
    port: Option<u16>,
}

/// `Status` of the API.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
}

const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MOUNT: &str = "the pod needs its service account mounted (automountServiceAccountToken)";
/// Far more than 1,000 endpoints need.
const ANSWER_BYTES: usize = 16 << 20;
