//! Authorization, once: what each method requires is read from the descriptors, and every call passes here.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use prost_reflect::DescriptorPool;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

use crate::api::auth::Authenticator;
use crate::api::status::to_status;
use crate::domain::principal::{Capability, Principal};
use crate::error::{Code, Error, Result};
use crate::proto::gateway::Capability as Declared;

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
}

/// Decides who may call what. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate {
    needs: Arc<HashMap<String, Need>>,
    authenticator: Authenticator,
}

impl Gate {
    /// Reads what each method requires.
    ///
    /// # Errors
    /// A method that declares no `requires`, or a descriptor set that cannot be read.
    pub fn new(pool: &DescriptorPool, authenticator: Authenticator) -> anyhow::Result<Self> {
        let requires = pool
            .get_extension_by_name("whatsapp.gateway.v1.requires")
            .ok_or_else(|| anyhow::anyhow!("the descriptors do not know the option `requires`"))?;
        let mut needs = HashMap::new();
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
            needs.insert(path, need);
        }
        Ok(Self { needs: Arc::new(needs), authenticator })
    }

    /// Decides whether the caller that `headers` name may call `method` (`/package.Service/Method`).
    ///
    /// Methods that are not in the contract: the standard health service is public, everything else (reflection, unknown
    /// methods) needs an authenticated caller.
    ///
    /// # Errors
    /// `unauthorized`, `forbidden`, or what the lookup of the credential fails with.
    pub async fn check(&self, method: &str, headers: &HeaderMap) -> Result<Checked> {
        let need = match self.needs.get(method) {
            Some(need) => *need,
            None if method.starts_with("/grpc.health.v1.Health/") => Need::Public,
            None => Need::Authenticated,
        };
        let principal = match need {
            Need::Public => None,
            _ => Some(self.authenticator.authenticate(headers).await?),
        };
        match (need, &principal) {
            (Need::Capability(one), Some(who)) => who.require(one)?,
            (Need::SuperAdmin, Some(who)) if !who.super_admin => {
                return Err(
                    Error::new(Code::Forbidden, "this takes the platform role `super_admin`").detail("capability", "super_admin")
                );
            }
            _ => {}
        }
        Ok(Checked { method: method.to_owned(), principal })
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
}

impl Service<Request<Body>> for Guard {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.routes, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let gate = self.gate.clone();
        let mut routes = self.routes.clone();
        Box::pin(async move {
            let earlier = request.extensions_mut().remove::<Checked>().filter(|c| c.method == request.uri().path());
            let checked = match earlier {
                Some(checked) => checked,
                None => match gate.check(request.uri().path(), request.headers()).await {
                    Ok(checked) => checked,
                    Err(error) => return Ok(to_status(error).into_http()),
                },
            };
            if let Some(principal) = checked.principal {
                request.extensions_mut().insert(principal);
            }
            routes.call(request).await
        })
    }
}
