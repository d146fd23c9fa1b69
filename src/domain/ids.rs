//! Ids as types, so that one cannot be taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }
            /// The id's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A session's id, a ULID.
    SessionId
}
id! {
    /// An organization's id, given by whoever issues the logins; `org_default` for a gateway on its own.
    OrganizationId
}
id! {
    /// A gateway's id: unique and stable among the gateways that share a database.
    GatewayId
}
id! {
    /// An api-key's id, a ULID.
    ApiKeyId
}
id! {
    /// A webhook's id, a ULID.
    WebhookId
}
id! {
    /// A pairing link's id, a ULID.
    PairingLinkId
}
id! {
    /// A file's id, a ULID.
    MediaId
}
