//! Nothing is lost: simulated people write to sessions as fast as it goes while the gateway is killed (SIGKILL) at random moments, the
//! database is restarted, and webhook receivers fail. At the end each message is in the log once, in the order of its chat; each receiver
//! has each event at least once, and each follower, which resumed by its cursor, exactly once.
//!
//! What runs with all tests takes about a minute an engine. The long form: `WAGW_LOSS=long cargo test --test it loss::`, with 20 phones,
//! 20 sessions, 20,000 messages and 30 kills; `WAGW_TEST_SEED` gives other moments.
#![expect(clippy::print_stderr, reason = "how often receivers were asked is worth knowing, and no condition")]

mod followers;
pub(crate) mod postgres;
mod receivers;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use self::followers::{Door, Follower};
use self::postgres::Server;
use self::receivers::{Mood, Receiver};
use crate::gateway::{KEY, PATIENCE};
use crate::support::{Engine, sqlite_url};

/// How much of it.
#[derive(Clone, Copy)]
struct Measure {
    phones: usize,
    sessions: usize,
    messages: usize,
    kills: usize,
}

/// After this long without anything new, something is lost: longer than a dead worker's claim, a breaker's pauses and a reconnect.
const STUCK: Duration = Duration::from_secs(150);

impl Measure {
    fn asked_for() -> Self {
        match std::env::var("WAGW_LOSS").as_deref() {
            Ok("long") => Self { phones: 20, sessions: 20, messages: 20_000, kills: 30 },
            _ => Self { phones: 4, sessions: 3, messages: 480, kills: 4 },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_on_sqlite() {
    nothing_is_lost(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_on_postgres() {
    nothing_is_lost(Engine::Postgres).await;
}

async fn nothing_is_lost(engine: Engine) {
    let measure = Measure::asked_for();
    let mut world = World::new(engine).await;
    world.start().await;
    let sessions = world.pair(measure.sessions).await;
    let mut receivers = Vec::new();
    for mood in [Mood::Good, Mood::Answers(500), Mood::Answers(401), Mood::Answers(429), Mood::Redirects, Mood::Hangs] {
        let receiver = Receiver::start(mood).await;
        let retries = json!({"policy": "constant", "delaySeconds": 1, "attempts": 1000});
        let hook = json!({"url": receiver.url, "events": ["message"], "retryPolicy": retries, "concurrency": 16});
        world.insist("POST", "/api/v1/webhooks", hook).await;
        receivers.push(receiver);
    }
    let doors = [Door::Lines, Door::ServerSent, Door::Socket];
    let followers = doors.map(|door| Follower::start(door, world.base.clone()));

    let writing = world.write(measure, &sessions).await;
    // Killed when so many messages have come through: seeded moments, whatever the machine's speed.
    let mut moments: Vec<usize> = (0..measure.kills).map(|_| world.dice(measure.messages * 9 / 10)).collect();
    moments.sort_unstable();
    for (kill, moment) in moments.into_iter().enumerate() {
        world.until("the next moment", || followers[0].messages(), moment).await;
        if kill % 2 == 1 {
            world.crash_database().await;
            // The gateway lives on and finds its database again.
            let seen = followers[0].messages();
            let next = (seen + 1).min(measure.messages);
            world.until("a message after the database's restart", || followers[0].messages(), next).await;
        }
        world.kill().await;
    }
    for writer in writing {
        writer.await.unwrap();
    }
    for follower in &followers {
        world.until(&format!("all messages by {:?}", follower.door), || follower.messages(), measure.messages).await;
    }
    let log = world.check_log(measure).await;
    for follower in &followers {
        // Each saw everything once and in order; later events of other kinds may still be on their way to one or the other.
        let seen = follower.seen();
        let resumed = follower.resumed.load(Ordering::Relaxed);
        assert!(seen.iter().map(|(sequence, _)| *sequence).eq(1..=i64::try_from(seen.len()).unwrap()), "{:?}", follower.door);
        assert!(resumed >= measure.kills, "{:?} was cut {resumed} times", follower.door);
        let ids: Vec<&String> = log.iter().map(|(sequence, _)| &seen[usize::try_from(*sequence).unwrap() - 1].1).collect();
        assert!(ids.into_iter().eq(log.iter().map(|(_, id)| id)), "{:?}", follower.door);
    }
    let mut wanted: Vec<String> = log.into_iter().map(|(_, id)| id).collect();
    wanted.sort();
    for receiver in &receivers {
        world.until(&format!("all events at the receiver that {:?}", receiver.mood), || receiver.count(), measure.messages).await;
        assert_eq!(receiver.taken(), wanted, "{:?}", receiver.mood);
        eprintln!("{engine:?}: {:?}: (calls, repetitions) = {:?}", receiver.mood, receiver.repeated());
    }
    let took = world.begun.elapsed();
    eprintln!("{engine:?}: {} messages, {} kills, {took:.0?}", measure.messages, measure.kills);
}

struct World {
    folder: TempDir,
    database_url: String,
    server: Option<Server>,
    _file: Option<TempDir>,
    base: String,
    sandbox: Child,
    control: String,
    sandbox_url: String,
    sandbox_key: String,
    gateway: Option<Child>,
    http: reqwest::Client,
    seed: u64,
    random: u64,
    begun: Instant,
}

impl World {
    async fn new(engine: Engine) -> Self {
        let seed = std::env::var("WAGW_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_128);
        let (file, server, database_url) = match engine {
            Engine::Sqlite => {
                let (file, url) = sqlite_url();
                (Some(file), None, url)
            }
            Engine::Postgres => {
                let server = Server::new().await;
                let url = server.url("loss");
                (None, Some(server), url)
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let mut sandbox = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"))
            .args(["sandbox", "--json", "--listen", "127.0.0.1:0", "--ws-listen", "127.0.0.1:0", "--log", "warn"])
            .env_clear()
            .env("WAGW_BOOTSTRAP_API_KEY", KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.path().join("sandbox.log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(sandbox.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self {
            folder,
            database_url,
            server,
            _file: file,
            base: format!("http://127.0.0.1:{port}"),
            control: text("control"),
            sandbox_url: text("url"),
            sandbox_key: text("key"),
            sandbox,
            gateway: None,
            http: reqwest::Client::builder().timeout(Duration::from_secs(35)).build().unwrap(),
            seed,
            random: seed,
            begun: Instant::now(),
        }
    }

    /// The next number below `below`, by splitmix64.
    fn dice(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(below).unwrap()).unwrap()
    }

    async fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let gateway = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"))
            .arg("serve")
            .env_clear()
            .env("WAGW_LISTEN", self.base.trim_start_matches("http://"))
            .env("WAGW_SANDBOX_URL", &self.sandbox_url)
            .env("WAGW_SANDBOX_KEY", &self.sandbox_key)
            .env("WAGW_DATA_DIR", self.folder.path())
            .env("WAGW_DATABASE_URL", &self.database_url)
            .env("WAGW_BOOTSTRAP_API_KEY", KEY)
            .env("WAGW_GATEWAY_ID", "gw-loss")
            .env("WAGW_EGRESS_ALLOW", "127.0.0.0/8")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.gateway = Some(gateway);
        let ready = async {
            while !matches!(self.call("GET", &self.base, "/readyz", None).await, Some((200, _))) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, ready).await.is_err() {
            self.fail("it did not start");
        }
    }

    /// SIGKILL, and up again.
    async fn kill(&mut self) {
        let mut gateway = self.gateway.take().unwrap();
        gateway.kill().unwrap();
        gateway.wait().unwrap();
        self.start().await;
    }

    /// PostgreSQL dies and comes back under the running gateway; an SQLite file has no server that could.
    async fn crash_database(&mut self) {
        if let Some(server) = &mut self.server {
            server.crash().await;
        }
    }

    fn fail(&self, why: &str) -> ! {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().filter(|line| !line.contains("answered")).take(60).collect();
        panic!("WAGW_TEST_SEED={}: {why}\n{}", self.seed, tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }

    async fn call(&self, method: &str, base: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        call(&self.http, method, &format!("{base}{path}"), body).await
    }

    /// A call to the gateway, or to the simulator by its paths, that must succeed; nothing is killed meanwhile.
    async fn insist(&self, method: &str, path: &str, body: Value) -> Value {
        let base = if path.starts_with("/sandbox/") { &self.control } else { &self.base };
        let body = (!body.is_null()).then_some(&body);
        match self.call(method, base, path, body).await {
            Some((200..=299, value)) => value,
            other => self.fail(&format!("{method} {path}: {other:?}")),
        }
    }

    /// Waits until a count is reached; fails when nothing moves any more.
    async fn until(&self, what: &str, count: impl Fn() -> usize, wanted: usize) {
        let (mut last, mut moved) = (count(), Instant::now());
        while last < wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = count();
            if now != last {
                (last, moved) = (now, Instant::now());
            } else if moved.elapsed() > STUCK {
                let sessions = self.call("GET", &self.base, "/api/v1/sessions", None).await;
                self.fail(&format!("{last} of {wanted}, and no more: {what}\n{sessions:?}"));
            }
        }
    }

    /// Makes sessions and pairs each with a phone; gives their numbers.
    async fn pair(&self, count: usize) -> Vec<String> {
        let mut numbers = Vec::new();
        for at in 0..count {
            let number = format!("62812100{at:05}");
            self.insist("POST", "/sandbox/v1/phones", json!({"phoneNumber": number, "pushName": "Shop", "autoRead": false}))
                .await;
            let made = self.insist("POST", "/api/v1/sessions", json!({"start": true})).await;
            let path = format!("/api/v1/sessions/{}", made["id"].as_str().unwrap());
            let qr = self.insist("GET", &format!("{path}/qr?wait=30"), Value::Null).await;
            self.insist("POST", &format!("/sandbox/v1/phones/{number}:scan"), json!({"code": qr["code"]})).await;
            let begun = Instant::now();
            while self.insist("GET", &path, Value::Null).await["status"] != "working" {
                assert!(begun.elapsed() < PATIENCE, "{number} does not connect");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            numbers.push(number);
        }
        numbers
    }

    /// Each phone writes its share, to the sessions in turn, as fast as the simulator takes it.
    async fn write(&self, measure: Measure, sessions: &[String]) -> Vec<tokio::task::JoinHandle<()>> {
        let mut writers = Vec::new();
        for phone in 0..measure.phones {
            let number = format!("62812200{phone:05}");
            self.insist("POST", "/sandbox/v1/phones", json!({"phoneNumber": number, "pushName": "Guest"})).await;
            let (http, sessions) = (self.http.clone(), sessions.to_vec());
            let url = format!("{}/sandbox/v1/phones/{number}/messages", self.control);
            writers.push(tokio::spawn(async move {
                for turn in 0..measure.messages / measure.phones {
                    let to = &sessions[(phone + turn) % sessions.len()];
                    let body = json!({"to": to, "text": format!("{phone}.{turn}")});
                    let answer = call(&http, "POST", &url, Some(&body)).await;
                    assert!(matches!(answer, Some((201, _))), "the simulator is never killed: {answer:?}");
                }
            }));
        }
        writers
    }

    /// Each message is in the log once, and each chat in its order. Gives the sequences and ids.
    async fn check_log(&self, measure: Measure) -> Vec<(i64, String)> {
        let (mut all, mut chats, mut after) = (Vec::new(), BTreeMap::<(String, usize), Vec<usize>>::new(), 0);
        loop {
            let page = self.insist("GET", &format!("/api/v1/events?events=message&limit=1000&after={after}"), Value::Null).await;
            for event in page["data"].as_array().unwrap() {
                let (phone, turn) = event["payload"]["body"].as_str().unwrap().split_once('.').unwrap();
                let chat = (event["session"].as_str().unwrap().to_owned(), phone.parse().unwrap());
                chats.entry(chat).or_default().push(turn.parse().unwrap());
                all.push((event["sequence"].as_i64().unwrap(), event["id"].as_str().unwrap().to_owned()));
            }
            match page["nextCursor"].as_i64() {
                Some(next) => after = next,
                None => break,
            }
        }
        if all.len() != measure.messages {
            self.fail(&format!("{} messages are in the log, {} were written", all.len(), measure.messages));
        }
        let (each, count) = (measure.messages / measure.phones, measure.sessions);
        let mut turns = vec![vec![0; each]; measure.phones];
        for ((session, phone), chat) in chats {
            if !chat.is_sorted() {
                self.fail(&format!("the chat of phone {phone} with {session} is not in order: {chat:?}"));
            }
            assert!(chat.windows(2).all(|pair| (pair[1] - pair[0]) % count == 0), "no message is in another session's log");
            chat.into_iter().for_each(|turn| turns[phone][turn] += 1);
        }
        assert!(turns.iter().flatten().all(|times| *times == 1), "each message once");
        all
    }
}

async fn call(http: &reqwest::Client, method: &str, url: &str, body: Option<&Value>) -> Option<(u16, Value)> {
    let mut call = http.request(method.parse().unwrap(), url).bearer_auth(KEY);
    if let Some(body) = body {
        call = call.header("content-type", "application/json").body(body.to_string());
    }
    let answer = call.send().await.ok()?;
    let status = answer.status().as_u16();
    let text = answer.text().await.ok()?;
    Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.gateway.iter_mut().chain([&mut self.sandbox]) {
            // Gone already is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
