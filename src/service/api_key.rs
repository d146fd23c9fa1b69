//! Api-keys: made, listed, revoked, and recognised.

use std::time::Duration;

use super::Service;
use crate::domain::api_key::{self, ApiKey};
use crate::domain::clock::Time;
use crate::domain::ids::{ApiKeyId, OrganizationId, SessionId};
use crate::domain::principal::{Capabilities, Capability, Credential, Principal};
use crate::error::{Code, Error, Result};

/// How often the time of a key's last use is written.
const TOUCH: Duration = Duration::from_secs(60);

/// What a new key may do.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// A name for people.
    pub name: String,
    /// What it may do; never more than its maker may.
    pub capabilities: Capabilities,
    /// The sessions that it is restricted to; `None` means all of the organization.
    pub sessions: Option<Vec<SessionId>>,
    /// When it ends by itself.
    pub expires_at: Option<Time>,
}

impl Service {
    /// Makes a key for the caller's organization and gives it with its secret, which is stored only as a hash.
    pub async fn create_api_key(&self, caller: &Principal, new: NewApiKey) -> Result<(ApiKey, String)> {
        caller.require(Capability::Manage)?;
        if !caller.capabilities.covers(new.capabilities) {
            return Err(Error::new(Code::Forbidden, "a key cannot be given more capabilities than its maker has"));
        }
        if new.expires_at.is_some_and(|end| end <= self.0.ambient.now()) {
            return Err(Error::field("expiresAt", "must lie in the future"));
        }
        if new.sessions.is_none() {
            caller.check_unrestricted()?;
        }
        for (at, id) in new.sessions.iter().flatten().enumerate() {
            if !caller.sees(id) || self.0.db.session(&caller.organization, id).await?.is_none() {
                return Err(Error::field(format!("sessions[{at}]"), "there is no such session"));
            }
        }
        let secret = api_key::generate(&self.0.ambient);
        let key = self.store_api_key(&caller.organization, new, &secret).await?;
        Ok((key, secret))
    }

    /// Every key of the caller's organization, oldest first. A restricted key sees only keys that reach no further than itself.
    pub async fn list_api_keys(&self, caller: &Principal) -> Result<Vec<ApiKey>> {
        caller.require(Capability::Manage)?;
        let mut keys = self.0.db.list_api_keys(&caller.organization).await?;
        keys.retain(|key| sees_key(caller, key));
        Ok(keys)
    }

    /// Revokes a key. It is refused from now on: here at once, on other gateways within two seconds.
    pub async fn revoke_api_key(&self, caller: &Principal, id: &ApiKeyId) -> Result<()> {
        caller.require(Capability::Manage)?;
        let found = self.0.db.api_key(id).await?;
        if !found.is_some_and(|key| key.organization == caller.organization && sees_key(caller, &key)) {
            return Err(Error::not_found("api-key"));
        }
        let found = self.0.db.revoke_api_key(&caller.organization, id, self.0.ambient.now()).await?;
        self.0.keys.forget(id);
        found.then_some(()).ok_or_else(|| Error::not_found("api-key"))
    }

    /// Who shows this secret; `None` for a secret that is unknown, revoked or expired.
    ///
    /// # Errors
    /// `unauthorized` for an unknown secret that was visibly mistyped; whatever the store fails with.
    pub async fn authenticate(&self, secret: &str) -> Result<Option<Principal>> {
        let hash = api_key::hash(secret);
        // The hash was found by equality; comparing it again takes the index's timing out of the answer's meaning.
        let found = self.find_key(&hash).await?.filter(|key| api_key::same(&key.hash, &hash));
        let Some(key) = found else {
            return match api_key::mistyped(secret) {
                true => Err(Error::new(Code::Unauthorized, "the api-key is mistyped: its checksum is wrong").reason("mistyped")),
                false => Ok(None),
            };
        };
        if !valid(&key, self.0.ambient.now()) {
            return Ok(None);
        }
        Ok(Some(Principal {
            organization: key.organization,
            credential: Credential::ApiKey(key.id),
            capabilities: key.capabilities,
            super_admin: false,
            sessions: key.sessions,
            expires_at: key.expires_at,
        }))
    }

    /// The key with this hash, from the cache or else from the store. Unknown ones are not kept: they would drive out the known.
    async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>> {
        if let Some(key) = self.0.keys.get(hash, self.0.ambient.now()) {
            return Ok(Some(key));
        }
        loop {
            let ticket = self.0.keys.ticket();
            let Some(key) = self.0.db.find_api_key(hash).await? else { return Ok(None) };
            // A key was revoked while this one was read; it may have been this one.
            if self.0.keys.put(ticket, &key, self.0.ambient.now()) {
                self.touch(&key);
                return Ok(Some(key));
            }
        }
    }

    /// Notes the use of a key, once a minute and behind the caller's back.
    fn touch(&self, key: &ApiKey) {
        let now = self.0.ambient.now();
        if valid(key, now) && key.last_used_at.is_none_or(|at| now.since(at) >= TOUCH) {
            let (db, id) = (self.0.db.clone(), key.id.clone());
            self.0.tasks.spawn(async move {
                if let Err(error) = db.touch_api_key(&id, now).await {
                    tracing::warn!(%error, "a key's last use could not be noted");
                }
            });
        }
    }

    /// Whether a caller that was recognised earlier would be so again: long streams ask now and then. Streams of one key share one
    /// look-up.
    pub async fn is_still_valid(&self, caller: &Principal) -> Result<bool> {
        let now = self.0.ambient.now();
        if caller.expires_at.is_some_and(|end| end <= now) {
            return Ok(false);
        }
        let Credential::ApiKey(id) = &caller.credential else { return Ok(true) };
        if self.0.keys.is_alive(id, now) {
            return Ok(true);
        }
        let _asking = self.0.keys.asking.lock().await;
        let now = self.0.ambient.now();
        if self.0.keys.is_alive(id, now) {
            return Ok(true);
        }
        let ticket = self.0.keys.ticket();
        let alive = self.0.db.api_key(id).await?.is_some_and(|key| valid(&key, now));
        if alive {
            self.0.keys.set_alive(ticket, id, now);
        }
        Ok(alive)
    }

    /// Takes in the organization of a login, which knows organizations that we have not seen yet.
    pub async fn welcome(&self, caller: &Principal) -> Result<()> {
        let organization = &caller.organization;
        if organization.as_str().is_empty() || self.0.keys.knows(organization) {
            return Ok(());
        }
        self.0.db.ensure_organization(organization, self.0.ambient.now()).await?;
        self.0.keys.know(organization.clone());
        Ok(())
    }

    /// Makes sure that somebody can get in: stores `given` (or, without one and without any key so far, a fresh secret) as a key with
    /// every capability for `organization`. Gives the fresh secret, to be shown once.
    pub async fn bootstrap(&self, organization: &OrganizationId, given: Option<&str>) -> Result<Option<String>> {
        if let Some(secret) = given {
            if self.0.db.find_api_key(&api_key::hash(secret)).await?.is_none() {
                self.store_api_key(organization, every_capability("bootstrap"), secret).await?;
            }
            return Ok(None);
        }
        if self.0.db.count_api_keys().await? > 0 {
            return Ok(None);
        }
        let secret = api_key::generate(&self.0.ambient);
        self.store_api_key(organization, every_capability("admin"), &secret).await?;
        Ok(Some(secret))
    }

    async fn store_api_key(&self, organization: &OrganizationId, new: NewApiKey, secret: &str) -> Result<ApiKey> {
        let now = self.0.ambient.now();
        let key = ApiKey {
            id: ApiKeyId::new(self.0.ambient.ulid()),
            organization: organization.clone(),
            name: new.name,
            prefix: api_key::prefix(secret),
            hash: api_key::hash(secret),
            capabilities: new.capabilities,
            sessions: new.sessions,
            expires_at: new.expires_at,
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

fn every_capability(name: &str) -> NewApiKey {
    NewApiKey { name: name.to_owned(), capabilities: Capabilities::ALL, sessions: None, expires_at: None }
}

/// Whether a key exists for the caller: for a restricted one, only keys that reach no further.
fn sees_key(caller: &Principal, key: &ApiKey) -> bool {
    match (&caller.sessions, &key.sessions) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(sessions)) => sessions.iter().all(|id| caller.sees(id)),
    }
}
