-- The gateway's tables. Times are milliseconds since 1970 unless a name says seconds.

CREATE TABLE organizations (
    id            TEXT PRIMARY KEY,
    -- The newest sequence of the organization's event log; its row lock makes sequences grow in commit order.
    last_sequence BIGINT NOT NULL DEFAULT 0,
    created_at    BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id              TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    prefix          TEXT NOT NULL,
    hash            BYTEA NOT NULL UNIQUE,
    capabilities    BIGINT NOT NULL,
    expires_at      BIGINT,
    created_at      BIGINT NOT NULL,
    last_used_at    BIGINT,
    revoked_at      BIGINT
);
CREATE INDEX api_keys_by_organization ON api_keys (organization_id, created_at, id);

CREATE TABLE gateways (
    id           TEXT PRIMARY KEY,
    address      TEXT NOT NULL,
    started_at   BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL
);

CREATE TABLE sessions (
    id                TEXT PRIMARY KEY,
    organization_id   TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    -- Not a reference: a session may be placed on a gateway that has yet to announce itself.
    gateway_id        TEXT NOT NULL,
    created_by_user   TEXT,
    label             TEXT,
    auto_read         BOOLEAN NOT NULL,
    presence_typing   BOOLEAN NOT NULL,
    rate_per_min      BIGINT NOT NULL,
    rate_per_hour     BIGINT NOT NULL,
    desired           TEXT NOT NULL,
    generation        BIGINT NOT NULL,
    status            TEXT NOT NULL,
    status_reason     TEXT NOT NULL,
    status_since      BIGINT NOT NULL,
    status_until      BIGINT,
    phone_number      TEXT,
    wa_jid            TEXT,
    wa_lid            TEXT,
    is_admin          BOOLEAN NOT NULL,
    last_connected_at BIGINT,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    lease_holder      TEXT,
    lease_epoch       BIGINT NOT NULL DEFAULT 0,
    lease_expires_at  BIGINT
);
CREATE INDEX sessions_by_organization ON sessions (organization_id, created_at, id);
CREATE INDEX sessions_by_gateway ON sessions (gateway_id, desired);

CREATE TABLE events (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    sequence        BIGINT NOT NULL,
    id              TEXT NOT NULL UNIQUE,
    -- Not a reference: what happened stays in the log when the session is deleted.
    session_id      TEXT NOT NULL,
    name            TEXT NOT NULL,
    timestamp       BIGINT NOT NULL,
    payload         TEXT NOT NULL,
    PRIMARY KEY (organization_id, sequence)
);
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
    from_me          BOOLEAN NOT NULL,
    kind             TEXT NOT NULL,
    body             TEXT,
    -- Set for what was sent from here, and only for that.
    status           TEXT,
    status_at        BIGINT,
    error            TEXT,
    idempotency_key  TEXT,
    idempotency_hash TEXT,
    timestamp        BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    UNIQUE (session_id, chat_jid, sender_jid, wa_message_id)
);
CREATE INDEX messages_by_wa_id ON messages (session_id, wa_message_id);
CREATE UNIQUE INDEX messages_by_idempotency_key ON messages (organization_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX messages_sent ON messages (session_id, created_at) WHERE status IS NOT NULL;
CREATE INDEX messages_pending ON messages (session_id, created_at) WHERE status = 'pending';
