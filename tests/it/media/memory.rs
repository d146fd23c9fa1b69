//! A hundred megabytes through a gateway that is a process of its own: how much memory that takes.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::gateway::{KEY, PATIENCE};

/// Bytes of the file, and how much more memory its way may take.
const FILE: u64 = 100 << 20;
const BOUND: u64 = 40 << 20;

const PIECE: usize = 64 << 10;

/// A gateway with its own memory.
struct Gateway {
    child: Child,
    base: String,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Gateway {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port, sandbox) = (port(), port());
        let child = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"))
            .args(["serve", "--sandbox"])
            .env_clear()
            .env("WAGW_LISTEN", format!("127.0.0.1:{port}"))
            .env("WAGW_SANDBOX_LISTEN", format!("127.0.0.1:{sandbox}"))
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
    let gateway = Gateway::start().await;
    let session: Value = {
        let call = gateway.http.post(format!("{}/api/v1/sessions", gateway.base)).bearer_auth(KEY).json(&json!({}));
        call.send().await.unwrap().json().await.unwrap()
    };
    let path = format!("{}/api/v1/sessions/{}/media", gateway.base, session["id"].as_str().unwrap());
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
    let most = gateway.memory("VmHWM");
    #[expect(clippy::print_stdout, reason = "the figures are what this test is run for")]
    {
        println!("memory: {} MiB before, at most {} MiB while it came, {} MiB in all", before >> 20, up >> 20, most >> 20);
    }
    assert!(most - before < BOUND, "{} MiB more than before", (most - before) >> 20);
}
