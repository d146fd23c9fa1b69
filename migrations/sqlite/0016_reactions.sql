-- What people did to messages. Both name the message by WhatsApp's id, for they may come before it does (from the history, say).

CREATE TABLE reactions (
    session_id    TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    wa_message_id TEXT NOT NULL,
    sender_jid    TEXT NOT NULL,
    from_me       INTEGER NOT NULL,
    emoji         TEXT NOT NULL,
    timestamp     INTEGER NOT NULL,
    PRIMARY KEY (session_id, wa_message_id, sender_jid)
) STRICT, WITHOUT ROWID;

CREATE TABLE poll_votes (
    session_id    TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    wa_message_id TEXT NOT NULL,
    sender_jid    TEXT NOT NULL,
    from_me       INTEGER NOT NULL,
    -- The chosen answers, a JSON list of texts.
    selected      TEXT NOT NULL,
    timestamp     INTEGER NOT NULL,
    PRIMARY KEY (session_id, wa_message_id, sender_jid)
) STRICT, WITHOUT ROWID;

-- Polls that have an end, until it is told.
CREATE TABLE poll_ends (
    message_id TEXT PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    end_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX poll_ends_by_time ON poll_ends (end_at);

-- Which edits, revocations, reactions and votes were dealt with, so that each is told once however often WhatsApp delivers it.
CREATE TABLE deeds (
    session_id    TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    wa_message_id TEXT NOT NULL,
    sender_jid    TEXT NOT NULL,
    at            INTEGER NOT NULL,
    PRIMARY KEY (session_id, wa_message_id, sender_jid)
) STRICT, WITHOUT ROWID;
CREATE INDEX deeds_by_age ON deeds (at);
