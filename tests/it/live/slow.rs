//! A thousand followers that take nothing, and one that takes everything.

use whatsapp_gateway::proto::gateway::event_service_client::EventServiceClient;
use whatsapp_gateway::proto::gateway::subscribe_response::Item;
use whatsapp_gateway::proto::gateway::{SubscribeRequest, SubscribeResponse};

use super::{patiently, write};
use crate::gateway::{Home, KEY};
use crate::support::Engine;

const SLOW: usize = 1000;
/// Fewer streams than an HTTP/2 connection may carry.
const PER_CONNECTION: usize = 200;
const EVENTS: usize = 1000;
/// Bytes of text in each event: the log is far more than what a window holds.
const TEXT: usize = 4096;

fn beginning() -> SubscribeRequest {
    SubscribeRequest { after: Some(0), ..SubscribeRequest::default() }
}

/// The memory of this process, in bytes.
fn memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

async fn next(items: &mut tonic::Streaming<SubscribeResponse>) -> i64 {
    loop {
        if let Some(Item::Event(event)) = items.message().await.unwrap().unwrap().item {
            return event.sequence;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_slow_followers_keep_nobody_waiting() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    write(&home, "", (0..EVENTS).map(|at| format!("{at} {}", "x".repeat(TEXT)))).await;
    let before = memory();
    let mut slow = Vec::new();
    for _ in 0..SLOW / PER_CONNECTION {
        let mut client = EventServiceClient::new(gateway.channel().await);
        for _ in 0..PER_CONNECTION {
            slow.push(patiently("a slow one's beginning", client.subscribe(beginning())).await.unwrap().into_inner());
        }
    }
    assert_eq!(slow.len(), SLOW);

    // They stand still from here on; the fast one gets all there is, and all that comes.
    let mut client = EventServiceClient::new(gateway.channel().await);
    let mut fast = client.subscribe(beginning()).await.unwrap().into_inner();
    for wanted in 1..=i64::try_from(EVENTS).unwrap() {
        assert_eq!(patiently("the next event", next(&mut fast)).await, wanted);
    }
    for _ in 0..5 {
        gateway.post("/api/v1/sessions", serde_json::json!({"start": true})).await;
        patiently("a live event", next(&mut fast)).await;
    }
    let grown = memory().saturating_sub(before);
    // The whole log for each would be 4 GB. What each holds is a window and the first few events.
    assert!(grown < 1 << 30, "{SLOW} followers hold {grown} bytes");

    // One of them wakes up and has missed nothing.
    let mut late = slow.pop().unwrap();
    drop(slow);
    for wanted in 1..=i64::try_from(EVENTS).unwrap() {
        assert_eq!(patiently("the late one's events", next(&mut late)).await, wanted);
    }
    drop((late, fast, client));
    assert_eq!(gateway.call_as(Some(KEY), "GET", "/readyz", None).await.0, 200);
    gateway.stop().await;
}
