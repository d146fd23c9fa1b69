//! A hundred megabytes through a gateway that is a process of its own: how much memory that takes.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::{Sandbox, SandboxConfig};

use crate::gateway::{KEY, PATIENCE};

/// Bytes of the file, and how much more memory its way may take.
const FILE: u64 = 100 << 20;
const BOUND: u64 = 40 << 20;

const PIECE: usize = 64 << 10;

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";

/// A gateway with its own memory.
struct Gateway {
    child: Child,
    base: String,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Gateway {
    /// A gateway whose sessions connect to this sandbox, which has its memory elsewhere.
    async fn start(address: SocketAddr, sandbox: &Sandbox) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let key = sandbox.static_public_key().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let child = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"))
            .arg("serve")
            .env_clear()
            .env("WAGW_LISTEN", format!("127.0.0.1:{port}"))
            .env("WAGW_SANDBOX_URL", format!("ws://{address}/ws/chat"))
            .env("WAGW_SANDBOX_KEY", key)
            .env("WAGW_DATA_DIR", folder.path())
            .env("WAGW_BOOTSTRAP_API_KEY", KEY)
            .env("WAGW_GATEWAY_ID", "gw-memory")
            .env("WAGW_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let it = Self { child, base: format!("http://127.0.0.1:{port}"), http: reqwest::Client::new(), _folder: folder };
        let ready = async {
            while !it.http.get(format!("{}/readyz", it.base)).send().await.is_ok_and(|answer| answer.status() == 200) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the gateway starts");
        it
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let call = self.http.request(method.parse().unwrap(), format!("{}{path}", self.base)).bearer_auth(KEY);
        let call = if let Some(body) = body { call.json(&body) } else { call };
        let answer = call.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn until(&self, path: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let shown = self.call("GET", path, None).await;
                if fits(&shown) {
                    return shown;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE * 4, wait).await.unwrap_or_else(|_| panic!("{path} never shows {what}"))
    }

    /// What it has in memory now, and the most it ever had, in bytes.
    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Piece `at` of the file.
fn piece(at: u64) -> Bytes {
    (0..PIECE as u64).map(|byte| u8::try_from((at * 7 + byte * 31 + byte / 251) % 256).unwrap()).collect::<Vec<_>>().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_need_little_memory() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sandbox = Sandbox::open(SandboxConfig::default(), Ambient::system()).await.unwrap();
    let (serving, end) = (sandbox.clone(), CancellationToken::new());
    let _end = end.clone().drop_guard();
    tokio::spawn(async move { serving.serve(listener, end).await });
    for number in [SHOP, BUDI] {
        sandbox.create_phone(number, number, true).await.unwrap();
    }
    let gateway = Gateway::start(address, &sandbox).await;
    let session = gateway.call("POST", "/api/v1/sessions", Some(json!({"start": true, "presenceTyping": false}))).await;
    let session = format!("/api/v1/sessions/{}", session["id"].as_str().unwrap());
    let qr = gateway.call("GET", &format!("{session}/qr?wait=30"), None).await;
    sandbox.scan_qr(SHOP, qr["code"].as_str().unwrap()).await.unwrap();
    gateway.until(&session, "a connection", |it| it["status"] == "working").await;
    // What sending takes by itself is no part of what a file takes.
    let text = json!({"type": "text", "to": BUDI, "text": "a file follows"});
    gateway.call("POST", &format!("{session}/messages"), Some(text)).await;
    let path = format!("{}{session}/media", gateway.base);
    let before = gateway.memory("VmRSS");

    let pieces = FILE / PIECE as u64;
    let body = futures_util::stream::iter((0..pieces).map(|at| Ok::<_, std::io::Error>(piece(at))));
    let call = gateway.http.post(&path).bearer_auth(KEY).body(reqwest::Body::wrap_stream(body));
    let file: Value = call.send().await.unwrap().json().await.unwrap();
    assert_eq!((&file["state"], &file["size"]), (&json!("ready"), &json!(FILE)), "{file}");
    let up = gateway.memory("VmHWM");

    let url = format!("{path}/{}/content", file["id"].as_str().unwrap());
    let mut content = gateway.http.get(url).bearer_auth(KEY).send().await.unwrap().bytes_stream();
    let (mut hash, mut length) = (Sha256::new(), 0);
    while let Some(bytes) = content.next().await {
        let bytes = bytes.unwrap();
        length += bytes.len() as u64;
        hash.update(&bytes);
    }
    let hash = hash.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    assert_eq!((length, &json!(hash)), (FILE, &file["sha256"]));
    let down = gateway.memory("VmHWM");

    // And on to WhatsApp, encrypted.
    let document = json!({"type": "document", "to": BUDI, "media": {"id": file["id"], "filename": "large.bin"}});
    let sent = gateway.call("POST", &format!("{session}/messages?async=true"), Some(document)).await;
    let sent = format!("{session}/messages/{}", sent["outboxId"].as_str().unwrap());
    let message = gateway.until(&sent, "its end", |it| it["delivery"]["settledAt"].is_i64()).await;
    assert_eq!((&message["delivery"]["state"], &message["media"]["size"]), (&json!("sent"), &json!(FILE)), "{message}");
    let rows = sandbox.list_messages(BUDI, None).await.unwrap();
    let shown = rows.iter().find(|row| row.id == message["waMessageId"].as_str().unwrap()).and_then(|row| row.media.clone());
    assert_eq!(json!(shown.unwrap().sha256), file["sha256"], "the phone has been told of the same file");
    let most = gateway.memory("VmHWM");
    #[expect(clippy::print_stdout, reason = "the figures are what this test is run for")]
    {
        let [before, up, down, most] = [before, up, down, most].map(|bytes| bytes >> 20);
        println!(
            "memory: {before} MiB before, at most {up} MiB while it came, {down} while it was read, {most} when it was sent"
        );
    }
    assert!(most - before < BOUND, "{} MiB more than before", (most - before) >> 20);
}
