//! Api-keys.

use crate::domain::api_key::ApiKey;
use crate::domain::clock::Time;
use crate::domain::ids::{ApiKeyId, OrganizationId};
use crate::domain::principal::Capabilities;
use crate::error::{Error, Result};
use crate::store::{Db, Row, args};

macro_rules! columns {
    () => {
        "id, organization_id, name, prefix, hash, capabilities, expires_at, created_at, last_used_at, revoked_at, sessions"
    };
}

fn read(row: &Row) -> Result<ApiKey> {
    let (hash, sessions): (Vec<u8>, Option<String>) = (row.get(4)?, row.get(10)?);
    Ok(ApiKey {
        id: row.get(0)?,
        organization: row.get(1)?,
        name: row.get(2)?,
        prefix: row.get(3)?,
        hash: hash.try_into().map_err(|_| Error::internal(anyhow::anyhow!("an api-key's hash is not 32 bytes")))?,
        capabilities: Capabilities::from_bits(row.get(5)?),
        expires_at: row.get(6)?,
        created_at: row.get(7)?,
        last_used_at: row.get(8)?,
        revoked_at: row.get(9)?,
        sessions: sessions.map(|list| serde_json::from_str(&list)).transpose().map_err(Error::internal)?,
    })
}

impl Db {
    /// Stores a new key. Its organization must have a row.
    ///
    /// # Errors
    /// `Conflict` when the id or the secret is there already.
    pub async fn insert_api_key(&self, key: &ApiKey) -> Result<()> {
        let sql = concat!("INSERT INTO api_keys (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
        let sessions = key.sessions.as_ref().map(serde_json::to_string).transpose().map_err(Error::internal)?;
        let args = args![
            &key.id,
            &key.organization,
            &key.name,
            &key.prefix,
            &key.hash,
            key.capabilities.bits(),
            key.expires_at,
            key.created_at,
            key.last_used_at,
            key.revoked_at,
            &sessions,
        ];
        self.execute(sql, args).await.map(drop)
    }

    /// The key whose secret has this SHA-256, be it valid or not.
    pub async fn find_api_key(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>> {
        let sql = concat!("SELECT ", columns!(), " FROM api_keys WHERE hash = $1");
        self.row(sql, args![hash]).await?.as_ref().map(read).transpose()
    }

    /// The key with this id, be it valid or not.
    pub async fn api_key(&self, id: &ApiKeyId) -> Result<Option<ApiKey>> {
        let sql = concat!("SELECT ", columns!(), " FROM api_keys WHERE id = $1");
        self.row(sql, args![id]).await?.as_ref().map(read).transpose()
    }

    /// Every key of an organization, revoked ones included, oldest first.
    pub async fn list_api_keys(&self, organization: &OrganizationId) -> Result<Vec<ApiKey>> {
        let sql = concat!("SELECT ", columns!(), " FROM api_keys WHERE organization_id = $1 ORDER BY created_at, id");
        self.rows(sql, args![organization]).await?.iter().map(read).collect()
    }

    /// Revokes a key. Doing it again changes nothing, not even the time. False when the organization has no such key.
    pub async fn revoke_api_key(&self, organization: &OrganizationId, id: &ApiKeyId, now: Time) -> Result<bool> {
        let sql = "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $3) WHERE organization_id = $1 AND id = $2";
        Ok(self.execute(sql, args![organization, id, now]).await? > 0)
    }

    /// Notes that a key was used. The noted time never goes back.
    pub async fn touch_api_key(&self, id: &ApiKeyId, now: Time) -> Result<()> {
        let sql = "UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
        self.execute(sql, args![id, now]).await.map(drop)
    }

    /// How many keys there are, in all organizations and revoked ones included.
    pub async fn count_api_keys(&self) -> Result<i64> {
        self.row("SELECT COUNT(*) FROM api_keys", &[]).await?.map_or(Ok(0), |row| row.get(0))
    }
}
