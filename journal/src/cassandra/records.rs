//! Records: one partition, changed while its last revision is as it was read. So a list of changes, and the guards of each, are judged on
//! one view, and made in one step.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;
use scylla::value::CqlTimeuuid;

use super::CassandraJournal;
use super::failure::malformed;
use super::keyspace::Inner;
use super::value::Value;
use crate::{JournalError, Record, RecordChange, RecordKey, Records, Revision, Timestamp, Verdict};

type Known = BTreeMap<RecordKey, Record>;

#[async_trait]
impl Records for CassandraJournal {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        let inner = self.inner();
        let values = vec![inner.journal(), Value::text(key.as_str())];
        let rows: Vec<(Option<i64>, Option<Bytes>)> = inner.rows(&inner.statements.record, values).await?;
        let record = rows.into_iter().next().and_then(|(revision, value)| record(revision, value));
        inner.settle_gate(key, record.as_ref()).await?;
        Ok(record)
    }

    async fn get_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, JournalError> {
        let inner = self.inner();
        let mut known = Known::new();
        for keys in keys.chunks(KEYS) {
            known.extend(inner.known(keys.iter()).await?);
        }
        for (key, record) in &known {
            inner.settle_gate(key, Some(record)).await?;
        }
        Ok(keys.iter().map(|key| known.get(key).cloned()).collect())
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        let inner = self.inner();
        let mut answers = Vec::with_capacity(changes.len());
        // What one conditional write takes.
        let mut rest = changes.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let size =
                |change: &RecordChange| change.value.as_ref().map_or(0, Bytes::len) + RecordKey::MAX_BYTES;
            let fits = rest.iter().take_while(|change| {
                bytes += size(change);
                bytes <= BATCH_BYTES
            });
            let count = fits.count().clamp(1, CHANGES);
            answers.extend(inner.change_records(&rest[..count]).await);
            rest = &rest[count..];
        }
        for (change, answer) in changes.iter().zip(&mut answers) {
            let settled = match (&*answer, &change.value, &change.guard) {
                (Ok(Verdict::Set(revision)), Some(value), _) => {
                    let record = Record { revision: *revision, value: value.clone() };
                    inner.settle_gate(&change.key, Some(&record)).await
                }
                (Ok(Verdict::Changed { current }), ..) => {
                    inner.settle_gate(&change.key, current.as_ref()).await
                }
                (Ok(Verdict::GuardChanged { current }), _, Some((guard, _))) => {
                    inner.settle_gate(guard, current.as_ref()).await
                }
                _ => Ok(()),
            };
            if let Err(error) = settled {
                let reason =
                    format!("the gate is set, and what is on its way was not seen to its end: {error}");
                *answer = Err(JournalError::Unknown { reason, source: None });
            }
        }
        answers
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        let inner = self.inner();
        // A time stamp of the server that answers.
        let asked = inner.session.query_unpaged("SELECT now() FROM system.local", ()).await;
        let rows = asked.map_err(|error| super::failure::unavailable(inner.nodes(), error))?;
        let rows = rows.into_rows_result().map_err(|error| malformed(inner.nodes(), error))?;
        let (now,) = rows.first_row::<(CqlTimeuuid,)>().map_err(|error| malformed(inner.nodes(), error))?;
        Ok(Timestamp::from_micros(micros_of(now)))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        let inner = self.inner();
        let from = after.map_or("", RecordKey::as_str).max(prefix);
        // One more for the key itself, which comes first when it is there.
        let count = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
        let values = vec![inner.journal(), Value::text(from), Value::Small(count)];
        type Columns = (Option<String>, Option<i64>, Option<Bytes>);
        let rows: Vec<Columns> = inner.rows(&inner.statements.listed, values).await?;
        let mut listed = Vec::new();
        for (key, revision, value) in rows {
            let (Some(key), Some(record)) = (key, record(revision, value)) else { continue };
            if !key.starts_with(prefix) {
                break;
            }
            let key = RecordKey::new(&key).map_err(|error| malformed(inner.nodes(), error))?;
            if Some(&key) != after && listed.len() < limit {
                inner.settle_gate(&key, Some(&record)).await?;
                listed.push((key, record));
            }
        }
        Ok(listed)
    }
}

impl Inner {
    async fn known(&self, keys: impl Iterator<Item = &RecordKey>) -> Result<Known, JournalError> {
        let keys: BTreeSet<_> = keys.map(|key| key.as_str().to_owned()).collect();
        let mut known = Known::new();
        for keys in keys.into_iter().collect::<Vec<_>>().chunks(KEYS) {
            let values = vec![self.journal(), Value::Texts(keys.to_vec())];
            type Columns = (Option<String>, Option<i64>, Option<Bytes>);
            let rows: Vec<Columns> = self.rows(&self.statements.records, values).await?;
            for (key, revision, value) in rows {
                if let (Some(key), Some(record)) = (key, record(revision, value)) {
                    let key = RecordKey::new(&key).map_err(|error| malformed(self.nodes(), error))?;
                    known.insert(key, record);
                }
            }
        }
        Ok(known)
    }

    async fn change_records(&self, changes: &[RecordChange]) -> Vec<Result<Verdict, JournalError>> {
        let all = |error: JournalError| changes.iter().map(|_| Err(error.clone())).collect();
        if let Err(error) = self.writable() {
            return all(error);
        }
        let _turn = self.records_turn.lock().await;
        loop {
            let (last, known) = match self.view(changes).await {
                Ok(view) => view,
                Err(error) => return all(error),
            };
            let mut revision = last.unwrap_or(0);
            let mut after = known.clone();
            let verdicts: Vec<_> = changes
                .iter()
                .map(|change| change.check().map(|()| decide(change, &mut after, &mut revision)))
                .collect();
            if Some(revision) == last || revision == 0 {
                // Nothing changes: the view is the answer, if it was one.
                match self.last_revision().await {
                    Ok(now) if now == last => return verdicts,
                    Ok(_) => continue,
                    Err(error) => return all(error),
                }
            }
            let (statement, mut values) = match last {
                None => (&self.statements.first_change, Vec::new()),
                Some(last) => (&self.statements.next_change, vec![Value::int(last)]),
            };
            values.splice(0..0, [Value::int(revision), self.journal()]);
            let mut statements = vec![(statement, values)];
            for key in changes.iter().map(|change| &change.key).collect::<BTreeSet<_>>() {
                match (known.get(key), after.get(key)) {
                    (before, now) if before == now => {}
                    (_, Some(now)) => statements.push((
                        &self.statements.set_record,
                        vec![
                            self.journal(),
                            Value::text(key.as_str()),
                            Value::int(now.revision.0),
                            Value::Bytes(now.value.clone()),
                        ],
                    )),
                    (_, None) => statements.push((
                        &self.statements.delete_record,
                        vec![self.journal(), Value::text(key.as_str())],
                    )),
                }
            }
            match self.conditional(statements).await {
                Ok(true) => return verdicts,
                Ok(false) => {}
                Err(error) => return all(error),
            }
        }
    }

    /// The last revision, and what there is of the keys that are changed and of their guards. The revision is read first, and serially: all
    /// that belongs to it is at a quorum then, and whatever is newer makes the condition fail.
    async fn view(&self, changes: &[RecordChange]) -> Result<(Option<u64>, Known), JournalError> {
        let last = self.last_revision().await?;
        let guards = changes.iter().filter_map(|change| change.guard.as_ref().map(|(guard, _)| guard));
        let known = self.known(changes.iter().map(|change| &change.key).chain(guards)).await?;
        Ok((last, known))
    }

    async fn last_revision(&self) -> Result<Option<u64>, JournalError> {
        let rows: Vec<(String, Option<i64>)> = self.rows(&self.statements.last, vec![self.journal()]).await?;
        Ok(rows.first().and_then(|(_, last)| last.map(i64::cast_unsigned)))
    }
}

/// Decides a change, and makes it among what is known.
fn decide(change: &RecordChange, known: &mut Known, last: &mut u64) -> Verdict {
    let RecordChange { key, expected, value, guard } = change;
    if let Some((guard, wanted)) = guard {
        let current = known.get(guard);
        if current.map(|record| record.revision) != Some(*wanted) {
            return Verdict::GuardChanged { current: current.cloned() };
        }
    }
    let current = known.get(key);
    // There is nothing to delete.
    if current.map(|record| record.revision) != *expected || (value.is_none() && current.is_none()) {
        return Verdict::Changed { current: current.cloned() };
    }
    *last += 1;
    let revision = Revision(*last);
    match value {
        Some(value) => known.insert(key.clone(), Record { revision, value: value.clone() }),
        None => known.remove(key),
    };
    Verdict::Set(revision)
}

fn record(revision: Option<i64>, value: Option<Bytes>) -> Option<Record> {
    Some(Record { revision: Revision(revision?.cast_unsigned()), value: value? })
}

/// The time in a UUID of version 1: 100 ns since 1582-10-15.
fn micros_of(uuid: CqlTimeuuid) -> u64 {
    const TO_1970: u64 = 0x01b2_1dd2_1381_4000;
    let [a, b, c, d, e, f, g, h, ..] = *uuid.as_bytes();
    let ticks = u64::from_be_bytes([g & 0x0f, h, e, f, a, b, c, d]);
    ticks.saturating_sub(TO_1970) / 10
}

const KEYS: usize = 100;
const CHANGES: usize = 500;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
