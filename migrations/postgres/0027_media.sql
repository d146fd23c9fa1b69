-- Files: what they are and how far they are. Their bytes lie in the object store. Times are milliseconds since 1970.

CREATE TABLE media (
    id              TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    -- No foreign key: the bytes of a deleted session's files are deleted by whoever sweeps, who needs the row to find them.
    session_id      TEXT NOT NULL,
    -- The message that it came with; NULL for uploads.
    message_id      TEXT,
    kind            TEXT NOT NULL,
    mimetype        TEXT NOT NULL,
    filename        TEXT,
    size            BIGINT NOT NULL,
    -- 64 hexadecimal digits, once it is ready.
    sha256          TEXT,
    -- 'pending', 'ready', 'expired' or 'failed'.
    state           TEXT NOT NULL,
    reason          TEXT,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL
);
CREATE UNIQUE INDEX media_of_message ON media (session_id, message_id) WHERE message_id IS NOT NULL;
CREATE INDEX media_by_organization ON media (organization_id);
CREATE INDEX media_by_expiry ON media (expires_at);

-- The key of signed addresses, one row, sealed when the operator gave an encryption key.
CREATE TABLE media_link_keys (
    id     BIGINT PRIMARY KEY,
    sealed BYTEA NOT NULL
);
