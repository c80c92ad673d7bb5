use std::time::Duration;

use annals_cluster::transport::Security;
use annals_cluster::{Cluster, Random};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use crate::nodes::*;

async fn connection(to: &Cluster) -> TcpStream {
    TcpStream::connect((to.address().host(), to.address().port())).await.unwrap()
}

/// The node ends the connection: with a refusal, or without a word.
async fn is_ended(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is still open");
    assert!(rest.len() < 4_096, "{} bytes", rest.len());
}

/// Waits until the runtime has no more tasks than before the attack.
async fn until_tasks_are_gone(before: usize) {
    let gone = async {
        while Handle::current().metrics().num_alive_tasks() > before {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let now = || Handle::current().metrics().num_alive_tasks();
    assert!(timeout(PATIENCE, gone).await.is_ok(), "{before} tasks before, {} now", now());
}

const PREAMBLE: &[u8] = b"ANNALS\x00\x01";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_rubbish_or_nothing_is_disconnected_and_leaves_nothing_behind() {
    let contacts = Contacts::default();
    let all = (0..2).map(|_| {
        let mut settings = settings(&contacts, 2, Security::plaintext_on_loopback());
        settings.transport.connect_within = Duration::from_secs(2);
        settings.transport.most_handshakes = 16;
        settings
    });
    let nodes = form(&contacts, all).await;
    let target = &nodes[0];
    till(target, 100);
    nodes[1].remote(&target.id(), "till").ask(&GetTotal {}, PATIENCE).await.unwrap();
    let before = Handle::current().metrics().num_alive_tasks();

    let mut random = Random::new(7);
    for attempt in 0..200 {
        let mut bytes = if attempt % 2 == 0 { Vec::new() } else { PREAMBLE.to_vec() };
        bytes.extend((0..random.below(300)).map(|_| random.number() as u8));
        let mut stream = connection(target).await;
        // It may have ended before all is written.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        is_ended(stream).await;
    }
    // A length of four gigabytes: nothing is waited for, and nothing allocated.
    let mut huge = connection(target).await;
    huge.write_all(PREAMBLE).await.unwrap();
    huge.write_all(&[0xFF; 4]).await.unwrap();
    is_ended(huge).await;
    // A frame that does not end, and nothing at all.
    let mut truncated = connection(target).await;
    truncated.write_all(PREAMBLE).await.unwrap();
    truncated.write_all(&[0, 0, 0, 100, 1, 2, 3]).await.unwrap();
    is_ended(truncated).await;
    is_ended(connection(target).await).await;
    until_tasks_are_gone(before).await;

    // More at once than may be: the rest is turned away, and those that belong are not.
    let mut slow = Vec::new();
    for _ in 0..100 {
        slow.push(connection(target).await);
    }
    let most = before + 16;
    let now = Handle::current().metrics().num_alive_tasks();
    assert!(now <= most, "{now} tasks, {most} may be");
    nodes[1].remote(&target.id(), "till").ask(&GetTotal {}, PATIENCE).await.unwrap();
    for stream in slow {
        is_ended(stream).await;
    }
    until_tasks_are_gone(before).await;
    for node in nodes {
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_that_was_recorded_is_refused_when_it_is_played_again() {
    // Between both, somebody listens and records what the first sends.
    let contacts = Contacts::default();
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("secrets");
    std::fs::write(&secrets, "00000000000000000000000000000000").unwrap();
    let middle = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = settings(&contacts, 2, Security::plaintext_on_loopback());
    target.transport.advertised = middle.local_addr().unwrap().to_string().parse().unwrap();
    target.transport.listen = Some("127.0.0.1:0".parse().unwrap());
    target.transport.secret_file = Some(secrets.clone());
    let mut other = settings(&contacts, 2, Security::plaintext_on_loopback());
    other.transport.secret_file = Some(secrets);
    let target = Cluster::start(target).await.unwrap();
    let other = Cluster::start(other).await.unwrap();
    contacts.set([target.address().clone(), other.address().clone()]);

    let listens_at = target.listens_at();
    let (mut from, _) = timeout(PATIENCE, middle.accept()).await.unwrap().unwrap();
    let mut to = TcpStream::connect(listens_at).await.unwrap();
    let mut recorded = Vec::new();
    let (mut there, mut back) = ([0; 4_096], [0; 4_096]);
    // Preamble, hello, proof, and a message at least.
    while recorded.len() < 200 {
        tokio::select! {
            read = from.read(&mut there) => {
                let read = read.unwrap();
                recorded.extend_from_slice(&there[..read]);
                to.write_all(&there[..read]).await.unwrap();
            }
            read = to.read(&mut back) => {
                let read = read.unwrap();
                from.write_all(&back[..read]).await.unwrap();
            }
        }
    }
    let mut again = TcpStream::connect(listens_at).await.unwrap();
    again.write_all(&recorded).await.unwrap();
    let mut answers = Vec::new();
    timeout(PATIENCE, again.read_to_end(&mut answers)).await.unwrap().unwrap();
    let answers = String::from_utf8_lossy(&answers).into_owned();
    assert!(answers.contains("has not the same cluster secret"), "{answers}");
    for node in [target, other] {
        node.close().await;
    }
}
