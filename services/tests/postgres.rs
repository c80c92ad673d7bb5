//! A private PostgreSQL starts, is killed, comes back and goes.

use std::net::TcpStream;

use annals_services::{Cluster, Installation, Settings};

fn answers(url: &str) -> bool {
    let address = url.split('@').nth(1).and_then(|rest| rest.split('/').next()).expect("a URL has a server");
    TcpStream::connect(address).is_ok()
}

#[test]
fn a_server_starts_is_killed_comes_back_and_goes() {
    let Some(installation) = Installation::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI tests with PostgreSQL, and it is not installed");
        return;
    };
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = annals_services::folder(target).join(format!("test-{}", std::process::id()));
    let cluster = Cluster::at(installation, &folder);
    assert_eq!(cluster.url(), None);
    let url = cluster.start(&Settings::default()).expect("it starts");
    assert!(answers(&url), "{url}");
    assert_eq!(cluster.start(&Settings::default()).expect("it runs"), url);
    cluster.kill().expect("it can be killed");
    assert_eq!(cluster.url(), None, "{}", cluster.log());
    assert!(!answers(&url), "{url} answers, and was killed");
    let url = cluster.start(&Settings::default()).expect("it recovers");
    assert!(answers(&url), "{url}");
    cluster.wipe().expect("it stops");
    assert!(!answers(&url) && !folder.exists());
    cluster.wipe().expect("what is gone can be wiped");
}
