//! Kill -9 at random moments of a seeded schedule: during pairing, while messages flow both ways, and during logout. Gateway and
//! sandbox are one process and die together. After each restart the session is what its row says; at the end no message is lost or
//! doubled, and both sides still decrypt.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{KEY, PATIENCE};
use crate::support::Engine;

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";

/// How often it is killed in each act.
const KILLS: [u32; 3] = [10, 35, 5];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    fifty_kills(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    fifty_kills(Engine::Postgres).await;
}

async fn fifty_kills(engine: Engine) {
    let seed = std::env::var("WAGW_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_123);
    let mut world = World::new(engine, seed).await;
    world.start().await;
    for number in [SHOP, BUDI] {
        world.insist("POST", "/sandbox/v1/phones", json!({"phoneNumber": number, "pushName": number}), &[201]).await;
    }
    let session = world.pair_under_fire().await;
    world.talk_under_fire(&session).await;
    world.log_out_under_fire(&session).await;
    let kills = world.kills;
    assert_eq!(kills, KILLS.iter().sum::<u32>());
}

pub(crate) struct World {
    folder: TempDir,
    _database: Option<TempDir>,
    database_url: String,
    ports: [u16; 2],
    child: Option<Child>,
    http: reqwest::Client,
    seed: u64,
    random: u64,
    pub(crate) kills: u32,
}

impl World {
    pub(crate) async fn new(engine: Engine, seed: u64) -> Self {
        let (database, database_url) = engine.url().await;
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self {
            folder: tempfile::tempdir().unwrap(),
            _database: database,
            database_url,
            ports: [free(), free()],
            child: None,
            http: reqwest::Client::builder().timeout(Duration::from_secs(35)).build().unwrap(),
            seed,
            random: seed,
            kills: 0,
        }
    }

    /// The next number below `below`, by splitmix64.
    pub(crate) fn dice(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    pub(crate) async fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"))
            .args(["serve", "--sandbox"])
            .env_clear()
            .env("WAGW_LISTEN", format!("127.0.0.1:{}", self.ports[0]))
            .env("WAGW_SANDBOX_LISTEN", format!("127.0.0.1:{}", self.ports[1]))
            .env("WAGW_DATA_DIR", self.folder.path())
            .env("WAGW_DATABASE_URL", &self.database_url)
            .env("WAGW_BOOTSTRAP_API_KEY", KEY)
            .env("WAGW_GATEWAY_ID", "gw-crash")
            .env("WAGW_LOG", std::env::var("WAGW_TEST_LOG").unwrap_or("info".to_owned()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let ready = async {
            while !matches!(self.call("GET", "/readyz", None, None).await, Some((200, _))) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, ready).await.is_err() {
            self.fail("it did not start");
        }
    }

    /// SIGKILL, and up again.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.kills += 1;
        self.start().await;
    }

    pub(crate) fn fail(&self, why: &str) -> ! {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(25).collect();
        if let Some(place) = std::env::var_os("WAGW_TEST_KEEP") {
            // What was in the files at that moment, for whoever looks for the cause.
            let _ = Command::new("cp").arg("-a").arg(self.folder.path()).arg(place).status();
        }
        panic!(
            "WAGW_TEST_SEED={}, after {} kills: {why}\n{}",
            self.seed,
            self.kills,
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }

    /// One call; `None` when there was no answer.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>, key: Option<&str>) -> Option<(u16, Value)> {
        let url = format!("http://127.0.0.1:{}{path}", self.ports[0]);
        let mut call = self.http.request(method.parse().unwrap(), url).bearer_auth(KEY);
        if let Some(key) = key {
            call = call.header("idempotency-key", key);
        }
        if let Some(body) = body {
            call = call.header("content-type", "application/json").body(body.to_string());
        }
        let answer = call.send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// A call that must succeed with one of `wanted`; nothing is killed meanwhile.
    pub(crate) async fn insist(&self, method: &str, path: &str, body: Value, wanted: &[u16]) -> Value {
        let body = (!body.is_null()).then_some(&body);
        match self.call(method, path, body, None).await {
            Some((status, value)) if wanted.contains(&status) => value,
            other => self.fail(&format!("{method} {path}: {other:?}")),
        }
    }

    pub(crate) async fn until(&self, path: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let wait = async {
            loop {
                if let Some((200, value)) = self.call("GET", path, None, None).await {
                    last = value;
                    if fits(&last) {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            self.fail(&format!("{path} never showed {what}: {last}"));
        }
        last
    }

    /// Does `work` and kills it at a random moment of it.
    async fn interrupted<T>(&mut self, within_ms: u64, work: impl AsyncFnOnce(&Self) -> T) -> Option<T> {
        let moment = Duration::from_millis(self.dice(within_ms));
        let done = tokio::select! {
            biased;
            () = tokio::time::sleep(moment) => None,
            done = work(self) => Some(done),
        };
        self.kill().await;
        done
    }

    /// Act one: pairing is interrupted again and again. Gives a paired session.
    async fn pair_under_fire(&mut self) -> String {
        let mut paired = None;
        while self.kills < KILLS[0] {
            let made = self.insist("POST", "/api/v1/sessions", json!({"start": true, "presenceTyping": false}), &[201]).await;
            let path = format!("/api/v1/sessions/{}", made["id"].as_str().unwrap());
            self.interrupted(700, async |world| {
                let (_, qr) = world.call("GET", &format!("{path}/qr?wait=20"), None, None).await?;
                let scan = format!("/sandbox/v1/phones/{SHOP}:scan");
                world.call("POST", &scan, Some(&json!({"code": qr["code"]})), None).await
            })
            .await;
            let row = self.insist("GET", &path, Value::Null, &[200]).await;
            match row["phoneNumber"].as_str() {
                Some(number) => {
                    assert_eq!(number, SHOP);
                    self.until(&path, "working", |s| s["status"] == "working").await;
                    if let Some(old) = paired.replace(path) {
                        self.insist("DELETE", &old, Value::Null, &[204]).await;
                    }
                }
                None => {
                    // Not paired, so it offers codes again; it is not the one to go on with.
                    self.until(&path, "a code or the pairing", |s| s["status"] == "scan_qr_code" || s["status"] == "working")
                        .await;
                    self.insist("DELETE", &path, Value::Null, &[204]).await;
                }
            }
        }
        match paired {
            Some(path) => path,
            None => self.pair().await,
        }
    }

    /// A session that is paired with the shop's phone; its path.
    pub(crate) async fn pair(&self) -> String {
        let made = self.insist("POST", "/api/v1/sessions", json!({"start": true, "presenceTyping": false}), &[201]).await;
        let path = format!("/api/v1/sessions/{}", made["id"].as_str().unwrap());
        let qr = self.insist("GET", &format!("{path}/qr?wait=30"), Value::Null, &[200]).await;
        self.insist("POST", &format!("/sandbox/v1/phones/{SHOP}:scan"), json!({"code": qr["code"]}), &[200]).await;
        self.until(&path, "working", |s| s["status"] == "working").await;
        path
    }

    /// Act two: messages flow both ways.
    async fn talk_under_fire(&mut self, session: &str) {
        self.insist("PATCH", session, json!({"ratePerMin": 10_000, "ratePerHour": 100_000}), &[200]).await;
        // Text of what the phone wrote → whether the sandbox said that it has it.
        let mut written: BTreeMap<String, bool> = BTreeMap::new();
        let mut answered: BTreeMap<String, bool> = BTreeMap::new();
        let last = KILLS[0] + KILLS[1];
        let mut round = 0;
        while self.kills < last {
            round += 1;
            // What was not confirmed is tried again with the same key: that must never make two of it.
            let mut sends: Vec<String> = answered.iter().filter(|(_, done)| !**done).map(|(text, _)| text.clone()).collect();
            sends.extend((0..3).map(|n| format!("answer {round}.{n}")));
            let writes: Vec<String> = (0..3).map(|n| format!("question {round}.{n}")).collect();
            for text in &sends {
                answered.entry(text.clone()).or_insert(false);
            }
            for text in &writes {
                written.insert(text.clone(), false);
            }
            let (done_writes, done_sends) = (std::sync::Mutex::new(Vec::new()), std::sync::Mutex::new(Vec::new()));
            self.interrupted(900, async |world| {
                let write = async {
                    for text in &writes {
                        let path = format!("/sandbox/v1/phones/{BUDI}/messages");
                        let body = json!({"to": SHOP, "text": text});
                        if let Some((201, _)) = world.call("POST", &path, Some(&body), None).await {
                            done_writes.lock().unwrap().push(text.clone());
                        }
                    }
                };
                let send = async {
                    for text in &sends {
                        let body = json!({"type": "text", "to": BUDI, "text": text});
                        let answer = world.call("POST", &format!("{session}/messages"), Some(&body), Some(text)).await;
                        if let Some((200, _)) = answer {
                            done_sends.lock().unwrap().push(text.clone());
                        }
                    }
                };
                tokio::join!(write, send)
            })
            .await;
            written.extend(done_writes.into_inner().unwrap().into_iter().map(|text| (text, true)));
            answered.extend(done_sends.into_inner().unwrap().into_iter().map(|text| (text, true)));
            let row = self.insist("GET", session, Value::Null, &[200]).await;
            assert_eq!(row["phoneNumber"], SHOP, "the pairing is never lost");
        }
        self.check_talk(session, &written, &answered).await;
    }

    async fn check_talk(&self, session: &str, written: &BTreeMap<String, bool>, answered: &BTreeMap<String, bool>) {
        self.until(session, "working", |s| s["status"] == "working").await;
        for text in answered.keys() {
            let body = json!({"type": "text", "to": BUDI, "text": text});
            let wait = async {
                while !matches!(self.call("POST", &format!("{session}/messages"), Some(&body), Some(text)).await, Some((200, _)))
                {
                }
            };
            if tokio::time::timeout(PATIENCE, wait).await.is_err() {
                self.fail(&format!("`{text}` could not be sent in the end"));
            }
        }
        // One more each way: the ratchets still turn.
        self.insist(
            "POST",
            &format!("/sandbox/v1/phones/{BUDI}/messages"),
            json!({"to": SHOP, "text": "the last question"}),
            &[201],
        )
        .await;
        let events = "/api/v1/events?events=message&limit=1000";
        let has_last = |e: &Value| e["data"].as_array().unwrap().iter().any(|e| e["payload"]["body"] == "the last question");
        let log = self.until(events, "the last question", has_last).await;
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        for event in log["data"].as_array().unwrap() {
            *seen.entry(event["payload"]["body"].as_str().unwrap()).or_default() += 1;
        }
        for (text, confirmed) in written {
            let count = seen.get(text.as_str()).copied().unwrap_or(0);
            if count > 1 || (*confirmed && count == 0) {
                self.fail(&format!("`{text}` (confirmed: {confirmed}) is in the log {count} times"));
            }
        }
        let shown_path = format!("/sandbox/v1/phones/{BUDI}/messages?with={SHOP}");
        let incoming = |m: &Value| m["data"].as_array().unwrap().iter().filter(|m| m["direction"] == "in").count();
        let shown = self.until(&shown_path, "every answer", |m| incoming(m) >= answered.len()).await;
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for message in shown["data"].as_array().unwrap().iter().filter(|m| m["direction"] == "in") {
            if message["state"] == "undecryptable" {
                self.fail(&format!("the phone cannot decrypt {message}"));
            }
            *counts.entry(message["text"].as_str().unwrap()).or_default() += 1;
        }
        for text in answered.keys() {
            if counts.get(text.as_str()) != Some(&1) {
                self.fail(&format!("the phone shows `{text}` {:?} times", counts.get(text.as_str())));
            }
        }
    }

    /// Act three: logging out is interrupted.
    async fn log_out_under_fire(&mut self, session: &str) {
        let logout = format!("{session}:logout");
        while self.kills < KILLS.iter().sum() {
            self.interrupted(150, async |world| world.call("POST", &logout, Some(&json!({})), None).await).await;
            let settled = ["working", "logged_out"];
            self.until(session, "an end of it", |s| settled.iter().any(|status| s["status"] == *status)).await;
        }
        let row = self.insist("POST", &logout, json!({}), &[200]).await;
        assert_eq!((&row["status"], row.get("phoneNumber")), (&json!("logged_out"), None));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
