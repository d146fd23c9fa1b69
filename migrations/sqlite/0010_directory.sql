-- The directory of each session: whom its account knows, and the groups that it is in. Times are milliseconds since 1970; flags are 0 or 1.
-- All of it belongs to the session and goes with it: names are those of the account's own address book.

-- People. One row is one person, by whichever of the two addresses the person is known.
CREATE TABLE identities (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id    TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- `…@lid`: WhatsApp's lasting id of the person. NULL until it is told.
    lid           TEXT,
    -- The number in digits; it can pass to another person.
    phone         TEXT,
    -- What the person calls itself, what the address book of the account says, and what WhatsApp has verified of a business.
    push_name     TEXT,
    full_name     TEXT,
    first_name    TEXT,
    business_name TEXT,
    -- Where the person was met.
    dm            INTEGER NOT NULL,
    in_group      INTEGER NOT NULL,
    -- Names and addresses in small letters, for searching.
    search        TEXT NOT NULL,
    first_seen_at INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    UNIQUE (session_id, lid)
) STRICT;
CREATE INDEX identities_by_session ON identities (session_id, id);

-- Every address under which a person was ever seen.
CREATE TABLE identity_aliases (
    session_id  TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    address     TEXT NOT NULL,
    identity_id INTEGER NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    PRIMARY KEY (session_id, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_aliases_by_identity ON identity_aliases (identity_id);

-- What WhatsApp said about numbers that were asked for.
CREATE TABLE contact_checks (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    phone      TEXT NOT NULL,
    registered INTEGER NOT NULL,
    jid        TEXT,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (session_id, phone)
) STRICT, WITHOUT ROWID;

CREATE TABLE groups (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id        TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    group_jid         TEXT NOT NULL,
    subject           TEXT,
    description       TEXT,
    owner_jid         TEXT,
    created_at_wa     INTEGER,
    is_announce       INTEGER NOT NULL DEFAULT 0,
    is_locked         INTEGER NOT NULL DEFAULT 0,
    approval          INTEGER NOT NULL DEFAULT 0,
    -- Seconds until messages disappear; 0 for never.
    ephemeral         INTEGER NOT NULL DEFAULT 0,
    is_community      INTEGER NOT NULL DEFAULT 0,
    parent_jid        TEXT,
    participant_count INTEGER NOT NULL DEFAULT 0,
    -- Set while the account is not in the group any more.
    left_at           INTEGER,
    -- When WhatsApp was last asked; NULL means that what is here is not known to be right.
    refreshed_at      INTEGER,
    first_seen_at     INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    UNIQUE (session_id, group_jid)
) STRICT;

-- Who is and who was in a group.
CREATE TABLE group_members (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id      INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    identity_id   INTEGER NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    role          TEXT NOT NULL,
    tag           TEXT,
    first_seen_at INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL,
    -- Set while the person is not in the group any more.
    left_at       INTEGER,
    UNIQUE (group_id, identity_id)
) STRICT;
CREATE INDEX group_members_by_identity ON group_members (identity_id);

-- What happened to the members of a group, oldest first.
CREATE TABLE group_history (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id    INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    identity_id INTEGER NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    -- 'join', 'leave', 'promote' or 'demote'.
    action      TEXT NOT NULL,
    -- Who did it, as an address; NULL when that was not told.
    actor_jid   TEXT,
    at          INTEGER NOT NULL,
    -- The same news may come twice.
    UNIQUE (group_id, identity_id, action, at)
) STRICT;
CREATE INDEX group_history_by_group ON group_history (group_id, id);
CREATE INDEX group_history_by_identity ON group_history (identity_id);
