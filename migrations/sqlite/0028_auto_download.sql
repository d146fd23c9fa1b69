-- Whether files of received messages are fetched without being asked for, and those that wait for it.

ALTER TABLE sessions ADD COLUMN auto_download INTEGER NOT NULL DEFAULT 0;
CREATE INDEX media_waiting ON media (session_id, id) WHERE state = 'pending';
