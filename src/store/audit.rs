//! The audit log's rows. Not bound to an organization: only the platform's own role reads them.

use crate::domain::audit::{Actor, ActorKind, AuditEntry};
use crate::domain::clock::Time;
use crate::domain::ids::OrganizationId;
use crate::error::Result;
use crate::store::{Arg, Db, Row, args};

macro_rules! columns {
    () => {
        "id, at, organization_id, actor_kind, actor, method, object, outcome, request_id, address"
    };
}

fn read(row: &Row) -> Result<AuditEntry> {
    let organization: Option<String> = row.get(2)?;
    Ok(AuditEntry {
        id: row.get(0)?,
        at: row.get(1)?,
        actor: Actor {
            kind: row.word(3, ActorKind::from_word)?,
            id: row.get(4)?,
            organization: organization.map(OrganizationId::new),
        },
        method: row.get(5)?,
        object: row.get(6)?,
        outcome: row.get(7)?,
        request_id: row.get(8)?,
        address: row.get(9)?,
    })
}

impl Db {
    /// Stores entries, all or none. Storing one again changes nothing.
    pub async fn insert_audit(&self, entries: &[AuditEntry]) -> Result<()> {
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(entries.len() * 10);
        for entry in entries {
            values.extend_from_slice(args![
                &entry.id,
                entry.at,
                entry.actor.organization.as_ref().map(OrganizationId::as_str),
                entry.actor.kind.word(),
                &entry.actor.id,
                &entry.method,
                &entry.object,
                &entry.outcome,
                &entry.request_id,
                &entry.address,
            ]);
        }
        let head = concat!("INSERT INTO audit_log (", columns!(), ") VALUES");
        self.insert(head, 10, "ON CONFLICT (id) DO NOTHING", &values).await
    }

    /// At most `limit` entries from before the entry `before`, newest first; only those of one organization if it is given.
    pub async fn list_audit(
        &self,
        organization: Option<&OrganizationId>,
        before: Option<&str>,
        limit: i64,
    ) -> Result<Vec<AuditEntry>> {
        let mut args = args![limit].to_vec();
        let mut conditions = Vec::new();
        if let Some(organization) = organization {
            args.push(organization.into());
            conditions.push(format!("organization_id = ${}", args.len()));
        }
        if let Some(before) = before {
            args.push(before.into());
            conditions.push(format!("id < ${}", args.len()));
        }
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let sql = format!("SELECT {} FROM audit_log{filter} ORDER BY id DESC LIMIT $1", columns!());
        self.rows_built(sql, &args).await?.iter().map(read).collect()
    }

    /// Deletes entries from before `before`, at most `max_batch`, and gives their number.
    pub async fn prune_audit(&self, before: Time, max_batch: i64) -> Result<u64> {
        let sql = "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at < $1 ORDER BY id LIMIT $2)";
        self.execute(sql, args![before, max_batch]).await
    }
}
