//! Backups as WhatsApp's app writes them, made here: the tables, the compression, the encryption, the checksum. By other code than what reads
//! them, so that both would have to be wrong in the same way.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use aes_gcm::aead::Aead as _;
use aes_gcm::aead::consts::U16;
use aes_gcm::{AesGcm, KeyInit as _};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

/// The key of every backup that is made here, in the 64 digits that its owner was shown.
pub(crate) const DIGITS: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What is in a backup.
pub(crate) struct Made {
    /// Messages in groups and chats, besides `extra`.
    pub(crate) messages: usize,
    /// People with both addresses.
    pub(crate) people: usize,
    /// Groups, each with all people.
    pub(crate) groups: usize,
    /// The id and the sender's number of a message that is known already.
    pub(crate) extra: Option<(String, String)>,
    /// The owner's number.
    pub(crate) own: &'static str,
}

const TABLES: &str = "
    CREATE TABLE jid (_id INTEGER PRIMARY KEY, user TEXT, server TEXT, agent INTEGER, device INTEGER, type INTEGER, raw_string TEXT);
    CREATE TABLE jid_map (lid_row_id INTEGER PRIMARY KEY, jid_row_id INTEGER);
    CREATE TABLE chat (_id INTEGER PRIMARY KEY, jid_row_id INTEGER UNIQUE, subject TEXT, created_timestamp INTEGER, archived INTEGER);
    CREATE TABLE message (_id INTEGER PRIMARY KEY, chat_row_id INTEGER, from_me INTEGER, key_id TEXT, sender_jid_row_id INTEGER,
                          status INTEGER, timestamp INTEGER, message_type INTEGER, text_data TEXT);
    CREATE TABLE group_participant_user (_id INTEGER PRIMARY KEY, group_jid_row_id INTEGER, user_jid_row_id INTEGER, rank INTEGER);";

/// The database, at `path`. Rows of `jid`: 1 is the owner; person n is 2n (number) and 2n+1 (LID); groups come behind them.
pub(crate) async fn database(path: &Path, made: &Made) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).pragma("journal_mode", "OFF");
    let mut db = options.connect().await.unwrap();
    let Made { messages, people, groups, extra, own } = made;
    let first_group = 2 * people + 2;
    let mut script = TABLES.to_owned();
    script.push_str(&format!("INSERT INTO jid VALUES (1, '{own}', 's.whatsapp.net', 0, 0, 0, '{own}@s.whatsapp.net');"));
    let numbers = |last: usize| format!("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {last})");
    script.push_str(&format!(
        "{n} INSERT INTO jid SELECT 2 * x, printf('62899%07d', x), 's.whatsapp.net', 0, 0, 0, printf('62899%07d@s.whatsapp.net', x) FROM n;
         {n} INSERT INTO jid SELECT 2 * x + 1, printf('88%09d', x), 'lid', 0, 3, 18, printf('88%09d:3@lid', x) FROM n;
         {n} INSERT INTO jid_map SELECT 2 * x + 1, 2 * x FROM n;
         {n} INSERT INTO chat SELECT x, 2 * x, NULL, 0, 0 FROM n;",
        n = numbers(*people)
    ));
    let g = numbers(*groups);
    let last_group = first_group + groups - 1;
    script.push_str(&format!(
        "{g} INSERT INTO jid SELECT {first_group} + x - 1, printf('1203630%08d', x), 'g.us', 0, 0, 1, printf('1203630%08d@g.us', x) FROM n;
         {g} INSERT INTO chat SELECT {people} + x, {first_group} + x - 1, 'Group ' || x, 1600000000000, 0 FROM n;
         INSERT INTO group_participant_user (group_jid_row_id, user_jid_row_id, rank)
         SELECT g._id, u._id, u._id = 1 FROM jid g JOIN jid u ON u.server = 'lid' OR u._id = 1
         WHERE g._id BETWEEN {first_group} AND {last_group};"
    ));
    // Every third message is in a group, whose senders are named by LID; every fifth is the owner's; every hundredth is a notice of the app.
    script.push_str(&format!(
        "{m} INSERT INTO message SELECT x, CASE WHEN x % 3 = 0 THEN {people} + 1 + x % {groups} ELSE 1 + x % {people} END, x % 5 = 0,
            printf('3A%018X', x), CASE WHEN x % 3 = 0 AND x % 5 <> 0 THEN 2 * (1 + x % {people}) + 1 ELSE 0 END, 0,
            1600000000000 + x * 1000, CASE WHEN x % 100 = 0 THEN 7 ELSE 0 END, 'text number ' || x FROM n;",
        m = numbers(*messages)
    ));
    if let Some((id, sender)) = extra {
        script.push_str(&format!(
            "INSERT INTO jid VALUES (900000001, '{sender}', 's.whatsapp.net', 0, 0, 0, '{sender}@s.whatsapp.net');
             INSERT INTO chat VALUES (900000001, 900000001, NULL, 0, 0);
             INSERT INTO message VALUES (900000001, 900000001, 0, '{id}', 0, 0, 1700000000000, 0, 'known already');"
        ));
    }
    run(&mut db, script).await;
    db.close().await.unwrap();
}

/// A database of an app from before 2022, with one message each way and one in a group.
pub(crate) async fn old_database(path: &Path) {
    let mut db = SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap();
    let script = "
        CREATE TABLE chat_list (_id INTEGER PRIMARY KEY, key_remote_jid TEXT, subject TEXT);
        CREATE TABLE messages (_id INTEGER PRIMARY KEY, key_remote_jid TEXT, key_from_me INTEGER, key_id TEXT, data TEXT,
                               timestamp INTEGER, media_wa_type TEXT, remote_resource TEXT, media_caption TEXT);
        INSERT INTO chat_list VALUES (1, '6289990000001@s.whatsapp.net', NULL), (2, '6281-1400000000@g.us', 'Old group');
        INSERT INTO messages VALUES
            (1, '-1', 0, '-1', NULL, 0, '0', NULL, NULL),
            (2, '6289990000001@s.whatsapp.net', 0, 'OLD1', 'hello', 1500000000000, '0', NULL, NULL),
            (3, '6289990000001@s.whatsapp.net', 1, 'OLD2', NULL, 1500000001000, '1', NULL, 'a picture'),
            (4, '6281-1400000000@g.us', 0, 'OLD3', 'to all', 1500000002000, '0', '6289990000001@s.whatsapp.net', NULL);";
    run(&mut db, script.to_owned()).await;
    db.close().await.unwrap();
}

async fn run(db: &mut SqliteConnection, script: String) {
    sqlx::raw_sql(AssertSqlSafe(script)).execute(db).await.unwrap();
}

/// A file as the app encrypts it. `flagged` is what newer versions write behind the header's length.
pub(crate) fn crypt15(plain: &[u8], flagged: bool) -> Vec<u8> {
    let root: Vec<u8> = (0..64).step_by(2).map(|at| u8::from_str_radix(&DIGITS[at..at + 2], 16).unwrap()).collect();
    let mac = |key: &[u8], text: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text);
        mac.finalize().into_bytes()
    };
    let key = mac(&mac(&[0; 32], &root), b"backup encryption\x01");
    let nonce = [0x5a_u8; 16];
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(plain).unwrap();
    let cipher = AesGcm::<aes::Aes256, U16>::new(&key);
    let sealed = cipher.encrypt(&nonce.into(), zlib.finish().unwrap().as_slice()).unwrap();
    // key_type = 1, then field 3 with the nonce as its field 1, then what else the app tells.
    let mut header = vec![8, 1, 0x1a, 18, 0x0a, 16];
    header.extend(nonce);
    header.extend(b"\x22\x0a\x0a\x082.25.1.1");
    let mut file = vec![u8::try_from(header.len()).unwrap()];
    file.extend(flagged.then_some(1));
    file.extend(header);
    file.extend(sealed);
    file.extend(md5(&file));
    file
}

/// By the system's own program.
fn md5(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let hex = std::str::from_utf8(&output).unwrap();
    (0..32).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
