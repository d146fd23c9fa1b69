-- The outbox: what is to be sent, when, and how far it has come. Times are milliseconds since 1970; flags are 0 or 1.

CREATE TABLE outbox (
    -- The message's own id.
    id              TEXT PRIMARY KEY,
    session_id      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    organization_id TEXT NOT NULL,
    wa_message_id   TEXT NOT NULL,
    chat_jid        TEXT NOT NULL,
    -- 'queued', 'sending', 'unknown', 'sent', 'failed' or 'cancelled'.
    state           TEXT NOT NULL,
    -- 0 for answers, 1 for people who were written to before, 2 for people who never were.
    lane            INTEGER NOT NULL,
    -- Whether it may wait: for its budget, its session, or a restriction to end. Otherwise its caller is told at once.
    patient         INTEGER NOT NULL,
    -- What is to be sent, as JSON; empty once it is settled.
    content         TEXT NOT NULL,
    -- Not to be sent before this.
    due_at          INTEGER NOT NULL,
    -- Settled by then, one way or the other.
    expires_at      INTEGER NOT NULL,
    -- When it took its place in the session's budget.
    released_at     INTEGER,
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- Which holding of the session sends it, and until when nobody else may.
    claim_epoch     INTEGER,
    claimed_until   INTEGER NOT NULL DEFAULT 0,
    reason          TEXT,
    created_at      INTEGER NOT NULL,
    sending_at      INTEGER,
    settled_at      INTEGER
) STRICT;
CREATE INDEX outbox_open ON outbox (session_id, chat_jid, id) WHERE settled_at IS NULL;
CREATE INDEX outbox_due ON outbox (due_at) WHERE settled_at IS NULL;
CREATE INDEX outbox_expiring ON outbox (expires_at) WHERE settled_at IS NULL;
CREATE INDEX outbox_unanswered ON outbox (session_id, wa_message_id) WHERE settled_at IS NULL;
CREATE INDEX outbox_released ON outbox (session_id, released_at) WHERE released_at IS NOT NULL;
CREATE INDEX outbox_settled ON outbox (settled_at) WHERE settled_at IS NOT NULL;

-- What was stored before there was an outbox and is not known to be with WhatsApp goes on here.
INSERT INTO outbox (id, session_id, organization_id, wa_message_id, chat_jid, state, lane, patient, content, due_at, expires_at, released_at,
                    attempts, created_at, sending_at)
SELECT id, session_id, organization_id, wa_message_id, chat_jid, 'unknown', 1, 1, json_object('kind', 'text', 'body', body), created_at,
       created_at + 86400000, created_at, 1, created_at, created_at
FROM messages WHERE status = 'pending' AND kind = 'text' AND body IS NOT NULL;

-- Pacing: how many people who were never written to may be written to in a day (0: any number), and the days over which a fresh
-- number comes to that.
ALTER TABLE sessions ADD COLUMN new_contacts_per_day INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN warm_up_days INTEGER NOT NULL DEFAULT 0;
-- WhatsApp lets the number begin no conversations until then.
ALTER TABLE sessions ADD COLUMN restricted_until INTEGER;
-- When the number that is attached was attached.
ALTER TABLE sessions ADD COLUMN attached_at INTEGER;
