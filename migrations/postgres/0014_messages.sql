-- What a message holds beside its text, what became of it later, and when each step of its life was.

ALTER TABLE messages ADD COLUMN content TEXT;
ALTER TABLE messages ADD COLUMN edited_at BIGINT;
ALTER TABLE messages ADD COLUMN deleted_at BIGINT;
ALTER TABLE messages ADD COLUMN starred BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE messages ADD COLUMN sent_at BIGINT;
ALTER TABLE messages ADD COLUMN delivered_at BIGINT;
ALTER TABLE messages ADD COLUMN read_at BIGINT;
ALTER TABLE messages ADD COLUMN played_at BIGINT;
ALTER TABLE messages ADD COLUMN failed_at BIGINT;

CREATE INDEX messages_by_chat ON messages (session_id, chat_jid, timestamp, id);
-- Finds what somebody has said in groups when that person turns out to have another address.
CREATE INDEX messages_by_group_sender ON messages (session_id, sender_jid) WHERE sender_jid <> chat_jid AND direction = 'in';

-- Texts to search in: words as they are, of every language alike.
CREATE INDEX message_texts ON messages USING GIN (to_tsvector('simple', body)) WHERE body IS NOT NULL;
