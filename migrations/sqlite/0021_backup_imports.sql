-- Imports of encrypted backups: what is to be done, how far it has come, and who does it now. Times are milliseconds since 1970.

CREATE TABLE backup_imports (
    id              TEXT PRIMARY KEY,
    session_id      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    organization_id TEXT NOT NULL,
    -- The gateway whose disk holds the decrypted database.
    gateway_id      TEXT NOT NULL,
    status          TEXT NOT NULL,
    phase           TEXT NOT NULL,
    chats           INTEGER NOT NULL,
    messages        INTEGER NOT NULL DEFAULT 0,
    new_messages    INTEGER NOT NULL DEFAULT 0,
    total_messages  INTEGER NOT NULL,
    identities      INTEGER NOT NULL DEFAULT 0,
    groups          INTEGER NOT NULL DEFAULT 0,
    group_members   INTEGER NOT NULL DEFAULT 0,
    fingerprint     TEXT NOT NULL,
    -- The last row of the phase's table in the backup that was dealt with.
    position        INTEGER NOT NULL DEFAULT 0,
    error           TEXT,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    -- Who works on it, until when; anybody may go on when that is over.
    claim           TEXT,
    claimed_until   INTEGER NOT NULL DEFAULT 0
) STRICT;
-- At most one at a time for each session.
CREATE UNIQUE INDEX backup_imports_running ON backup_imports (session_id) WHERE status = 'running';
CREATE INDEX backup_imports_by_session ON backup_imports (session_id, created_at, id);
