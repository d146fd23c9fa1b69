-- Who may do what, and who did what.

-- A JSON list of session ids that the key is restricted to; NULL means all of its organization.
ALTER TABLE api_keys ADD COLUMN sessions TEXT;

CREATE TABLE audit_log (
    -- A ULID: the order of ids is the order of time.
    id              TEXT COLLATE "C" PRIMARY KEY,
    at              BIGINT NOT NULL,
    -- Not a reference: what was done stays known. NULL when the caller was not recognised.
    organization_id TEXT,
    -- 'api_key', 'login', 'local' or 'nobody', and which one.
    actor_kind      TEXT NOT NULL,
    actor           TEXT,
    method          TEXT NOT NULL,
    object          TEXT,
    outcome         TEXT NOT NULL,
    request_id      TEXT NOT NULL,
    address         TEXT
);
CREATE INDEX audit_log_by_organization ON audit_log (organization_id, id);
