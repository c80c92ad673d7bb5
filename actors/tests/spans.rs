//! What a tracer sees of a node's work. Alone in its process: `tracing` caches for all threads what the first one to pass a
//! place was interested in.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[allow(dead_code, reason = "shared with the node's stories")]
mod probe;

use std::sync::{Arc, Mutex};

use probe::*;
use tracing::field::{Field, Visit};
use tracing::span;

/// Keeps the names and fields of spans.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Spans {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut text = attributes.metadata().name().to_owned();
        attributes.record(&mut Line(&mut text));
        let mut spans = self.0.lock().unwrap();
        spans.push(text);
        span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        let at = usize::try_from(span.into_u64()).unwrap() - 1;
        values.record(&mut Line(&mut self.0.lock().unwrap()[at]));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

#[test]
fn command_persist_recovery_and_snapshot_are_spans_with_id_and_number() {
    let spans = Spans::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(spans.clone(), || {
        runtime.block_on(async {
            let stores = stores();
            let kind = || {
                annals_actors::Kind::<Probe>::new()
                    .snapshots(annals_snapshot::SnapshotPolicy::every_events(1))
            };
            for _ in 0..2 {
                let node =
                    annals_actors::Node::builder("n").kind(kind()).start(stores.clone()).await.unwrap();
                node.entity::<Probe>("a").ask(Note("x".into())).await.unwrap();
                node.shutdown().await;
            }
        });
    });
    let spans = spans.0.lock().unwrap();
    for expected in [
        "annals.command persistence_id=probe|a command=\"Note\"",
        "annals.recovery persistence_id=\"probe|a\" seq_nr=1",
        "annals.persist entries=1 events=1",
        "annals.snapshot.save persistence_id=\"probe|a\" seq_nr=2",
    ] {
        assert!(spans.iter().any(|span| span.starts_with(expected)), "{expected} is not in {spans:#?}");
    }
}
