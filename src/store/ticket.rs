//! Realtime tickets: each lets its holder in once, as the caller that asked for it.

use crate::domain::clock::Time;
use crate::domain::ids::{ApiKeyId, SessionId};
use crate::domain::principal::{Capabilities, Capability, Credential, Principal};
use crate::error::{Error, Result};
use crate::store::{Db, args};

impl Db {
    /// Stores a ticket for a caller. Those whose time is over are forgotten on the way.
    pub async fn insert_ticket(&self, hash: &[u8; 32], caller: &Principal, now: Time, expires_at: Time) -> Result<()> {
        self.execute("DELETE FROM realtime_tickets WHERE expires_at <= $1", args![now]).await?;
        let (kind, id) = match &caller.credential {
            Credential::ApiKey(id) => ("api_key", id.as_str()),
            Credential::Login(sub) => ("login", sub.as_str()),
            Credential::Local => ("local", ""),
        };
        let sessions = caller.sessions.as_ref().map(|own| own.iter().map(SessionId::as_str).collect::<Vec<_>>());
        let sessions = sessions.map(|own| serde_json::to_string(&own)).transpose().map_err(Error::internal)?;
        let sql = "INSERT INTO realtime_tickets
                       (hash, organization_id, credential, credential_id, credential_expires_at, sessions, expires_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let args = args![hash, &caller.organization, kind, id, caller.expires_at, &sessions, expires_at];
        self.execute(sql, args).await.map(drop)
    }

    /// Uses a ticket up: whose it was, unless it was used before or its time is over. Its holder may follow events and nothing else.
    pub async fn take_ticket(&self, hash: &[u8; 32], now: Time) -> Result<Option<Principal>> {
        let sql = "DELETE FROM realtime_tickets WHERE hash = $1 AND expires_at > $2
                   RETURNING organization_id, credential, credential_id, credential_expires_at, sessions";
        let Some(row) = self.change(sql, args![hash, now]).await? else { return Ok(None) };
        let id: String = row.get(2)?;
        let sessions: Option<String> = row.get(4)?;
        let sessions: Option<Vec<String>> =
            sessions.map(|text| serde_json::from_str(&text)).transpose().map_err(Error::internal)?;
        Ok(Some(Principal {
            organization: row.get(0)?,
            credential: row.word(1, |word| match word {
                "api_key" => Some(Credential::ApiKey(ApiKeyId::new(id.clone()))),
                "login" => Some(Credential::Login(id.clone())),
                "local" => Some(Credential::Local),
                _ => None,
            })?,
            capabilities: Capabilities::from_iter([Capability::Events]),
            super_admin: false,
            sessions: sessions.map(|own| own.into_iter().map(SessionId::new).collect()),
            expires_at: row.get(3)?,
        }))
    }
}
