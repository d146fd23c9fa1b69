//! The audit log.

use super::timestamp;
use crate::domain::audit::{ActorKind, AuditEntry};
use crate::proto::gateway as pb;

/// An entry.
pub fn audit_entry(it: AuditEntry) -> pb::AuditEntry {
    let kind = match it.actor.kind {
        ActorKind::Nobody => pb::AuditActorKind::Nobody,
        ActorKind::ApiKey => pb::AuditActorKind::ApiKey,
        ActorKind::Login => pb::AuditActorKind::Login,
        ActorKind::Local => pb::AuditActorKind::Local,
    };
    pb::AuditEntry {
        id: it.id,
        at: Some(timestamp(it.at)),
        actor_kind: kind.into(),
        actor: it.actor.id,
        organization_id: it.actor.organization.map(|id| id.to_string()),
        method: it.method,
        object: it.object,
        outcome: it.outcome,
        request_id: it.request_id,
        address: it.address,
    }
}
