//! Who did what: the audit log.

use crate::domain::clock::Time;
use crate::domain::ids::OrganizationId;
use crate::domain::principal::{Credential, Principal};

/// What kind of credential somebody showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    /// Nobody that we know: the credential was missing or not valid.
    Nobody,
    /// An api-key.
    ApiKey,
    /// A person's login.
    Login,
    /// The program itself.
    Local,
}

impl ActorKind {
    /// Every kind, with the word that the store and the JSON have for it.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Nobody, "nobody"), (Self::ApiKey, "api_key"), (Self::Login, "login"), (Self::Local, "local")];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// The kind with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// What was shown.
    pub kind: ActorKind,
    /// The api-key's id or the login's `sub`.
    pub id: Option<String>,
    /// The organization that it acted for.
    pub organization: Option<OrganizationId>,
}

impl Actor {
    /// Nobody that we know.
    pub const NOBODY: Self = Self { kind: ActorKind::Nobody, id: None, organization: None };
}

impl From<&Principal> for Actor {
    fn from(who: &Principal) -> Self {
        let (kind, id) = match &who.credential {
            Credential::ApiKey(id) => (ActorKind::ApiKey, Some(id.to_string())),
            Credential::Login(sub) => (ActorKind::Login, Some(sub.clone())),
            Credential::Local => (ActorKind::Local, None),
        };
        Self { kind, id, organization: Some(who.organization.clone()).filter(|it| !it.as_str().is_empty()) }
    }
}

/// One thing that somebody did or tried to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// A ULID: the order of ids is the order of time.
    pub id: String,
    /// When it ended.
    pub at: Time,
    /// Who did it.
    pub actor: Actor,
    /// The method, such as `whatsapp.gateway.v1.SessionService/DeleteSession`.
    pub method: String,
    /// The id of what it was done to, if the call named or made one.
    pub object: Option<String>,
    /// `ok`, or the word of the error's code.
    pub outcome: String,
    /// The request's id.
    pub request_id: String,
    /// The network address of the caller.
    pub address: Option<String>,
}
