use super::Schema;

/// The tables of events and records.
///
/// Events lie in the order in which they were committed, so that a commit of many ids writes few pages; a small index finds the
/// events of one id. `docs/sqlite.md` has the measurements.
///
/// - `ordering` is the offset. It is never used twice: the newest row is never taken out, only emptied.
/// - An event row with an empty envelope is a tombstone: the id's events up to its number were deleted. An id has one at most.
/// - `streams` is where tokens and deletions are kept for ever. `known_head` is the head when the row was last written, by a claim, the first
///   append under a token, or a deletion: the head is that or the highest `seq`, whichever is higher. An append under the token
///   of the row writes nothing here.
/// - `mark_blocks` has the marks of ids, each in one place, by the number of its row in `streams` (drawn in `marks.rs`).
/// - `record_revisions` has one row: the last revision that any record was given.
pub(super) const TABLES: Schema = Schema {
    component: "journal",
    steps: &[
        "\
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    persistence_id TEXT NOT NULL UNIQUE,
    slice INTEGER NOT NULL,
    head INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    activation INTEGER NOT NULL,
    deleted_to INTEGER NOT NULL
) STRICT;
CREATE TABLE events (
    ordering INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    slice INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    UNIQUE (stream, seq)
) STRICT;
CREATE TABLE event_tags (
    tag TEXT NOT NULL,
    ordering INTEGER NOT NULL,
    PRIMARY KEY (tag, ordering)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_tags_by_ordering ON event_tags (ordering);
CREATE TABLE records (
    key TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE record_revisions (last INTEGER NOT NULL) STRICT;
INSERT INTO record_revisions (last) VALUES (0);",
        // Appends stopped writing it: a build that takes it for the head must not open the file.
        "ALTER TABLE streams RENAME COLUMN head TO known_head;",
        // An older build would append without moving them.
        "\
ALTER TABLE events ADD COLUMN mark BLOB;
CREATE TABLE marks (stream INTEGER PRIMARY KEY, mark BLOB NOT NULL) STRICT;",
        // A mark goes with its event, and an older one is left: a history that was cut off looked whole.
        "\
CREATE TABLE mark_blocks (block INTEGER PRIMARY KEY, marks BLOB NOT NULL) STRICT;
WITH RECURSIVE places (stream) AS (
    SELECT 1 UNION ALL SELECT stream + 1 FROM places WHERE stream < (SELECT 120 * ((max(id) + 119) / 120) FROM streams)
), known (stream, mark) AS (
    SELECT s.id, coalesce((SELECT mark FROM events WHERE stream = s.id ORDER BY seq DESC LIMIT 1),
        (SELECT mark FROM marks WHERE stream = s.id))
    FROM streams s
)
INSERT INTO mark_blocks (block, marks)
SELECT (stream - 1) / 120, unhex(group_concat(iif(mark IS NULL, hex(zeroblob(33)), '01' || hex(mark)), '' ORDER BY stream))
FROM places LEFT JOIN known USING (stream)
GROUP BY (stream - 1) / 120 HAVING count(mark) > 0;
DROP TABLE marks;
ALTER TABLE events DROP COLUMN mark;",
    ],
};
