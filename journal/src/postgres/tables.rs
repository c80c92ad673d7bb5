use super::Schema;

/// The tables of events and records.
///
/// ```text
/// streams      persistence id → slice, head, token, deleted_to, mark.    One row an id, never removed; every append locks and moves it
/// events       persistence id, number → envelope, tags; the offset (generation, transaction_id, position)
/// event_tags   tag, offset
/// records      key → revision, value;  revisions come from record_revisions
/// ledger       one row: the generation of offsets, the server on which it began, whether there is a gate; its version from ledger_versions
/// generations  generations that have ended, and where
/// ```
///
/// - `events` is one table, or partitions by a hash of the persistence id, as the setting `annals.partitions` says while it is made.
/// - The offset is given by the transaction that stores an event: transactions are numbered when they begin to write, and a reader stops
///   in front of the first that is open (`pg_snapshot_xmin`). `position` counts within the transaction.
/// - An event row with an empty envelope is a tombstone: the id's events up to its number were deleted. An id has one at most. It
///   carries the tags of all of them.
/// - Each write takes the ledger's advisory lock for itself and others alike, and knows the gate and the generation behind it: by
///   `ledger_now`, whose statements see what was committed before the lock was had, or by the ledger's version, which is the sequence's
///   number where the row that a snapshot has is the newest. Who changes one of them takes the lock alone, and draws a number.
pub(super) const TABLES: Schema = Schema {
    component: "journal",
    steps: &[
        r#"
CREATE TABLE streams (
    persistence_id text COLLATE "C" PRIMARY KEY,
    slice int2 NOT NULL,
    head int8 NOT NULL,
    epoch int8 NOT NULL,
    activation int8 NOT NULL,
    deleted_to int8 NOT NULL,
    mark bytea
) WITH (fillfactor = 70);
DO $$ DECLARE
    partitions int4 := coalesce(nullif(current_setting('annals.partitions', true), ''), '0')::int4;
BEGIN
    EXECUTE 'CREATE TABLE events (
        seq int8 NOT NULL,
        transaction_id int8 NOT NULL,
        generation int4 NOT NULL,
        position int4 NOT NULL,
        slice int2 NOT NULL,
        persistence_id text COLLATE "C" NOT NULL,
        envelope bytea NOT NULL,
        tags text[] COLLATE "C",
        PRIMARY KEY (persistence_id, seq)
    )' || CASE WHEN partitions > 0 THEN ' PARTITION BY HASH (persistence_id)' ELSE '' END;
    FOR part IN 0 .. partitions - 1 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF events FOR VALUES WITH (MODULUS %s, REMAINDER %s)',
            'events_' || part, partitions, part);
    END LOOP;
END $$;
CREATE INDEX events_by_offset ON events (generation, transaction_id, position, slice);
CREATE TABLE event_tags (
    tag text COLLATE "C" NOT NULL,
    transaction_id int8 NOT NULL,
    generation int4 NOT NULL,
    position int4 NOT NULL,
    PRIMARY KEY (tag, generation, transaction_id, position)
);
CREATE TABLE records (
    key text COLLATE "C" PRIMARY KEY,
    revision int8 NOT NULL,
    value bytea NOT NULL
);
CREATE SEQUENCE record_revisions;
CREATE TABLE ledger (
    generation int4 NOT NULL,
    lineage text COLLATE "C"
);
INSERT INTO ledger (generation) VALUES (1);
CREATE TABLE generations (
    generation int4 PRIMARY KEY,
    last_transaction_id int8 NOT NULL,
    last_position int4 NOT NULL
);
CREATE FUNCTION ledger_key() RETURNS int8 LANGUAGE sql STABLE AS
$$ SELECT (1634623081::int8 << 32) | 'ledger'::regclass::oid::int8 $$;
CREATE FUNCTION ledger_now(OUT gate bytea, OUT generation int4, OUT transaction_id int8) LANGUAGE plpgsql VOLATILE AS
$$ BEGIN
    PERFORM pg_advisory_xact_lock_shared(ledger_key());
    SELECT (SELECT r.value FROM records r WHERE r.key = 'journal/gate'), l.generation, pg_current_xact_id()::text::int8
        INTO gate, generation, transaction_id FROM ledger l;
END $$;
"#,
        r#"
CREATE SEQUENCE ledger_versions;
ALTER TABLE ledger ADD COLUMN version int8, ADD COLUMN gated bool NOT NULL DEFAULT false;
UPDATE ledger SET version = nextval('ledger_versions'), gated = EXISTS (SELECT FROM records WHERE key = 'journal/gate');
ALTER TABLE ledger ALTER COLUMN version SET NOT NULL;
"#,
    ],
};
