//! Pairing links.

use crate::domain::clock::Time;
use crate::domain::ids::{OrganizationId, PairingLinkId, SessionId};
use crate::domain::pairing_link::PairingLink;
use crate::error::{Error, Result};
use crate::store::{Db, Row, Tx, args};

macro_rules! columns {
    () => {
        "id, organization_id, session_id, hash, created_at, expires_at, revoked_at, paired_at"
    };
}

fn read(row: &Row) -> Result<PairingLink> {
    let hash: Vec<u8> = row.get(3)?;
    Ok(PairingLink {
        id: row.get(0)?,
        organization: row.get(1)?,
        session: row.get(2)?,
        hash: hash.try_into().map_err(|_| Error::internal(anyhow::anyhow!("a pairing link's hash has a wrong length")))?,
        created_at: row.get(4)?,
        expires_at: row.get(5)?,
        revoked_at: row.get(6)?,
        paired_at: row.get(7)?,
    })
}

impl Db {
    /// The link with this token's hash, of whichever organization: the token is the credential.
    pub async fn find_pairing_link(&self, hash: &[u8; 32]) -> Result<Option<PairingLink>> {
        let sql = concat!("SELECT ", columns!(), " FROM pairing_links WHERE hash = $1");
        self.row(sql, args![hash]).await?.as_ref().map(read).transpose()
    }

    /// The links of a session of the organization, newest first.
    pub async fn list_pairing_links(&self, organization: &OrganizationId, session: &SessionId) -> Result<Vec<PairingLink>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM pairing_links WHERE organization_id = $1 AND session_id = $2 ORDER BY created_at DESC, id DESC"
        );
        self.rows(sql, args![organization, session]).await?.iter().map(read).collect()
    }

    /// Revokes a link unless it was revoked before. False when the organization's session has no such link.
    pub async fn revoke_pairing_link(
        &self,
        organization: &OrganizationId,
        session: &SessionId,
        id: &PairingLinkId,
        now: Time,
    ) -> Result<bool> {
        let sql = "UPDATE pairing_links SET revoked_at = COALESCE(revoked_at, $4)
                   WHERE organization_id = $1 AND session_id = $2 AND id = $3";
        Ok(self.execute(sql, args![organization, session, id, now]).await? > 0)
    }
}

impl Tx {
    /// Stores a new link.
    pub async fn insert_pairing_link(&mut self, link: &PairingLink) -> Result<()> {
        let sql = concat!("INSERT INTO pairing_links (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
        let args = args![
            &link.id,
            &link.organization,
            &link.session,
            &link.hash,
            link.created_at,
            link.expires_at,
            link.revoked_at,
            link.paired_at,
        ];
        self.execute(sql, args).await.map(drop)
    }

    /// How many links of the session can be used at `now`.
    pub async fn count_active_pairing_links(&mut self, session: &SessionId, now: Time) -> Result<i64> {
        let sql = "SELECT COUNT(*) FROM pairing_links
                   WHERE session_id = $1 AND expires_at > $2 AND revoked_at IS NULL AND paired_at IS NULL";
        self.row(sql, args![session, now]).await?.map_or(Ok(0), |row| row.get(0))
    }

    /// Deletes the session's links that expired before `before`.
    pub async fn forget_pairing_links(&mut self, session: &SessionId, before: Time) -> Result<()> {
        let sql = "DELETE FROM pairing_links WHERE session_id = $1 AND expires_at < $2";
        self.execute(sql, args![session, before]).await.map(drop)
    }

    /// Ends every link of a session that is paired now.
    pub async fn end_pairing_links(&mut self, session: &SessionId, now: Time) -> Result<()> {
        let sql = "UPDATE pairing_links SET paired_at = $2 WHERE session_id = $1 AND paired_at IS NULL AND revoked_at IS NULL";
        self.execute(sql, args![session, now]).await.map(drop)
    }
}
