//! The log as it goes out: WebSockets with tickets, several gateways on one database, many slow followers, what the metrics and the
//! health answers say of it.

mod cursor;
mod gateways;
mod measure;
mod metrics;
mod slow;
mod socket;
mod trace;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, CloseCode, MaybeTlsStream, Message, WebSocketStream};
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::domain::event::{Code, Payload};
use whatsapp_gateway::domain::ids::{OrganizationId, SessionId};
use whatsapp_gateway::event::EventLog;
use whatsapp_gateway::event::hub::Hub;
use whatsapp_gateway::store::{Db, Options};

use crate::gateway::{Gateway, Home, PATIENCE};

/// Where a test's own events go: the organization of the test's key.
const ORGANIZATION: &str = "org_default";

/// An event with a text of its own.
fn note(text: impl Into<String>) -> Payload {
    Payload::AuthQr(Code { code: text.into(), expires_at: None })
}

/// Writes events behind a gateway's back, as another gateway does that does not speak.
async fn write(home: &Home, session: &str, texts: impl IntoIterator<Item = String>) {
    let db = Db::open(home.database_url(), Options::default()).await.unwrap();
    let log = EventLog::new(db.clone(), Hub::default(), Ambient::system());
    let texts: Vec<String> = texts.into_iter().collect();
    for some in texts.chunks(200) {
        let mut recording = log.begin().await.unwrap();
        for text in some {
            recording.tell(&OrganizationId::new(ORGANIZATION), &SessionId::new(session), note(text));
        }
        recording.commit().await.unwrap();
    }
    db.close().await;
}

async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A WebSocket to a gateway.
struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(gateway: &Gateway, path: &str) -> Self {
        let url = format!("{}{path}", gateway.base.replacen("http", "ws", 1));
        let uri = url.parse().unwrap();
        Self(ClientBuilder::from_uri(uri).connect().await.unwrap().0)
    }

    /// The next item or error.
    async fn item(&mut self) -> Value {
        loop {
            let message = patiently("an item", self.0.next()).await.expect("the socket is open").unwrap();
            if let Some(text) = message.as_text() {
                return serde_json::from_str(text).unwrap();
            }
            assert!(message.is_ping(), "{message:?}");
        }
    }

    /// How the socket is closed, which comes next.
    async fn closed(&mut self) -> (CloseCode, String) {
        let message = patiently("the end", self.0.next()).await.expect("a closing frame").unwrap();
        let (code, reason) = message.as_close().unwrap_or_else(|| panic!("{message:?}"));
        (code, reason.to_owned())
    }

    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text.to_owned())).await.unwrap();
    }
}

/// The ticket of a caller.
async fn ticket(gateway: &Gateway, key: &str) -> String {
    let (status, made) = gateway.call_as(Some(key), "POST", "/api/v1/realtime/ticket", Some(serde_json::json!({}))).await;
    assert_eq!(status, 201, "{made}");
    made["ticket"].as_str().unwrap().to_owned()
}

/// An API key with every capability or some.
async fn key(gateway: &Gateway, body: Value) -> (String, String) {
    let made = gateway.post("/api/v1/api-keys", body).await;
    (made["apiKey"]["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}
