//! A private Cassandra starts, is killed, comes back and goes.

use std::net::TcpStream;

use annals_services::cassandra::{Installation, Node, Settings};

#[test]
fn a_node_starts_is_killed_comes_back_and_goes() {
    let Some(installation) = Installation::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI tests with Cassandra, and it was not fetched");
        return;
    };
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = annals_services::folder(target).join(format!("cassandra-{}", std::process::id()));
    let node = Node::at(installation, &folder);
    assert_eq!(node.address(), None);
    let began = std::time::Instant::now();
    let address = node.start(Settings { batch: true }).expect("it starts");
    println!("it answered after {:?}", began.elapsed());
    assert!(TcpStream::connect(&address).is_ok(), "{address}");
    assert_eq!(node.start(Settings::default()).expect("it runs"), address);
    node.kill().expect("it can be killed");
    assert_eq!(node.address(), None, "{}", node.log());
    assert!(TcpStream::connect(&address).is_err(), "{address} answers, and was killed");
    assert_eq!(node.start(Settings { batch: true }).expect("it recovers"), address, "{}", node.log());
    node.wipe().expect("it stops");
    assert!(TcpStream::connect(&address).is_err() && !folder.exists());
    node.wipe().expect("what is gone can be wiped");
}
