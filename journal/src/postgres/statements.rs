//! The statements of the hot paths. Each is prepared once a connection.

// Judges runs of entries, one an id, moves the heads of those that pass, and stores their events: one statement, so one
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
    ($stored:literal) => {
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

/// Without events.
pub(super) const WRITE_HEADS: &str = write!("");

/// With events that have no tags.
pub(super) const WRITE_EVENTS: &str = write!(
    r#", stored AS (
    INSERT INTO events (persistence_id, seq, generation, transaction_id, position, slice, envelope)
    SELECT r.id, r.seq, l.generation, l.transaction_id, r.position, r.slice, r.envelope
    FROM ledger l, unnest($13::text[], $14::int8[], $15::int2[], $16::bytea[])
        WITH ORDINALITY AS r(id, seq, slice, envelope, position)
    WHERE (r.id IN (SELECT persistence_id FROM passed)) IS TRUE
)"#
);

/// With events of which some have tags: `$17` has those of each event, with a unit separator between them.
pub(super) const WRITE_TAGGED: &str = write!(
    r#", rows AS MATERIALIZED (
    SELECT r.*, string_to_array(r.joined, E'\x1f') AS tags
    FROM unnest($13::text[], $14::int8[], $15::int2[], $16::bytea[], $17::text[])
        WITH ORDINALITY AS r(id, seq, slice, envelope, joined, position)
    WHERE (r.id IN (SELECT persistence_id FROM passed)) IS TRUE
), stored AS (
    INSERT INTO events (persistence_id, seq, generation, transaction_id, position, slice, envelope, tags)
    SELECT r.id, r.seq, l.generation, l.transaction_id, r.position, r.slice, r.envelope, r.tags FROM ledger l, rows r
), labelled AS (
    INSERT INTO event_tags (tag, generation, transaction_id, position)
    SELECT DISTINCT t.tag, l.generation, l.transaction_id, r.position FROM ledger l, rows r, unnest(r.tags) AS t(tag)
)"#
);

/// An id's row.
pub(super) const HEAD: &str =
    "SELECT head, epoch, activation, deleted_to, mark FROM streams WHERE persistence_id = $1";

/// A piece of an id's events, with its head and how far it was deleted; a row without an event when there are none. As many events as
/// `$4`, and as have `$5` bytes together or one more.
pub(super) const REPLAY: &str = r#"
SELECT s.head, s.deleted_to, e.generation, e.transaction_id, e.position, e.seq, e.envelope
FROM streams s LEFT JOIN LATERAL (
    SELECT generation, transaction_id, position, seq, envelope,
        sum(octet_length(envelope)) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) - octet_length(envelope) AS bytes_before
    FROM events WHERE persistence_id = s.persistence_id AND seq > s.deleted_to AND seq BETWEEN $2 AND $3
    ORDER BY seq LIMIT $4
) e ON e.bytes_before < $5
WHERE s.persistence_id = $1
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
