-- Backfills: what is to be done, how far it has come, and who does it now. Times are milliseconds since 1970.

CREATE TABLE backfill_jobs (
    id               TEXT PRIMARY KEY,
    session_id       TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    organization_id  TEXT NOT NULL,
    status           TEXT NOT NULL,
    phase            TEXT NOT NULL,
    contacts         BIGINT NOT NULL DEFAULT 0,
    groups           BIGINT NOT NULL DEFAULT 0,
    group_members    BIGINT NOT NULL DEFAULT 0,
    total_contacts   BIGINT,
    total_groups     BIGINT,
    -- Questions that were put to WhatsApp.
    queries          BIGINT NOT NULL DEFAULT 0,
    -- Where the present phase goes on.
    position         TEXT NOT NULL DEFAULT '',
    -- A JSON array of what went wrong.
    failures         TEXT NOT NULL DEFAULT '[]',
    error            TEXT,
    cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
    started_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    finished_at      BIGINT,
    -- Who works on it, until when; anybody may go on when that is over.
    claim            TEXT,
    claimed_until    BIGINT NOT NULL DEFAULT 0
);
-- At most one at a time for each session.
CREATE UNIQUE INDEX backfill_jobs_running ON backfill_jobs (session_id) WHERE status = 'running';
CREATE INDEX backfill_jobs_by_session ON backfill_jobs (session_id, started_at, id);

-- The groups of a backfill: which are done.
CREATE TABLE backfill_groups (
    job_id    TEXT NOT NULL REFERENCES backfill_jobs (id) ON DELETE CASCADE,
    group_jid TEXT NOT NULL,
    -- 'pending', 'done' or 'failed'.
    state     TEXT NOT NULL,
    members   BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (job_id, group_jid)
);

-- Whether all members were ever told: what is seen for the first time did not happen then.
ALTER TABLE groups ADD COLUMN members_known BOOLEAN NOT NULL DEFAULT FALSE;
