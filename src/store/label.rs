//! Labels and the chats that have them.

use crate::domain::ids::SessionId;
use crate::domain::label::{Label, LabelNews};
use crate::error::Result;
use crate::store::{Db, Row, Tx, args};

fn read(row: &Row) -> Result<Label> {
    Ok(Label { id: row.get(0)?, name: row.get(1)?, color: row.get(2)?, chats: row.get(3)? })
}

macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT l.label_id, l.name, l.color,
                    (SELECT COUNT(*) FROM label_chats c WHERE c.session_id = l.session_id AND c.label_id = l.label_id)
             FROM labels l WHERE l.session_id = $1 AND NOT l.deleted AND ",
            $which
        )
    };
}

impl Tx {
    /// Stores what became of labels. The same news may come again.
    pub async fn record_label(&mut self, session: &SessionId, news: &LabelNews) -> Result<()> {
        match news {
            LabelNews::Set { id, name, color } => {
                let sql = "INSERT INTO labels (session_id, label_id, name, color, deleted) VALUES ($1, $2, $3, $4, $5)
                           ON CONFLICT (session_id, label_id) DO UPDATE
                           SET name = excluded.name, color = excluded.color, deleted = excluded.deleted";
                self.execute(sql, args![session, id, name, *color, false]).await?;
            }
            LabelNews::Deleted { id } => {
                let sql = "INSERT INTO labels (session_id, label_id, name, color, deleted) VALUES ($1, $2, '', 0, $3)
                           ON CONFLICT (session_id, label_id) DO UPDATE SET deleted = excluded.deleted";
                self.execute(sql, args![session, id, true]).await?;
                let sql = "DELETE FROM label_chats WHERE session_id = $1 AND label_id = $2";
                self.execute(sql, args![session, id]).await?;
            }
            LabelNews::Assigned { id, chat, on: true } => {
                let sql = "INSERT INTO label_chats (session_id, label_id, chat_jid) VALUES ($1, $2, $3)
                           ON CONFLICT (session_id, label_id, chat_jid) DO NOTHING";
                self.execute(sql, args![session, id, chat]).await?;
            }
            LabelNews::Assigned { id, chat, on: false } => {
                let sql = "DELETE FROM label_chats WHERE session_id = $1 AND label_id = $2 AND chat_jid = $3";
                self.execute(sql, args![session, id, chat]).await?;
            }
        }
        Ok(())
    }
}

impl Db {
    /// The session's labels.
    pub async fn labels(&self, session: &SessionId) -> Result<Vec<Label>> {
        self.rows(select!("TRUE ORDER BY l.label_id"), args![session]).await?.iter().map(read).collect()
    }

    /// The labels of a chat.
    pub async fn labels_of_chat(&self, session: &SessionId, chat: &str) -> Result<Vec<Label>> {
        let sql = select!(
            "l.label_id IN (SELECT c.label_id FROM label_chats c WHERE c.session_id = $1 AND c.chat_jid = $2)
             ORDER BY l.label_id"
        );
        self.rows(sql, args![session, chat]).await?.iter().map(read).collect()
    }

    /// One label.
    pub async fn label(&self, session: &SessionId, id: &str) -> Result<Option<Label>> {
        self.row(select!("l.label_id = $2"), args![session, id]).await?.as_ref().map(read).transpose()
    }

    /// The ids of all labels that there ever were: none is given twice.
    pub async fn label_ids(&self, session: &SessionId) -> Result<Vec<String>> {
        let sql = "SELECT label_id FROM labels WHERE session_id = $1";
        self.rows(sql, args![session]).await?.iter().map(|row| row.get(0)).collect()
    }

    /// The chats that have a label.
    pub async fn label_chats(&self, session: &SessionId, id: &str) -> Result<Vec<String>> {
        let sql = "SELECT chat_jid FROM label_chats WHERE session_id = $1 AND label_id = $2 ORDER BY chat_jid";
        self.rows(sql, args![session, id]).await?.iter().map(|row| row.get(0)).collect()
    }
}
