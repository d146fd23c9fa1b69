-- Until when WhatsApp bans the number. Like `restricted_until` it stays until the end of it was told, so that a restart loses none.
ALTER TABLE sessions ADD COLUMN banned_until BIGINT;
-- The ends of those were told.
UPDATE sessions SET restricted_until = NULL WHERE restricted_until <= CAST(extract(epoch FROM now()) AS BIGINT) * 1000;
