//! What a rotation spares: sealing events anew.

use std::path::Path;
use std::time::{Duration, Instant};

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};
use annals_journal::sqlite::rusqlite::params;

use crate::rotation::connection;

/// Reads, opens, seals and updates 20 events of 200 bytes for each id, in transactions of 1,000 rows.
///
/// Sealed rows as an event log has them: by id and number.
pub(crate) fn re_encrypt(file: &Path, ids: usize) -> Duration {
    let mut file = connection(file);
    let cipher = Aes256Gcm::new((&[7; 32]).into());
    file.execute_batch("CREATE TABLE events (ordering INTEGER PRIMARY KEY, sealed BLOB)").unwrap();
    let transaction = file.transaction().unwrap();
    for n in 0..ids * 20 {
        let nonce: [u8; 12] = rand::random();
        let mut text = [7_u8; 200];
        let tag = cipher.encrypt_inout_detached((&nonce).into(), b"", InOutBuf::from(&mut text[..])).unwrap();
        let row = [&nonce[..], &text, &tag].concat();
        transaction
            .prepare_cached("INSERT INTO events VALUES (?, ?)")
            .unwrap()
            .execute(params![n as i64, row])
            .unwrap();
    }
    transaction.commit().unwrap();
    let begin = Instant::now();
    let mut after = -1_i64;
    loop {
        let page: Vec<(i64, Vec<u8>)> = file
            .prepare_cached(
                "SELECT ordering, sealed FROM events WHERE ordering > ? ORDER BY ordering LIMIT 1000",
            )
            .unwrap()
            .query_map([after], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let Some((last, _)) = page.last() else { break };
        after = *last;
        let transaction = file.transaction().unwrap();
        for (ordering, mut row) in page {
            let (nonce, rest) = row.split_first_chunk_mut::<12>().unwrap();
            let (text, tag) = rest.split_last_chunk_mut::<16>().unwrap();
            cipher
                .decrypt_inout_detached((&*nonce).into(), b"", InOutBuf::from(&mut *text), (&*tag).into())
                .unwrap();
            *nonce = rand::random();
            *tag = cipher.encrypt_inout_detached((&*nonce).into(), b"", InOutBuf::from(text)).unwrap().into();
            transaction
                .prepare_cached("UPDATE events SET sealed = ? WHERE ordering = ?")
                .unwrap()
                .execute(params![row, ordering])
                .unwrap();
        }
        transaction.commit().unwrap();
    }
    begin.elapsed()
}
