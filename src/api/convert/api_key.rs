//! Api-keys.

use super::timestamp;
use crate::domain::api_key::ApiKey;
use crate::domain::principal::{Capabilities, Capability};
use crate::error::{Error, Result};
use crate::proto::gateway as pb;
use pb::ApiKeyCapability as Wire;

/// A key, without its secret.
pub fn api_key(it: &ApiKey) -> pb::ApiKey {
    pb::ApiKey {
        id: it.id.to_string(),
        organization_id: it.organization.to_string(),
        name: it.name.clone(),
        prefix: it.prefix.clone(),
        capabilities: it.capabilities.iter().map(|one| wire(one).into()).collect(),
        sessions: it.sessions.iter().flatten().map(ToString::to_string).collect(),
        expires_at: it.expires_at.map(timestamp),
        created_at: Some(timestamp(it.created_at)),
        last_used_at: it.last_used_at.map(timestamp),
        revoked_at: it.revoked_at.map(timestamp),
    }
}

/// The capabilities that a caller names.
pub fn capabilities(named: &[i32]) -> Result<Capabilities> {
    named
        .iter()
        .map(|number| match Wire::try_from(*number) {
            Ok(Wire::Read) => Ok(Capability::Read),
            Ok(Wire::Send) => Ok(Capability::Send),
            Ok(Wire::Manage) => Ok(Capability::Manage),
            Ok(Wire::Events) => Ok(Capability::Events),
            Ok(Wire::Unspecified) | Err(_) => Err(Error::field("capabilities", "one of read, send, manage, events")),
        })
        .collect()
}

fn wire(it: Capability) -> Wire {
    match it {
        Capability::Read => Wire::Read,
        Capability::Send => Wire::Send,
        Capability::Manage => Wire::Manage,
        Capability::Events => Wire::Events,
    }
}
