-- What belongs to the account behind a session: whether it refuses calls, and the labels of its chats.

ALTER TABLE sessions ADD COLUMN auto_reject_calls INTEGER NOT NULL DEFAULT 0;

CREATE TABLE labels (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- WhatsApp's id of it, unique within the account and never given twice.
    label_id   TEXT NOT NULL,
    name       TEXT NOT NULL,
    color      INTEGER NOT NULL,
    deleted    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (session_id, label_id)
) STRICT, WITHOUT ROWID;

-- Which chats have which labels. News of a chat may come before the news of its label.
CREATE TABLE label_chats (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    label_id   TEXT NOT NULL,
    chat_jid   TEXT NOT NULL,
    PRIMARY KEY (session_id, label_id, chat_jid)
) STRICT, WITHOUT ROWID;
CREATE INDEX label_chats_by_chat ON label_chats (session_id, chat_jid);
