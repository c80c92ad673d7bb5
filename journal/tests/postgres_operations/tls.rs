use std::fs;
use std::path::Path;

use annals_journal::JournalExt as _;
use annals_journal::postgres::{OpenError, PostgresJournal, sqlx};
use annals_services::Settings;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::{append, id, token};
use crate::{postgres, server};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a certificate and its key, for a server or for a role.
fn issue(authority: &Authority, names: &[&str], common_name: &str, folder: &Path, name: &str) {
    let mut params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn tls_checks_the_certificate_the_name_and_the_client() {
    let Some((server, url)) = server(&Settings::default()) else { return };
    let files = tempfile::tempdir().unwrap();
    let (ours, others) = (authority(), authority());
    fs::write(files.path().join("root.crt"), ours.pem()).unwrap();
    fs::write(files.path().join("other.crt"), others.pem()).unwrap();
    issue(&ours, &["localhost"], "server", files.path(), "server");
    issue(&ours, &[], "teller", files.path(), "teller");
    for name in ["server.crt", "server.key", "root.crt"] {
        server.keep(name, &fs::read(files.path().join(name)).unwrap()).unwrap();
    }
    let rules = fs::read_to_string(server.data().join("pg_hba.conf")).unwrap();
    let first = "hostssl all teller 127.0.0.1/32 cert\nhostnossl all teller 127.0.0.1/32 reject\n";
    server.keep("pg_hba.conf", format!("{first}{rules}").as_bytes()).unwrap();
    let settings = "ALTER SYSTEM SET ssl = on";
    crate::run(&url, settings).await;
    crate::run(&url, "ALTER SYSTEM SET ssl_ca_file = 'root.crt'").await;
    crate::run(&url, "CREATE ROLE teller LOGIN SUPERUSER").await;
    crate::run(&url, "SELECT pg_reload_conf()").await;

    let schema = postgres::schema();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let by_name = url.replace("127.0.0.1", "localhost");
    let open = async |url: &str, mode: &str, root: &str| {
        let url = format!("{url}?sslmode={mode}&sslrootcert={}", path(root));
        PostgresJournal::open(&url, postgres::options(&schema)).await
    };
    // The server reads its settings anew a moment later.
    let began = std::time::Instant::now();
    let journal = loop {
        match open(&by_name, "verify-full", "root.crt").await {
            Ok(journal) => break journal,
            Err(error) => assert!(began.elapsed().as_secs() < 60, "{error}: {}", server.log()),
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    journal.append(append(&id("a"), token(1, 1), 0, 1)).await.unwrap();
    let mut connection = journal.database().reader().await.unwrap();
    let encrypted: bool = sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    assert!(encrypted);

    for (why, url, mode, root) in [
        ("a root that did not sign it", &by_name, "verify-full", "other.crt"),
        ("a root that did not sign it", &by_name, "verify-ca", "other.crt"),
        ("another name", &url, "verify-full", "root.crt"),
    ] {
        let error = open(url, mode, root).await.expect_err(why);
        assert!(matches!(error, OpenError::Tls { .. }), "{why}: {error:?}");
        assert!(error.to_string().contains("sslrootcert"), "{why}: {error}");
    }
    open(&url, "verify-ca", "root.crt").await.unwrap();

    // A role that the server knows by its certificate only.
    let teller = by_name.replace("postgres@", "teller@");
    let error = open(&teller, "verify-full", "root.crt").await.expect_err("no certificate");
    assert!(matches!(&error, OpenError::Refused { user, .. } if user == "teller"), "{error:?}");
    let error = PostgresJournal::open(&format!("{teller}?sslmode=disable"), postgres::options(&schema)).await;
    assert!(matches!(error, Err(OpenError::Refused { .. })), "{error:?}");
    let pair = format!("&sslcert={}&sslkey={}", path("teller.crt"), path("teller.key"));
    let full = format!("{teller}?sslmode=verify-full&sslrootcert={}{pair}", path("root.crt"));
    let journal = PostgresJournal::open(&full, postgres::options(&schema)).await.unwrap();
    journal.append(append(&id("a"), token(1, 1), 1, 1)).await.unwrap();
}
