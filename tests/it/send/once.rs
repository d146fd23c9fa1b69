//! Everything arrives once. A real child process is killed at random moments of a seeded schedule while clients send in every way: waiting
//! for the answer and trying again, asynchronously, scheduled; and the sandbox drops sockets and answers meanwhile. In the end every
//! recipient shows each message once, every accepted request has ended in a truthful state, and nothing is in between.
//!
//! `WAGW_TEST_SENDS` and `WAGW_TEST_KILLS` make it longer (5000 and 30 for the long run), `WAGW_TEST_SEED` repeats one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::SHOP;
use crate::crash::World;
use crate::support::Engine;

/// How many clients send at the same time.
const CLIENTS: usize = 12;

/// Those who are written to.
const PEOPLE: [&str; 5] = ["6281200000002", "6281200000003", "6281200000004", "6281200000005", "6281200000006"];

/// How a client sends.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// It waits for the answer, and tries again without one.
    Waiting,
    /// It is content with "stored".
    Async,
    /// The same, for a moment soon.
    Scheduled,
}

/// One message that a client wants to be sent.
#[derive(Clone, Debug)]
struct Wish {
    text: String,
    to: &'static str,
    way: Way,
    /// Fixed by the first try: a repeated call is the same call.
    at: Option<i64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    everything_arrives_once(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    everything_arrives_once(Engine::Postgres).await;
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn everything_arrives_once(engine: Engine) {
    let (sends, kills) = (setting("WAGW_TEST_SENDS", 240), setting("WAGW_TEST_KILLS", 6));
    let mut world = World::new(engine, setting("WAGW_TEST_SEED", 20_261_128)).await;
    world.start().await;
    for number in PEOPLE.iter().chain([&SHOP]) {
        world.insist("POST", "/sandbox/v1/phones", json!({"phoneNumber": number, "pushName": number}), &[201]).await;
    }
    let session = world.pair().await;
    let free = json!({"ratePerMin": 10_000, "ratePerHour": 100_000});
    world.insist("PATCH", &session, free, &[200]).await;

    let mut wishes: VecDeque<Wish> = VecDeque::new();
    for n in 0..sends {
        let to = PEOPLE[usize::try_from(world.dice(5)).unwrap()];
        let way = [Way::Waiting, Way::Async, Way::Scheduled][usize::try_from(world.dice(3)).unwrap()];
        wishes.push_back(Wish { text: format!("message {n}"), to, way, at: None });
    }
    let per_life = usize::try_from(sends.div_ceil(kills + 1)).unwrap();
    let mut accepted: BTreeMap<String, (Wish, Value)> = BTreeMap::new();
    let mut trying: Vec<Wish> = Vec::new();
    for life in 0..=kills {
        trying.extend(wishes.drain(..per_life.min(wishes.len())));
        arm(&world, life).await;
        let moment = (life < kills).then(|| world.dice(2500) + 200);
        let done = Mutex::new(Vec::new());
        let work = async {
            let calls = futures_util::stream::iter(trying.iter_mut().map(|wish| try_to_send(&world, &session, wish, &done)));
            calls.for_each_concurrent(CLIENTS, |call| call).await;
        };
        match moment {
            // The last life is not interrupted: whoever has no answer yet gets one.
            None => work.await,
            Some(ms) => {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep(Duration::from_millis(ms)) => {}
                    () = work => {}
                }
            }
        }
        for (wish, answer) in done.into_inner().unwrap() {
            accepted.insert(wish.text.clone(), (wish, answer));
        }
        trying.retain(|wish| !accepted.contains_key(&wish.text));
        if life < kills {
            world.kill().await;
        }
    }
    // The last of them without faults, each until it is accepted.
    world.insist("DELETE", "/sandbox/v1/faults", Value::Null, &[204]).await;
    for mut wish in trying {
        let done = Mutex::new(Vec::new());
        let answered = async {
            while done.lock().unwrap().is_empty() {
                try_to_send(&world, &session, &mut wish, &done).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(120), answered).await.is_err() {
            world.fail(&format!("`{}` was never accepted", wish.text));
        }
        for (wish, answer) in done.into_inner().unwrap() {
            accepted.insert(wish.text.clone(), (wish, answer));
        }
    }
    assert_eq!(accepted.len() as u64, sends);
    // In good order again: stopped and started, so that no wound of the last life is what is waited for.
    world.until(&session, "working", |s| s["status"] == "working" && s["statusDetail"]["reason"] == "connected").await;
    let empty = |queue: &Value| queue["data"].as_array().is_some_and(Vec::is_empty);
    world.until(&format!("{session}/outbox"), "nothing in between", empty).await;
    check(&world, &session, &accepted).await;
}

/// What goes wrong in one life of the process; the sandbox dies with it, and its faults too.
async fn arm(world: &World, life: u64) {
    let faults =
        [("drop", "message", 0.03), ("drop", "receipt", 0.01), ("duplicate", "message", 0.05), ("redeliver", "message", 0.05)];
    for (kind, stanza, probability) in faults {
        let fault = json!({"kind": kind, "stanza": stanza, "probability": probability, "seed": life});
        world.insist("POST", "/sandbox/v1/faults", fault, &[201]).await;
    }
}

/// One call; what was accepted goes to `done`. Everything else is to be tried again with the same key.
async fn try_to_send(world: &World, session: &str, wish: &mut Wish, done: &Mutex<Vec<(Wish, Value)>>) {
    let mut body = json!({"type": "text", "to": wish.to, "text": wish.text});
    if matches!(wish.way, Way::Scheduled) {
        let soon = || whatsapp_gateway::domain::clock::Ambient::system().now().0 + 500;
        body["sendAt"] = json!(*wish.at.get_or_insert_with(soon));
    }
    let query = if matches!(wish.way, Way::Async) { "?async=true" } else { "" };
    let answer = world.call("POST", &format!("{session}/messages{query}"), Some(&body), Some(&wish.text)).await;
    match answer {
        Some((200 | 202, answer)) => done.lock().unwrap().push((wish.clone(), answer)),
        // Not connected, or not answered in time: both pass.
        Some((409 | 503 | 504, _)) | None => {}
        Some((status, answer)) => world.fail(&format!("{}: {status} {answer}", wish.text)),
    }
}

async fn check(world: &World, session: &str, accepted: &BTreeMap<String, (Wish, Value)>) {
    for (text, (wish, answer)) in accepted {
        let path = format!("{session}/messages/{}", answer["waMessageId"].as_str().unwrap_or_default());
        let ended = |message: &Value| matches!(message["delivery"]["state"].as_str(), Some("sent"));
        let message = world.until(&path, "its end", ended).await;
        if message["body"] != **text || message["status"] == "pending" || message["status"] == "failed" {
            world.fail(&format!("`{text}`, sent {:?}, ends as {message}", wish.way));
        }
    }
    for number in PEOPLE {
        let wanted: Vec<&String> = accepted.values().filter(|(wish, _)| wish.to == number).map(|(wish, _)| &wish.text).collect();
        let path = format!("/sandbox/v1/phones/{number}/messages?with={SHOP}");
        let texts = |page: &Value| -> BTreeMap<String, u32> {
            let mut counts = BTreeMap::new();
            for row in page["data"].as_array().unwrap().iter().filter(|row| row["state"] != "undecryptable") {
                *counts.entry(row["text"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
            counts
        };
        let all = |page: &Value| wanted.iter().all(|text| texts(page).contains_key(*text));
        let page = world.until(&path, "every message", all).await;
        let counts = texts(&page);
        for text in &wanted {
            if counts.get(*text) != Some(&1) {
                world.fail(&format!("{number} shows `{text}` {:?} times", counts.get(*text)));
            }
        }
        if counts.len() != wanted.len() {
            world.fail(&format!("{number} shows {} messages, not {}", counts.len(), wanted.len()));
        }
    }
}
