//! Realtime tickets: for browsers, whose WebSockets cannot carry a credential in a header.

use std::time::Duration;

use super::Service;
use crate::domain::api_key;
use crate::domain::clock::Time;
use crate::domain::principal::{Capability, Principal};
use crate::error::Result;

/// What a ticket begins with.
pub const TICKET: &str = "wst_";

/// How long a ticket can be used.
const LIFE: Duration = Duration::from_secs(30);

/// A fresh ticket, shown once.
#[derive(Clone)]
pub struct Ticket {
    /// The ticket.
    pub secret: String,
    /// The address that it opens, without filters.
    pub url: String,
    /// When it can no longer be used.
    pub expires_at: Time,
}

impl Service {
    /// Makes a ticket that opens one stream for the caller.
    pub async fn create_ticket(&self, caller: &Principal) -> Result<Ticket> {
        caller.require(Capability::Events)?;
        let secret = format!("{TICKET}{}", api_key::base62::<43>(&mut self.0.ambient.random::<32>()));
        let now = self.0.ambient.now();
        let expires_at = now.plus(LIFE);
        self.0.db.insert_ticket(&api_key::hash(&secret), caller, now, expires_at).await?;
        // `http` becomes `ws`, `https` becomes `wss`.
        let base = self.0.public_url.strip_prefix("http").map_or_else(|| self.0.public_url.clone(), |rest| format!("ws{rest}"));
        Ok(Ticket { url: format!("{base}/api/v1/realtime?ticket={secret}"), secret, expires_at })
    }

    /// Uses a ticket up: whom it lets in, if anybody. What has ended meanwhile is not let in.
    pub async fn take_ticket(&self, secret: &str) -> Result<Option<Principal>> {
        let found = self.0.db.take_ticket(&api_key::hash(secret), self.0.ambient.now()).await?;
        match found {
            Some(caller) if self.is_still_valid(&caller).await? => Ok(Some(caller)),
            _ => Ok(None),
        }
    }
}
