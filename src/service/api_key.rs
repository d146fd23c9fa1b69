//! Api-keys: made, listed, revoked, and recognised.

use std::time::Duration;

use super::Service;
use crate::domain::api_key::{self, ApiKey};
use crate::domain::clock::Time;
use crate::domain::ids::{ApiKeyId, OrganizationId};
use crate::domain::principal::{Capabilities, Capability, Credential, Principal};
use crate::error::{Code, Error, Result};

/// How often the time of a key's last use is written.
const TOUCH: Duration = Duration::from_secs(60);

impl Service {
    /// Makes a key for the caller's organization and gives it with its secret, which is stored only as a hash.
    pub async fn create_api_key(
        &self,
        caller: &Principal,
        name: &str,
        capabilities: Capabilities,
        expires_at: Option<Time>,
    ) -> Result<(ApiKey, String)> {
        caller.require(Capability::Manage)?;
        if !caller.capabilities.covers(capabilities) {
            return Err(Error::new(Code::Forbidden, "a key cannot be given more capabilities than its maker has"));
        }
        if expires_at.is_some_and(|end| end <= self.0.ambient.now()) {
            return Err(Error::field("expiresAt", "must lie in the future"));
        }
        let secret = api_key::generate(&self.0.ambient);
        let key = self.store_api_key(&caller.organization, name, &secret, capabilities, expires_at).await?;
        Ok((key, secret))
    }

    /// Every key of the caller's organization, oldest first.
    pub async fn list_api_keys(&self, caller: &Principal) -> Result<Vec<ApiKey>> {
        caller.require(Capability::Manage)?;
        self.0.db.list_api_keys(&caller.organization).await
    }

    /// Revokes a key. It is refused from now on.
    pub async fn revoke_api_key(&self, caller: &Principal, id: &ApiKeyId) -> Result<()> {
        caller.require(Capability::Manage)?;
        let found = self.0.db.revoke_api_key(&caller.organization, id, self.0.ambient.now()).await?;
        found.then_some(()).ok_or_else(|| Error::not_found("api-key"))
    }

    /// Who shows this secret; `None` for a secret that is unknown, revoked or expired.
    pub async fn authenticate(&self, secret: &str) -> Result<Option<Principal>> {
        let now = self.0.ambient.now();
        let Some(key) = self.0.db.find_api_key(&api_key::hash(secret)).await? else { return Ok(None) };
        if !valid(&key, now) {
            return Ok(None);
        }
        if key.last_used_at.is_none_or(|at| now.since(at) >= TOUCH) {
            self.0.db.touch_api_key(&key.id, now).await?;
        }
        Ok(Some(Principal {
            organization: key.organization,
            credential: Credential::ApiKey(key.id),
            capabilities: key.capabilities,
            super_admin: false,
            expires_at: key.expires_at,
        }))
    }

    /// Whether a caller that was recognised earlier would be so again: long streams ask now and then.
    pub async fn is_still_valid(&self, caller: &Principal) -> Result<bool> {
        let now = self.0.ambient.now();
        if caller.expires_at.is_some_and(|end| end <= now) {
            return Ok(false);
        }
        let Credential::ApiKey(id) = &caller.credential else { return Ok(true) };
        let keys = self.0.db.list_api_keys(&caller.organization).await?;
        Ok(keys.iter().any(|key| key.id == *id && valid(key, now)))
    }

    /// Makes sure that somebody can get in: stores `given` (or, without one and without any key so far, a fresh secret) as a key with
    /// every capability for `organization`. Gives the fresh secret, to be shown once.
    pub async fn bootstrap(&self, organization: &OrganizationId, given: Option<&str>) -> Result<Option<String>> {
        if let Some(secret) = given {
            if self.0.db.find_api_key(&api_key::hash(secret)).await?.is_none() {
                self.store_api_key(organization, "bootstrap", secret, Capabilities::ALL, None).await?;
            }
            return Ok(None);
        }
        if self.0.db.count_api_keys().await? > 0 {
            return Ok(None);
        }
        let secret = api_key::generate(&self.0.ambient);
        self.store_api_key(organization, "admin", &secret, Capabilities::ALL, None).await?;
        Ok(Some(secret))
    }

    async fn store_api_key(
        &self,
        organization: &OrganizationId,
        name: &str,
        secret: &str,
        capabilities: Capabilities,
        expires_at: Option<Time>,
    ) -> Result<ApiKey> {
        let now = self.0.ambient.now();
        let key = ApiKey {
            id: ApiKeyId::new(self.0.ambient.ulid()),
            organization: organization.clone(),
            name: name.to_owned(),
            prefix: api_key::prefix(secret),
            hash: api_key::hash(secret),
            capabilities,
            expires_at,
            created_at: now,
            last_used_at: None,
            revoked_at: None,
        };
        self.0.db.ensure_organization(organization, now).await?;
        self.0.db.insert_api_key(&key).await?;
        Ok(key)
    }
}

fn valid(key: &ApiKey, now: Time) -> bool {
    key.revoked_at.is_none() && key.expires_at.is_none_or(|end| end > now)
}
