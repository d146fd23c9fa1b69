-- What callers can set beside the budgets: whose messages are left out, and words of their own.
ALTER TABLE sessions ADD COLUMN ignore_status BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE sessions ADD COLUMN ignore_groups BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE sessions ADD COLUMN ignore_channels BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE sessions ADD COLUMN ignore_broadcast BOOLEAN NOT NULL DEFAULT FALSE;
-- A JSON object of texts; NULL without any.
ALTER TABLE sessions ADD COLUMN metadata TEXT;
-- What goes with the status: WhatsApp's passkey request, or the code to compare.
ALTER TABLE sessions ADD COLUMN status_data TEXT;
-- The creating call's key and what it was used for.
ALTER TABLE sessions ADD COLUMN idempotency_key TEXT;
ALTER TABLE sessions ADD COLUMN idempotency_hash TEXT;
CREATE UNIQUE INDEX sessions_by_idempotency_key ON sessions (organization_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- The session's metadata when it happened; NULL without any.
ALTER TABLE events ADD COLUMN metadata TEXT;

-- Links with which somebody without an account can pair one session.
CREATE TABLE pairing_links (
    id              TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    session_id      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- SHA-256 of the token; the token itself is kept nowhere.
    hash            BYTEA NOT NULL UNIQUE,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    revoked_at      BIGINT,
    paired_at       BIGINT
);
CREATE INDEX pairing_links_by_session ON pairing_links (session_id, created_at);
