-- One-time tickets that open one stream each. They are kept in the database so that any gateway takes them.
CREATE TABLE realtime_tickets (
    -- SHA-256 of the ticket; the ticket itself is kept nowhere.
    hash                  BLOB PRIMARY KEY,
    organization_id       TEXT NOT NULL,
    -- Whose it is: `api_key` with the key's id, `login` with the JWT's `sub`, or `local`.
    credential            TEXT NOT NULL,
    credential_id         TEXT NOT NULL,
    -- When that credential ends by itself.
    credential_expires_at INTEGER,
    -- A JSON array of the sessions that it is restricted to; NULL means all.
    sessions              TEXT,
    expires_at            INTEGER NOT NULL
) STRICT;
CREATE INDEX realtime_tickets_by_end ON realtime_tickets (expires_at);
