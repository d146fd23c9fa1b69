-- Whether an event has told of the message. Those of the past, from the phone's history or a backup, are there without one; when such
-- a message comes live after all, it is news once.
ALTER TABLE messages ADD COLUMN told INTEGER NOT NULL DEFAULT 1;
