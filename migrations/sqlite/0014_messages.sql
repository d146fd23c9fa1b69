-- What a message holds beside its text, what became of it later, and when each step of its life was.

ALTER TABLE messages ADD COLUMN content TEXT;
ALTER TABLE messages ADD COLUMN edited_at INTEGER;
ALTER TABLE messages ADD COLUMN deleted_at INTEGER;
ALTER TABLE messages ADD COLUMN starred INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN sent_at INTEGER;
ALTER TABLE messages ADD COLUMN delivered_at INTEGER;
ALTER TABLE messages ADD COLUMN read_at INTEGER;
ALTER TABLE messages ADD COLUMN played_at INTEGER;
ALTER TABLE messages ADD COLUMN failed_at INTEGER;

CREATE INDEX messages_by_chat ON messages (session_id, chat_jid, timestamp, id);
-- Finds what somebody has said in groups when that person turns out to have another address.
CREATE INDEX messages_by_group_sender ON messages (session_id, sender_jid) WHERE sender_jid <> chat_jid AND direction = 'in';

-- Where a message stands among all: its moment with, below it, the end of its ULID.
ALTER TABLE messages ADD COLUMN position INTEGER GENERATED ALWAYS AS (
    (timestamp << 20)
        | (((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, -4, 1)) - 1) & 31) << 15)
        | (((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, -3, 1)) - 1) & 31) << 10)
        | (((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, -2, 1)) - 1) & 31) << 5)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, -1, 1)) - 1) & 31)
) VIRTUAL;

-- Texts to search in: words as they are, of every language alike. Their rows stand in the order of the messages.
CREATE VIRTUAL TABLE message_texts USING fts5 (session_id, body, message_id UNINDEXED, tokenize = 'unicode61 remove_diacritics 2');

CREATE TRIGGER message_texts_insert AFTER INSERT ON messages WHEN new.body IS NOT NULL BEGIN
    INSERT OR REPLACE INTO message_texts (rowid, session_id, body, message_id)
    VALUES (new.position, new.session_id, new.body, new.id);
END;
CREATE TRIGGER message_texts_delete AFTER DELETE ON messages WHEN old.body IS NOT NULL BEGIN
    DELETE FROM message_texts WHERE rowid = old.position;
END;
CREATE TRIGGER message_texts_update AFTER UPDATE OF body, timestamp ON messages
WHEN old.body IS NOT new.body OR old.timestamp <> new.timestamp BEGIN
    DELETE FROM message_texts WHERE old.body IS NOT NULL AND rowid = old.position;
    INSERT OR REPLACE INTO message_texts (rowid, session_id, body, message_id)
    SELECT new.position, new.session_id, new.body, new.id WHERE new.body IS NOT NULL;
END;

INSERT OR REPLACE INTO message_texts (rowid, session_id, body, message_id)
SELECT position, session_id, body, id FROM messages WHERE body IS NOT NULL;
