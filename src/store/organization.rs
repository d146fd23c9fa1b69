//! Organizations: created on first sight, for whoever issues the logins knows them and we do not.

use crate::domain::clock::Time;
use crate::domain::ids::OrganizationId;
use crate::error::Result;
use crate::store::{Db, Tx, args};

const ENSURE: &str = "INSERT INTO organizations (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";

impl Db {
    /// Makes sure that the organization has a row.
    pub async fn ensure_organization(&self, id: &OrganizationId, now: Time) -> Result<()> {
        self.execute(ENSURE, args![id, now]).await.map(drop)
    }
}

impl Tx {
    /// Makes sure that the organization has a row.
    pub async fn ensure_organization(&mut self, id: &OrganizationId, now: Time) -> Result<()> {
        self.execute(ENSURE, args![id, now]).await.map(drop)
    }
}
