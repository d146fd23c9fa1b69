//! The composition root: builds the rooms and shuts them down in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use secrecy::SecretString;

use crate::config::Config;
use crate::lifecycle::Lifecycle;

/// What the simulator on its own needs to know.
#[derive(Debug)]
pub struct SandboxOptions {
    /// Where its control API listens.
    pub listen: SocketAddr,
    /// Where its websocket listens.
    pub ws_listen: SocketAddr,
    /// The file that keeps accounts and devices; in memory without one.
    pub state: Option<PathBuf>,
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

/// Runs a gateway until its end.
#[expect(clippy::unused_async, reason = "the rooms are not wired yet")]
pub async fn serve(config: Config, _lifecycle: Lifecycle) -> anyhow::Result<ExitCode> {
    anyhow::bail!("gateway {} cannot be served by this build", config.gateway_id)
}

/// Runs the simulator alone until its end; `ready` is called once, when both ports are open.
#[expect(clippy::unused_async, reason = "the rooms are not wired yet")]
pub async fn sandbox(
    options: SandboxOptions,
    _lifecycle: Lifecycle,
    _ready: impl FnOnce(&SandboxReady),
) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the simulator at {} cannot be run by this build", options.listen)
}

/// Brings the database up to date.
#[expect(clippy::unused_async, reason = "the rooms are not wired yet")]
pub async fn migrate(config: Config) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the database of gateway {} cannot be migrated by this build", config.gateway_id)
}
