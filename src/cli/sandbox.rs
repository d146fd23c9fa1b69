//! `sandbox`: the WhatsApp simulator alone.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{Failure, Outcome, load, output};
use crate::app::{self, SandboxOptions, SandboxReady};
use crate::config::LogFormat;
use crate::lifecycle::Lifecycle;
use crate::telemetry;

#[derive(Subcommand)]
enum Command {
    /// Let many simulated phones talk, and print what came through. The exit code is 1 when something was lost.
    Load(load::Arguments),
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Address and port of the control API, where phones are made and told what to do.
    #[arg(long, default_value = "127.0.0.1:8089", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Address and port of the simulated WhatsApp.
    #[arg(long, default_value = "127.0.0.1:8088", value_name = "ADDRESS")]
    ws_listen: SocketAddr,
    /// File that keeps the simulator's key, accounts and devices; they are forgotten at the end without one.
    #[arg(long = "state-file", alias = "state", value_name = "FILE")]
    state: Option<PathBuf>,
    /// A world file: the phones, groups, channels and chats of a fresh world.
    #[arg(long, env = "WAGW_SANDBOX_WORLD", value_name = "FILE")]
    sandbox_world: Option<PathBuf>,
    /// Where the dice begin when a world's pasts are drawn.
    #[arg(long, env = "WAGW_SANDBOX_SEED", default_value_t = 0, value_name = "NUMBER")]
    sandbox_seed: u64,
    /// The api-key of the control API; one is made and printed without it.
    #[arg(long, env = "WAGW_BOOTSTRAP_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<SecretString>,
    /// Print the addresses as one line of JSON.
    #[arg(long)]
    json: bool,
    /// What to log.
    #[arg(long, env = "WAGW_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let Arguments { command, listen, ws_listen, state, sandbox_world: world, sandbox_seed: seed, api_key, json, log } = arguments;
    if let Some(Command::Load(arguments)) = command {
        return Box::pin(load::run(arguments)).await;
    }
    let traces = telemetry::init(&log, LogFormat::Text).map_err(|error| Failure::usage(format!("--log: {error:#}")))?;
    let options = SandboxOptions { listen, ws_listen, state, world, seed, api_key };
    let announce = move |ready: &SandboxReady| {
        let text = if json { announce_json(ready) } else { announce_words(ready) };
        if let Err(failure) = output::line(text) {
            tracing::warn!(error = failure.line(), "could not print the addresses");
        }
    };
    let served = app::sandbox(options, Lifecycle::new(Duration::from_secs(5)), announce).await;
    traces.end().await;
    Ok(served?)
}

fn announce_json(ready: &SandboxReady) -> String {
    let key = ready.api_key.as_ref().map(ExposeSecret::expose_secret);
    json!({"control": format!("http://{}", ready.control), "url": ready.url, "key": hex(&ready.key), "apiKey": key}).to_string()
}

fn announce_words(ready: &SandboxReady) -> String {
    let key = ready.api_key.as_ref().map_or_else(String::new, |key| format!("\napi-key  {}", key.expose_secret()));
    format!(
        "control  http://{}/sandbox/v1/phones{key}\nto use it:\n  WAGW_SANDBOX_URL={} WAGW_SANDBOX_KEY={} whatsapp-gateway serve",
        ready.control,
        ready.url,
        hex(&ready.key)
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
