//! Where people's logins come from.

use std::path::PathBuf;

/// Where the keys lie that login tokens are signed with: a JSON Web Key Set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// An address; `https`, or `http` on this machine.
    Url(String),
    /// A file; read again when it changes.
    File(PathBuf),
}

/// Whose login tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginIssuer {
    /// Where its keys lie.
    pub keys: KeySource,
    /// The `iss` that a token must have.
    pub issuer: String,
    /// The `aud` that a token must have, alone or among others.
    pub audience: String,
}
