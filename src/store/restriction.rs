//! What WhatsApp forbids a number for a time. A row keeps the time until the end of it was told: so it is told once, whoever was there to
//! see it come.

use crate::domain::clock::Time;
use crate::domain::ids::SessionId;
use crate::error::Result;
use crate::store::{Tx, args};

impl Tx {
    /// Notes until when WhatsApp lets the number begin no conversations.
    pub async fn set_restricted(&mut self, session: &SessionId, until: Option<Time>) -> Result<()> {
        let sql = "UPDATE sessions SET restricted_until = $2 WHERE id = $1";
        self.execute(sql, args![session, until]).await.map(drop)
    }

    /// Forgets it when its time is over; whether there was one whose end is to be told now.
    pub async fn end_restriction(&mut self, session: &SessionId, now: Time) -> Result<bool> {
        let sql = "UPDATE sessions SET restricted_until = NULL WHERE id = $1 AND restricted_until <= $2";
        Ok(self.execute(sql, args![session, now]).await? > 0)
    }

    /// Notes until when WhatsApp bans the number.
    pub async fn set_banned(&mut self, session: &SessionId, until: Option<Time>) -> Result<()> {
        let sql = "UPDATE sessions SET banned_until = $2 WHERE id = $1";
        self.execute(sql, args![session, until]).await.map(drop)
    }

    /// Forgets a ban, which has ended; whether there was one whose end is to be told now.
    pub async fn end_ban(&mut self, session: &SessionId) -> Result<bool> {
        let sql = "UPDATE sessions SET banned_until = NULL WHERE id = $1 AND banned_until IS NOT NULL";
        Ok(self.execute(sql, args![session]).await? > 0)
    }
}
