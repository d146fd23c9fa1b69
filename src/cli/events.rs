//! `events tail`: follows the event log and resumes by itself after a lost connection.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::client::{Connection, Target};
use super::{Failure, Outcome, output, render};
use crate::proto::gateway::subscribe_response::Item;
use crate::proto::gateway::{Event, SubscribeRequest, event};

/// The first pause before another attempt to reach the gateway; each further one is twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between two attempts to reach the gateway.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print events as they happen, until interrupted. One line each; with --json the whole event.
    Tail {
        /// Begin behind this sequence; 0 is the beginning of the log. Without it, only new events.
        #[arg(long)]
        after: Option<i64>,
        /// Only this session; give it several times for more.
        #[arg(long = "session", value_name = "ID")]
        sessions: Vec<String>,
        /// Only events of this name, such as `message`; give it several times for more.
        #[arg(long = "event", value_name = "NAME")]
        events: Vec<String>,
    },
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let Arguments { target, command: Command::Tail { after, sessions, events } } = arguments;
    let connection = target.connect().await?;
    Err(tail(&connection, SubscribeRequest { after, sessions, events }, target.json).await)
}

/// Follows the log over as many streams as it takes, until a failure that will not pass.
async fn tail(connection: &Connection, mut request: SubscribeRequest, json: bool) -> Failure {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let before = request.after;
        let failure = follow(connection, &mut request, json).await;
        if !failure.passes() {
            return failure;
        }
        if request.after != before {
            pause = SHORTEST_PAUSE;
        }
        let spinner = output::spinner(format!("{}; trying again", failure.line()));
        tokio::time::sleep(pause).await;
        spinner.finish_and_clear();
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Prints until the stream ends, which it does only by a failure. `request.after` moves along, so that the next stream goes on.
async fn follow(connection: &Connection, request: &mut SubscribeRequest, json: bool) -> Failure {
    let mut items = match connection.events().subscribe(request.clone()).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return status.into(),
    };
    loop {
        let item = match items.message().await {
            Ok(Some(answer)) => answer.item,
            Ok(None) => return Failure::unreachable("the gateway ended the stream"),
            Err(status) => return status.into(),
        };
        let sequence = match item {
            Some(Item::Position(position)) => position.sequence,
            Some(Item::Heartbeat(heartbeat)) => heartbeat.sequence,
            Some(Item::Event(event)) => {
                if let Err(failure) = print(&event, json) {
                    return failure;
                }
                event.sequence
            }
            None => continue,
        };
        request.after = Some(sequence);
    }
}

fn print(event: &Event, json: bool) -> Result<(), Failure> {
    if json {
        return output::line(render::json("Event", event)?);
    }
    let time = render::moment(event.timestamp.as_ref());
    let Event { sequence, event: name, session, payload, .. } = event;
    output::line(format_args!(
        "{sequence:>6}  {time}  {session}  {name:<15}  {}",
        payload.as_ref().map_or_else(String::new, digest)
    ))
}

/// The payload in a few words.
fn digest(payload: &event::Payload) -> String {
    match payload {
        event::Payload::SessionStatus(payload) => {
            let why = payload.status_detail.as_ref().map_or("", |detail| detail.message.as_str());
            format!("{}: {why}", render::word("SessionStatus", payload.status))
        }
        // A code links the number of whoever uses it: only --json prints it.
        event::Payload::AuthQr(payload) => format!("a QR code until {}", render::moment(payload.expires_at.as_ref())),
        event::Payload::AuthCode(payload) => match &payload.jid {
            Some(jid) => format!("accepted by {jid}"),
            None => format!("a pairing code until {}", render::moment(payload.expires_at.as_ref())),
        },
        event::Payload::Message(payload) => {
            let text = payload.reaction.as_ref().or(payload.body.as_ref()).unwrap_or(&payload.r#type);
            format!("{} {}", payload.chat_jid, harmless(text))
        }
        event::Payload::MessageStatus(payload) => {
            format!("{} {} {}", render::word("MessageStatus", payload.status), payload.chat_jid, payload.message_ids.join(","))
        }
        event::Payload::WebhookDisabled(payload) => format!("{}: {}", payload.webhook_id, payload.reason),
        event::Payload::WebhookTest(payload) => payload.webhook_id.clone(),
        event::Payload::PollRecap(payload) => format!("{} {}", payload.chat_jid, harmless(&payload.name)),
        event::Payload::Presence(payload) => format!("{} {}", payload.from, render::word("PresenceState", payload.state)),
        event::Payload::Group(payload) => format!("{} {}", payload.group_jid, payload.action),
        event::Payload::Chat(payload) => format!("{} {}", payload.chat_jid, payload.change),
        event::Payload::Contact(payload) => format!("{} {}", payload.jid, payload.change),
        event::Payload::Call(payload) => format!("{} {}", payload.from, payload.status),
        event::Payload::Newsletter(payload) => format!("{} {}", payload.jid, payload.action),
        event::Payload::SessionHealth(payload) => payload.message.clone(),
        event::Payload::AccountRestricted(payload) => payload.message.clone(),
        event::Payload::BackfillProgress(payload) => {
            let job = payload.job.clone().unwrap_or_default();
            format!("{}: {} contacts, {} groups", render::word("BackfillStatus", job.status), job.contacts, job.groups)
        }
        event::Payload::HistorySynced(payload) => format!("{}: {} messages", payload.kind, payload.messages),
        event::Payload::MediaReady(payload) => format!("{} {}", payload.wa_message_id, payload.state),
    }
}

/// A stranger's text, whose control characters must not reach the terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};

    use futures_util::{Stream, stream};
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::Server;
    use tonic::{Request, Response, Status};

    use super::*;
    use crate::proto::gateway::event_service_server::{EventService, EventServiceServer};
    use crate::proto::gateway::{Heartbeat, ListEventsRequest, ListEventsResponse, StreamPosition, SubscribeResponse};

    type Items = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    type Given = Result<SubscribeResponse, Status>;
    /// The credential and the cursor of a call.
    type Asked = (Option<String>, Option<i64>);

    /// Gives one prepared stream after the other and notes what each was asked for.
    #[derive(Clone)]
    struct Scripted {
        streams: Arc<Mutex<Vec<Vec<Given>>>>,
        asked: Arc<Mutex<Vec<Asked>>>,
    }

    #[tonic::async_trait]
    impl EventService for Scripted {
        type SubscribeStream = Items;

        async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Items>, Status> {
            let key = request.metadata().get("authorization").and_then(|key| key.to_str().ok()).map(str::to_owned);
            self.asked.lock().unwrap().push((key, request.get_ref().after));
            let items = self.streams.lock().unwrap().remove(0);
            Ok(Response::new(Box::pin(stream::iter(items))))
        }

        async fn list_events(&self, _request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
            Err(Status::unimplemented("not in this script"))
        }
    }

    fn item(item: Item) -> Result<SubscribeResponse, Status> {
        Ok(SubscribeResponse { item: Some(item) })
    }

    #[tokio::test]
    async fn a_lost_stream_goes_on_behind_the_last_sequence_and_a_refusal_ends() {
        let event = Event { sequence: 6, event: "message".into(), ..Event::default() };
        let script = Scripted {
            asked: Arc::default(),
            streams: Arc::new(Mutex::new(vec![
                vec![
                    item(Item::Position(StreamPosition { sequence: 5, oldest: 1 })),
                    item(Item::Event(event)),
                    Err(Status::unavailable("restarting")),
                ],
                vec![item(Item::Heartbeat(Heartbeat { sequence: 9 }))],
                vec![Err(Status::unauthenticated("revoked"))],
            ])),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().add_service(EventServiceServer::new(script.clone()));
        let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

        let connection = Target::to(format!("http://{address}"), "wa_key".into()).connect().await.unwrap();
        let failure = tail(&connection, SubscribeRequest::default(), true).await;
        assert_eq!(failure.line(), "unauthenticated: revoked");
        let shown = Some("Bearer wa_key".to_owned());
        assert_eq!(*script.asked.lock().unwrap(), [(shown.clone(), None), (shown.clone(), Some(6)), (shown, Some(9))]);
        server.abort();
    }
}
