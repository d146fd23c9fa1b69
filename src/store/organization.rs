//! Organizations: created on first sight, for whoever issues the logins knows them and we do not.

use crate::domain::clock::Time;
use crate::domain::ids::OrganizationId;
use crate::error::{Code, Error, Result};
use crate::store::{Db, Tx, args};

const ENSURE: &str = "INSERT INTO organizations (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";

impl Db {
    /// Makes sure that the organization has a row. Refused for a caller that acts for no organization.
    pub async fn ensure_organization(&self, id: &OrganizationId, now: Time) -> Result<()> {
        named(id)?;
        self.execute(ENSURE, args![id, now]).await.map(drop)
    }
}

impl Tx {
    /// Makes sure that the organization has a row. Refused for a caller that acts for no organization.
    pub async fn ensure_organization(&mut self, id: &OrganizationId, now: Time) -> Result<()> {
        named(id)?;
        self.execute(ENSURE, args![id, now]).await.map(drop)
    }
}

/// A login of the platform's own may be without an organization: it finds nothing, and nothing may be made for it.
fn named(id: &OrganizationId) -> Result<()> {
    match id.as_str() {
        "" => Err(Error::new(Code::Forbidden, "this login has no active organization").reason("no_organization")),
        _ => Ok(()),
    }
}
