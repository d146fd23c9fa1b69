-- What the WhatsApp library keeps for each session. Rows go with their session. Columns marked sealed are encrypted when a key is set.
-- Times here are in seconds, as the library counts them.

CREATE TABLE wa_devices (
    session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    data       BYTEA NOT NULL -- sealed
);

CREATE TABLE wa_identities (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    address    TEXT COLLATE "C" NOT NULL,
    identity   BYTEA NOT NULL, -- a public key
    PRIMARY KEY (session_id, address)
);

CREATE TABLE wa_sessions (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    address    TEXT COLLATE "C" NOT NULL,
    record     BYTEA NOT NULL, -- sealed
    PRIMARY KEY (session_id, address)
);

CREATE TABLE wa_prekeys (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    prekey_id  BIGINT NOT NULL,
    record     BYTEA NOT NULL, -- sealed
    uploaded   BOOLEAN NOT NULL,
    PRIMARY KEY (session_id, prekey_id)
);

CREATE TABLE wa_signed_prekeys (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    prekey_id  BIGINT NOT NULL,
    record     BYTEA NOT NULL, -- sealed
    PRIMARY KEY (session_id, prekey_id)
);

CREATE TABLE wa_sender_keys (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    address    TEXT COLLATE "C" NOT NULL,
    record     BYTEA NOT NULL, -- sealed
    PRIMARY KEY (session_id, address)
);

CREATE TABLE wa_sender_key_devices (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    group_jid  TEXT NOT NULL,
    device_jid TEXT NOT NULL,
    has_key    BOOLEAN NOT NULL,
    PRIMARY KEY (session_id, group_jid, device_jid)
);
CREATE INDEX wa_sender_key_devices_by_device ON wa_sender_key_devices (session_id, device_jid);

CREATE TABLE wa_sync_keys (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    key_id     BYTEA NOT NULL,
    data       BYTEA NOT NULL, -- sealed
    -- Which write it was, counted per session: the newest key is asked for.
    stored     BIGINT NOT NULL,
    PRIMARY KEY (session_id, key_id)
);

CREATE TABLE wa_sync_versions (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    state      BYTEA NOT NULL,
    PRIMARY KEY (session_id, name)
);

CREATE TABLE wa_mutation_macs (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    index_mac  BYTEA NOT NULL,
    value_mac  BYTEA NOT NULL,
    PRIMARY KEY (session_id, name, index_mac)
);

CREATE TABLE wa_lid_mappings (
    session_id      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    lid             TEXT NOT NULL,
    phone_number    TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    learning_source TEXT NOT NULL,
    PRIMARY KEY (session_id, lid)
);
CREATE INDEX wa_lid_mappings_by_phone ON wa_lid_mappings (session_id, phone_number, updated_at);

CREATE TABLE wa_base_keys (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    address    TEXT COLLATE "C" NOT NULL,
    message_id TEXT NOT NULL,
    base_key   BYTEA NOT NULL, -- a public key
    PRIMARY KEY (session_id, address, message_id)
);

CREATE TABLE wa_device_lists (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    user_part  TEXT NOT NULL,
    record     TEXT NOT NULL,
    PRIMARY KEY (session_id, user_part)
);

CREATE TABLE wa_group_metadata (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    group_jid  TEXT NOT NULL,
    data       BYTEA NOT NULL,
    PRIMARY KEY (session_id, group_jid)
);

CREATE TABLE wa_tc_tokens (
    session_id       TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    jid              TEXT NOT NULL,
    -- Empty while only our own token's sending is known.
    token            BYTEA NOT NULL,
    token_timestamp  BIGINT NOT NULL,
    sender_timestamp BIGINT,
    PRIMARY KEY (session_id, jid)
);

CREATE TABLE wa_sent_messages (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    chat_jid   TEXT NOT NULL,
    message_id TEXT NOT NULL,
    payload    BYTEA NOT NULL, -- sealed
    stored_at  BIGINT NOT NULL,
    PRIMARY KEY (session_id, chat_jid, message_id)
);
CREATE INDEX wa_sent_messages_by_age ON wa_sent_messages (session_id, stored_at);

CREATE TABLE wa_pending_inbound (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    chat_jid   TEXT NOT NULL,
    sender_jid TEXT NOT NULL,
    message_id TEXT NOT NULL,
    message    BYTEA NOT NULL, -- sealed
    stored_at  BIGINT NOT NULL,
    PRIMARY KEY (session_id, chat_jid, sender_jid, message_id)
);
CREATE INDEX wa_pending_inbound_by_age ON wa_pending_inbound (session_id, stored_at);

CREATE TABLE wa_msg_secrets (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    chat_jid   TEXT NOT NULL,
    sender_jid TEXT NOT NULL,
    message_id TEXT NOT NULL,
    secret     BYTEA NOT NULL, -- sealed
    -- 0 means never.
    expires_at BIGINT NOT NULL,
    message_ts BIGINT NOT NULL,
    PRIMARY KEY (session_id, chat_jid, sender_jid, message_id)
);
CREATE INDEX wa_msg_secrets_by_expiry ON wa_msg_secrets (session_id, expires_at);
