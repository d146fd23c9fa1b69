//! The composition root: builds the rooms and shuts them down in order.

mod account;
mod directory;
mod media;
mod metrics;
mod upkeep;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::api::auth::Authenticator;
use crate::api::login::{Logins, lookup};
use crate::api::{admin, api_keys, convert, events, messages, pairing, realtime, sessions, webhooks};
use crate::backfill;
use crate::config::{Config, Network};
use crate::console;
use crate::domain::clock::Ambient;
use crate::domain::gateway::Gateway;
use crate::domain::ids::OrganizationId;
use crate::egress;
use crate::event::EventLog;
use crate::event::hub::Hub;
use crate::event::relay;
use crate::lifecycle::Lifecycle;
use crate::outbox::{self, Outbox};
use crate::proto;
use crate::proto::gateway::admin_service_server::AdminServiceServer;
use crate::proto::gateway::api_key_service_server::ApiKeyServiceServer;
use crate::proto::gateway::event_service_server::EventServiceServer;
use crate::proto::gateway::message_service_server::MessageServiceServer;
use crate::proto::gateway::pairing_service_server::PairingServiceServer;
use crate::proto::gateway::realtime_service_server::RealtimeServiceServer;
use crate::proto::gateway::session_service_server::SessionServiceServer;
use crate::proto::gateway::webhook_service_server::WebhookServiceServer;
use crate::rest::render::Renderer;
use crate::rest::serve::{Edge, EdgeService, Limits, Ready, Scrape, serve as serve_edge};
use crate::sandbox::control::Control;
use crate::sandbox::{Sandbox, SandboxConfig};
use crate::service::audit::Audit;
use crate::service::webhook::Webhooks;
use crate::service::{KeyCache, Parts, Service};
use crate::session::{Context, Supervisor, Timing, recap};
use crate::store::cipher::Key;
use crate::store::{Cipher, Db, Options};
use crate::wa::Endpoint;
use crate::wa::endpoint::SandboxEndpoint;
use crate::webhook::{Sender, Workers};

/// The organization of a gateway on its own: its first api-key acts for it.
const DEFAULT_ORGANIZATION: &str = "org_default";

/// Where pairing links lead.
const PAIR: &str = "/pair/";

/// What the simulator on its own needs to know.
#[derive(Debug)]
pub struct SandboxOptions {
    /// Where its control API listens.
    pub listen: SocketAddr,
    /// Where its websocket listens.
    pub ws_listen: SocketAddr,
    /// The file that keeps accounts and devices; in memory without one.
    pub state: Option<PathBuf>,
    /// A world file: who is there from the start.
    pub world: Option<PathBuf>,
    /// Where the dice of the world file begin.
    pub seed: u64,
    /// The api-key of the control API; one is made when it is absent.
    pub api_key: Option<SecretString>,
}

/// What a running simulator tells.
#[derive(Debug)]
pub struct SandboxReady {
    /// Where its control API listens.
    pub control: SocketAddr,
    /// The address of its websocket, `ws://…/ws/chat`.
    pub url: String,
    /// Its static public key.
    pub key: [u8; 32],
    /// The api-key of the control API, if it was made at this start.
    pub api_key: Option<SecretString>,
}

/// A started gateway.
pub struct Running {
    /// Where it serves.
    pub address: SocketAddr,
    /// Its use cases.
    pub service: Service,
    /// The built-in simulator, if there is one.
    pub sandbox: Option<Sandbox>,
    db: Db,
}

impl Running {
    /// Ends what is left after the doors are closed and the sessions are disconnected.
    pub async fn close(self) {
        self.service.finish().await;
        self.db.close().await;
    }
}

/// Runs a gateway until its end.
pub async fn serve(config: Config, lifecycle: Lifecycle) -> anyhow::Result<ExitCode> {
    let running = start(config, Ambient::system(), &lifecycle).await?;
    let code = lifecycle.wait().await?;
    if tokio::time::timeout(Duration::from_secs(5), running.close()).await.is_err() {
        tracing::warn!("work was still under way at the end and had to be cut");
        return Ok(ExitCode::FAILURE);
    }
    tracing::info!("stopped");
    Ok(code)
}

/// Starts a gateway; it serves when this returns. Its tasks belong to `lifecycle`.
pub async fn start(config: Config, ambient: Ambient, lifecycle: &Lifecycle) -> anyhow::Result<Running> {
    start_with(config, ambient, lifecycle, Timing::default()).await
}

/// The same with other limits and waits, for those who cannot wait that long.
pub async fn start_with(config: Config, ambient: Ambient, lifecycle: &Lifecycle, timing: Timing) -> anyhow::Result<Running> {
    make_private_dir(&config.data_dir).with_context(|| format!("data_dir {}", config.data_dir.display()))?;
    let cipher = cipher(&config, &ambient);
    let db = open(&config).await?;

    // Ports before sessions: a second gateway on the same machine fails here, before it touches anything.
    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("listen {}", config.listen))?;
    let address = listener.local_addr()?;
    let sessions_gone = CancellationToken::new();
    let (endpoint, sandbox) = endpoint(&config, &ambient, lifecycle, sessions_gone.clone()).await?;

    // Half of the connections are for those who follow the log.
    let hub = Hub::new(db.readers() / 2);
    let log = EventLog::new(db.clone(), hub.clone(), ambient.clone());
    let gateway = config.gateway_id.clone();
    let context = Context::new(db.clone(), log.clone(), ambient.clone(), endpoint, cipher.clone(), gateway.clone(), timing);
    let supervisor = Supervisor::new(context);
    let guard = egress::Guard::new(config.egress_allow.clone())?;
    let media = media::open(&config, &db, &log, &cipher, guard.clone(), &ambient).await?;
    let files = media.files.clone();
    let sender = Sender::new(guard, renderer()?, ambient.clone());
    let workers = Workers {
        db: db.clone(),
        log: log.clone(),
        hub: hub.clone(),
        cipher: cipher.clone(),
        sender: sender.clone(),
        ambient: ambient.clone(),
        retention: config.event_retention,
    };
    let backfills = backfill::Workers {
        db: db.clone(),
        log: log.clone(),
        supervisor: supervisor.clone(),
        gateway: gateway.clone(),
        ambient: ambient.clone(),
    };
    let outbox = Outbox::new(outbox::Parts {
        db: db.clone(),
        log: log.clone(),
        files: media.files.clone(),
        supervisor: supervisor.clone(),
        gateway: gateway.clone(),
        ambient: ambient.clone(),
    });
    let (relay_db, relay_hub, relay_ambient, told) = (db.clone(), hub.clone(), ambient.clone(), sessions_gone.clone());
    lifecycle.spawn_vital("relay", async move {
        relay::run(relay_db, relay_hub, relay_ambient, told).await;
        Ok(())
    });
    let service = Service::new(Parts {
        db: db.clone(),
        log: log.clone(),
        hub,
        supervisor: supervisor.clone(),
        outbox: outbox.clone(),
        media,
        webhooks: Webhooks { cipher, sender },
        imports: account::imports(&config.data_dir),
        backfill: config.backfill,
        ambient: ambient.clone(),
        gateway: gateway.clone(),
        public_url: config.public_url.clone().unwrap_or_else(|| format!("http://{address}")),
        tasks: TaskTracker::new(),
        keys: KeyCache::default(),
    });
    bootstrap(&service, &config).await?;

    supervisor.adopt().await?;
    let now = ambient.now();
    let row = Gateway { id: gateway, address: config.advertise_address.clone(), started_at: now, heartbeat_at: now, sessions: 0 };
    db.heartbeat(&row).await?;
    lifecycle.spawn_vital("heartbeat", upkeep::heartbeat(db.clone(), ambient.clone(), row, lifecycle.draining()));
    let (fetching, draining) = (service.clone(), lifecycle.draining());
    lifecycle.spawn_vital("waiting files", async move {
        fetching.fetch_waiting_until(draining).await;
        Ok(())
    });
    let pruner = upkeep::Pruner {
        db: db.clone(),
        ambient: ambient.clone(),
        age: config.event_retention,
        rows: config.event_retention_rows,
    };
    lifecycle.spawn_vital("pruner", pruner.run(lifecycle.draining()));
    let draining = lifecycle.draining();
    lifecycle.spawn_vital("poll recaps", recap::run(db.clone(), log.clone(), ambient.clone(), lifecycle.draining()));
    lifecycle.spawn_vital("files", async move {
        files.sweep_until(draining).await;
        Ok(())
    });
    let draining = lifecycle.draining();
    lifecycle.spawn_vital("webhooks", async move {
        workers.run(draining).await;
        Ok(())
    });
    let draining = lifecycle.draining();
    account::start_imports(lifecycle, &db, account::imports(&config.data_dir), &config.gateway_id, &ambient);
    lifecycle.spawn_vital("backfills", async move {
        backfills.run(draining).await;
        Ok(())
    });
    let draining = lifecycle.draining();
    lifecycle.spawn_vital("outbox", async move {
        outbox.run(draining).await;
        Ok(())
    });
    let draining = lifecycle.draining();
    lifecycle.spawn_vital("sessions", async move {
        supervisor.run(draining).await;
        sessions_gone.cancel();
        Ok(())
    });

    let (audit, writer) = Audit::new(db.clone(), ambient.clone());
    lifecycle.spawn_vital("audit", writer.run(lifecycle.draining()));
    let sources = metrics::Sources {
        db: db.clone(),
        gateway: config.gateway_id.clone(),
        ambient: ambient.clone(),
        sandbox: sandbox.clone(),
    };
    let scrape = metrics::begin(config.metrics, sources, lifecycle).await?;
    let ready = upkeep::ready(db.clone(), lifecycle.draining());
    let edge = edge(&service, audit, sandbox.clone(), &config, ambient, (ready, scrape), lifecycle)?;
    let limits = Limits {
        connections: config.max_connections,
        per_address: config.max_connections_per_address,
        head_timeout: config.head_timeout,
        trusted_proxies: config.trusted_proxies.clone().into(),
    };
    lifecycle.spawn_vital("edge", serve_edge(listener, edge, limits, lifecycle.draining()));
    tracing::info!(%address, gateway = %config.gateway_id, sandbox = sandbox.is_some(), "serving gRPC, gRPC-Web and REST");
    if let Some(phone) = config.admin_phone {
        let (service, draining) = (service.clone(), lifecycle.draining());
        lifecycle.spawn_vital("admin session", async move {
            draining.run_until_cancelled(account::admin_session(service, phone)).await;
            draining.cancelled().await;
            Ok(())
        });
    }
    Ok(Running { address, service, sandbox, db })
}

/// Runs the simulator alone until its end; `ready` is called once, when both ports are open.
pub async fn sandbox(
    options: SandboxOptions,
    lifecycle: Lifecycle,
    ready: impl FnOnce(&SandboxReady),
) -> anyhow::Result<ExitCode> {
    let ambient = Ambient::system();
    let SandboxOptions { listen, ws_listen, state, world, seed, api_key } = options;
    let sandbox =
        Sandbox::open(SandboxConfig { state_file: state, world, seed, ..SandboxConfig::default() }, ambient.clone()).await?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen {listen}"))?;
    let ws = TcpListener::bind(ws_listen).await.with_context(|| format!("ws-listen {ws_listen}"))?;
    let (control, url) = (listener.local_addr()?, format!("ws://{}/ws/chat", ws.local_addr()?));
    let (serving, draining) = (sandbox.clone(), lifecycle.draining());
    lifecycle.spawn_vital("sandbox", async move {
        serving.serve(ws, draining).await;
        Ok(())
    });

    let made = api_key.is_none().then(|| SecretString::from(crate::domain::api_key::generate(&ambient)));
    let hash = api_key.as_ref().or(made.as_ref()).map(|key| crate::domain::api_key::hash(key.expose_secret()));
    let authenticator = Authenticator::new(move |secret| {
        let known = hash.is_some_and(|hash| crate::domain::api_key::same(&crate::domain::api_key::hash(&secret), &hash));
        Box::pin(async move {
            Ok(known.then(|| crate::domain::principal::Principal::local(OrganizationId::new(DEFAULT_ORGANIZATION))))
        })
    });
    let operations = Control::new(sandbox.clone());
    let routes = operations.add_to(Routes::default());
    let edge = Edge {
        descriptors: proto::DESCRIPTORS,
        routes: with_standard(routes, &lifecycle)?,
        authenticator,
        audit: None,
        origins: Vec::new(),
        docs: false,
        ready: Arc::new(|| Box::pin(async { Vec::new() })),
        metrics: None,
        pages: Vec::new(),
        ambient,
        shutdown: lifecycle.draining(),
    };
    let (edge, draining) = (edge.build()?, lifecycle.draining());
    lifecycle.spawn_vital("edge", serve_edge(listener, edge, Limits::default(), draining));
    ready(&SandboxReady { control, url, key: sandbox.static_public_key(), api_key: made });
    lifecycle.wait().await
}

/// The OpenAPI document of the HTTP API, as JSON or as YAML.
///
/// # Errors
/// Never for the contract that this program was built with; a test says so.
pub fn openapi(yaml: bool) -> anyhow::Result<String> {
    let document = crate::rest::openapi::document(proto::DESCRIPTORS)?;
    Ok(if yaml { crate::rest::openapi::to_yaml(&document) } else { format!("{document:#}\n") })
}

/// Brings the database up to date.
pub async fn migrate(config: Config) -> anyhow::Result<ExitCode> {
    make_private_dir(&config.data_dir).with_context(|| format!("data_dir {}", config.data_dir.display()))?;
    let db = open(&config).await?;
    db.close().await;
    tracing::info!("the database is up to date");
    Ok(ExitCode::SUCCESS)
}

async fn open(config: &Config) -> anyhow::Result<Db> {
    let options = Options { postgres_connections: config.database_pool, ..Options::default() };
    let db = Db::open(config.database_url.expose_secret(), options).await.context("database_url")?;
    if let Some(copy) = db.migrate().await.context("database_url")? {
        tracing::info!(copy = %copy.display(), "the database was migrated; this is what it was before");
    }
    Ok(db)
}

fn cipher(config: &Config, ambient: &Ambient) -> Cipher {
    let key = |key: &crate::config::Key| Key::new(*key.expose_secret());
    let cipher = Cipher::new(
        ambient.clone(),
        config.encryption_key.as_ref().map(key),
        config.old_encryption_keys.iter().map(key).collect(),
    );
    if !cipher.seals() {
        tracing::warn!("WAGW_ENCRYPTION_KEY is not set: the sessions' WhatsApp keys lie in the database unencrypted");
    }
    cipher
}

/// Where sessions connect; starts the built-in simulator if that is where. It outlives the sessions, so that they can say goodbye.
async fn endpoint(
    config: &Config,
    ambient: &Ambient,
    lifecycle: &Lifecycle,
    sessions_gone: CancellationToken,
) -> anyhow::Result<(Endpoint, Option<Sandbox>)> {
    match &config.network {
        Network::WhatsApp => Ok((Endpoint::WhatsApp { version: config.whatsapp_version }, None)),
        Network::ExternalSandbox { url, key } => Ok((Endpoint::Sandbox(SandboxEndpoint { url: url.clone(), key: *key }), None)),
        Network::Sandbox { listen, world, seed } => {
            let state_file = Some(config.data_dir.join("sandbox.state"));
            let (world, seed) = (world.clone(), *seed);
            let config = SandboxConfig { state_file, world, seed, ..SandboxConfig::default() };
            let sandbox = Sandbox::open(config, ambient.clone()).await?;
            let ws = TcpListener::bind(listen).await.with_context(|| format!("sandbox_listen {listen}"))?;
            let url = format!("ws://{}/ws/chat", ws.local_addr()?);
            tracing::info!(url, "sessions connect to the built-in WhatsApp simulator");
            let serving = sandbox.clone();
            lifecycle.spawn_vital("sandbox", async move {
                serving.serve(ws, sessions_gone).await;
                Ok(())
            });
            let key = sandbox.static_public_key();
            Ok((Endpoint::Sandbox(SandboxEndpoint { url, key }), Some(sandbox)))
        }
    }
}

/// How an event becomes the JSON that a webhook gets: the one that `GET /api/v1/events` shows.
fn renderer() -> anyhow::Result<crate::webhook::Render> {
    let renderer = Renderer::new(proto::DESCRIPTORS, "whatsapp.gateway.v1.Event")?;
    Ok(Arc::new(move |event| {
        let message = convert::event::event(event);
        renderer.json(&prost::Message::encode_to_vec(&message)).map(Into::into)
    }))
}

/// Makes sure that somebody can get in. A fresh key is told once, here and in a file that only this user can read.
async fn bootstrap(service: &Service, config: &Config) -> anyhow::Result<()> {
    let given = config.bootstrap_api_key.as_ref().map(ExposeSecret::expose_secret);
    let organization = OrganizationId::new(DEFAULT_ORGANIZATION);
    let Some(secret) = service.bootstrap(&organization, given).await? else { return Ok(()) };
    let path = config.data_dir.join("admin.key");
    write_private(&path, &secret).with_context(|| format!("writing {}", path.display()))?;
    // Straight to the terminal, not into the log, which is kept and shared.
    #[expect(clippy::print_stderr, reason = "the first key is shown once to whoever starts the program")]
    {
        eprintln!("\n  The first api-key, shown this once and kept in {}:\n\n      {secret}\n", path.display());
    }
    Ok(())
}

fn edge(
    service: &Service,
    audit: Audit,
    sandbox: Option<Sandbox>,
    config: &Config,
    ambient: Ambient,
    (ready, metrics): (Ready, Option<Scrape>),
    lifecycle: &Lifecycle,
) -> anyhow::Result<EdgeService> {
    let draining = lifecycle.draining();
    let mut routes = Routes::new(SessionServiceServer::new(sessions::Sessions(service.clone())))
        .add_service(PairingServiceServer::new(pairing::Pairing(service.clone())))
        .add_service(MessageServiceServer::new(messages::Messages(service.clone())))
        .add_service(EventServiceServer::new(events::Events(service.clone())))
        .add_service(RealtimeServiceServer::new(realtime::Realtime(service.clone())))
        .add_service(ApiKeyServiceServer::new(api_keys::ApiKeys(service.clone())))
        .add_service(AdminServiceServer::new(admin::Admin(service.clone())))
        .add_service(WebhookServiceServer::new(webhooks::Webhooks(service.clone())));
    routes = directory::services(routes, service, &ambient);
    routes = account::services(routes, service);
    if let Some(sandbox) = sandbox {
        let control = Control::new(sandbox);
        routes = control.add_to(routes);
    }
    let logins = config.login.clone().map(|issuer| Logins::new(issuer, ambient.clone())).transpose()?;
    let authenticator = Authenticator::new(lookup(service.clone(), logins));
    let edge = Edge {
        descriptors: proto::DESCRIPTORS,
        routes: with_standard(routes, lifecycle)?,
        authenticator,
        audit: Some(audit),
        origins: config.cors_origins.clone(),
        docs: config.docs,
        ready,
        metrics,
        pages: vec![(PAIR, console::pair::page(service.clone(), ambient.clone(), draining.clone()))],
        ambient,
        shutdown: draining,
    };
    edge.build()
}

/// Adds reflection and the standard health service.
fn with_standard(routes: Routes, lifecycle: &Lifecycle) -> anyhow::Result<Routes> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let draining = lifecycle.draining();
    lifecycle.spawn_vital("health", async move {
        draining.cancelled().await;
        reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        Ok(())
    });
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes.add_service(health).add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?))
}

fn make_private_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")
}
