//! `keys`: the api-keys of a running gateway.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::client::{Target, call};
use super::{Outcome, output, render};
use crate::domain::clock::{Ambient, Time};
use crate::proto::gateway::{ApiKeyCapability, CreateApiKeyRequest, ListApiKeysRequest, RevokeApiKeyRequest};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a key and print its secret, this once.
    Create {
        /// A name for people.
        #[arg(long)]
        name: String,
        /// What it may do; give it several times for more.
        #[arg(long = "capability", required = true, value_name = "CAPABILITY")]
        capabilities: Vec<Capability>,
        /// After how long it ends by itself, such as 90d, 12h or 30m. Without it, never.
        #[arg(long, value_name = "TIME", value_parser = span)]
        expires: Option<Duration>,
        /// Restrict it to this session: all others do not exist for it. Give it several times for more.
        #[arg(long = "session", value_name = "SESSION")]
        sessions: Vec<String>,
    },
    /// List the keys, without their secrets.
    List,
    /// Revoke a key: calls with it fail from now on.
    Revoke {
        /// The key's id.
        id: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Capability {
    /// Read chats, messages, contacts and groups.
    Read,
    /// Send messages.
    Send,
    /// Manage sessions, pairing and keys.
    Manage,
    /// Follow the event log.
    Events,
}

impl From<Capability> for ApiKeyCapability {
    fn from(capability: Capability) -> Self {
        match capability {
            Capability::Read => Self::Read,
            Capability::Send => Self::Send,
            Capability::Manage => Self::Manage,
            Capability::Events => Self::Events,
        }
    }
}

/// A time such as `90d`, `12h` or `30m`.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and d, h or m, such as 90d".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: u32 = number.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        "d" => 86_400,
        "h" => 3600,
        "m" => 60,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

fn moment(at: Time) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.0.div_euclid(1000), nanos: 0 }
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let Arguments { target, command } = arguments;
    let mut keys = target.connect().await?.keys();
    match command {
        Command::Create { name, capabilities, expires, sessions } => {
            let capabilities = capabilities.into_iter().map(|one| ApiKeyCapability::from(one).into()).collect();
            let expires_at = expires.map(|after| moment(Ambient::system().now().plus(after)));
            let made =
                keys.create_api_key(call(CreateApiKeyRequest { name, capabilities, expires_at, sessions })).await?.into_inner();
            if target.json {
                output::json(&render::json("CreateApiKeyResponse", &made)?)?;
            } else {
                let id = made.api_key.map(|key| key.id).unwrap_or_default();
                output::sheet(&[("id", id), ("secret", made.secret)])?;
                output::line("The secret is shown only this once.")?;
            }
        }
        Command::List => {
            let list = keys.list_api_keys(call(ListApiKeysRequest {})).await?.into_inner();
            if target.json {
                output::json(&render::json("ListApiKeysResponse", &list)?)?;
            } else {
                let now = Ambient::system().now();
                let rows = list.data.iter().map(|key| {
                    let words: Vec<_> = key.capabilities.iter().map(|one| render::word("ApiKeyCapability", *one)).collect();
                    let over = key.expires_at.is_some_and(|end| end.seconds * 1000 <= now.0);
                    let state = match (&key.revoked_at, over) {
                        (Some(_), _) => "revoked",
                        (None, true) => "expired",
                        (None, false) => "valid",
                    };
                    let ends = render::moment(key.expires_at.as_ref());
                    let sessions = if key.sessions.is_empty() { "all".to_owned() } else { key.sessions.join(",") };
                    let used = render::moment(key.last_used_at.as_ref());
                    let prefix = format!("{}…", key.prefix);
                    vec![key.id.clone(), key.name.clone(), prefix, words.join(","), sessions, state.to_owned(), ends, used]
                });
                let head = ["ID", "NAME", "SECRET", "CAPABILITIES", "SESSIONS", "STATE", "ENDS", "LAST USED"];
                output::table(&head, &rows.collect::<Vec<_>>())?;
            }
        }
        Command::Revoke { id } => {
            keys.revoke_api_key(call(RevokeApiKeyRequest { id })).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
