//! "Typing…" before a text, as the person on the other side sees it.

use std::net::TcpListener;
use std::sync::Arc;

use serde_json::json;
use wacore::store::InMemoryBackend;
use wacore::types::events::Event;
use wacore::types::presence::ChatPresence;
use whatsapp_gateway::domain::clock::Ambient;

use super::{BUDI, Shop};
use crate::gateway::{Home, KEY};
use crate::sandbox::client::Peer;
use crate::support::Engine;

/// What a device of Budi's is told until a text comes.
#[derive(Debug, PartialEq)]
enum Told {
    Composing,
    Paused,
    Text,
}

async fn until_text(budi: &Peer, text: &str) -> Vec<Told> {
    let mut told = Vec::new();
    budi.wait(text, |event| {
        match event {
            Event::ChatPresence(it) => told.push(match it.state {
                ChatPresence::Composing => Told::Composing,
                ChatPresence::Paused => Told::Paused,
            }),
            Event::Messages(batch) => {
                let ours =
                    |message: &wacore::types::events::InboundMessage| message.message.conversation.as_deref() == Some(text);
                told.extend(batch.iter().any(ours).then_some(Told::Text));
            }
            _ => {}
        }
        told.ends_with(&[Told::Text]).then_some(())
    })
    .await;
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_is_seen_before_the_text_when_it_is_wanted() {
    let home = Home::new(Engine::Sqlite).await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = [("WAGW_SANDBOX_LISTEN", format!("127.0.0.1:{port}"))];
    let shop = Shop::open(home.start_with(&settings, Ambient::system()).await).await;
    let sandbox = shop.gateway.running.sandbox.clone().unwrap();
    let trust = Some((sandbox.static_public_key(), true));
    let budi = Peer::new(([127, 0, 0, 1], port).into(), Arc::new(InMemoryBackend::new()), trust).await;
    let code = budi.qr().await;
    sandbox.scan_qr(BUDI, &code).await.unwrap();
    budi.wait("connected", |event| matches!(event, Event::Connected(_)).then_some(())).await;

    for (wanted, text) in [(true, "typed"), (false, "not typed"), (true, "typed again")] {
        let body = json!({"presenceTyping": wanted});
        let (status, session) = shop.gateway.call_as(Some(KEY), "PATCH", &shop.path, Some(body)).await;
        assert_eq!((status, &session["presenceTyping"]), (200, &json!(wanted)), "{session}");
        shop.sent(json!({"type": "text", "to": BUDI, "text": text})).await;
        let expected = if wanted { vec![Told::Composing, Told::Paused, Told::Text] } else { vec![Told::Text] };
        assert_eq!(until_text(&budi, text).await, expected, "{text}");
    }
    shop.gateway.stop().await;
}
