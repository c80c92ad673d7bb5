//! The statements of the hot paths. Each is prepared once a connection.

/// Judges runs of entries, one an id, moves the heads of those that pass, and stores their events: one statement, so one
/// transaction and one round trip.
///
/// ```text
/// ledger    the advisory lock, then the gate, the generation, and this transaction's number
/// batch     a row a run: what must hold, and what becomes of the head
/// locked    the head rows in the order of ids, as they are now that they are locked (READ COMMITTED gives the newest version)
/// judged    whether what the run needs holds on the locked row
/// changed   heads that move           fresh   rows of ids that had none (who loses a race for one finds nothing, and comes again)
/// stored    the events of the runs that passed, and of nobody else
/// ```
/// A statement that was held between its snapshot and its locks judges what is there when it goes on: the condition is on the
/// row that it has locked, never on what it saw before. Tokens are compared without sign. Subselects with `IN` are hashed
/// whatever the planner believes of sizes; that is why nothing here joins two lists of parameters.
macro_rules! write {
    ($stored:expr) => {
        concat!(
            r#"
WITH ledger AS MATERIALIZED (
    SELECT l.gate, l.generation, l.transaction_id, l.gate IS NOT DISTINCT FROM $1::bytea AS open FROM ledger_now() l
), batch AS MATERIALIZED (
    SELECT * FROM unnest($2::text[], $3::int2[], $4::int8[], $5::int8[], $6::bool[], $7::bool[], $8::int8[], $9::int8[],
        $10::bool[], $11::bytea[], $12::bytea[])
        WITH ORDINALITY AS b(id, slice, epoch, activation, exact, writes, expected, head, marks, mark_from, mark_to, run)
), locked AS MATERIALIZED (
    SELECT b.run, b.epoch AS new_epoch, b.activation AS new_activation, b.exact, b.writes, b.expected, b.head AS new_head,
        b.marks, b.mark_from, b.mark_to,
        s.persistence_id, s.head, s.epoch, s.activation, s.deleted_to, s.mark
    FROM batch b JOIN streams s ON s.persistence_id = b.id
    WHERE (SELECT open FROM ledger)
    ORDER BY s.persistence_id FOR NO KEY UPDATE OF s
), judged AS MATERIALIZED (
    SELECT *,
        CASE WHEN exact THEN (epoch, activation) = (new_epoch, new_activation)
             ELSE (epoch # x'8000000000000000'::int8, activation # x'8000000000000000'::int8)
               <= (new_epoch # x'8000000000000000'::int8, new_activation # x'8000000000000000'::int8) END
        AND (expected IS NULL OR head = expected)
        AND (NOT marks OR mark IS NOT DISTINCT FROM mark_from) AS passes
    FROM locked
), changed AS (
    UPDATE streams s
    SET head = coalesce(j.new_head, s.head), epoch = j.new_epoch, activation = j.new_activation,
        mark = CASE WHEN j.marks THEN j.mark_to ELSE s.mark END
    FROM judged j WHERE s.persistence_id = j.persistence_id AND j.passes AND j.writes
    RETURNING s.persistence_id
), fresh AS (
    INSERT INTO streams (persistence_id, slice, head, epoch, activation, deleted_to, mark)
    SELECT b.id, b.slice, coalesce(b.head, 0), b.epoch, b.activation, 0, b.mark_to
    FROM batch b
    WHERE (SELECT open FROM ledger) AND b.writes AND coalesce(b.expected, 0) = 0 AND b.mark_from IS NULL
        AND (NOT b.exact OR (b.epoch, b.activation) = (0, 0))
        AND b.run NOT IN (SELECT run FROM locked)
    ORDER BY b.id
    ON CONFLICT (persistence_id) DO NOTHING
    RETURNING persistence_id
), passed AS MATERIALIZED (
    SELECT persistence_id FROM changed UNION ALL SELECT persistence_id FROM fresh
)"#,
            $stored,
            r#"
SELECT j.run, j.head, j.epoch, j.activation, j.deleted_to, j.mark, j.passes, NULL::bytea AS gate, true AS open FROM judged j
UNION ALL
SELECT b.run, NULL, NULL, NULL, NULL, NULL, b.id IN (SELECT persistence_id FROM fresh), l.gate, l.open
FROM batch b, ledger l WHERE b.run NOT IN (SELECT run FROM locked)
"#
        )
    };
}

/// The events of the runs that passed, as the last parameters from this one on.
macro_rules! events {
    ($ids:literal, $numbers:literal, $slices:literal, $envelopes:literal) => {
        concat!(
            r#", stored AS (
    INSERT INTO events (persistence_id, seq, generation, transaction_id, position, slice, envelope)
    SELECT r.id, r.seq, l.generation, l.transaction_id, r.position, r.slice, r.envelope
    FROM ledger l, unnest("#,
            $ids,
            "::text[], ",
            $numbers,
            "::int8[], ",
            $slices,
            "::int2[], ",
            $envelopes,
            r#"::bytea[])
        WITH ORDINALITY AS r(id, seq, slice, envelope, position)
    WHERE (r.id IN (SELECT persistence_id FROM passed)) IS TRUE
)"#
        )
    };
}

/// The same with the tags of each event, with a unit separator between them.
macro_rules! tagged_events {
    ($ids:literal, $numbers:literal, $slices:literal, $envelopes:literal, $tags:literal) => {
        concat!(
            r#", rows AS MATERIALIZED (
    SELECT r.*, string_to_array(r.joined, E'\x1f') AS tags
    FROM unnest("#,
            $ids,
            "::text[], ",
            $numbers,
            "::int8[], ",
            $slices,
            "::int2[], ",
            $envelopes,
            "::bytea[], ",
            $tags,
            r#"::text[])
        WITH ORDINALITY AS r(id, seq, slice, envelope, joined, position)
    WHERE (r.id IN (SELECT persistence_id FROM passed)) IS TRUE
), stored AS (
    INSERT INTO events (persistence_id, seq, generation, transaction_id, position, slice, envelope, tags)
    SELECT r.id, r.seq, l.generation, l.transaction_id, r.position, r.slice, r.envelope, r.tags FROM ledger l, rows r
), labelled AS (
    INSERT INTO event_tags (tag, generation, transaction_id, position)
    SELECT DISTINCT t.tag, l.generation, l.transaction_id, r.position FROM ledger l, rows r, unnest(r.tags) AS t(tag)
)"#
        )
    };
}

pub(super) const WRITE: Kinds = Kinds {
    heads: write!(""),
    events: write!(events!("$13", "$14", "$15", "$16")),
    tagged: write!(tagged_events!("$13", "$14", "$15", "$16", "$17")),
};

/// Moves heads that are there, where all is as their writers expect, and stores the events; what it leaves over is for [`WRITE`] to judge.
///
/// One update in the order of ids: PostgreSQL judges each row in its newest version, once it has locked it. The ledger's version says
/// without a second look that its row is still the newest: whoever changes the row takes the lock alone and draws a number,
/// and the sequence shows the number that was drawn last to everybody, whatever their snapshot.
macro_rules! advance {
    ($parameters:literal, $columns:literal, $condition:literal, $change:literal, $stored:expr) => {
        concat!(
            r#"
WITH ledger AS MATERIALIZED (
    SELECT l.generation, pg_current_xact_id()::text::int8 AS transaction_id,
        NOT l.gated AND l.version = CASE WHEN pg_advisory_xact_lock_shared(ledger_key()) IS NOT NULL
            THEN pg_sequence_last_value('ledger_versions'::regclass) END AS open
    FROM ledger l
), passed AS (
    UPDATE streams s SET head = coalesce(b.head, s.head), epoch = b.epoch, activation = b.activation"#,
            $change,
            r#"
    FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[], $5::int8[]"#,
            $parameters,
            ") WITH ORDINALITY AS b(id, epoch, activation, expected, head",
            $columns,
            r#", run)
    WHERE (SELECT open FROM ledger) AND s.persistence_id = b.id AND (b.expected IS NULL OR s.head = b.expected)
        AND (s.epoch # x'8000000000000000'::int8, s.activation # x'8000000000000000'::int8)
         <= (b.epoch # x'8000000000000000'::int8, b.activation # x'8000000000000000'::int8)"#,
            $condition,
            r#"
    RETURNING b.run, s.head, s.epoch, s.activation, s.deleted_to, s.mark, s.persistence_id
)"#,
            $stored,
            r#"
SELECT run, head, epoch, activation, deleted_to, mark FROM passed"#
        )
    };
}

macro_rules! advance_plain {
    ($stored:expr) => {
        advance!("", "", "", "", $stored)
    };
}

/// Heads with marks: where they are those that are expected, they change too.
macro_rules! advance_marked {
    ($stored:expr) => {
        advance!(
            ", $6::bytea[], $7::bytea[]",
            ", mark_from, mark_to",
            " AND s.mark IS NOT DISTINCT FROM b.mark_from",
            ", mark = b.mark_to",
            $stored
        )
    };
}

pub(super) const ADVANCE: Kinds = Kinds {
    heads: advance_plain!(""),
    events: advance_plain!(events!("$6", "$7", "$8", "$9")),
    tagged: advance_plain!(tagged_events!("$6", "$7", "$8", "$9", "$10")),
};

pub(super) const ADVANCE_MARKED: Kinds = Kinds {
    heads: advance_marked!(""),
    events: advance_marked!(events!("$8", "$9", "$10", "$11")),
    tagged: advance_marked!(tagged_events!("$8", "$9", "$10", "$11", "$12")),
};

/// A statement that writes, by what it has to store.
pub(super) struct Kinds {
    /// No events.
    pub(super) heads: &'static str,
    /// Events without tags.
    pub(super) events: &'static str,
    /// Events of which some have tags.
    pub(super) tagged: &'static str,
}

/// An id's row.
pub(super) const HEAD: &str =
    "SELECT head, epoch, activation, deleted_to, mark FROM streams WHERE persistence_id = $1";

/// The first pieces of several ids' events, each with its head and how far it was deleted; a row without an event when there are none. Of
/// each as many events as it wants, and as have `$5` bytes together or one more.
pub(super) const FIRST_PAGES: &str = r#"
SELECT w.place, s.head, s.deleted_to, e.seq, e.generation, e.transaction_id, e.position, e.envelope
FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[]) WITH ORDINALITY AS w(id, first, last, most, place)
JOIN streams s ON s.persistence_id = w.id
LEFT JOIN LATERAL (
    SELECT generation, transaction_id, position, seq, envelope,
        sum(octet_length(envelope)) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) - octet_length(envelope) AS bytes_before
    FROM events WHERE persistence_id = w.id AND seq > s.deleted_to AND seq BETWEEN w.first AND w.last
    ORDER BY seq LIMIT w.most
) e ON e.bytes_before < $5
"#;

/// A further piece of an id's events, at most `$4` of them, behind a row with its head and how far it was deleted.
pub(super) const NEXT_PAGE: &str = r#"
WITH stream AS MATERIALIZED (SELECT head, deleted_to FROM streams WHERE persistence_id = $1)
SELECT head, NULL::int4, deleted_to, NULL::int4, NULL::bytea FROM stream
UNION ALL (
    SELECT seq, generation, transaction_id, position, envelope FROM events
    WHERE persistence_id = $1 AND seq > (SELECT deleted_to FROM stream) AND seq BETWEEN $2 AND $3
    ORDER BY seq LIMIT $4)
"#;

/// A page behind the offset `$1`, `$2`, `$3`: rows, then three that say where the reader is. One statement: all of one snapshot.
///
/// ```text
/// seq -1   the last event in front of all open transactions: up to there nothing will appear any more
/// seq -2   the last event that can be seen
/// seq -3   the generation, and the number of the server's next transaction
/// ```
macro_rules! page {
    ($rows:literal) => {
        concat!(
            r#"
WITH bound AS MATERIALIZED (
    SELECT l.generation, pg_snapshot_xmin(s.now)::text::int8 AS open_from, pg_snapshot_xmax(s.now)::text::int8 AS next
    FROM ledger l, (SELECT pg_current_snapshot() AS now) s
), page AS MATERIALIZED ("#,
            $rows,
            r#"
)
SELECT generation, transaction_id, position, seq, persistence_id, envelope FROM page
UNION ALL (
    SELECT generation, transaction_id, position, -1, NULL, NULL FROM events
    WHERE (generation, transaction_id) < ((SELECT generation FROM bound), (SELECT open_from FROM bound))
    ORDER BY generation DESC, transaction_id DESC, position DESC LIMIT 1)
UNION ALL (
    SELECT generation, transaction_id, position, -2, NULL, NULL FROM events
    ORDER BY generation DESC, transaction_id DESC, position DESC LIMIT 1)
UNION ALL SELECT generation, next, 0, -3, NULL, NULL FROM bound
"#
        )
    };
}

pub(super) const BY_SLICE: &str = page!(
    r#"
    SELECT generation, transaction_id, position, seq, persistence_id, envelope FROM events
    WHERE (generation, transaction_id, position) > ($1::int4, $2::int8, $3::int4)
        AND (generation, transaction_id) < ((SELECT generation FROM bound), (SELECT open_from FROM bound))
        AND slice BETWEEN $5 AND $6
    ORDER BY generation, transaction_id, position LIMIT $4"#
);

pub(super) const BY_TAG: &str = page!(
    r#"
    SELECT e.generation, e.transaction_id, e.position, e.seq, e.persistence_id, e.envelope
    FROM (
        SELECT generation, transaction_id, position FROM event_tags
        WHERE tag = $5 AND (generation, transaction_id, position) > ($1::int4, $2::int8, $3::int4)
            AND (generation, transaction_id) < ((SELECT generation FROM bound), (SELECT open_from FROM bound))
        ORDER BY generation, transaction_id, position LIMIT $4
    ) t JOIN events e USING (generation, transaction_id, position)
    ORDER BY e.generation, e.transaction_id, e.position"#
);

pub(super) const IDS: &str =
    "SELECT persistence_id FROM streams WHERE persistence_id > $1 ORDER BY persistence_id LIMIT $2";
