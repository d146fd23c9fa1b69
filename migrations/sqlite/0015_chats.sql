-- Conversations: one row for each person, group, channel or list that messages go to, whatever addresses a person has.

CREATE TABLE chats (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- The address under which it is told: for a person by number when that is known.
    jid             TEXT NOT NULL,
    -- 'dm', 'group', 'newsletter', 'broadcast' or 'status'.
    kind            TEXT NOT NULL,
    -- What the phone calls it, for what the directory does not know.
    name            TEXT,
    -- Received messages that were not read yet.
    unread          INTEGER NOT NULL DEFAULT 0,
    -- Set while somebody has marked it as unread by hand.
    marked_unread   INTEGER NOT NULL DEFAULT 0,
    archived        INTEGER NOT NULL DEFAULT 0,
    pinned          INTEGER NOT NULL DEFAULT 0,
    -- Until when it makes no sound; 9223372036854775807 for ever.
    muted_until     INTEGER,
    -- Seconds until messages disappear; 0 for never.
    ephemeral       INTEGER NOT NULL DEFAULT 0,
    -- 0 before the first message.
    last_message_at INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    UNIQUE (session_id, jid)
) STRICT;
CREATE INDEX chats_by_age ON chats (session_id, last_message_at, id);

INSERT INTO chats (session_id, jid, kind, last_message_at, created_at)
SELECT session_id, chat_jid,
    CASE WHEN chat_jid LIKE '%@g.us' THEN 'group' WHEN chat_jid LIKE '%@newsletter' THEN 'newsletter'
         WHEN chat_jid = 'status@broadcast' THEN 'status' WHEN chat_jid LIKE '%@broadcast' THEN 'broadcast' ELSE 'dm' END,
    MAX(timestamp), MIN(created_at)
FROM messages GROUP BY session_id, chat_jid;
