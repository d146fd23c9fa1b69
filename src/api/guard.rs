//! Authorization, once: what each method requires is read from the descriptors, and every call passes here. What is done with the
//! capability `manage`, all that is done with the platform's role, and what is refused, goes from here into the audit log.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Extensions, HeaderMap, Request, Response};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

use crate::api::attempts::{Attempts, Peer};
use crate::api::auth::{Authenticator, token};
use crate::api::layers::RequestId;
use crate::api::record::{Recorded, record};
use crate::api::status::{by_code, to_status};
use crate::domain::audit::Actor;
use crate::domain::clock::Ambient;
use crate::domain::principal::{Capability, Principal};
use crate::error::{Code, Error, Result};
use crate::proto::gateway::Capability as Declared;
pub use crate::service::audit::Audit;
use crate::service::audit::Deed;

/// What a method asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Public,
    Authenticated,
    SuperAdmin,
    Capability(Capability),
}

/// A decision of [`Gate::check`], carried with the request as an extension. Only this module can make one, and extensions cannot
/// come from the network.
#[derive(Clone, Debug)]
pub struct Checked {
    method: String,
    principal: Option<Principal>,
    peer: Option<Peer>,
}

/// What is known of a method.
#[derive(Debug)]
struct Known {
    need: Need,
    /// Set for methods whose calls are recorded.
    recorded: Option<Arc<Recorded>>,
}

/// Decides who may call what. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate {
    methods: Arc<HashMap<String, Known>>,
    authenticator: Authenticator,
    attempts: Attempts,
    audit: Option<Audit>,
}

impl Gate {
    /// Reads what each method requires. With `audit`, what is done and what is refused is recorded.
    ///
    /// # Errors
    /// A method that declares no `requires`, or a descriptor set that cannot be read.
    pub fn new(
        pool: &DescriptorPool,
        authenticator: Authenticator,
        ambient: Ambient,
        audit: Option<Audit>,
    ) -> anyhow::Result<Self> {
        let requires = pool
            .get_extension_by_name("whatsapp.gateway.v1.requires")
            .ok_or_else(|| anyhow::anyhow!("the descriptors do not know the option `requires`"))?;
        let http = pool.get_extension_by_name("google.api.http");
        // Who asks how things stand does nothing: a log of a monitor's questions would hide the deeds.
        let only_reads = |method: &MethodDescriptor| {
            let rule = http.as_ref().map(|http| method.options().get_extension(http).into_owned());
            let path = rule.as_ref().and_then(|rule| rule.as_message()?.get_field_by_name("get")?.as_str().map(str::to_owned));
            path.is_some_and(|path| !path.is_empty())
        };
        let mut methods = HashMap::new();
        for method in pool.services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let number = method.options().get_extension(&requires).as_enum_number().unwrap_or_default();
            let need = match Declared::try_from(number) {
                Ok(Declared::Public) => Need::Public,
                Ok(Declared::Authenticated) => Need::Authenticated,
                Ok(Declared::SuperAdmin) => Need::SuperAdmin,
                Ok(Declared::Read) => Need::Capability(Capability::Read),
                Ok(Declared::Send) => Need::Capability(Capability::Send),
                Ok(Declared::Manage) => Need::Capability(Capability::Manage),
                Ok(Declared::Events) => Need::Capability(Capability::Events),
                Ok(Declared::Unspecified) | Err(_) => anyhow::bail!("the method {path} does not say what it requires"),
            };
            let recorded = match need {
                Need::SuperAdmin => true,
                Need::Capability(Capability::Manage) => !only_reads(&method),
                _ => false,
            };
            let recorded = recorded.then(|| Arc::new(Recorded::new(pool, &method)));
            methods.insert(path, Known { need, recorded });
        }
        Ok(Self { methods: Arc::new(methods), authenticator, attempts: Attempts::new(ambient), audit })
    }

    /// Decides whether the caller that `headers` name may call `method` (`/package.Service/Method`). The request's `extensions` carry
    /// its id and its [`Peer`].
    ///
    /// Methods that are not in the contract: the standard health service is public, everything else (reflection, unknown
    /// methods) needs an authenticated caller.
    ///
    /// # Errors
    /// `unauthorized`, `forbidden`, `rate_limited` after many failures, or what the lookup of the credential fails with.
    pub async fn check(&self, method: &str, headers: &HeaderMap, extensions: &Extensions) -> Result<Checked> {
        let need = match self.methods.get(method) {
            Some(known) => known.need,
            None if method.starts_with("/grpc.health.v1.Health/") => Need::Public,
            None => Need::Authenticated,
        };
        let peer = extensions.get::<Peer>().copied();
        if need == Need::Public {
            return Ok(Checked { method: method.to_owned(), principal: None, peer });
        }
        let who = match self.authenticate(headers, peer).await {
            Ok(who) => who,
            Err(error) => return Err(self.refused(error, Actor::NOBODY, method, peer, extensions)),
        };
        let allowed = match need {
            Need::Capability(one) => who.require(one),
            Need::SuperAdmin if !who.super_admin => {
                Err(Error::new(Code::Forbidden, "this takes the platform role `super_admin`").detail("capability", "super_admin"))
            }
            Need::Public | Need::Authenticated | Need::SuperAdmin => Ok(()),
        };
        match allowed {
            Ok(()) => Ok(Checked { method: method.to_owned(), principal: Some(who), peer }),
            Err(error) => Err(self.refused(error, Actor::from(&who), method, peer, extensions)),
        }
    }

    /// Who shows the credential. A missing one is no failed attempt.
    async fn authenticate(&self, headers: &HeaderMap, peer: Option<Peer>) -> Result<Principal> {
        let token = token(headers)?;
        let _door = self.attempts.pass(peer).await;
        let found = self.authenticator.authenticate(token).await;
        match found {
            Err(error) if error.code == Code::Unauthorized => match self.attempts.failed(peer) {
                Some(wait) => Err(Error::new(Code::RateLimited, "too many credentials from this address were not valid")
                    .reason("too_many_failures")
                    .retry_after(wait)),
                None => Err(error),
            },
            found => found,
        }
    }

    /// Records a refusal, as long as the address has not too many.
    fn refused(&self, error: Error, actor: Actor, method: &str, peer: Option<Peer>, extensions: &Extensions) -> Error {
        let refusal = matches!(error.code, Code::Unauthorized | Code::Forbidden);
        if let Some(audit) = &self.audit
            && refusal
            && self.attempts.audits(peer)
        {
            audit.refused(deed(actor, method, peer, extensions, by_code(error.code).word));
        }
        error
    }
}

/// What is known of a call from the outside.
fn deed(actor: Actor, method: &str, peer: Option<Peer>, extensions: &Extensions, outcome: &str) -> Deed {
    Deed {
        actor,
        method: method.trim_start_matches('/').to_owned(),
        object: None,
        outcome: outcome.to_owned(),
        request_id: extensions.get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        address: peer.map(|peer| peer.0.to_canonical().to_string()),
    }
}

/// The gRPC services behind the [`Gate`].
#[derive(Clone, Debug)]
pub struct Guard {
    gate: Gate,
    routes: Routes,
}

impl Guard {
    /// Puts `gate` before `routes`.
    pub fn new(gate: Gate, routes: Routes) -> Self {
        Self { gate, routes: routes.prepare() }
    }

    /// The gate, for callers that decide before they read a body.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Answers a call, when it may be made.
    pub(super) fn call(&self, mut request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, Infallible>> {
        let gate = self.gate.clone();
        let mut routes = self.routes.clone();
        Box::pin(async move {
            let earlier = request.extensions_mut().remove::<Checked>().filter(|c| c.method == request.uri().path());
            let checked = match earlier {
                Some(checked) => checked,
                None => match gate.check(request.uri().path(), request.headers(), request.extensions()).await {
                    Ok(checked) => checked,
                    Err(error) => return Ok(to_status(error).into_http()),
                },
            };
            let Checked { method, principal, peer } = checked;
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            let Some(principal) = principal else { return routes.call(request).await };
            let recorded = gate.methods.get(&method).and_then(|known| known.recorded.clone());
            let recording = gate.audit.clone().zip(recorded);
            let actor = Actor::from(&principal);
            request.extensions_mut().insert(principal);
            match recording {
                Some((audit, recorded)) => {
                    let deed = deed(actor, &method, peer, request.extensions(), "cancelled");
                    record(audit, &recorded, deed, request, routes).await
                }
                None => routes.call(request).await,
            }
        })
    }
}
