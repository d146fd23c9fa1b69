//! The server's process: four ports, one for each kind of row.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use whatsapp_gateway::api::auth::Authenticator;
use whatsapp_gateway::api::convert::session::session;
use whatsapp_gateway::app;
use whatsapp_gateway::config::{self, Flags};
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::domain::ids::OrganizationId;
use whatsapp_gateway::domain::principal::Principal;
use whatsapp_gateway::domain::session::Session;
use whatsapp_gateway::lifecycle::Lifecycle;
use whatsapp_gateway::proto::DESCRIPTORS;
use whatsapp_gateway::proto::gateway as pb;
use whatsapp_gateway::proto::gateway::session_service_server::{SessionService, SessionServiceServer};
use whatsapp_gateway::rest::serve::{Edge, Limits, serve};
use whatsapp_gateway::service::session::NewSession;

use crate::{SESSIONS, credentials, hand};

/// Where the rows find their server.
#[derive(Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) hand: String,
    pub(crate) edge: String,
    pub(crate) hand_sql: String,
    pub(crate) edge_sql: String,
    /// A session in the middle of the list.
    pub(crate) session: String,
    pub(crate) key: String,
    /// What a credential costs, in microseconds.
    pub(crate) credentials: Vec<(String, f64)>,
}

/// Serves until the standard input ends.
pub(crate) async fn run() {
    let key = "wa_0123456789abcdefghijklmnopqrstuv".to_owned();
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("WAGW_LISTEN", "127.0.0.1:0".to_owned()),
        ("WAGW_SANDBOX", "true".to_owned()),
        ("WAGW_SANDBOX_LISTEN", "127.0.0.1:0".to_owned()),
        ("WAGW_DATA_DIR", folder.path().display().to_string()),
        ("WAGW_BOOTSTRAP_API_KEY", key.clone()),
    ];
    let env = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let config = config::load(&Flags::default(), &env).unwrap().config;
    let lifecycle = Lifecycle::new(Duration::from_secs(5));
    let running = app::start(config, Ambient::system(), &lifecycle).await.unwrap();
    let caller = Principal::local(OrganizationId::new("org_default"));
    for n in 0..SESSIONS {
        let label = Some(format!("Support line {n}"));
        running.service.create_session(&caller, NewSession { label, ..NewSession::default() }, None).await.unwrap();
    }
    let sessions = Arc::new(running.service.list_sessions(&caller).await.unwrap());
    let addresses = Addresses {
        session: sessions[SESSIONS / 2].id.to_string(),
        hand: listen(hand::from_memory(sessions.clone())).await,
        edge: edge(sessions).await,
        hand_sql: listen(hand::with_sql(running.service.clone())).await,
        edge_sql: format!("http://{}", running.address),
        credentials: credentials::measure(&running.service, &caller, &key, folder.path()).await,
        key,
    };
    println!("{}", serde_json::to_string(&addresses).unwrap());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.unwrap();
    lifecycle.shut_down();
    lifecycle.wait().await.unwrap();
    running.close().await;
}

async fn listen(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| stream.set_nodelay(true).unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

/// Our edge over [`Memory`], taking any credential.
async fn edge(sessions: Arc<Vec<Session>>) -> String {
    let shutdown = CancellationToken::new();
    let edge = Edge {
        descriptors: DESCRIPTORS,
        routes: Routes::new(SessionServiceServer::new(Memory(sessions))),
        authenticator: Authenticator::new(|_| Box::pin(async { Ok(Some(Principal::local(OrganizationId::new("org_default")))) })),
        audit: None,
        origins: Vec::new(),
        docs: false,
        ready: Arc::new(|| Box::pin(async { Vec::new() })),
        metrics: None,
        pages: Vec::new(),
        ambient: Ambient::system(),
        shutdown: shutdown.clone(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, edge.build().unwrap(), Limits::default(), shutdown));
    address
}

/// Sessions in memory.
struct Memory(Arc<Vec<Session>>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl SessionService for Memory {
    async fn list_sessions(&self, _: Request<pb::ListSessionsRequest>) -> Answer<pb::ListSessionsResponse> {
        Ok(Response::new(pb::ListSessionsResponse { data: self.0.iter().map(session).collect(), next_cursor: None }))
    }

    async fn get_session(&self, request: Request<pb::GetSessionRequest>) -> Answer<pb::Session> {
        let found = self.0.iter().find(|s| s.id.as_str() == request.get_ref().session);
        found.map(|s| Response::new(session(s))).ok_or_else(|| Status::not_found("session not found"))
    }

    async fn create_session(&self, _: Request<pb::CreateSessionRequest>) -> Answer<pb::Session> {
        Err(not_here())
    }

    async fn update_session(&self, _: Request<pb::UpdateSessionRequest>) -> Answer<pb::Session> {
        Err(not_here())
    }

    async fn delete_session(&self, _: Request<pb::DeleteSessionRequest>) -> Answer<()> {
        Err(not_here())
    }

    async fn start_session(&self, _: Request<pb::StartSessionRequest>) -> Answer<pb::Session> {
        Err(not_here())
    }

    async fn stop_session(&self, _: Request<pb::StopSessionRequest>) -> Answer<pb::Session> {
        Err(not_here())
    }

    async fn restart_session(&self, _: Request<pb::RestartSessionRequest>) -> Answer<pb::Session> {
        Err(not_here())
    }

    async fn logout_session(&self, _: Request<pb::LogoutSessionRequest>) -> Answer<pb::Session> {
        Err(not_here())
    }

    async fn get_me(&self, _: Request<pb::GetMeRequest>) -> Answer<pb::Me> {
        Err(not_here())
    }
}

fn not_here() -> Status {
    Status::unimplemented("this is a benchmark")
}
