//! `sessions`: the sessions of a running gateway.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::client::{Target, call};
use super::{Failure, Outcome, backfill, output, pair, render};
use crate::proto::gateway::{
    CreateSessionRequest, DeleteSessionRequest, GetSessionRequest, ListSessionsRequest, LogoutSessionRequest,
    RestartSessionRequest, Session, StartSessionRequest, StopSessionRequest,
};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the sessions.
    List,
    /// Create a session.
    Create {
        /// A name for people.
        #[arg(long)]
        label: Option<String>,
        /// Begin pairing at once.
        #[arg(long)]
        start: bool,
    },
    /// Attach a number: shows the QR code, or a code to type with --code, and waits for the phone.
    Pair {
        /// The session's id.
        id: String,
        /// The phone's number, to get a code to type on the phone instead of a QR code.
        #[arg(long, value_name = "PHONE")]
        code: Option<String>,
    },
    /// Show a session.
    Get {
        /// The session's id.
        id: String,
    },
    /// Want the session to run.
    Start {
        /// The session's id.
        id: String,
    },
    /// Disconnect the session and keep its number.
    Stop {
        /// The session's id.
        id: String,
    },
    /// Connect the session anew.
    Restart {
        /// The session's id.
        id: String,
    },
    /// Unlink the number.
    Logout {
        /// The session's id.
        id: String,
    },
    /// Pull the session's contacts and groups anew. Takes a login token of the platform's role in WAGW_API_KEY.
    Backfill {
        /// The session's id.
        id: String,
        /// Show how it comes on until it ends.
        #[arg(long)]
        watch: bool,
    },
    /// Delete the session with everything stored for it.
    Delete {
        /// The session's id.
        id: String,
    },
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let Arguments { target, command } = arguments;
    let connection = target.connect().await?;
    let mut sessions = connection.sessions();
    let session = match command {
        Command::List => {
            let list = sessions.list_sessions(call(ListSessionsRequest {})).await?.into_inner();
            if target.json {
                output::json(&render::json("ListSessionsResponse", &list)?)?;
            } else {
                table(&list.data)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        Command::Pair { id, code } => return pair::run(&target, &connection, id, code).await,
        Command::Backfill { id, watch } => return backfill::run(&target, &connection, id, watch).await,
        Command::Delete { id: session } => {
            sessions.delete_session(call(DeleteSessionRequest { session })).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Create { label, start } => {
            sessions.create_session(call(CreateSessionRequest { label, start, ..CreateSessionRequest::default() })).await?
        }
        Command::Get { id: session } => sessions.get_session(call(GetSessionRequest { session })).await?,
        Command::Start { id: session } => sessions.start_session(call(StartSessionRequest { session })).await?,
        Command::Stop { id: session } => sessions.stop_session(call(StopSessionRequest { session })).await?,
        Command::Restart { id: session } => sessions.restart_session(call(RestartSessionRequest { session })).await?,
        Command::Logout { id: session } => {
            let spinner = output::spinner("logging out");
            let answer = sessions.logout_session(call(LogoutSessionRequest { session })).await;
            spinner.finish_and_clear();
            answer?
        }
    }
    .into_inner();
    if target.json {
        output::json(&render::json("Session", &session)?)?;
    } else {
        sheet(&session)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(sessions: &[Session]) -> Result<(), Failure> {
    let rows = sessions.iter().map(|session| {
        vec![
            session.id.clone(),
            session.label.clone().unwrap_or_default(),
            render::word("SessionStatus", session.status),
            session.phone_number.clone().unwrap_or_default(),
            session.gateway_id.clone(),
            session.status_detail.as_ref().map(|detail| detail.message.clone()).unwrap_or_default(),
        ]
    });
    output::table(&["ID", "LABEL", "STATUS", "NUMBER", "GATEWAY", "WHY"], &rows.collect::<Vec<_>>())
}

fn sheet(session: &Session) -> Result<(), Failure> {
    output::sheet(&[
        ("id", session.id.clone()),
        ("label", session.label.clone().unwrap_or_default()),
        ("status", render::word("SessionStatus", session.status)),
        ("why", session.status_detail.as_ref().map(|detail| detail.message.clone()).unwrap_or_default()),
        ("number", session.phone_number.clone().unwrap_or_default()),
        ("jid", session.wa_jid.clone().unwrap_or_default()),
        ("lid", session.wa_lid.clone().unwrap_or_default()),
        ("gateway", session.gateway_id.clone()),
        ("connected", render::moment(session.last_connected_at.as_ref())),
        ("created", render::moment(session.created_at.as_ref())),
    ])
}
