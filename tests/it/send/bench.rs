//! Figures: `cargo test --test it -- --ignored --nocapture send::bench`. They are told, not asserted.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::time::Instant;

use serde_json::json;

use super::{BUDI, DEWI, Shop};
use crate::gateway::Home;
use crate::support::Engine;

/// Messages in each measurement.
const MANY: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figures, not facts"]
async fn sqlite() {
    figures(Home::new(Engine::Sqlite).await, "sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figures, not facts"]
async fn postgres() {
    figures(Home::new(Engine::Postgres).await, "postgres").await;
}

async fn figures(home: Home, engine: &str) {
    let shop = Shop::open(home.start().await).await;
    shop.unlimited().await;
    for to in [BUDI, DEWI] {
        shop.sent(json!({"type": "text", "to": to, "text": "first"})).await;
    }
    let mut waits = Vec::new();
    for n in 0..MANY {
        let since = Instant::now();
        shop.sent(json!({"type": "text", "to": BUDI, "text": format!("one {n}")})).await;
        waits.push(since.elapsed());
    }
    waits.sort();
    let at = |part: usize| waits[(waits.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!(
        "{engine}: synchronous send, one after another: median {:.1} ms, 95% {:.1} ms, worst {:.1} ms",
        at(50),
        at(95),
        at(100)
    );
    let since = Instant::now();
    let sends =
        (0..MANY).map(|n| shop.send(json!({"type": "text", "to": if n % 2 == 0 { BUDI } else { DEWI }, "text": "x"}), ""));
    let answers = futures_util::future::join_all(sends).await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
    println!("{engine}: one session, two chats, {MANY} at once: {:.0} texts/s", MANY as f64 / since.elapsed().as_secs_f64());
    shop.gateway.stop().await;
}
