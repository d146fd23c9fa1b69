//! Measurements, run by name: `cargo test --test it --locked -- --ignored --nocapture live::measure`. They print figures and assert none.
//! `WAGW_MEASURE_SESSIONS=1,100,500` says with how many sessions.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::domain::ids::{OrganizationId, SessionId};
use whatsapp_gateway::event::EventLog;
use whatsapp_gateway::event::hub::Hub;
use whatsapp_gateway::proto::gateway::SubscribeRequest;
use whatsapp_gateway::proto::gateway::event::Payload;
use whatsapp_gateway::proto::gateway::event_service_client::EventServiceClient;
use whatsapp_gateway::proto::gateway::subscribe_response::Item;
use whatsapp_gateway::store::{Db, Options};

use super::{ORGANIZATION, note};
use crate::gateway::{Gateway, Home};
use crate::loss::postgres::Server;
use crate::support::sqlite_url;

const BUDI: &str = "6281900000001";
/// How many messages are timed with each number of sessions.
const MESSAGES: usize = 500;
/// How long events are written.
const SPAN: Duration = Duration::from_secs(8);
const WRITERS: usize = 16;

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// From the moment at which a simulated phone sends to the moment at which a gRPC follower has the event.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a test"]
async fn from_a_phone_to_a_follower() {
    let counts = std::env::var("WAGW_MEASURE_SESSIONS").unwrap_or_else(|_| "1,100".to_owned());
    for count in counts.split(',').map(|count| count.parse::<usize>().unwrap()) {
        let (_file, url) = sqlite_url();
        latency("SQLite", Home::at(url), count).await;
        let server = Server::durable().await;
        latency("PostgreSQL", Home::at(server.url("loss")), count).await;
    }
}

async fn latency(engine: &str, home: Home, count: usize) {
    let gateway = home.start().await;
    gateway.phone(BUDI).await;
    for at in 0..count {
        gateway.paired(&number(at)).await;
    }
    // One message to each, so that no timed one begins a Signal session.
    let mut client = EventServiceClient::new(gateway.channel().await);
    let request = SubscribeRequest { events: vec!["message".into()], ..SubscribeRequest::default() };
    let mut items = client.subscribe(request).await.unwrap().into_inner();
    let (heard, mut arrivals) = mpsc::unbounded_channel();
    let listener = tokio::spawn(async move {
        while let Ok(Some(item)) = items.message().await {
            if let Some(Item::Event(event)) = item.item
                && let Some(Payload::Message(message)) = event.payload
            {
                heard.send((message.body.unwrap_or_default(), Instant::now())).unwrap();
            }
        }
    });
    let began = Instant::now();
    for at in 0..count {
        say(&gateway, at, "first").await;
        arrivals.recv().await.unwrap();
    }
    // One at a time: the way alone.
    let mut alone = Vec::new();
    for at in 0..MESSAGES {
        let sent = Instant::now();
        say(&gateway, at % count, &format!("alone {at}")).await;
        alone.push(arrivals.recv().await.unwrap().1 - sent);
    }
    alone.sort();
    // As fast as it goes, from one phone: with the waiting that comes of it.
    let (mut sent, burst) = (HashMap::new(), Instant::now());
    for at in 0..MESSAGES {
        let text = format!("burst {at}");
        sent.insert(text.clone(), Instant::now());
        say(&gateway, at % count, &text).await;
    }
    let mut together = Vec::new();
    while together.len() < MESSAGES {
        let (text, at) = arrivals.recv().await.unwrap();
        together.push(at - sent[&text]);
    }
    let rate = MESSAGES as f64 / burst.elapsed().as_secs_f64();
    together.sort();
    let show = |all: &[Duration]| format!("median {:.1?}, p99 {:.1?}", percentile(all, 50), percentile(all, 99));
    println!(
        "{engine}, {count} sessions: one at a time {}; a burst of {MESSAGES} {}, {rate:.0}/s",
        show(&alone),
        show(&together)
    );
    println!("  (paired and measured in {:.0?})", began.elapsed());
    listener.abort();
    drop(client);
    gateway.stop().await;
}

fn number(at: usize) -> String {
    format!("62812{at:08}")
}

async fn say(gateway: &Gateway, at: usize, text: &str) {
    gateway.running.sandbox.as_ref().unwrap().send_message(BUDI, &number(at), text).await.unwrap();
}

/// Events written to the log, each in a transaction of its own, by several writers at once.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a test"]
async fn events_a_second() {
    let (_file, url) = sqlite_url();
    rate("SQLite", &url).await;
    let server = Server::durable().await;
    rate("PostgreSQL", &server.url("loss")).await;
}

async fn rate(engine: &str, url: &str) {
    let (db, ambient) = (Db::open(url, Options::default()).await.unwrap(), Ambient::system());
    db.migrate().await.unwrap();
    let organization = OrganizationId::new(ORGANIZATION);
    db.ensure_organization(&organization, ambient.now()).await.unwrap();
    let log = EventLog::new(db.clone(), Hub::default(), ambient);
    let began = Instant::now();
    let writers = (0..WRITERS).map(|_| {
        let (log, organization) = (log.clone(), organization.clone());
        tokio::spawn(async move {
            let mut count = 0u64;
            while began.elapsed() < SPAN {
                log.record(&organization, &SessionId::new(""), note("x".repeat(200))).await.unwrap();
                count += 1;
            }
            count
        })
    });
    let mut count = 0;
    for writer in writers.collect::<Vec<_>>() {
        count += writer.await.unwrap();
    }
    println!(
        "{engine}: {:.0} events a second, durable one by one, {WRITERS} writers",
        count as f64 / began.elapsed().as_secs_f64()
    );
    db.close().await;
}
