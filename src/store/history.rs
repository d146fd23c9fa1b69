//! Parts of the history on their way into the other tables.

use crate::domain::clock::Time;
use crate::domain::ids::SessionId;
use crate::error::Result;
use crate::store::{Db, Row, Tx, args};

/// A part as it came.
#[derive(Clone, Debug)]
pub struct HistoryPart {
    /// A ULID.
    pub id: String,
    /// What kind of part.
    pub kind: String,
    /// Its number.
    pub chunk: Option<i64>,
    /// How much of the whole has come, in percent.
    pub progress: Option<i64>,
    /// The compressed bytes.
    pub data: Vec<u8>,
    /// Their length when they are not compressed.
    pub size: i64,
}

fn read(row: &Row) -> Result<HistoryPart> {
    Ok(HistoryPart {
        id: row.get(0)?,
        kind: row.get(1)?,
        chunk: row.get(2)?,
        progress: row.get(3)?,
        data: row.get(4)?,
        size: row.get(5)?,
    })
}

impl Db {
    /// Keeps a part until it is dealt with.
    pub async fn keep_history_part(&self, session: &SessionId, part: &HistoryPart, now: Time) -> Result<()> {
        let HistoryPart { id, kind, chunk, progress, data, size } = part;
        let sql = "INSERT INTO history_parts (id, session_id, kind, chunk, progress, data, size, created_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        self.execute(sql, args![id, session, kind, *chunk, *progress, data, *size, now]).await.map(drop)
    }

    /// The part that came first of those that are not dealt with.
    pub async fn next_history_part(&self, session: &SessionId) -> Result<Option<HistoryPart>> {
        let sql = "SELECT id, kind, chunk, progress, data, size FROM history_parts WHERE session_id = $1 ORDER BY id LIMIT 1";
        self.row(sql, args![session]).await?.as_ref().map(read).transpose()
    }
}

impl Tx {
    /// Forgets a part that was dealt with. False when somebody else has done so.
    pub async fn drop_history_part(&mut self, id: &str) -> Result<bool> {
        Ok(self.execute("DELETE FROM history_parts WHERE id = $1", args![id]).await? > 0)
    }
}
