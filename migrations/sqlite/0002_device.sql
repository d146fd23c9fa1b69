-- What the WhatsApp library keeps for each session. Rows go with their session. Columns marked sealed are encrypted when a key is set.
-- Times here are in seconds, as the library counts them.

CREATE TABLE wa_devices (
    session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    data       BLOB NOT NULL -- sealed
) STRICT;

CREATE TABLE wa_identities (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    address    TEXT NOT NULL,
    identity   BLOB NOT NULL, -- a public key
    PRIMARY KEY (session_id, address)
) STRICT, WITHOUT ROWID;

CREATE TABLE wa_sessions (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    address    TEXT NOT NULL,
    record     BLOB NOT NULL, -- sealed
    PRIMARY KEY (session_id, address)
) STRICT;

CREATE TABLE wa_prekeys (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    prekey_id  INTEGER NOT NULL,
    record     BLOB NOT NULL, -- sealed
    uploaded   INTEGER NOT NULL,
    PRIMARY KEY (session_id, prekey_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE wa_signed_prekeys (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    prekey_id  INTEGER NOT NULL,
    record     BLOB NOT NULL, -- sealed
    PRIMARY KEY (session_id, prekey_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE wa_sender_keys (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    address    TEXT NOT NULL,
    record     BLOB NOT NULL, -- sealed
    PRIMARY KEY (session_id, address)
) STRICT;

CREATE TABLE wa_sender_key_devices (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    group_jid  TEXT NOT NULL,
    device_jid TEXT NOT NULL,
    has_key    INTEGER NOT NULL,
    PRIMARY KEY (session_id, group_jid, device_jid)
) STRICT, WITHOUT ROWID;
CREATE INDEX wa_sender_key_devices_by_device ON wa_sender_key_devices (session_id, device_jid);

CREATE TABLE wa_sync_keys (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    key_id     BLOB NOT NULL,
    data       BLOB NOT NULL, -- sealed
    -- Which write it was, counted per session: the newest key is asked for.
    stored     INTEGER NOT NULL,
    PRIMARY KEY (session_id, key_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE wa_sync_versions (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    state      BLOB NOT NULL,
    PRIMARY KEY (session_id, name)
) STRICT;

CREATE TABLE wa_mutation_macs (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    index_mac  BLOB NOT NULL,
    value_mac  BLOB NOT NULL,
    PRIMARY KEY (session_id, name, index_mac)
) STRICT, WITHOUT ROWID;

CREATE TABLE wa_lid_mappings (
    session_id      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    lid             TEXT NOT NULL,
    phone_number    TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    learning_source TEXT NOT NULL,
    PRIMARY KEY (session_id, lid)
) STRICT, WITHOUT ROWID;
CREATE INDEX wa_lid_mappings_by_phone ON wa_lid_mappings (session_id, phone_number, updated_at);

CREATE TABLE wa_base_keys (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    address    TEXT NOT NULL,
    message_id TEXT NOT NULL,
    base_key   BLOB NOT NULL, -- a public key
    PRIMARY KEY (session_id, address, message_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE wa_device_lists (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    user_part  TEXT NOT NULL,
    record     TEXT NOT NULL,
    PRIMARY KEY (session_id, user_part)
) STRICT, WITHOUT ROWID;

CREATE TABLE wa_group_metadata (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    group_jid  TEXT NOT NULL,
    data       BLOB NOT NULL,
    PRIMARY KEY (session_id, group_jid)
) STRICT;

CREATE TABLE wa_tc_tokens (
    session_id       TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    jid              TEXT NOT NULL,
    -- Empty while only our own token's sending is known.
    token            BLOB NOT NULL,
    token_timestamp  INTEGER NOT NULL,
    sender_timestamp INTEGER,
    PRIMARY KEY (session_id, jid)
) STRICT, WITHOUT ROWID;

CREATE TABLE wa_sent_messages (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    chat_jid   TEXT NOT NULL,
    message_id TEXT NOT NULL,
    payload    BLOB NOT NULL, -- sealed
    stored_at  INTEGER NOT NULL,
    PRIMARY KEY (session_id, chat_jid, message_id)
) STRICT;
CREATE INDEX wa_sent_messages_by_age ON wa_sent_messages (session_id, stored_at);

CREATE TABLE wa_pending_inbound (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    chat_jid   TEXT NOT NULL,
    sender_jid TEXT NOT NULL,
    message_id TEXT NOT NULL,
    message    BLOB NOT NULL, -- sealed
    stored_at  INTEGER NOT NULL,
    PRIMARY KEY (session_id, chat_jid, sender_jid, message_id)
) STRICT;
CREATE INDEX wa_pending_inbound_by_age ON wa_pending_inbound (session_id, stored_at);

CREATE TABLE wa_msg_secrets (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    chat_jid   TEXT NOT NULL,
    sender_jid TEXT NOT NULL,
    message_id TEXT NOT NULL,
    secret     BLOB NOT NULL, -- sealed
    -- 0 means never.
    expires_at INTEGER NOT NULL,
    message_ts INTEGER NOT NULL,
    PRIMARY KEY (session_id, chat_jid, sender_jid, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX wa_msg_secrets_by_expiry ON wa_msg_secrets (session_id, expires_at);
