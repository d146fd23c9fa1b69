//! A hundred megabytes through a gateway that is a process of its own: how much memory that takes.

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::{Sandbox, SandboxConfig};

use crate::gateway::KEY;
use crate::support::process::Process;

/// Bytes of the file, and how much more memory its way may take.
const FILE: u64 = 100 << 20;
const BOUND: u64 = 40 << 20;

const PIECE: usize = 64 << 10;

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";

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
    let key = sandbox.static_public_key().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let url = format!("ws://{address}/ws/chat");
    // The sandbox has its memory here, the gateway its own.
    let gateway = Process::start(&[("WAGW_SANDBOX_URL", &url), ("WAGW_SANDBOX_KEY", &key)]).await;
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
