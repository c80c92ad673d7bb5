use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use annals_cluster::discovery::{Discovery, EndpointPort, Kubernetes};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::shown;

/// An API server with one answer, over TLS, and an account that it accepts.
struct ApiServer {
    address: annals_cluster::NodeAddress,
    account: TempDir,
    state: Arc<Mutex<State>>,
}

struct State {
    token: String,
    status: &'static str,
    body: String,
    requests: Vec<String>,
}

impl ApiServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let account = tempfile::tempdir().unwrap();
        write(account.path(), "ca.crt", &cert.pem());
        write(account.path(), "token", "first\n");
        let state = State { token: "first".into(), status: "200 OK", body: slices(), requests: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&state)));
        Self { address, account, state }
    }

    fn discovery(&self, port: EndpointPort) -> Kubernetes {
        Kubernetes::new(self.address.clone(), self.account.path(), "money", "bank", port).unwrap()
    }

    fn answer(&self, status: &'static str, body: &str) {
        let mut state = self.state.lock().unwrap();
        state.status = status;
        state.body = body.to_owned();
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // A client that does not trust it goes away.
            let Ok(mut stream) = tls.accept(stream).await else { return };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                request.push(byte);
            }
            let request = String::from_utf8(request).unwrap();
            let response = {
                let mut state = state.lock().unwrap();
                let knows =
                    request.to_lowercase().contains(&format!("authorization: bearer {}\r\n", state.token));
                let (status, body) = if knows {
                    (state.status, state.body.clone())
                } else {
                    ("401 Unauthorized", r#"{"kind":"Status","message":"Unauthorized"}"#.to_owned())
                };
                state.requests.push(request);
                format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
            };
            let _ = stream.write_all(response.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

/// Two slices, as Kubernetes gives them for a headless service with addresses of both kinds; one endpoint is not ready.
fn slices() -> String {
    r#"{
      "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "metadata": {"resourceVersion": "7"},
      "items": [
        {
          "metadata": {"name": "bank-x", "namespace": "money"}, "addressType": "IPv4",
          "endpoints": [
            {"addresses": ["10.1.0.5"], "conditions": {"ready": true, "serving": true, "terminating": false}},
            {"addresses": ["10.1.0.4"], "conditions": {"ready": false}}
          ],
          "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "annals", "port": 2552, "protocol": "TCP"}]
        },
        {
          "metadata": {"name": "bank-y"}, "addressType": "IPv6",
          "endpoints": [{"addresses": ["fd00::5"], "conditions": {"ready": true}}],
          "ports": [{"name": "annals", "port": 2553, "protocol": "TCP"}]
        },
        {"metadata": {"name": "bank-z"}, "addressType": "IPv4", "endpoints": null, "ports": null}
      ]
    }"#
    .to_owned()
}

#[tokio::test]
async fn all_endpoints_of_the_service_are_contact_points_ready_or_not() {
    let server = ApiServer::start().await;
    let kubernetes = server.discovery(EndpointPort::Named("annals".into()));
    let found = kubernetes.contact_points().await.unwrap();
    assert_eq!(shown(&found), ["10.1.0.4:2552", "10.1.0.5:2552", "[fd00::5]:2553"]);
    assert_eq!(
        kubernetes.count(),
        None,
        "endpoints may be fewer for a while: the operator says how many there are"
    );
    let asked = server.state.lock().unwrap().requests.pop().unwrap();
    let line = "GET /apis/discovery.k8s.io/v1/namespaces/money/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dbank HTTP/1.1\r\n";
    assert!(asked.starts_with(line), "{asked}");

    let found = server.discovery(EndpointPort::Number(7)).contact_points().await.unwrap();
    assert_eq!(shown(&found), ["10.1.0.4:7", "10.1.0.5:7", "[fd00::5]:7"]);
}

#[tokio::test]
async fn a_token_that_kubernetes_has_replaced_is_read_anew() {
    let server = ApiServer::start().await;
    let kubernetes = server.discovery(EndpointPort::Number(2552));
    kubernetes.contact_points().await.unwrap();
    server.state.lock().unwrap().token = "second".into();
    let error = kubernetes.contact_points().await.unwrap_err().to_string();
    assert!(error.contains("money/bank") && error.contains("401") && error.contains("token"), "{error}");
    write(server.account.path(), "token", "second");
    kubernetes.contact_points().await.unwrap();
}

#[tokio::test]
async fn each_refusal_says_who_can_change_it() {
    let server = ApiServer::start().await;
    let kubernetes = server.discovery(EndpointPort::Named("annals".into()));
    let forbidden = r#"{"kind":"Status","message":"endpointslices.discovery.k8s.io is forbidden"}"#;
    for (status, body, said) in [
        ("403 Forbidden", forbidden, "RoleBinding"),
        ("403 Forbidden", forbidden, "endpointslices.discovery.k8s.io is forbidden"),
        ("404 Not Found", "404 page not found", "no such namespace"),
        ("500 Internal Server Error", "", "next look"),
        ("200 OK", "no json", "no EndpointSliceList"),
        ("200 OK", r#"{"items":[]}"#, "publishNotReadyAddresses"),
        (
            "200 OK",
            r#"{"items":[{"endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"name":"http","port":1}]}]}"#,
            "no port named \"annals\"",
        ),
    ] {
        server.answer(status, body);
        let error = kubernetes.contact_points().await.unwrap_err().to_string();
        assert!(error.contains(said), "{status} {body}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_is_another_or_away_is_told_apart_and_a_missing_account_is_named() {
    let (server, other) = (ApiServer::start().await, ApiServer::start().await);
    let kubernetes = server.discovery(EndpointPort::Number(2552));
    let own = fs::read(server.account.path().join("ca.crt")).unwrap();
    fs::copy(other.account.path().join("ca.crt"), server.account.path().join("ca.crt")).unwrap();
    let error = kubernetes.contact_points().await.unwrap_err().to_string();
    assert!(error.contains("does not prove itself by ca.crt"), "{error}");
    assert_eq!(
        server.state.lock().unwrap().requests.len(),
        0,
        "the token went to a server that proved nothing"
    );

    write(server.account.path(), "ca.crt", "no certificate");
    let error = kubernetes.contact_points().await.unwrap_err().to_string();
    assert!(error.contains("no certificate"), "{error}");
    fs::write(server.account.path().join("ca.crt"), own).unwrap();
    kubernetes.contact_points().await.unwrap();

    fs::remove_file(server.account.path().join("token")).unwrap();
    let error = kubernetes.contact_points().await.unwrap_err().to_string();
    assert!(error.contains("token") && error.contains("automountServiceAccountToken"), "{error}");

    // Nobody listens on that port.
    let port = EndpointPort::Number(1);
    let away =
        Kubernetes::new("127.0.0.1:1".parse().unwrap(), other.account.path(), "money", "bank", port).unwrap();
    let error = away.contact_points().await.unwrap_err().to_string();
    assert!(error.contains("is not reached"), "{error}");
}

#[test]
fn names_that_are_none_are_refused_before_anybody_is_asked() {
    let address: annals_cluster::NodeAddress = "127.0.0.1:443".parse().unwrap();
    for (namespace, service) in
        [("", "bank"), ("money", ""), ("a/b", "bank"), ("money", "bank?x=1"), ("Money", "bank")]
    {
        let refused = Kubernetes::new(address.clone(), "/", namespace, service, EndpointPort::Number(1));
        assert!(refused.unwrap_err().to_string().contains("lower case letters"), "{namespace} {service}");
    }
    let outside = Kubernetes::in_pod("bank", EndpointPort::Number(1)).unwrap_err().to_string();
    assert!(outside.contains("this is no pod"), "{outside}");
}
