//! `keys`: the api-keys of a running gateway.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::client::{Target, call};
use super::{Outcome, output, render};
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

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let Arguments { target, command } = arguments;
    let mut keys = target.connect().await?.keys();
    match command {
        Command::Create { name, capabilities } => {
            let capabilities = capabilities.into_iter().map(|one| ApiKeyCapability::from(one).into()).collect();
            let made = keys
                .create_api_key(call(CreateApiKeyRequest { name, capabilities, expires_at: None, sessions: Vec::new() }))
                .await?
                .into_inner();
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
                let rows = list.data.iter().map(|key| {
                    let words: Vec<_> = key.capabilities.iter().map(|one| render::word("ApiKeyCapability", *one)).collect();
                    let state = if key.revoked_at.is_some() { "revoked" } else { "valid" };
                    let used = render::moment(key.last_used_at.as_ref());
                    let prefix = format!("{}…", key.prefix);
                    vec![key.id.clone(), key.name.clone(), prefix, words.join(","), state.to_owned(), used]
                });
                output::table(&["ID", "NAME", "SECRET", "CAPABILITIES", "STATE", "LAST USED"], &rows.collect::<Vec<_>>())?;
            }
        }
        Command::Revoke { id } => {
            keys.revoke_api_key(call(RevokeApiKeyRequest { id })).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
