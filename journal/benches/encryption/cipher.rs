//! A data key beside its cipher: the same text, the same context, the schedule made once.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use annals_journal::encryption::{DataKey, DataKeyOptions, DataKeys, Ring, RingKeys};
use annals_journal::{MemoryJournal, PersistenceId, SeqNr};

use crate::CIPHER;
use crate::table::Row;

/// Seal and open, of 195 bytes with 140 bytes of context.
pub(crate) fn rows(quick: bool) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let key = runtime.block_on(data_key());
    let (runs, count) = if quick { (2, 20_000) } else { (9, 200_000) };
    let (context, text) = ([5; 140], [7; 195]);
    let mut values = [const { Vec::new() }; 4];
    for run in 0..=runs {
        let mut buffer = text;
        let seal = key.seal(&context, &mut buffer).unwrap();
        let sealed = buffer;
        let raw = raw::Cipher::new(&[3; 32]);
        let mut raw_buffer = text;
        let raw_tag = raw.seal(0, &context, &mut raw_buffer);
        let turn = [
            each(count, |_| {
                buffer = text;
                let _ = black_box(key.seal(&context, &mut buffer));
            }),
            each(count, |nonce| {
                buffer = text;
                black_box(raw.seal(nonce, &context, &mut buffer));
            }),
            each(count, |_| {
                buffer = sealed;
                key.open(&seal, &context, &mut buffer).unwrap();
            }),
            each(count, |_| {
                buffer = raw_buffer;
                raw.open(0, &context, &mut buffer, &raw_tag);
            }),
        ];
        if run > 0 {
            values.iter_mut().zip(turn).for_each(|(values, value)| values.push(value));
        }
    }
    let [seal, raw_seal, open, raw_open] = &values;
    let row = |what: &str, values: &[f64], limits: &[f64]| {
        Row::of(format!("{what} {CIPHER}"), "texts/s", values).unwrap().beside(values, limits).at_least(0.8)
    };
    vec![row("seal", seal, raw_seal), row("open", open, raw_open)]
}

async fn data_key() -> Arc<DataKey> {
    let masters = Arc::new(RingKeys::from(Ring::generate().unwrap()));
    let records = Arc::new(MemoryJournal::new());
    let keys = DataKeys::open(records, masters, DataKeyOptions::default()).await.unwrap();
    let id = PersistenceId::new("account", "alice").unwrap();
    keys.to_seal(&[(&id, SeqNr::FIRST)]).await.remove(0).unwrap()
}

/// How often a second.
fn each(count: u32, mut work: impl FnMut(u64)) -> f64 {
    let begin = Instant::now();
    (1..=u64::from(count)).for_each(&mut work);
    f64::from(count) / begin.elapsed().as_secs_f64()
}

#[cfg(not(feature = "aws-lc-rs"))]
mod raw {
    use aes_gcm::aead::inout::InOutBuf;
    use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};

    pub(super) struct Cipher(Aes256Gcm);

    impl Cipher {
        pub(super) fn new(key: &[u8; 32]) -> Self {
            Self(Aes256Gcm::new(key.into()))
        }

        pub(super) fn seal(&self, nonce: u64, context: &[u8], text: &mut [u8]) -> [u8; 16] {
            self.0
                .encrypt_inout_detached((&super::nonce(nonce)).into(), context, InOutBuf::from(text))
                .unwrap()
                .into()
        }

        pub(super) fn open(&self, nonce: u64, context: &[u8], text: &mut [u8], tag: &[u8; 16]) {
            let nonce = super::nonce(nonce);
            self.0
                .decrypt_inout_detached((&nonce).into(), context, InOutBuf::from(text), tag.into())
                .unwrap();
        }
    }
}

#[cfg(feature = "aws-lc-rs")]
mod raw {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    pub(super) struct Cipher(LessSafeKey);

    impl Cipher {
        pub(super) fn new(key: &[u8; 32]) -> Self {
            Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap()))
        }

        pub(super) fn seal(&self, nonce: u64, context: &[u8], text: &mut [u8]) -> [u8; 16] {
            let nonce = Nonce::assume_unique_for_key(super::nonce(nonce));
            let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(context), text).unwrap();
            tag.as_ref().try_into().unwrap()
        }

        pub(super) fn open(&self, nonce: u64, context: &[u8], text: &mut [u8], tag: &[u8; 16]) {
            let nonce = Nonce::assume_unique_for_key(super::nonce(nonce));
            self.0.open_in_place_separate_tag(nonce, Aad::from(context), tag, text).map(drop).unwrap();
        }
    }
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    nonce
}
