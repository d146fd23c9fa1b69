//! What the platform's own people may see, across organizations, and the platform's own session.

use super::Service;
use super::session::NewSession;
use crate::domain::audit::AuditEntry;
use crate::domain::event::Code as Shown;
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

    /// The platform's own session, made if there is none yet, and the code that links `phone` to it as long as it has no number.
    pub async fn admin_session(&self, platform: &OrganizationId, phone: &str) -> Result<(SessionId, Option<Shown>)> {
        let caller = Principal::local(platform.clone());
        let found = self.list_sessions(&caller).await?.into_iter().find(|session| session.is_admin);
        let session = match found {
            Some(session) => session,
            None => {
                let new = NewSession { label: Some("Platform".to_owned()), ..NewSession::default() };
                // Gateways that start at the same moment make one.
                self.create(&caller, new, Some("wagw-admin-session"), true).await?.session
            }
        };
        let code = match session.account {
            Some(_) => None,
            None => Some(self.request_pairing_code(&caller, &session.id, phone).await?),
        };
        Ok((session.id, code))
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

pub(super) fn require_platform(caller: &Principal) -> Result<()> {
    match caller.super_admin {
        true => Ok(()),
        false => {
            Err(Error::new(Code::Forbidden, "this takes the platform role `super_admin`").detail("capability", "super_admin"))
        }
    }
}
