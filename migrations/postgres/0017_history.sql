-- Parts of the history that a phone shares, compressed as they came, until they are in the other tables.
CREATE TABLE history_parts (
    id         TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    kind       TEXT NOT NULL,
    chunk      BIGINT,
    progress   BIGINT,
    data       BYTEA NOT NULL,
    -- The length of `data` when it is no longer compressed.
    size       BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX history_parts_by_session ON history_parts (session_id, id);
