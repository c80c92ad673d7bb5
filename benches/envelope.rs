//! What an envelope costs: encoding, decoding, its digest; with a payload of the usual size and with a large one.

use std::hint::black_box;

use annals_journal::{
    Codec, Envelope, Epoch, Manifest, PersistenceId, SeqNr, Tag, Timestamp, Token, TraceContext, WriterId,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn envelope(c: &mut Criterion) {
    let mut group = c.benchmark_group("envelope");
    for (size, payload_bytes) in [("195 B", 195), ("64 KiB", 64 * 1024)] {
        let envelope = example(payload_bytes);
        let stored = envelope.encode();
        let id = envelope.persistence_id.clone();
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("encode {size}"), |b| b.iter(|| black_box(&envelope).encode()));
        group.bench_function(format!("decode {size}"), |b| {
            b.iter(|| Envelope::decode(black_box(&stored)).expect("what was encoded decodes"));
        });
        group.bench_function(format!("decode as {size}"), |b| {
            b.iter(|| {
                Envelope::decode_as(black_box(&stored), &id, SeqNr::FIRST).expect("what was encoded decodes")
            });
        });
    }
    let envelope = example(195);
    group.bench_function("digest", |b| b.iter(|| black_box(&envelope).digest()));
    group.finish();
}

fn example(payload_bytes: usize) -> Envelope {
    Envelope {
        persistence_id: PersistenceId::parse("account|NL91-ABNA-0417-1643-00").expect("a valid id"),
        seq_nr: SeqNr::FIRST,
        token: Token::new(Epoch(3), 2),
        writer: WriterId::from_bytes([7; 16]),
        timestamp: Timestamp::from_micros(1_764_000_000_000_000),
        manifest: Manifest::new("account.deposited").expect("a valid manifest"),
        schema_version: 1,
        codec: Codec::Json,
        tags: vec![Tag::new("money").expect("a valid tag")],
        trace_context: TraceContext::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        key_id: None,
        payload: vec![b'x'; payload_bytes].into(),
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = envelope
}
criterion_main!(benches);
