//! What the platform's own people may see: across organizations.

use super::Service;
use crate::domain::audit::AuditEntry;
use crate::domain::ids::{OrganizationId, SessionId};
use crate::domain::principal::Principal;
use crate::domain::session::Session;
use crate::error::{Code, Error, Result};

impl Service {
    /// A page of the sessions of all organizations, oldest first, and the cursor of the next one when there is more.
    pub async fn list_all_sessions(
        &self,
        caller: &Principal,
        after: Option<&str>,
        limit: i64,
    ) -> Result<(Vec<Session>, Option<SessionId>)> {
        require_platform(caller)?;
        let mut page = self.0.db.list_all_sessions(after.unwrap_or_default(), limit.saturating_add(1)).await?;
        let more = cut(&mut page, limit);
        let next = page.last().filter(|_| more).map(|last| last.id.clone());
        Ok((page, next))
    }

    /// A page of the audit log, newest first, and the cursor of the next one when there is more.
    pub async fn list_audit_log(
        &self,
        caller: &Principal,
        organization: Option<&OrganizationId>,
        before: Option<&str>,
        limit: i64,
    ) -> Result<(Vec<AuditEntry>, Option<String>)> {
        require_platform(caller)?;
        let mut page = self.0.db.list_audit(organization, before, limit.saturating_add(1)).await?;
        let more = cut(&mut page, limit);
        let next = page.last().filter(|_| more).map(|last| last.id.clone());
        Ok((page, next))
    }
}

/// Cuts the one row more than asked for, which tells whether there is a next page.
fn cut<T>(page: &mut Vec<T>, limit: i64) -> bool {
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = page.len() > limit;
    page.truncate(limit);
    more
}

fn require_platform(caller: &Principal) -> Result<()> {
    match caller.super_admin {
        true => Ok(()),
        false => {
            Err(Error::new(Code::Forbidden, "this takes the platform role `super_admin`").detail("capability", "super_admin"))
        }
    }
}
