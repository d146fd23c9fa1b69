//! Who is calling and what they may do.

use crate::domain::clock::Time;
use crate::domain::ids::{ApiKeyId, OrganizationId, SessionId};
use crate::error::{Code, Error, Result};

/// One thing a caller may be allowed to do. `SUPER_ADMIN` is not among them: it is a platform role, see [`Principal::super_admin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Capability {
    /// Read chats, messages, contacts and groups.
    Read = 1,
    /// Send messages and act in chats.
    Send = 2,
    /// Manage sessions, pairing, api-keys and webhooks.
    Manage = 4,
    /// Follow the event log.
    Events = 8,
}

impl Capability {
    /// Every capability, with the name that it has in JSON.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Read, "read"), (Self::Send, "send"), (Self::Manage, "manage"), (Self::Events, "events")];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(c, _)| *c == self).map_or("", |(_, name)| name)
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u8);

impl Capabilities {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything an organization's owner may do.
    pub const ALL: Self = Self(15);

    /// Whether `one` is in the set.
    pub fn has(self, one: Capability) -> bool {
        self.0 & one as u8 != 0
    }

    /// Whether everything in `other` is in this set too.
    pub fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those in the set.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().map(|(c, _)| c).filter(move |c| self.has(*c))
    }

    /// The set as a number, as the store keeps it.
    pub fn bits(self) -> i64 {
        i64::from(self.0)
    }

    /// From the number that the store keeps; unknown bits are dropped.
    pub fn from_bits(bits: i64) -> Self {
        Self(u8::try_from(bits & 15).unwrap_or(0))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(all: I) -> Self {
        Self(all.into_iter().fold(0, |set, one| set | one as u8))
    }
}

/// What the caller showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// An api-key.
    ApiKey(ApiKeyId),
    /// A person's login; the JWT's `sub`.
    Login(String),
    /// The program itself: start-up work and commands on the same machine.
    Local,
}

/// An authenticated caller. Every query is bound to its organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The organization that it acts for.
    pub organization: OrganizationId,
    /// What it showed.
    pub credential: Credential,
    /// What it may do.
    pub capabilities: Capabilities,
    /// Whether it has the platform's own role; only a login JWT can.
    pub super_admin: bool,
    /// The sessions that it is restricted to; `None` means all of its organization. Others do not exist for it.
    pub sessions: Option<Vec<SessionId>>,
    /// When the credential ends by itself.
    pub expires_at: Option<Time>,
}

impl Principal {
    /// The program itself, acting for `organization`.
    pub fn local(organization: OrganizationId) -> Self {
        Self {
            organization,
            credential: Credential::Local,
            capabilities: Capabilities::ALL,
            super_admin: false,
            sessions: None,
            expires_at: None,
        }
    }

    /// The JWT's `sub`, for what a person did.
    pub fn user_id(&self) -> Option<&str> {
        match &self.credential {
            Credential::Login(sub) => Some(sub),
            Credential::ApiKey(_) | Credential::Local => None,
        }
    }

    /// Whether a session of its organization exists for this caller.
    pub fn sees(&self, session: &SessionId) -> bool {
        self.sessions.as_ref().is_none_or(|own| own.contains(session))
    }

    /// `not_found` for a session that does not exist for this caller.
    pub fn check_session(&self, session: &SessionId) -> Result<()> {
        if self.sees(session) { Ok(()) } else { Err(Error::not_found("session")) }
    }

    /// Refuses a caller that is restricted to some sessions what concerns the whole organization.
    pub fn check_unrestricted(&self) -> Result<()> {
        match self.sessions {
            None => Ok(()),
            Some(_) => Err(Error::new(Code::Forbidden, "this api-key is restricted to named sessions").reason("restricted_key")),
        }
    }

    /// Refuses a caller without `one`.
    pub fn require(&self, one: Capability) -> Result<()> {
        if self.capabilities.has(one) {
            return Ok(());
        }
        let name = one.name();
        Err(Error::new(Code::Forbidden, format!("this credential lacks the `{name}` capability")).detail("capability", name))
    }
}
