use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::certificate_names;
use super::secret::{InvalidSecrets, Secrets};
use super::security::{Security, TlsFiles};
use crate::NodeAddress;

/// Certificates, keys, roots and cluster secrets as they are now; read again while the node runs.
pub(crate) struct Credentials {
    security: Security,
    secret_file: Option<PathBuf>,
    advertised: NodeAddress,
    current: RwLock<Arc<Loaded>>,
    read: Mutex<Sources>,
    generation: watch::Sender<u64>,
}

/// What connections are made with.
pub(crate) struct Loaded {
    pub(crate) tls: Option<Tls>,
    pub(crate) secrets: Secrets,
    /// Rises when something has changed; connections of an older one are made again.
    pub(crate) generation: u64,
}

pub(crate) struct Tls {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) wildcards: bool,
}

/// The bytes of the files, to see whether they have changed.
#[derive(PartialEq, Eq)]
struct Sources {
    certificates: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    roots: Vec<u8>,
    secrets: Option<Zeroizing<Vec<u8>>>,
}

impl Credentials {
    pub(crate) fn load(
        security: Security,
        secret_file: Option<PathBuf>,
        advertised: NodeAddress,
    ) -> Result<Self, CredentialsError> {
        let read = Sources::read(&security, secret_file.as_deref())?;
        let loaded = read.load(&security, &advertised, 1)?;
        Ok(Self {
            security,
            secret_file,
            advertised,
            current: RwLock::new(Arc::new(loaded)),
            read: Mutex::new(read),
            generation: watch::Sender::new(1),
        })
    }

    /// Reads the files again; whether something has changed. After an error everything stays as it was.
    pub(crate) fn reload(&self) -> Result<bool, CredentialsError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Sources::read(&self.security, self.secret_file.as_deref())?;
        if *read == now {
            return Ok(false);
        }
        let generation = self.current().generation + 1;
        let loaded = now.load(&self.security, &self.advertised, generation)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        *read = now;
        self.generation.send_replace(generation);
        Ok(true)
    }

    pub(crate) fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    pub(crate) fn has_files(&self) -> bool {
        self.secret_file.is_some() || matches!(self.security, Security::Tls(_))
    }
}

impl Sources {
    fn read(security: &Security, secret_file: Option<&Path>) -> Result<Self, CredentialsError> {
        let mut read =
            Self { certificates: Vec::new(), key: Zeroizing::default(), roots: Vec::new(), secrets: None };
        if let Security::Tls(files) = security {
            read.certificates = read_file(&files.certificates)?;
            read.key = Zeroizing::new(read_file(&files.key)?);
            read.roots = read_file(&files.roots)?;
        }
        if let Some(path) = secret_file {
            read.secrets = Some(Zeroizing::new(read_file(path)?));
        }
        Ok(read)
    }

    fn load(
        &self,
        security: &Security,
        advertised: &NodeAddress,
        generation: u64,
    ) -> Result<Loaded, CredentialsError> {
        let secrets = match &self.secrets {
            None => Secrets::default(),
            Some(text) => Secrets::parse(&String::from_utf8_lossy(text))?,
        };
        let tls = match security {
            Security::Tls(files) => Some(self.tls(files, advertised)?),
            Security::Plaintext { .. } => None,
        };
        Ok(Loaded { tls, secrets, generation })
    }

    fn tls(&self, files: &TlsFiles, advertised: &NodeAddress) -> Result<Tls, CredentialsError> {
        let certificates = certificates(&self.certificates, &files.certificates)?;
        let own = certificates.first().ok_or_else(|| none(&files.certificates))?;
        certificate_names::check(own, advertised.host(), files.wildcards).map_err(CredentialsError::Name)?;
        let key = || {
            PrivateKeyDer::from_pem_slice(&self.key)
                .map_err(|error| invalid(&files.key, "a private key", &error))
        };
        let mut roots = RootCertStore::empty();
        for root in self::certificates(&self.roots, &files.roots)? {
            roots.add(root).map_err(|error| invalid(&files.roots, "a root", &error))?;
        }
        if roots.is_empty() {
            return Err(none(&files.roots));
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(provider()));
        let unusable = |error: rustls::Error| invalid(&files.certificates, "certificate and key", &error);

        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| invalid(&files.roots, "a list of roots", &error))?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates.clone(), key()?)
            .map_err(unusable)?;
        // Each connection shows its certificates: a root that is taken away is gone.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![ALPN.to_vec()];

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates, key()?)
            .map_err(unusable)?;
        client.resumption = Resumption::disabled();
        client.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Tls { client: Arc::new(client), server: Arc::new(server), wildcards: files.wildcards })
    }
}

/// So that a connection that was meant for something else ends early.
const ALPN: &[u8] = b"annals-cluster/1";

fn provider() -> CryptoProvider {
    ring::default_provider()
}

fn read_file(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    fs::read(path).map_err(|source| CredentialsError::Unreadable { path: path.to_owned(), source })
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    read.map_err(|error| invalid(path, "a list of certificates", &error))
}

fn none(path: &Path) -> CredentialsError {
    CredentialsError::Invalid {
        path: path.to_owned(),
        what: "a list of certificates",
        reason: "there is none in it".to_owned(),
    }
}

fn invalid(path: &Path, what: &'static str, error: &dyn std::fmt::Display) -> CredentialsError {
    CredentialsError::Invalid { path: path.to_owned(), what, reason: error.to_string() }
}

/// Certificates, keys or secrets that cannot be used. What was in use before stays in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("{} cannot be read: is it there, and readable for this process?", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{} is not {what} in PEM that can be used: {reason}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The node's own certificate does not name its host.
    #[error("{0}")]
    Name(String),
    /// The list of cluster secrets.
    #[error("the list of cluster secrets cannot be used: {0}")]
    Secrets(#[from] InvalidSecrets),
}
