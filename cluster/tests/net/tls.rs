use std::fs;
use std::path::Path;

use annals_cluster::transport::{Security, TlsFiles};
use annals_cluster::{Cluster, ClusterSettings, StartError};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::nodes::*;

/// A root of a cluster's own.
struct Root {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Root {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // Roots of one name would be tried for each other's certificates.
        let name: String = key.public_key_raw()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for this host, until this year, with its key.
    fn certificate(&self, host: &str, until: i32) -> (String, String) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// The files of one node.
struct Files(TempDir);

impl Files {
    fn new((certificate, key): (String, String), roots: &[&Root], secrets: &[&str]) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.renew((certificate, key));
        files.trust(roots);
        files.secrets(secrets);
        files
    }

    fn good(root: &Root) -> Self {
        Self::new(root.certificate("127.0.0.1", 2100), &[root], &[SECRET])
    }

    fn renew(&self, (certificate, key): (String, String)) {
        fs::write(self.path().join("node.pem"), certificate).unwrap();
        fs::write(self.path().join("node.key"), key).unwrap();
    }

    fn trust(&self, roots: &[&Root]) {
        let pem: String = roots.iter().map(|root| root.pem.as_str()).collect();
        fs::write(self.path().join("roots.pem"), pem).unwrap();
    }

    fn secrets(&self, secrets: &[&str]) {
        fs::write(self.path().join("secrets"), secrets.join("\n")).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn security(&self) -> Security {
        let file = |name| self.path().join(name);
        Security::Tls(TlsFiles::new(file("node.pem"), file("node.key"), file("roots.pem")))
    }

    fn settings(&self, contacts: &Contacts, nodes: usize) -> ClusterSettings {
        let mut settings = settings(contacts, nodes, self.security());
        settings.transport.secret_file = Some(self.path().join("secrets"));
        settings
    }
}

const SECRET: &str = "00000000000000000000000000000000";
const OTHER: &str = "11111111111111111111111111111111";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_roots_and_secrets_are_replaced_while_nodes_talk() {
    let (old, new) = (Root::new(), Root::new());
    let contacts = Contacts::default();
    let files = [Files::good(&old), Files::good(&old)];
    let nodes = form(&contacts, files.iter().map(|files| files.settings(&contacts, 2))).await;
    till(&nodes[1], 100);
    let remote = nodes[0].remote(&nodes[1].id(), "till");
    // What is told is not lost, whatever is replaced.
    let mut told = 0;
    let mut talk = async || {
        for node in &nodes {
            assert!(node.reload_credentials().await.unwrap());
            remote.tell(&Add { cents: 1, padding: Vec::new() }).await.unwrap();
            told += 1;
            assert_eq!(remote.ask(&GetTotal {}, PATIENCE).await.unwrap().cents, told);
        }
    };
    files.iter().for_each(|files| files.trust(&[&old, &new]));
    talk().await;
    files.iter().for_each(|files| files.renew(new.certificate("127.0.0.1", 2100)));
    talk().await;
    files.iter().for_each(|files| files.trust(&[&new]));
    talk().await;
    files.iter().for_each(|files| files.secrets(&[SECRET, OTHER]));
    talk().await;
    files.iter().for_each(|files| files.secrets(&[OTHER, SECRET]));
    talk().await;
    files.iter().for_each(|files| files.secrets(&[OTHER]));
    talk().await;
    // What cannot be used changes nothing.
    fs::write(files[0].path().join("node.key"), "no key").unwrap();
    assert!(nodes[0].reload_credentials().await.is_err());
    remote.ask(&GetTotal {}, PATIENCE).await.unwrap();

    // What was replaced is worth nothing any more.
    let (was_good, why) = (Files::good(&old), "does not trust");
    was_good.trust(&[&old, &new]);
    refused(&nodes[1], &was_good, why).await;
    for node in nodes {
        node.close().await;
    }
}

/// Starts a node with these files beside one that runs, and waits until it says why it is not taken in.
async fn refused(good: &Cluster, files: &Files, why: &str) {
    let contacts = Contacts::default();
    contacts.set([good.address().clone()]);
    let node = Cluster::start(files.settings(&contacts, 3)).await.unwrap();
    let says_why = async {
        loop {
            let failures = node.connection_failures();
            if failures.get(good.address()).is_some_and(|failure| failure.contains(why)) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let said = timeout(PATIENCE, says_why).await;
    assert!(said.is_ok(), "expected {why:?}, found {:?}", node.connection_failures());
    assert!(node.view().cluster().is_none());
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_good_certificate_and_secret_is_refused_and_told_why() {
    let (root, foreign) = (Root::new(), Root::new());
    let contacts = Contacts::default();
    let files = Files::good(&root);
    let nodes = form(&contacts, [files.settings(&contacts, 1)]).await;
    let good = &nodes[0];

    let expired = Files::new(root.certificate("127.0.0.1", 2020), &[&root], &[SECRET]);
    refused(good, &expired, "certificate expired").await;
    let of_another_root = Files::new(foreign.certificate("127.0.0.1", 2100), &[&root], &[SECRET]);
    refused(good, &of_another_root, "does not trust").await;
    let trusts_another = Files::new(root.certificate("127.0.0.1", 2100), &[&foreign], &[SECRET]);
    refused(good, &trusts_another, "is of no root that is trusted here").await;
    let wrong_secret = Files::new(root.certificate("127.0.0.1", 2100), &[&root], &[OTHER]);
    refused(good, &wrong_secret, "has not the same cluster secret").await;

    // With a good certificate of another host it is no node at all.
    let of_another_host = Files::new(root.certificate("127.0.0.2", 2100), &[&root], &[SECRET]);
    let error = Cluster::start(of_another_host.settings(&contacts, 3)).await.unwrap_err();
    assert!(matches!(error, StartError::Credentials(_)), "{error}");
    assert_eq!(good.view().members().len(), 1);
    good.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_without_a_certificate_of_the_client_ends_in_the_handshake() {
    use tokio::io::AsyncReadExt;
    let root = Root::new();
    let contacts = Contacts::default();
    let files = Files::good(&root);
    let nodes = form(&contacts, [files.settings(&contacts, 1)]).await;
    let mut roots = rustls::RootCertStore::empty();
    let pem = root.pem.as_bytes();
    roots
        .add(
            <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(pem)
                .unwrap(),
        )
        .unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"annals-cluster/1".to_vec()];
    let address = nodes[0].address().clone();
    let tcp = tokio::net::TcpStream::connect((address.host(), address.port())).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let ended = async {
        let mut stream = connector.connect(name, tcp).await?;
        stream.read_u8().await
    };
    let error = timeout(PATIENCE, ended).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    nodes[0].close().await;
}

#[tokio::test]
async fn plaintext_is_asked_for_by_name_and_refused_beyond_loopback() {
    let contacts = Contacts::default();
    let mut beyond = settings(&contacts, 1, Security::plaintext_on_loopback());
    beyond.transport.listen = Some("0.0.0.0:0".parse().unwrap());
    let error = Cluster::start(beyond.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::PlaintextBeyondLoopback { .. }), "{error}");
    beyond.transport.security = Security::Plaintext { on_any_address: true };
    Cluster::start(beyond).await.unwrap().close().await;
}
