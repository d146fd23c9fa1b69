//! Tests of the edges: a real server on port 0 with small services behind it, called by real clients through all three doors.

mod doors;
mod fake;
mod hostile;
mod idle;
mod json;
mod limits;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use whatsapp_gateway::api::auth::Authenticator;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::domain::ids::OrganizationId;
use whatsapp_gateway::domain::principal::{Capabilities, Capability, Principal};
use whatsapp_gateway::error::{Code, Error};
use whatsapp_gateway::proto::DESCRIPTORS;
use whatsapp_gateway::rest::serve::{Edge, Limits, serve};

/// A running edge; it stops when this is dropped.
struct Server {
    address: String,
    http: Client,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Knows the credentials `all` (everything), `reader` (read only); with `down` the lookup itself fails.
fn authenticator() -> Authenticator {
    Authenticator::new(|token| {
        Box::pin(async move {
            let mut principal = Principal::local(OrganizationId::new("org_1"));
            match token.as_str() {
                "all" => {}
                "reader" => principal.capabilities = Capabilities::from_iter([Capability::Read]),
                "down" => return Err(Error::new(Code::Unavailable, "try again").because(anyhow::anyhow!("SELECT secret"))),
                _ => return Ok(None),
            }
            Ok(Some(principal))
        })
    })
}

impl Server {
    async fn start() -> Self {
        Self::with(Limits::default(), &[]).await
    }

    async fn with(limits: Limits, origins: &[&str]) -> Self {
        let (shutdown, health) = (CancellationToken::new(), tonic_health::server::health_reporter().1);
        let reflection = tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
        let edge = Edge {
            descriptors: DESCRIPTORS,
            routes: fake::routes().add_service(health).add_service(reflection.build_v1().unwrap()),
            authenticator: authenticator(),
            audit: None,
            origins: origins.iter().map(|o| (*o).to_owned()).collect(),
            docs: true,
            ready: Arc::new(|| Box::pin(async { vec!["database: gone".to_owned()] })),
            metrics: None,
            pages: Vec::new(),
            ambient: Ambient::system(),
            shutdown: shutdown.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(serve(listener, edge.build().unwrap(), limits, shutdown.clone()));
        Self { address, http: Client::new(), shutdown, task }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A call with every capability.
    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth("all")
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.call(Method::GET, path)
    }

    /// A POST with a JSON body.
    fn post(&self, path: &str, body: &str) -> RequestBuilder {
        self.call(Method::POST, path).header("content-type", "application/json").body(body.to_owned())
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(self.url("")).unwrap().connect().await.unwrap()
    }
}

/// A gRPC request with every capability.
fn grpc<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", "Bearer all".parse().unwrap());
    request
}

/// Sends the request; answers its status and its JSON (`null` without a body).
async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = tokio::time::timeout(Duration::from_secs(20), request.send()).await.expect("an answer in time").unwrap();
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap_or(if text.is_empty() { Value::Null } else { Value::String(text) }))
}

/// Sends a request that must fail so.
async fn refused(request: RequestBuilder, status: u16, code: &str) -> Value {
    let (found, mut body) = answer(request).await;
    assert_eq!((found, &body["error"]["code"]), (status, &Value::from(code)), "{body}");
    assert!(body["error"]["details"]["requestId"].as_str().is_some_and(|id| !id.is_empty()), "{body}");
    body["error"].take()
}
