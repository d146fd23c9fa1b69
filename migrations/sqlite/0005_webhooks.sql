-- Webhooks and what became of their deliveries. Times are milliseconds since 1970; flags are 0 or 1.

-- Grows with every change of the organization's webhooks. Whoever appends events holds this row's lock and learns from the same statement
-- whether the webhooks it remembers are still those that count.
ALTER TABLE organizations ADD COLUMN webhooks_version INTEGER NOT NULL DEFAULT 0;

CREATE TABLE webhooks (
    id                TEXT PRIMARY KEY,
    organization_id   TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    -- Not a reference: a webhook outlives the session that it was made for, and says so by its silence.
    session_id        TEXT,
    url               TEXT NOT NULL,
    -- A JSON array of event filters.
    events            TEXT NOT NULL,
    retry_policy      TEXT NOT NULL,
    retry_delay       INTEGER NOT NULL,
    retry_attempts    INTEGER NOT NULL,
    -- Sealed, for they carry credentials: a JSON object each.
    headers           BLOB NOT NULL,
    secrets           BLOB NOT NULL,
    -- Why it is off; NULL while it is on.
    disabled          TEXT,
    ordered           INTEGER NOT NULL,
    concurrency       INTEGER NOT NULL,
    -- Failures in a row, and until when the endpoint is left alone for them.
    failures          INTEGER NOT NULL DEFAULT 0,
    paused_until      INTEGER,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX webhooks_by_organization ON webhooks (organization_id, created_at, id);

-- One row for each event and each webhook that wants it, made in the transaction that stores the event.
CREATE TABLE webhook_deliveries (
    webhook_id      TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    sequence        INTEGER NOT NULL,
    organization_id TEXT NOT NULL,
    session_id      TEXT NOT NULL,
    event_id        TEXT NOT NULL,
    event           TEXT NOT NULL,
    status          TEXT NOT NULL,
    -- Tries so far, and how many of them were made before the last redelivery, which gives the whole number of tries anew.
    attempt         INTEGER NOT NULL,
    attempts_before INTEGER NOT NULL,
    -- When the next try is due; while one is under way, when its lease ends.
    due_at          INTEGER NOT NULL,
    -- The try that is under way; what is recorded for another one is refused.
    claim           TEXT,
    last_attempt_at INTEGER,
    answer_status   INTEGER,
    answer          TEXT,
    error           TEXT,
    duration_ms     INTEGER,
    created_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    PRIMARY KEY (webhook_id, sequence)
) STRICT;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at, sequence) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (webhook_id, session_id, sequence) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (webhook_id, sequence) WHERE status = 'dead';
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (webhook_id, event_id);
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at) WHERE finished_at IS NOT NULL;
