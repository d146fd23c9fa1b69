//! Imports of encrypted backups.

use crate::domain::backfill::BackfillStatus;
use crate::domain::clock::Time;
use crate::domain::ids::{GatewayId, OrganizationId, SessionId};
use crate::domain::session::words;

/// What an import is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportPhase {
    /// People.
    Identities,
    /// Groups and who is in them.
    Groups,
    /// Messages.
    Messages,
    /// Nothing more.
    Done,
}

words!(ImportPhase: Identities = "identities", Groups = "groups", Messages = "messages", Done = "done");

/// An import of a backup into a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupImport {
    /// A ULID; the decrypted database lies under this name.
    pub id: String,
    /// The session.
    pub session: SessionId,
    /// The session's owner.
    pub organization: OrganizationId,
    /// The gateway whose disk holds the database.
    pub gateway: GatewayId,
    /// How it stands.
    pub status: BackfillStatus,
    /// What it is at.
    pub phase: ImportPhase,
    /// Chats in the backup.
    pub chats: i64,
    /// Messages that were dealt with.
    pub messages: i64,
    /// Those of them that were not there before.
    pub new_messages: i64,
    /// How many messages there are.
    pub total_messages: i64,
    /// People that were dealt with.
    pub identities: i64,
    /// Groups that were dealt with.
    pub groups: i64,
    /// Memberships that were dealt with.
    pub group_members: i64,
    /// The form of the backup's tables.
    pub fingerprint: String,
    /// The last row of the phase's table that was dealt with.
    pub position: i64,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was wanted.
    pub created_at: Time,
    /// When it last came forward.
    pub updated_at: Time,
    /// When it ended.
    pub finished_at: Option<Time>,
}

impl BackupImport {
    /// An import that is to begin.
    pub fn new(id: String, session: SessionId, organization: OrganizationId, gateway: GatewayId, now: Time) -> Self {
        Self {
            id,
            session,
            organization,
            gateway,
            status: BackfillStatus::Running,
            phase: ImportPhase::Identities,
            chats: 0,
            messages: 0,
            new_messages: 0,
            total_messages: 0,
            identities: 0,
            groups: 0,
            group_members: 0,
            fingerprint: String::new(),
            position: 0,
            error: None,
            created_at: now,
            updated_at: now,
            finished_at: None,
        }
    }
}
