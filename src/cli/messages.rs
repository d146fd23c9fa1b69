//! `messages`: sends messages through a running gateway and tells what became of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::client::{Connection, Target, call};
use super::{Failure, Outcome, output, render};
use crate::proto::gateway::{
    GetMessageRequest, Media, MediaPayload, Message, MessageType, SendMessageRequest, SendResult, UploadMediaRequest,
};

/// Bytes of a file that go in one piece.
const PIECE: usize = 64 << 10;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send a text, or a file with --file, and wait until WhatsApp has it.
    Send(Box<Send>),
    /// Show a message and what became of it.
    Get {
        /// The session's id.
        session: String,
        /// The message's id, here or at WhatsApp.
        id: String,
    },
}

#[derive(Args)]
struct Send {
    /// The session's id.
    session: String,
    /// The recipient: a number with country code, or an address such as …@g.us.
    to: String,
    /// The text; with --file the caption.
    #[arg(required_unless_present = "file")]
    text: Option<String>,
    /// A file to send.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// What the file is shown as. Default: what its content is.
    #[arg(long = "as", value_name = "KIND", requires = "file")]
    shown_as: Option<Kind>,
    /// The message that this one answers.
    #[arg(long, value_name = "ID")]
    reply_to: Option<String>,
    /// Do not wait: the message goes when its session is connected and its budgets allow it.
    #[arg(long = "async")]
    detached: bool,
    /// A word of your own that makes a repeated call harmless.
    #[arg(long, value_name = "WORD", default_value = "")]
    idempotency_key: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Image,
    Video,
    Audio,
    Document,
    Sticker,
}

impl Kind {
    /// What a file of this media type is shown as.
    fn of(mimetype: &str) -> Self {
        match mimetype.split('/').next() {
            Some("image") => Self::Image,
            Some("video") => Self::Video,
            Some("audio") => Self::Audio,
            _ => Self::Document,
        }
    }
}

impl From<Kind> for MessageType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Image => Self::Image,
            Kind::Video => Self::Video,
            Kind::Audio => Self::Audio,
            Kind::Document => Self::Document,
            Kind::Sticker => Self::Sticker,
        }
    }
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let Arguments { target, command } = arguments;
    let connection = target.connect().await?;
    match command {
        Command::Send(wanted) => {
            let sent = send(&connection, *wanted).await?;
            if target.json { output::json(&render::json("SendResult", &sent)?) } else { result(&sent) }
        }
        Command::Get { session, id: mid } => {
            let message = connection.messages().get_message(call(GetMessageRequest { session, mid })).await?.into_inner();
            if target.json { output::json(&render::json("Message", &message)?) } else { sheet(&message) }
        }
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn send(connection: &Connection, wanted: Send) -> Result<SendResult, Failure> {
    let Send { session, to, text, file, shown_as, reply_to, detached, idempotency_key } = wanted;
    let mut request = SendMessageRequest { session, to, reply_to, idempotency_key, r#async: detached, ..Default::default() };
    match file {
        None => (request.r#type, request.text) = (MessageType::Text.into(), text),
        Some(path) => {
            let kept = upload(connection, &request.session, &path).await?;
            let kind = shown_as.unwrap_or_else(|| Kind::of(&kept.mimetype));
            request.r#type = MessageType::from(kind).into();
            request.caption = text;
            request.media = Some(MediaPayload { id: Some(kept.id), filename: kept.filename, ..Default::default() });
        }
    }
    let spinner = output::spinner("sending");
    let answer = connection.messages().send_message(call(request)).await;
    spinner.finish_and_clear();
    Ok(answer?.into_inner())
}

/// Gives a file to the gateway, piece by piece.
async fn upload(connection: &Connection, session: &str, path: &Path) -> Result<Media, Failure> {
    let unreadable = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let size = file.metadata().await.map_err(unreadable)?.len();
    let first = UploadMediaRequest {
        session: session.to_owned(),
        filename: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        ..Default::default()
    };
    let (pieces, taken) = mpsc::channel(4);
    let read = async move {
        let mut next = first;
        // Whoever takes no more has an answer already.
        while pieces.send(next).await.is_ok() {
            let mut chunk = vec![0; PIECE];
            let length = file.read(&mut chunk).await?;
            if length == 0 {
                break;
            }
            chunk.truncate(length);
            next = UploadMediaRequest { chunk, ..Default::default() };
        }
        Ok(())
    };
    let spinner = output::spinner(format!("uploading {}", path.display()));
    let mut media = connection.media();
    let (read, answer) = tokio::join!(read, media.upload_media(ReceiverStream::new(taken)));
    spinner.finish_and_clear();
    read.map_err(unreadable)?;
    Ok(answer?.into_inner())
}

fn result(sent: &SendResult) -> Result<(), Failure> {
    output::sheet(&[
        ("mode", sent.mode.clone()),
        ("id", sent.outbox_id.clone().unwrap_or_default()),
        ("whatsapp id", sent.wa_message_id.clone().unwrap_or_default()),
        ("status", sent.status.map(|status| render::word("MessageStatus", status)).unwrap_or_default()),
        ("chat", sent.chat_jid.clone().unwrap_or_default()),
        ("at", render::moment(sent.timestamp.as_ref())),
    ])
}

fn sheet(message: &Message) -> Result<(), Failure> {
    let way = message.delivery.as_ref();
    output::sheet(&[
        ("id", message.id.clone()),
        ("whatsapp id", message.wa_message_id.clone()),
        ("chat", message.chat_jid.clone()),
        ("direction", render::word("MessageDirection", message.direction)),
        ("type", message.r#type.clone()),
        ("text", message.body.clone().unwrap_or_default()),
        ("status", message.status.map(|status| render::word("MessageStatus", status)).unwrap_or_default()),
        ("way", way.map(|way| render::word("DeliveryState", way.state)).unwrap_or_default()),
        ("why", message.error.clone().or_else(|| way?.reason.clone()).unwrap_or_default()),
        ("at", render::moment(message.timestamp.as_ref())),
    ])
}
