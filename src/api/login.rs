//! Login tokens: JWTs that somebody else's login service signs for people.
//!
//! Taken are EdDSA, ES256 and RS256, each only with a key that is for it; `iss`, `aud` and `exp` must be there and right, `nbf` is kept
//! to, clocks may differ by 60 s, and a token has at most 8 KiB. The claims `sub`, `activeOrganizationId` and `orgRole` say who acts for
//! which organization: `owner` and `admin` may everything there, `member` may read and send. `role` `super_admin` is the platform's own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;

use super::jwks::Jwks;
use crate::domain::clock::{Ambient, Time};
use crate::domain::ids::OrganizationId;
use crate::domain::login::LoginIssuer;
use crate::domain::principal::{Capabilities, Capability, Credential, Principal};
use crate::error::{Code, Error, Result};
use crate::service::Service;
use crate::service::realtime::TICKET;

/// What is taken at all. The key that a token names must be for its algorithm, too.
const TAKEN: [Algorithm; 3] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256];

/// The longest token, in bytes.
const LONGEST: usize = 8 << 10;

/// The longest `sub` and organization id, in bytes.
const LONGEST_ID: usize = 256;

/// How far clocks may differ.
const LEEWAY: Duration = Duration::from_secs(60);

/// Knows login tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Logins(Arc<Inner>);

struct Inner {
    keys: Jwks,
    issuer: String,
    audience: String,
    ambient: Ambient,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("issuer", &self.issuer).field("audience", &self.audience).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    sub: String,
    exp: i64,
    nbf: Option<i64>,
    active_organization_id: Option<String>,
    org_role: Option<String>,
    role: Option<String>,
}

impl Logins {
    /// Takes the tokens of `issuer`. Its keys are fetched when the first token comes.
    ///
    /// # Errors
    /// A machine without TLS roots.
    pub fn new(issuer: LoginIssuer, ambient: Ambient) -> anyhow::Result<Self> {
        let LoginIssuer { keys, issuer, audience } = issuer;
        Ok(Self(Arc::new(Inner { keys: Jwks::new(keys, ambient.clone())?, issuer, audience, ambient })))
    }

    /// Who shows this token.
    ///
    /// # Errors
    /// `unauthorized` for a token that is not valid, saying why; `gateway_unavailable` when there are no keys to check it with.
    pub async fn authenticate(&self, token: &str) -> Result<Principal> {
        let Inner { keys, issuer, audience, ambient } = &*self.0;
        if token.len() > LONGEST {
            return Err(refused(format!("is longer than {LONGEST} bytes")));
        }
        let header = decode_header(token).map_err(|_| refused("cannot be read"))?;
        if !TAKEN.contains(&header.alg) || header.crit.is_some() {
            return Err(refused("is signed in a way that is not taken; taken are EdDSA, ES256 and RS256"));
        }
        let key = keys.find(header.kid.as_deref(), header.alg).await?.ok_or_else(|| refused("is signed with an unknown key"))?;
        if key.algorithm != header.alg {
            return Err(refused("names another algorithm than its key's"));
        }
        let mut checks = Validation::new(key.algorithm);
        checks.set_issuer(&[issuer]);
        checks.set_audience(&[audience]);
        checks.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are checked below, by the clock that we are given.
        checks.validate_exp = false;
        let claims = decode::<Claims>(token, &key.key, &checks).map_err(|error| refused(words(error.kind())))?.claims;
        principal(claims, ambient.now())
    }
}

fn principal(claims: Claims, now: Time) -> Result<Principal> {
    let end = Time::from_secs(claims.exp).plus(LEEWAY);
    if end <= now {
        return Err(refused("has expired"));
    }
    if claims.nbf.is_some_and(|begin| Time::from_secs(begin).minus(LEEWAY) > now) {
        return Err(refused("is not valid yet"));
    }
    let organization = claims.active_organization_id.unwrap_or_default();
    if claims.sub.is_empty() || claims.sub.len() > LONGEST_ID || organization.len() > LONGEST_ID {
        return Err(refused("has a `sub` or an organization that is empty or too long"));
    }
    let super_admin = claims.role.as_deref() == Some("super_admin");
    let capabilities = match (organization.as_str(), claims.org_role.as_deref()) {
        // Bound to no organization, the platform's own people find nothing in any, and can make nothing.
        ("", _) if super_admin => Capabilities::ALL,
        ("", _) => Capabilities::NONE,
        (_, Some("owner" | "admin")) => Capabilities::ALL,
        (_, Some("member")) => [Capability::Read, Capability::Send].into_iter().collect(),
        (_, _) => Capabilities::NONE,
    };
    Ok(Principal {
        organization: OrganizationId::new(organization),
        credential: Credential::Login(claims.sub),
        capabilities,
        super_admin,
        sessions: None,
        expires_at: Some(end),
    })
}

fn refused(what: impl std::fmt::Display) -> Error {
    Error::new(Code::Unauthorized, format!("the login token {what}"))
}

fn words(kind: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidSignature => "has a wrong signature",
        ErrorKind::InvalidIssuer => "is from another issuer",
        ErrorKind::InvalidAudience => "is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "lacks a claim; needed are exp, iss, aud and sub",
        _ => "is not valid",
    }
}

/// Finds the caller of a request by what it shows: `wa_…` is an api-key, `wst_…` a ticket, which is used up, anything else a login
/// token, if those are taken.
pub fn lookup(
    service: Service,
    logins: Option<Logins>,
) -> impl Fn(String) -> BoxFuture<'static, Result<Option<Principal>>> + Send + Sync + 'static {
    move |shown| {
        let (service, logins) = (service.clone(), logins.clone());
        Box::pin(async move {
            if shown.starts_with("wa_") {
                return service.authenticate(&shown).await;
            }
            if shown.starts_with(TICKET) {
                return service.take_ticket(&shown).await;
            }
            let Some(logins) = logins else { return Ok(None) };
            let caller = logins.authenticate(&shown).await?;
            service.welcome(&caller).await?;
            Ok(Some(caller))
        })
    }
}
