use std::time::Duration;

use annals_cluster::remote::{RemoteEnd, RemoteFailure};
use annals_cluster::transport::Security;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::nodes::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_tell_and_ask_each_others_actors_and_failures_say_what_is_wrong() {
    let nodes = formed(2, Security::plaintext_on_loopback()).await;
    let till = till(&nodes[1], 100);
    let id = nodes[1].id();
    let remote = nodes[0].remote(&id, "till");
    for cents in 1..=1_000 {
        remote.tell(&Add { cents, padding: Vec::new() }).await.unwrap();
    }
    // Of one sender, in the order in which they were sent.
    let total = remote.ask(&GetTotal {}, PATIENCE).await.unwrap();
    assert_eq!(total.cents, 500_500);
    // A node reaches its own the same way.
    assert_eq!(nodes[1].remote(&id, "till").ask(&GetTotal {}, PATIENCE).await.unwrap(), total);

    let failure = remote.ask(&Forget {}, PATIENCE).await.unwrap_err();
    assert!(matches!(failure, RemoteFailure::NoReply { .. }), "{failure}");
    let failure = remote.ask(&Empty {}, PATIENCE).await.unwrap_err();
    assert!(matches!(failure, RemoteFailure::Unknown { .. }), "{failure}");
    let failure = nodes[0].remote(&id, "vault").ask(&GetTotal {}, PATIENCE).await.unwrap_err();
    assert!(matches!(failure, RemoteFailure::Unknown { .. }), "{failure}");
    let failure = remote.ask(&Ponder {}, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(failure, RemoteFailure::TimedOut { .. }), "{failure}");
    let failure = remote.tell(&Add { cents: 1, padding: vec![0; 2 << 20] }).await.unwrap_err();
    assert!(matches!(failure, RemoteFailure::TooLarge { bytes: 2_097_152.., .. }), "{failure}");
    let failure = remote.ask(&GetBytes { bytes: 2 << 20 }, PATIENCE).await.unwrap_err();
    assert!(matches!(failure, RemoteFailure::TooLarge { bytes: 0, .. }), "{failure}");
    let large = remote.ask(&GetBytes { bytes: 1_000_000 }, PATIENCE).await.unwrap();
    assert_eq!(large.padding.len(), 1_000_000);
    till.stop();
    till.terminated().await;
    let failure = remote.ask(&GetTotal {}, PATIENCE).await.unwrap_err();
    assert!(matches!(failure, RemoteFailure::Refused { .. }), "{failure}");

    // It is a member still, and does not answer.
    nodes[1].close().await;
    let failure = loop {
        // What was sent before the end of the connection was known is lost.
        match remote.ask(&GetTotal {}, Duration::from_millis(500)).await.unwrap_err() {
            RemoteFailure::TimedOut { .. } => {}
            failure => break failure,
        }
    };
    assert!(matches!(failure, RemoteFailure::Unreachable { .. }), "{failure}");
    nodes[0].close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_hears_of_the_end_of_an_actor_and_of_its_node() {
    let contacts = Contacts::default();
    let all = (0..3).map(|_| {
        let mut settings = settings(&contacts, 3, Security::plaintext_on_loopback());
        settings.membership.downing.stable_after = Duration::from_millis(500);
        settings
    });
    let nodes = form(&contacts, all).await;
    let first = till(&nodes[1], 100);
    let id = nodes[1].id();
    let remote = nodes[0].remote(&id, "till");
    assert_eq!(nodes[0].remote(&id, "vault").ended().await, RemoteEnd::Unknown);

    let watching = tokio::spawn({
        let remote = remote.clone();
        async move { remote.ended().await }
    });
    first.stop();
    // Whether the watch began before the end or after it.
    assert_eq!(timeout(PATIENCE, watching).await.unwrap().unwrap(), RemoteEnd::Terminated);

    // Another actor has the name now.
    let second = till(&nodes[1], 100);
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let watching = tokio::spawn({
        let remote = remote.clone();
        async move { told.send(remote.ended().await) }
    });
    remote.ask(&GetTotal {}, PATIENCE).await.unwrap();
    assert!(hears.try_recv().is_err());
    nodes[1].close().await;
    let end = timeout(PATIENCE, hears.recv()).await.unwrap().unwrap();
    assert_eq!(end, RemoteEnd::NodeRemoved);
    watching.await.unwrap().unwrap();
    assert!(!second.is_stopped());
    for node in [&nodes[0], &nodes[2]] {
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_does_not_wait_behind_messages_that_nobody_takes() {
    let contacts = Contacts::default();
    let all = (0..2).map(|_| {
        let mut settings = settings(&contacts, 2, Security::plaintext_on_loopback());
        settings.transport.queue_bytes = 64 << 10;
        settings.transport.deliver_within = PATIENCE;
        settings.transport.stalled_after = PATIENCE;
        settings
    });
    let nodes = form(&contacts, all).await;
    let till = till(&nodes[1], 1);
    let (go_on, until) = oneshot::channel();
    till.tell(TillMessage::Wait(until)).await.unwrap();

    let remote = nodes[0].remote(&nodes[1].id(), "till");
    let mut sent = 0_u64;
    // Until nothing goes in any more: mailbox, sockets and queue are full.
    while let Ok(told) =
        timeout(Duration::from_secs(1), remote.tell(&Add { cents: 1, padding: vec![0; 50_000] })).await
    {
        told.unwrap();
        sent += 1;
    }
    // The cluster goes on all the same: what each announces now, the other hears.
    for (from, to) in [(&nodes[0], &nodes[1]), (&nodes[1], &nodes[0])] {
        from.announce([("stuck".to_owned(), b"bulk".to_vec())].into()).unwrap();
        let me = from.id().incarnation;
        let heard = to.until(|view| {
            let mut members = view.members().into_iter();
            members.any(|member| member.incarnation() == me && member.facts.entries().contains_key("stuck"))
        });
        timeout(PATIENCE, heard).await.unwrap().unwrap();
    }
    go_on.send(()).unwrap();
    let total = remote.ask(&GetTotal {}, PATIENCE).await.unwrap();
    assert_eq!(total.cents, sent, "what waited has arrived, and nothing was dropped");
    for node in nodes {
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_this_wire_version_and_of_the_last_one_are_one_cluster() {
    let contacts = Contacts::default();
    let all = [1, 2, 2].map(|newest| {
        let mut settings = settings(&contacts, 3, Security::plaintext_on_loopback());
        settings.transport.newest_wire = newest;
        settings
    });
    let nodes = form(&contacts, all).await;
    for node in &nodes {
        till(node, 100);
    }
    for from in &nodes {
        for to in &nodes {
            let remote = from.remote(&to.id(), "till");
            remote.tell(&Add { cents: 1, padding: Vec::new() }).await.unwrap();
            remote.ask(&GetTotal {}, PATIENCE).await.unwrap();
        }
    }
    for to in &nodes {
        let total = to.remote(&to.id(), "till").ask(&GetTotal {}, PATIENCE).await.unwrap();
        assert_eq!(total.cents, 3);
    }
    // And they part in order.
    nodes[0].leave();
    timeout(PATIENCE, nodes[0].stopped()).await.unwrap();
    timeout(PATIENCE, nodes[1].until(|view| view.members().len() == 2)).await.unwrap().unwrap();
    for node in nodes {
        node.close().await;
    }
}
