//! Who is calling: the credential in the headers, and the service that knows whose it is.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, header};

use crate::domain::principal::Principal;
use crate::error::{Code, Error, Result};

type Lookup = dyn Fn(String) -> BoxFuture<'static, Result<Option<Principal>>> + Send + Sync;

/// Finds the caller of a request. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator {
    lookup: Arc<Lookup>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
    }
}

impl Authenticator {
    /// `lookup` gets the raw credential, an api-key or a login JWT, and answers whose it is; `None` when it is nobody's.
    pub fn new(lookup: impl Fn(String) -> BoxFuture<'static, Result<Option<Principal>>> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup) }
    }

    /// The caller that shows `token`.
    ///
    /// # Errors
    /// `unauthorized` for one that is not valid; what the lookup itself fails with.
    pub(super) async fn authenticate(&self, token: String) -> Result<Principal> {
        (self.lookup)(token).await?.ok_or_else(|| unauthorized("the credential is not valid"))
    }
}

fn unauthorized(what: &str) -> Error {
    Error::new(Code::Unauthorized, format!("{what}; send `Authorization: Bearer <key or login token>` or `x-api-key: <key>`"))
}

/// The credential in `authorization`, which takes precedence, or in `x-api-key`.
///
/// # Errors
/// `unauthorized` without a credential.
pub(super) fn token(headers: &HeaderMap) -> Result<String> {
    let text = match (headers.get(header::AUTHORIZATION), headers.get("x-api-key")) {
        (Some(value), _) => {
            let value = value.to_str().map_err(|_| unauthorized("the `authorization` header is not readable"))?;
            let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(unauthorized("the `authorization` header is not a bearer token"));
            }
            token
        }
        (None, Some(value)) => value.to_str().map_err(|_| unauthorized("the `x-api-key` header is not readable"))?,
        (None, None) => return Err(unauthorized("a credential is missing")),
    };
    match text.trim() {
        "" => Err(unauthorized("the credential is empty")),
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<String> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        token(&headers)
    }

    #[test]
    fn both_headers_are_read_and_everything_else_is_explained() {
        assert_eq!(with("authorization", "bearer  wa_1 ").unwrap(), "wa_1");
        assert_eq!(with("x-api-key", "wa_1").unwrap(), "wa_1");
        for (name, value) in [("authorization", "Basic eA=="), ("authorization", "Bearer "), ("x-api-key", ""), ("x-other", "1")]
        {
            let error = with(name, value).unwrap_err();
            assert_eq!(error.code, Code::Unauthorized);
            assert!(error.message.contains("Authorization: Bearer"), "{error}");
        }
    }
}
