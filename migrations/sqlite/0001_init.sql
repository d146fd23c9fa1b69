-- The gateway's tables. Times are milliseconds since 1970 unless a name says seconds; flags are 0 or 1.

CREATE TABLE organizations (
    id            TEXT PRIMARY KEY,
    -- The newest sequence of the organization's event log; its row lock makes sequences grow in commit order.
    last_sequence INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id              TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    prefix          TEXT NOT NULL,
    hash            BLOB NOT NULL UNIQUE,
    capabilities    INTEGER NOT NULL,
    expires_at      INTEGER,
    created_at      INTEGER NOT NULL,
    last_used_at    INTEGER,
    revoked_at      INTEGER
) STRICT;
CREATE INDEX api_keys_by_organization ON api_keys (organization_id, created_at, id);

CREATE TABLE gateways (
    id           TEXT PRIMARY KEY,
    address      TEXT NOT NULL,
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    id                TEXT PRIMARY KEY,
    organization_id   TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    -- Not a reference: a session may be placed on a gateway that has yet to announce itself.
    gateway_id        TEXT NOT NULL,
    created_by_user   TEXT,
    label             TEXT,
    auto_read         INTEGER NOT NULL,
    presence_typing   INTEGER NOT NULL,
    rate_per_min      INTEGER NOT NULL,
    rate_per_hour     INTEGER NOT NULL,
    desired           TEXT NOT NULL,
    generation        INTEGER NOT NULL,
    status            TEXT NOT NULL,
    status_reason     TEXT NOT NULL,
    status_since      INTEGER NOT NULL,
    status_until      INTEGER,
    phone_number      TEXT,
    wa_jid            TEXT,
    wa_lid            TEXT,
    is_admin          INTEGER NOT NULL,
    last_connected_at INTEGER,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    lease_holder      TEXT,
    lease_epoch       INTEGER NOT NULL DEFAULT 0,
    lease_expires_at  INTEGER
) STRICT;
CREATE INDEX sessions_by_organization ON sessions (organization_id, created_at, id);
CREATE INDEX sessions_by_gateway ON sessions (gateway_id, desired);

CREATE TABLE events (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    sequence        INTEGER NOT NULL,
    id              TEXT NOT NULL UNIQUE,
    -- Not a reference: what happened stays in the log when the session is deleted.
    session_id      TEXT NOT NULL,
    name            TEXT NOT NULL,
    timestamp       INTEGER NOT NULL,
    payload         TEXT NOT NULL,
    PRIMARY KEY (organization_id, sequence)
) STRICT;
CREATE INDEX events_by_session ON events (organization_id, session_id, sequence);
CREATE INDEX events_by_age ON events (timestamp);

CREATE TABLE messages (
    id               TEXT PRIMARY KEY,
    session_id       TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    organization_id  TEXT NOT NULL,
    wa_message_id    TEXT NOT NULL,
    chat_jid         TEXT NOT NULL,
    sender_jid       TEXT NOT NULL,
    sender_lid       TEXT,
    sender_name      TEXT,
    direction        TEXT NOT NULL,
    from_me          INTEGER NOT NULL,
    kind             TEXT NOT NULL,
    body             TEXT,
    -- Set for what was sent from here, and only for that.
    status           TEXT,
    status_at        INTEGER,
    error            TEXT,
    idempotency_key  TEXT,
    idempotency_hash TEXT,
    timestamp        INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    UNIQUE (session_id, chat_jid, sender_jid, wa_message_id)
) STRICT;
CREATE INDEX messages_by_wa_id ON messages (session_id, wa_message_id);
CREATE UNIQUE INDEX messages_by_idempotency_key ON messages (organization_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX messages_sent ON messages (session_id, created_at) WHERE status IS NOT NULL;
CREATE INDEX messages_pending ON messages (session_id, created_at) WHERE status = 'pending';
