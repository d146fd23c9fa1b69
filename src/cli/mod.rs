//! The command line: one file per command.

mod backfill;
mod client;
mod config;
mod demo;
mod events;
mod failure;
mod keys;
mod load;
mod messages;
mod migrate;
mod openapi;
mod output;
mod pair;
mod qr;
mod render;
mod sandbox;
mod serve;
mod sessions;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::failure::Failure;
use crate::config::Flags;

/// What every command comes to.
type Outcome = Result<ExitCode, Failure>;

/// Holds many WhatsApp numbers for many organizations and offers them over gRPC, gRPC-Web and REST.
#[derive(Parser)]
#[command(name = "whatsapp-gateway", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(Box<Flags>),
    /// Run the WhatsApp simulator alone.
    Sandbox(sandbox::Arguments),
    /// Tell the whole story on a throw-away database with a simulated phone.
    Demo(demo::Arguments),
    /// Bring the database up to date.
    Migrate(Box<Flags>),
    /// Print the OpenAPI document of the HTTP API.
    Openapi(openapi::Arguments),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Manage the api-keys of a running gateway.
    Keys(keys::Arguments),
    /// Manage the sessions of a running gateway.
    Sessions(sessions::Arguments),
    /// Send messages through a running gateway.
    Messages(messages::Arguments),
    /// Follow the event log of a running gateway.
    Events(events::Arguments),
}

/// Runs the command that the arguments name. The exit code is 0 when it did what it was asked, 2 for arguments or requests that are
/// wrong, 3 without the right to it, 4 when it does not exist, 5 when the gateway cannot be reached or cannot answer now, else 1.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from(error).report(),
    };
    runtime.block_on(dispatch(arguments.command)).unwrap_or_else(|failure| failure.report())
}

async fn dispatch(command: Command) -> Outcome {
    // Boxed, because some of these futures are large and only one is ever needed.
    match command {
        Command::Serve(flags) => Box::pin(serve::run(&flags)).await,
        Command::Sandbox(arguments) => Box::pin(sandbox::run(arguments)).await,
        Command::Demo(arguments) => Box::pin(demo::run(arguments)).await,
        Command::Migrate(flags) => Box::pin(migrate::run(&flags)).await,
        Command::Openapi(arguments) => openapi::run(&arguments),
        Command::Config(command) => config::run(&command),
        Command::Keys(arguments) => Box::pin(keys::run(arguments)).await,
        Command::Sessions(arguments) => Box::pin(sessions::run(arguments)).await,
        Command::Messages(arguments) => Box::pin(messages::run(arguments)).await,
        Command::Events(arguments) => Box::pin(events::run(arguments)).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_documented_lines_are_understood() {
        for line in [
            "serve --sandbox --listen 127.0.0.1:0",
            "sandbox --state phones.json",
            "sandbox --state-file phones.json",
            "sandbox load --phones 500 --rate 20 --seconds 5 --by phones",
            "demo",
            "migrate --database-url sqlite://x.db",
            "openapi --yaml",
            "config check --sandbox=false",
            "keys create --name ci --capability read --capability send",
            "keys create --name shop --capability send --expires 90d --session 01J --session 01K",
            "keys list",
            "keys revoke 01J --server http://gateway:8080",
            "sessions list --json",
            "sessions create --label Support --start",
            "sessions pair 01J --code +6281234567890",
            "sessions restart 01J",
            "messages send 01J +6281234567890 hello --reply-to 01K --async --idempotency-key order-7",
            "messages send 01J 6281234567890 --file invoice.pdf --as document",
            "messages get 01J 01K --json",
            "events tail --after 7 --session 01J --event message --json",
        ] {
            let words = std::iter::once("whatsapp-gateway").chain(line.split(' '));
            assert!(Arguments::try_parse_from(words).is_ok(), "{line}");
        }
        assert!(
            Arguments::try_parse_from(["whatsapp-gateway", "serve", "--encryption-key", "x"]).is_err(),
            "no secrets in flags"
        );
        assert!(Arguments::try_parse_from(["whatsapp-gateway", "messages", "send", "01J", "62812"]).is_err(), "nothing to send");
        for time in ["", "d", "0d", "-1d", "9", "9w", "99999999999d", "é"] {
            let words = ["whatsapp-gateway", "keys", "create", "--name", "x", "--capability", "read", "--expires", time];
            assert!(Arguments::try_parse_from(words).is_err(), "{time}");
        }
    }
}
