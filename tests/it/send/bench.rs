//! Figures: `cargo test --test it -- --ignored --nocapture send::bench`. They are told, not asserted.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::time::Instant;

use serde_json::json;

use super::{BUDI, DEWI, Shop};
use crate::gateway::{Home, KEY};
use crate::support::Engine;

/// Messages in each measurement.
const MANY: usize = 300;

/// Sessions that send at the same time, and what each of them sends.
const SESSIONS: usize = 50;
const EACH: usize = 20;

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
    many_sessions(&shop, engine).await;
    shop.gateway.stop().await;
}

/// Fifty sessions that all send at once, each to both people.
async fn many_sessions(shop: &Shop, engine: &str) {
    let mut sessions = Vec::new();
    for n in 0..SESSIONS {
        let path = format!("/api/v1/sessions/{}", shop.gateway.paired(&format!("62812100{n:05}")).await);
        let free = json!({"ratePerMin": 10_000, "ratePerHour": 100_000});
        assert_eq!(shop.gateway.call_as(Some(KEY), "PATCH", &path, Some(free)).await.0, 200);
        sessions.push(format!("{path}/messages"));
    }
    let send = async |path: &str, n: usize| {
        let body = json!({"type": "text", "to": ([BUDI, DEWI][n % 2]), "text": "x"});
        assert_eq!(shop.gateway.call_as(Some(KEY), "POST", path, Some(body)).await.0, 200);
    };
    futures_util::future::join_all(sessions.iter().flat_map(|path| [send(path, 0), send(path, 1)])).await;
    let since = Instant::now();
    futures_util::future::join_all(sessions.iter().flat_map(|path| (0..EACH).map(|n| send(path, n)))).await;
    let all = SESSIONS * EACH;
    println!("{engine}: {SESSIONS} sessions, {all} at once: {:.0} texts/s", all as f64 / since.elapsed().as_secs_f64());
}
