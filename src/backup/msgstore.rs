//! The database in a backup. Its tables differ from one version of the app to the next: what there is is found out, and asked for
//! accordingly.
//!
//! | since | messages | who and where |
//! |---|---|---|
//! | 2022 | `message` | `chat` and `jid` |
//! | before | `messages` | addresses as texts |
//!
//! The file comes from outside and is trusted in nothing: it is opened for reading only, tables that are views are not there, and what
//! a view's or a trigger's author could do is switched off.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use crate::domain::clock::Time;
use crate::error::{Error, Result};

/// The tables that are looked at.
const TABLES: [&str; 9] =
    ["message", "messages", "message_text", "message_media", "chat", "chat_list", "jid", "jid_map", "group_participant_user"];

/// An opened backup.
pub struct Msgstore {
    connection: SqliteConnection,
    columns: BTreeMap<String, BTreeSet<String>>,
    sql: Sql,
}

/// The questions in the dialect of this file. Each takes the last row that was seen and how many to give.
struct Sql {
    people: Option<String>,
    groups: Option<String>,
    members: Option<String>,
    messages: String,
    message_count: String,
    chat_count: String,
}

/// A person: the addresses under which it is known, and whether there is a chat with it.
pub struct StoredPerson {
    /// The row.
    pub row: i64,
    /// One address or two, `user@server`.
    pub addresses: Vec<String>,
    /// Whether there is a chat of two.
    pub dm: bool,
}

/// A group.
pub struct StoredGroup {
    /// The row.
    pub row: i64,
    /// `user@server`.
    pub jid: String,
    /// Its name.
    pub subject: Option<String>,
    /// When it was founded.
    pub created_at: Option<Time>,
}

/// A member of a group.
pub struct StoredMember {
    /// One address or two.
    pub addresses: Vec<String>,
    /// 0 for members, 1 for admins, 2 for the founder.
    pub rank: i64,
}

/// A message.
pub struct StoredMessage {
    /// The row.
    pub row: i64,
    /// WhatsApp's id.
    pub id: String,
    /// The chat, `user@server`.
    pub chat: String,
    /// The chat's other address, when it is a person with two.
    pub chat_alt: Option<String>,
    /// Who sent it, in chats of several.
    pub sender: Option<String>,
    /// The sender's other address.
    pub sender_alt: Option<String>,
    /// Whether the backup's owner sent it.
    pub from_me: bool,
    /// When it was sent.
    pub at: Time,
    /// WhatsApp's number for what it is.
    pub kind: i64,
    /// Text or caption.
    pub text: Option<String>,
}

impl Msgstore {
    /// Opens a database and finds out what is in it.
    ///
    /// # Errors
    /// `validation_error` for `file` when it is no message store.
    pub async fn open(path: &Path) -> Result<Self> {
        let no = |cause: sqlx::Error| Error::field("file", "what is in it is no SQLite database").because(cause);
        let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true).foreign_keys(false);
        let options = options.pragma("trusted_schema", "OFF").pragma("cell_size_check", "ON").pragma("mmap_size", "0");
        let options = options.disable_statement_logging();
        let mut connection = options.connect().await.map_err(no)?;
        let mut columns = BTreeMap::new();
        for table in TABLES {
            let sql =
                "SELECT c.name FROM sqlite_schema s JOIN pragma_table_info(s.name) c WHERE s.type = 'table' AND s.name = $1";
            let found: Vec<String> = sqlx::query_scalar(sql).bind(table).fetch_all(&mut connection).await.map_err(no)?;
            if !found.is_empty() {
                columns.insert(table.to_owned(), found.into_iter().collect());
            }
        }
        let sql = modern(&columns).or_else(|| legacy(&columns)).ok_or_else(|| {
            let text = "the database in it is no message store: it has neither `message`, `chat` and `jid` nor `messages`";
            Error::field("file", text)
        })?;
        Ok(Self { connection, columns, sql })
    }

    /// A word for the form of the tables: the same for backups of the same version of the app.
    pub fn fingerprint(&self) -> String {
        let mut sum = Sha256::new();
        for (table, columns) in &self.columns {
            sum.update(table);
            for column in columns {
                sum.update([0]);
                sum.update(column);
            }
            sum.update([1]);
        }
        sum.finalize().iter().take(8).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    }

    /// How many chats and messages there are.
    pub async fn counts(&mut self) -> Result<(i64, i64)> {
        let chats = sqlx::query_scalar(AssertSqlSafe(self.sql.chat_count.clone())).fetch_one(&mut self.connection).await;
        let messages = sqlx::query_scalar(AssertSqlSafe(self.sql.message_count.clone())).fetch_one(&mut self.connection).await;
        Ok((chats.map_err(unreadable)?, messages.map_err(unreadable)?))
    }

    /// The next people behind the row `after`.
    pub async fn people(&mut self, after: i64, limit: i64) -> Result<Vec<StoredPerson>> {
        let rows = self.ask(self.sql.people.clone(), after, limit).await?;
        let person = |row: &SqliteRow| {
            Ok(StoredPerson { row: row.try_get(0)?, addresses: addresses(row, 1)?, dm: row.try_get::<i64, _>(3)? != 0 })
        };
        rows.iter().map(|row| person(row).map_err(unreadable)).collect()
    }

    /// The next groups behind the row `after`.
    pub async fn groups(&mut self, after: i64, limit: i64) -> Result<Vec<StoredGroup>> {
        let rows = self.ask(self.sql.groups.clone(), after, limit).await?;
        let group = |row: &SqliteRow| {
            let created: Option<i64> = row.try_get(3)?;
            Ok(StoredGroup {
                row: row.try_get(0)?,
                jid: row.try_get(1)?,
                subject: row.try_get::<Option<String>, _>(2)?.filter(|subject| !subject.is_empty()),
                created_at: created.filter(|at| *at > 0).map(Time),
            })
        };
        rows.iter().map(|row| group(row).map_err(unreadable)).collect()
    }

    /// The members of the group in this row, as many as a group can have.
    pub async fn members(&mut self, group: i64) -> Result<Vec<StoredMember>> {
        let rows = self.ask(self.sql.members.clone(), group, 10_000).await?;
        let member = |row: &SqliteRow| Ok(StoredMember { addresses: addresses(row, 0)?, rank: row.try_get(2)? });
        rows.iter().map(|row| member(row).map_err(unreadable)).collect()
    }

    /// The next messages behind the row `after`.
    pub async fn messages(&mut self, after: i64, limit: i64) -> Result<Vec<StoredMessage>> {
        let rows = self.ask(Some(self.sql.messages.clone()), after, limit).await?;
        let message = |row: &SqliteRow| {
            Ok(StoredMessage {
                row: row.try_get(0)?,
                id: row.try_get(1)?,
                chat: row.try_get(2)?,
                chat_alt: row.try_get(3)?,
                sender: row.try_get(4)?,
                sender_alt: row.try_get(5)?,
                from_me: row.try_get::<i64, _>(6)? != 0,
                at: Time(row.try_get(7)?),
                kind: row.try_get(8)?,
                text: row.try_get::<Option<String>, _>(9)?.filter(|text| !text.is_empty()),
            })
        };
        rows.iter().map(|row| message(row).map_err(unreadable)).collect()
    }

    async fn ask(&mut self, sql: Option<String>, after: i64, limit: i64) -> Result<Vec<SqliteRow>> {
        let Some(sql) = sql else { return Ok(Vec::new()) };
        let query = sqlx::query(AssertSqlSafe(sql)).bind(after).bind(limit);
        query.fetch_all(&mut self.connection).await.map_err(unreadable)
    }
}

fn addresses(row: &SqliteRow, from: usize) -> sqlx::Result<Vec<String>> {
    let pair: [Option<String>; 2] = [row.try_get(from)?, row.try_get(from + 1)?];
    Ok(pair.into_iter().flatten().collect())
}

fn unreadable(cause: sqlx::Error) -> Error {
    Error::field("file", "the database in it is damaged").because(cause)
}

type Columns = BTreeMap<String, BTreeSet<String>>;

fn has(columns: &Columns, table: &str, wanted: &[&str]) -> bool {
    columns.get(table).is_some_and(|found| wanted.iter().all(|column| found.contains(*column)))
}

/// An address without the device part, which `raw_string` has.
fn address(jid: &str) -> String {
    format!("{jid}.user || '@' || {jid}.server")
}

/// The questions for files with `message`, `chat` and `jid`.
fn modern(columns: &Columns) -> Option<Sql> {
    let there = has(columns, "message", &["_id", "chat_row_id", "from_me", "key_id", "sender_jid_row_id", "timestamp"])
        && has(columns, "chat", &["_id", "jid_row_id"])
        && has(columns, "jid", &["_id", "user", "server"]);
    if !there {
        return None;
    }
    let mapped = has(columns, "jid_map", &["lid_row_id", "jid_row_id"]);
    // The number behind a LID: as a column, and the tables it comes from.
    let alt = |jid: &str, alias: &str| match mapped {
        true => (
            address(&format!("{alias}j")),
            format!(
                "LEFT JOIN jid_map {alias}m ON {alias}m.lid_row_id = {jid}._id LEFT JOIN jid {alias}j ON {alias}j._id = {alias}m.jid_row_id"
            ),
        ),
        false => ("NULL".to_owned(), String::new()),
    };
    let has_column = |table: &str, column: &str| has(columns, table, &[column]);
    let first_of = |found: Vec<String>| match found.len() {
        0 => "NULL".to_owned(),
        1 => found.concat(),
        _ => format!("COALESCE({})", found.join(", ")),
    };
    let (mut texts, mut joins) = (Vec::new(), String::new());
    if has_column("message", "text_data") {
        texts.push("NULLIF(m.text_data, '')".to_owned());
    }
    if has(columns, "message_text", &["message_row_id", "text_data"]) {
        texts.push("t.text_data".to_owned());
        joins.push_str(" LEFT JOIN message_text t ON t.message_row_id = m._id");
    }
    if has(columns, "message_media", &["message_row_id", "media_caption"]) {
        texts.push("mm.media_caption".to_owned());
        joins.push_str(" LEFT JOIN message_media mm ON mm.message_row_id = m._id");
    }
    let kind = if has_column("message", "message_type") { "COALESCE(m.message_type, 0)" } else { "0" };
    let (chat_alt, chat_join) = alt("cj", "of_chat_");
    let (sender_alt, sender_join) = alt("sj", "of_sender_");
    let messages = format!(
        "SELECT m._id, COALESCE(m.key_id, ''), COALESCE({}, ''), {chat_alt}, {}, {sender_alt}, COALESCE(m.from_me, 0),
                COALESCE(m.timestamp, 0), {kind}, {}
         FROM message m LEFT JOIN chat c ON c._id = m.chat_row_id LEFT JOIN jid cj ON cj._id = c.jid_row_id
         LEFT JOIN jid sj ON sj._id = m.sender_jid_row_id AND m.sender_jid_row_id > 0 {chat_join} {sender_join} {joins}
         WHERE m._id > $1 GROUP BY m._id ORDER BY m._id LIMIT $2",
        address("cj"),
        address("sj"),
        first_of(texts)
    );
    let (person_alt, person_join) = alt("j", "of_person_");
    let people = format!(
        "SELECT j._id, {}, {person_alt}, EXISTS (SELECT 1 FROM chat c WHERE c.jid_row_id = j._id) FROM jid j {person_join}
         WHERE j._id > $1 AND j.server IN ('s.whatsapp.net', 'lid') GROUP BY j._id ORDER BY j._id LIMIT $2",
        address("j")
    );
    let subject = if has_column("chat", "subject") { "c.subject" } else { "NULL" };
    let created = if has_column("chat", "created_timestamp") { "c.created_timestamp" } else { "NULL" };
    let groups = format!(
        "SELECT c.jid_row_id, {}, {subject}, {created} FROM chat c JOIN jid j ON j._id = c.jid_row_id
         WHERE c.jid_row_id > $1 AND j.server = 'g.us' GROUP BY c.jid_row_id ORDER BY c.jid_row_id LIMIT $2",
        address("j")
    );
    let members = has(columns, "group_participant_user", &["group_jid_row_id", "user_jid_row_id", "rank"]).then(|| {
        let (alt, join) = alt("j", "of_person_");
        format!(
            "SELECT {}, {alt}, COALESCE(u.rank, 0) FROM group_participant_user u JOIN jid j ON j._id = u.user_jid_row_id {join}
             WHERE u.group_jid_row_id = $1 ORDER BY j._id LIMIT $2",
            address("j")
        )
    });
    Some(Sql {
        people: Some(people),
        groups: Some(groups),
        members,
        messages,
        message_count: "SELECT COUNT(*) FROM message".to_owned(),
        chat_count: "SELECT COUNT(*) FROM chat".to_owned(),
    })
}

/// The questions for files with `messages` alone.
fn legacy(columns: &Columns) -> Option<Sql> {
    if !has(columns, "messages", &["_id", "key_remote_jid", "key_from_me", "key_id", "timestamp"]) {
        return None;
    }
    let column = |name: &str, other: &str| match has(columns, "messages", &[name]) {
        true => name.to_owned(),
        false => other.to_owned(),
    };
    let text = format!("COALESCE(NULLIF({}, ''), {})", column("data", "NULL"), column("media_caption", "NULL"));
    let messages = format!(
        "SELECT _id, COALESCE(key_id, ''), COALESCE(key_remote_jid, ''), NULL, NULLIF({}, ''), NULL, COALESCE(key_from_me, 0),
                COALESCE(timestamp, 0), CAST(COALESCE({}, 0) AS INTEGER), {text}
         FROM messages WHERE _id > $1 AND key_id <> '-1' ORDER BY _id LIMIT $2",
        column("remote_resource", "''"),
        column("media_wa_type", "0"),
    );
    let chat_list = has(columns, "chat_list", &["_id", "key_remote_jid"]);
    let people = chat_list.then(|| {
        "SELECT _id, key_remote_jid, NULL, 1 FROM chat_list WHERE _id > $1 AND key_remote_jid LIKE '%@s.whatsapp.net'
         ORDER BY _id LIMIT $2"
            .to_owned()
    });
    let subject = if has(columns, "chat_list", &["subject"]) { "subject" } else { "NULL" };
    let groups = chat_list.then(|| {
        format!(
            "SELECT _id, key_remote_jid, {subject}, NULL FROM chat_list WHERE _id > $1 AND key_remote_jid LIKE '%@g.us'
             ORDER BY _id LIMIT $2"
        )
    });
    let chat_count =
        if chat_list { "SELECT COUNT(*) FROM chat_list" } else { "SELECT COUNT(DISTINCT key_remote_jid) FROM messages" };
    Some(Sql {
        people,
        groups,
        members: None,
        messages,
        message_count: "SELECT COUNT(*) FROM messages WHERE key_id <> '-1'".to_owned(),
        chat_count: chat_count.to_owned(),
    })
}
