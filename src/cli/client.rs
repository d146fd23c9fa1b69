//! The client side of the commands that talk to a running gateway.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::failure::Failure;
use super::output;
use crate::config::{self, Flags};
use crate::proto::gateway::api_key_service_client::ApiKeyServiceClient;
use crate::proto::gateway::backfill_service_client::BackfillServiceClient;
use crate::proto::gateway::event_service_client::EventServiceClient;
use crate::proto::gateway::media_service_client::MediaServiceClient;
use crate::proto::gateway::message_service_client::MessageServiceClient;
use crate::proto::gateway::pairing_service_client::PairingServiceClient;
use crate::proto::gateway::session_service_client::SessionServiceClient;
use crate::proto::sandbox::sandbox_service_client::SandboxServiceClient;

/// A connection that shows the api-key with each call.
pub(super) type Guarded = InterceptedService<Channel, ShowKey>;

/// Where the gateway is and how to show who calls.
#[derive(Args, Clone)]
pub(super) struct Target {
    /// Address of the gateway.
    #[arg(long, global = true, env = "WAGW_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    server: String,
    /// The api-key. Better in WAGW_API_KEY or in the file that WAGW_API_KEY_FILE names, since other users of the machine see
    /// arguments. Without any, `admin.key` in the gateway's data directory is taken if it is there.
    #[arg(long, global = true, env = "WAGW_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<SecretString>,
    /// Print JSON for programs, as the REST API gives it.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl Target {
    /// A gateway at `server`, with a key that is known.
    pub(super) fn to(server: String, api_key: SecretString) -> Self {
        Self { server, api_key: Some(api_key), json: false }
    }

    /// Opens the connection. Fails for an address that is none, without any key, or when nobody answers there.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let wrong = |why: &str| Failure::usage(format!("--server `{}`: {why}", self.server));
        if !self.server.starts_with("http://") {
            return Err(wrong("write http://host:port; the gateway itself speaks plain HTTP"));
        }
        let endpoint = Endpoint::from_shared(self.server.clone()).map_err(|_| wrong("write http://host:port"))?;
        let key = self.key()?;
        let mut shown: MetadataValue<Ascii> = format!("Bearer {}", key.expose_secret())
            .parse()
            .map_err(|_| Failure::usage("the api-key has characters that no api-key has"))?;
        shown.set_sensitive(true);
        let spinner = output::spinner(format!("connecting to {}", self.server));
        // Pings notice a peer that is gone without a word, while a stream waits for it.
        let channel = endpoint
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .connect()
            .await;
        spinner.finish_and_clear();
        let channel = channel.map_err(|error| {
            let cause = std::iter::successors(std::error::Error::source(&error), |error| error.source()).last();
            let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
            Failure::unreachable(format!("no gateway at {}: {cause}", self.server))
        })?;
        Ok(Connection { channel, key: ShowKey(shown) })
    }

    fn key(&self) -> Result<SecretString, Failure> {
        if let Some(key) = &self.api_key {
            return Ok(key.clone());
        }
        let env = config::environment();
        let read = |path: PathBuf| match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().into()),
            Err(error) => Err(Failure::usage(format!("cannot read the api-key from {}: {error}", path.display()))),
        };
        if let Some(path) = env.get("WAGW_API_KEY_FILE") {
            return read(path.into());
        }
        // The gateway's own settings say where its first key lies, when it runs on this machine.
        let left = config::load(&Flags::default(), &env).ok().map(|loaded| loaded.config.data_dir.join("admin.key"));
        match left.filter(|path| path.is_file()) {
            Some(path) => read(path),
            None => Err(Failure::usage("no api-key: set WAGW_API_KEY or WAGW_API_KEY_FILE, or give --api-key")),
        }
    }
}

/// An open connection to a gateway.
#[derive(Clone)]
pub(super) struct Connection {
    channel: Channel,
    key: ShowKey,
}

impl Connection {
    /// Sessions.
    pub(super) fn sessions(&self) -> SessionServiceClient<Guarded> {
        SessionServiceClient::with_interceptor(self.channel.clone(), self.key.clone())
    }

    /// Backfills.
    pub(super) fn backfills(&self) -> BackfillServiceClient<Guarded> {
        BackfillServiceClient::with_interceptor(self.channel.clone(), self.key.clone())
    }

    /// Attaching numbers.
    pub(super) fn pairing(&self) -> PairingServiceClient<Guarded> {
        PairingServiceClient::with_interceptor(self.channel.clone(), self.key.clone())
    }

    /// Messages.
    pub(super) fn messages(&self) -> MessageServiceClient<Guarded> {
        MessageServiceClient::with_interceptor(self.channel.clone(), self.key.clone())
    }

    /// Files.
    pub(super) fn media(&self) -> MediaServiceClient<Guarded> {
        MediaServiceClient::with_interceptor(self.channel.clone(), self.key.clone())
    }

    /// The event log.
    pub(super) fn events(&self) -> EventServiceClient<Guarded> {
        EventServiceClient::with_interceptor(self.channel.clone(), self.key.clone())
    }

    /// The phones of a sandbox.
    pub(super) fn sandbox(&self) -> SandboxServiceClient<Guarded> {
        SandboxServiceClient::with_interceptor(self.channel.clone(), self.key.clone())
    }

    /// Api-keys.
    pub(super) fn keys(&self) -> ApiKeyServiceClient<Guarded> {
        ApiKeyServiceClient::with_interceptor(self.channel.clone(), self.key.clone())
    }
}

/// Puts the api-key on each call.
#[derive(Clone)]
pub(super) struct ShowKey(MetadataValue<Ascii>);

impl Interceptor for ShowKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A call that shall be answered within half a minute.
pub(super) fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(30));
    request
}
