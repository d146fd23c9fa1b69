//! Figures: a million stored messages, how large they are, and how fast words are found among them.
//! `cargo test --test it -- --ignored --nocapture store::bench`; `WAGW_TEST_MESSAGES` takes another number. They are told, not asserted.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::time::Instant;

use sqlx::{Connection as _, PgConnection};
use whatsapp_gateway::domain::message::Message;
use whatsapp_gateway::domain::session::Session;
use whatsapp_gateway::store::Db;

use super::messages::incoming;
use super::{later, stored_session};
use crate::support::{Engine, TestDb};

/// Different words, and words of a message.
const WORDS: usize = 5000;
const LENGTH: usize = 8;

/// Messages of one transaction, and searches of one measurement.
const BATCH: usize = 1000;
const SEARCHES: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figures, not facts"]
async fn sqlite() {
    figures(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figures, not facts"]
async fn postgres() {
    figures(Engine::Postgres).await;
}

/// Message `n` says words that its number chooses, and one that is its own.
fn message(n: usize, session: &Session) -> Message {
    let word = |at: usize| format!("word{}", (n * 2_654_435_761 + at * 40_503 * (n % 97 + 1)) % WORDS);
    let words: Vec<String> = (0..LENGTH).map(word).collect();
    let chat = format!("62812{:07}@s.whatsapp.net", n % 500);
    Message {
        chat_jid: chat.clone(),
        sender_jid: chat,
        body: Some(format!("{} unique{n}", words.join(" "))),
        timestamp: later(u64::try_from(n).unwrap()),
        ..incoming(&format!("01M8{n:022}"), session)
    }
}

async fn size(engine: Engine, test: &TestDb) -> u64 {
    match engine {
        Engine::Sqlite => {
            let path = test.url.trim_start_matches("sqlite://");
            ["", "-wal"].iter().filter_map(|end| std::fs::metadata(format!("{path}{end}")).ok()).map(|it| it.len()).sum()
        }
        Engine::Postgres => {
            let mut db = PgConnection::connect(&test.url).await.unwrap();
            let size: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())").fetch_one(&mut db).await.unwrap();
            u64::try_from(size).unwrap()
        }
    }
}

async fn figures(engine: Engine) {
    let many: usize = std::env::var("WAGW_TEST_MESSAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let test = engine.open().await;
    let db = &test.db;
    let session = stored_session(db, "S1", "a").await;
    let (before, since) = (size(engine, &test).await, Instant::now());
    for from in (0..many).step_by(BATCH) {
        let messages: Vec<Message> = (from..many.min(from + BATCH)).map(|n| message(n, &session)).collect();
        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.insert_past(&messages).await.unwrap().len(), messages.len());
        tx.commit().await.unwrap();
    }
    let (took, after) = (since.elapsed().as_secs_f64(), size(engine, &test).await);
    println!(
        "{engine:?}: {many} messages stored in {took:.0} s ({:.0}/s), {} bytes each with text, indexes and words",
        many as f64 / took,
        (after - before) / many as u64
    );
    let latest = message(many - 1, &session).body.unwrap();
    let mut words = latest.split(' ');
    let (common, other) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    for (what, words) in [
        ("a common word", vec![common.clone()]),
        ("two common words", vec![common, other]),
        ("the beginning of many words", vec!["word12".to_owned()]),
        ("what one message says", vec![format!("unique{}", many / 2)]),
        ("what none says", vec!["nothing".to_owned()]),
    ] {
        search(db, &session, engine, what, &words).await;
    }
    test.db.close().await;
}

async fn search(db: &Db, session: &Session, engine: Engine, what: &str, words: &[String]) {
    let (mut waits, mut found) = (Vec::new(), 0);
    for _ in 0..SEARCHES {
        let since = Instant::now();
        found = db.search_messages(&session.id, words, None, None, 50).await.unwrap().len();
        waits.push(since.elapsed().as_secs_f64() * 1e3);
    }
    waits.sort_by(f64::total_cmp);
    println!(
        "{engine:?}: {what}: {found} on the first page; median {:.1} ms, 95% {:.1} ms, worst {:.1} ms",
        waits[SEARCHES / 2],
        waits[SEARCHES * 95 / 100],
        waits[SEARCHES - 1]
    );
}
