//! What may be written, and where readers find it.
//!
//! ```text
//! lane    s00 … s15: 64 slices each │ t:TAG          span   ticket / microseconds of a span
//! intent  (major, minor, kind) │ id, bucket, first number, count        minor = instance << 32 + place in the ticket
//! kind    0 events │ 1 anything else that changes a bucket │ 2 one event of an older ticket that a tag was given to, or that was deleted
//! ```

use futures::stream::{self, StreamExt, TryStreamExt};
use scylla::statement::batch::{Batch, BatchType};

use super::failure::{malformed, unavailable};
use super::keyspace::Inner;
use super::statements::levels;
use super::value::Value;
use crate::{JournalError, Offset, PersistenceId, SeqNr, Slice, SliceRange, Tag};

/// What may be written under a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Intent {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) kind: Kind,
    pub(super) id: PersistenceId,
    pub(super) bucket: SeqNr,
    pub(super) first: SeqNr,
    pub(super) count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Events,
    Other,
    Label,
}

impl Kind {
    fn code(self) -> i64 {
        match self {
            Self::Events => 0,
            Self::Other => 1,
            Self::Label => 2,
        }
    }
}

/// Where intents are found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Lane {
    Slices(u16),
    Tag(Tag),
}

impl Lane {
    pub(super) const SLICES: u16 = 16;

    pub(super) fn of(slice: Slice) -> Self {
        Self::Slices(slice.number() / (Slice::COUNT / Self::SLICES))
    }

    /// The lanes that have the ids of a range.
    pub(super) fn of_range(slices: SliceRange) -> impl Iterator<Item = Self> {
        let lane = |slice: Slice| slice.number() / (Slice::COUNT / Self::SLICES);
        (lane(slices.first())..=lane(slices.last())).map(Self::Slices)
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::of_range(SliceRange::ALL)
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Slices(number) => format!("s{number:02}"),
            Self::Tag(tag) => format!("t:{}", tag.as_str()),
        }
    }

    fn span(&self, major: u64) -> u64 {
        const SECOND: u64 = 1_000_000;
        major
            / match self {
                Self::Slices(_) => 60 * SECOND,
                Self::Tag(_) => 600 * SECOND,
            }
    }
}

/// Intents of a lane, in their order.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) intents: Vec<Intent>,
    /// Nothing is missing up to here; `None`: up to the end that was asked for.
    pub(super) complete_to: Option<(u64, u64)>,
}

impl Inner {
    /// Stores intents at a quorum, each in its lane.
    pub(super) async fn store_intents(&self, intents: Vec<(Lane, Intent)>) -> Result<(), JournalError> {
        let mut partitions: std::collections::BTreeMap<(Lane, u64), Vec<Intent>> =
            std::collections::BTreeMap::new();
        for (lane, intent) in intents {
            let span = lane.span(intent.major);
            partitions.entry((lane, span)).or_default().push(intent);
        }
        let mut requests = Vec::new();
        for ((lane, span), intents) in partitions {
            let name = lane.name();
            for chunk in intents.chunks(IN_A_BATCH) {
                requests.push((name.clone(), span, chunk.to_vec()));
            }
        }
        stream::iter(requests)
            .map(|(lane, span, intents)| async move {
                if self.spans.get(&lane) != Some(span) {
                    let row = vec![self.journal(), Value::text(&lane), Value::int(span)];
                    self.execute(&self.statements.insert_span, row).await?;
                    self.spans.insert(lane.clone(), span);
                }
                self.store_chunk(&lane, span, intents).await
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    async fn store_chunk(&self, lane: &str, span: u64, intents: Vec<Intent>) -> Result<(), JournalError> {
        let row = |intent: Intent| {
            vec![
                self.journal(),
                Value::text(lane),
                Value::int(span),
                Value::int(intent.major),
                Value::int(intent.minor),
                Value::Small(intent.kind.code()),
                Value::text(intent.id.as_str()),
                Value::int(intent.bucket.get()),
                Value::int(intent.first.get()),
                Value::int(intent.count),
            ]
        };
        let mut rows: Vec<_> = intents.into_iter().map(row).collect();
        if rows.len() == 1 {
            let row = rows.pop().unwrap_or_default();
            return self.execute(&self.statements.insert_intent, row).await.map(drop);
        }
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_is_idempotent(true);
        batch.set_consistency(levels(self.options.consistency).0);
        for _ in &rows {
            batch.append_statement(self.statements.insert_intent.clone());
        }
        let stored = Box::pin(self.session.batch(&batch, rows)).await;
        stored.map(drop).map_err(|error| unavailable(self.nodes(), error))
    }

    /// At most `limit` intents of a lane behind `after`, up to a ticket.
    pub(super) async fn intents(
        &self,
        lane: &Lane,
        after: (u64, i64),
        to: u64,
        limit: usize,
    ) -> Result<Found, JournalError> {
        let name = lane.name();
        let mut found = Vec::new();
        let (mut span, last) = (lane.span(after.0), lane.span(to));
        loop {
            let row = vec![
                self.journal(),
                Value::text(&name),
                Value::int(span),
                Value::int(last),
                Value::Small(SPANS_AT_ONCE),
            ];
            let spans: Vec<(i64,)> = self.rows(&self.statements.spans, row).await?;
            for (next,) in &spans {
                span = next.cast_unsigned();
                let row = vec![
                    self.journal(),
                    Value::text(&name),
                    Value::int(span),
                    Value::int(after.0),
                    Value::Int(after.1),
                    Value::Small(Kind::Label.code()),
                    Value::int(to),
                    Value::Small(i64::try_from(limit - found.len()).unwrap_or(i64::from(i32::MAX))),
                ];
                let rows: Vec<Columns> = self.rows(&self.statements.intents, row).await?;
                for row in rows {
                    found.push(intent(row).map_err(|what| malformed(self.nodes(), what))?);
                }
                if found.len() >= limit {
                    // The next page begins behind all kinds of the last place, and there are few.
                    let last = found.last().map(|intent| (intent.major, intent.minor));
                    if let Some(last) = last {
                        let more = vec![
                            self.journal(),
                            Value::text(&name),
                            Value::int(span),
                            Value::int(last.0),
                            Value::int(last.1),
                            Value::Small(found.last().map_or(0, |intent| intent.kind.code())),
                            Value::int(last.0),
                            Value::Small(2),
                        ];
                        let rows: Vec<Columns> = self.rows(&self.statements.intents, more).await?;
                        for row in rows {
                            let intent = intent(row).map_err(|what| malformed(self.nodes(), what))?;
                            if (intent.major, intent.minor) == last {
                                found.push(intent);
                            }
                        }
                    }
                    return Ok(Found { intents: found, complete_to: last });
                }
            }
            if spans.len() < usize::try_from(SPANS_AT_ONCE).unwrap_or(0) {
                return Ok(Found { intents: found, complete_to: None });
            }
            span += 1;
        }
    }
}

type Columns = (i64, i64, i32, String, i64, i64, i64);

fn intent((major, minor, kind, id, bucket, first, count): Columns) -> Result<Intent, String> {
    let seq_nr = |column: i64| {
        SeqNr::new(column.cast_unsigned()).ok_or_else(|| format!("{column} is no sequence number"))
    };
    Ok(Intent {
        major: major.cast_unsigned(),
        minor: minor.cast_unsigned(),
        kind: match kind {
            0 => Kind::Events,
            1 => Kind::Other,
            2 => Kind::Label,
            other => return Err(format!("an intent of kind {other}, which this build does not know")),
        },
        id: PersistenceId::parse(&id).map_err(|error| error.to_string())?,
        bucket: seq_nr(bucket)?,
        first: seq_nr(first)?,
        count: count.cast_unsigned(),
    })
}

impl Intent {
    /// The offset of one of its events.
    pub(super) fn offset(&self, place: u64) -> Offset {
        Offset { generation: 0, major: self.major, minor: self.minor + place }
    }

    /// The last of its numbers.
    pub(super) fn last(&self) -> SeqNr {
        SeqNr::new(self.first.get() + self.count.max(1) - 1).unwrap_or(SeqNr::MAX)
    }
}

/// A batch of more bytes than 50 KiB is refused by a server's defaults.
const IN_A_BATCH: usize = 20;
const AT_ONCE: usize = 32;
const SPANS_AT_ONCE: i64 = 100;
