-- Whether files of received messages are fetched without being asked for, and those that wait for it.

ALTER TABLE sessions ADD COLUMN auto_download BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX media_waiting ON media (session_id, id) WHERE state = 'pending';
