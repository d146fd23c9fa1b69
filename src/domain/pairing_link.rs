//! Links with which somebody without an account can pair one session.

use crate::domain::api_key::base62;
use crate::domain::clock::{Ambient, Time};
use crate::domain::ids::{OrganizationId, PairingLinkId, SessionId};
use crate::domain::session::words;

/// Where a link stands. Only a living one does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkStatus {
    /// It can be used.
    Active,
    /// The session is paired; the link has done its work.
    Paired,
    /// A caller has revoked it.
    Revoked,
    /// Its time is over.
    Expired,
}

words!(LinkStatus: Active = "active", Paired = "paired", Revoked = "revoked", Expired = "expired");

/// A stored link, without its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairingLink {
    /// Its id.
    pub id: PairingLinkId,
    /// The session's owner.
    pub organization: OrganizationId,
    /// The one session that it pairs.
    pub session: SessionId,
    /// SHA-256 of the token; see [`hash`](crate::domain::api_key::hash).
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Time,
    /// When it ends by itself.
    pub expires_at: Time,
    /// When a caller revoked it.
    pub revoked_at: Option<Time>,
    /// When the session was paired.
    pub paired_at: Option<Time>,
}

impl PairingLink {
    /// Where it stands at `now`.
    pub fn status(&self, now: Time) -> LinkStatus {
        match (self.paired_at, self.revoked_at) {
            (Some(_), _) => LinkStatus::Paired,
            (None, Some(_)) => LinkStatus::Revoked,
            (None, None) if self.expires_at <= now => LinkStatus::Expired,
            (None, None) => LinkStatus::Active,
        }
    }
}

/// Makes a fresh token: 32 random bytes in base62.
pub fn generate(ambient: &Ambient) -> String {
    base62::<43>(&mut ambient.random::<32>())
}
