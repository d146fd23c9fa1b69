//! Traces: one program, started as people start it, and a collector that is a stub, or hangs.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::patiently;
use crate::gateway::KEY;

/// As much of OTLP as this test reads.
mod otlp {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Request {
        #[prost(message, repeated, tag = "1")]
        pub(super) resources: Vec<ResourceSpans>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ResourceSpans {
        #[prost(message, repeated, tag = "2")]
        pub(super) scopes: Vec<ScopeSpans>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ScopeSpans {
        #[prost(message, repeated, tag = "2")]
        pub(super) spans: Vec<Span>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) trace: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) id: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        pub(super) parent: Vec<u8>,
        #[prost(string, tag = "5")]
        pub(super) name: String,
    }
}

type Spans = Arc<Mutex<(Vec<otlp::Span>, Vec<u8>)>>;

async fn take(State(spans): State<Spans>, body: Bytes) {
    let request = otlp::Request::decode(body.clone()).unwrap();
    let mut spans = spans.lock().unwrap();
    spans.0.extend(request.resources.into_iter().flat_map(|one| one.scopes).flat_map(|one| one.spans));
    spans.1.extend_from_slice(&body);
}

/// A collector that keeps what it gets.
async fn collector() -> (String, Spans) {
    let spans = Spans::default();
    let router = Router::new().route("/v1/traces", post(take)).with_state(spans.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, spans)
}

struct Program {
    child: Child,
    base: String,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Program {
    async fn start(collector: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listen = free();
        let child = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"))
            .args(["serve", "--sandbox"])
            .env_clear()
            .env("WAGW_LISTEN", listen.to_string())
            .env("WAGW_SANDBOX_LISTEN", free().to_string())
            .env("WAGW_DATA_DIR", folder.path())
            .env("WAGW_BOOTSTRAP_API_KEY", KEY)
            .env("WAGW_GATEWAY_ID", "gw-traced")
            .env("WAGW_LOG", "warn")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
            .env("OTEL_BSP_SCHEDULE_DELAY", "200")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let program = Self { child, base: format!("http://{listen}"), http: reqwest::Client::new(), _folder: folder };
        patiently("the program's start", async {
            while program.http.get(format!("{}/readyz", program.base)).send().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        program
    }

    async fn call(&self, method: &str, path: &str, body: Value, traceparent: Option<&str>) -> Value {
        let mut call = self.http.request(method.parse().unwrap(), format!("{}{path}", self.base)).bearer_auth(KEY);
        if !body.is_null() {
            call = call.header("content-type", "application/json").body(body.to_string());
        }
        if let Some(traceparent) = traceparent {
            call = call.header("traceparent", traceparent);
        }
        let answer = patiently(path, call.send()).await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Ends in good order, and says with which code.
    async fn end(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        patiently("the program's end", tokio::task::spawn_blocking(move || self.child.wait().unwrap().code())).await.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_trace_goes_on_to_the_frame_for_whatsapp() {
    let (url, spans) = collector().await;
    let program = Program::start(&url).await;
    for number in [SHOP, BUDI] {
        program.call("POST", "/sandbox/v1/phones", json!({"phoneNumber": number, "pushName": "x"}), None).await;
    }
    let made = program.call("POST", "/api/v1/sessions", json!({"start": true, "presenceTyping": false}), None).await;
    let path = format!("/api/v1/sessions/{}", made["id"].as_str().unwrap());
    let qr = program.call("GET", &format!("{path}/qr?wait=30"), Value::Null, None).await;
    program.call("POST", &format!("/sandbox/v1/phones/{SHOP}:scan"), json!({"code": qr["code"]}), None).await;
    patiently("the session", async {
        while program.call("GET", &path, Value::Null, None).await["status"] != "working" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (trace, caller) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let text = json!({"type": "text", "to": BUDI, "text": "a text that no span may tell"});
    program.call("POST", &format!("{path}/messages"), text, Some(&format!("00-{trace}-{caller}-01"))).await;
    assert_eq!(program.end().await, Some(0), "the last spans are exported at the end");

    let (all, raw) = spans.lock().unwrap().clone();
    let mine: Vec<_> = all.iter().filter(|span| hex(&span.trace) == trace).collect();
    let named = |name: &str| {
        let found = mine.iter().find(|span| span.name == name);
        *found.unwrap_or_else(|| panic!("no `{name}` among {:?}", mine.iter().map(|span| &span.name).collect::<Vec<_>>()))
    };
    assert_eq!(hex(&named("request").parent), caller);
    // From the frame back to the request, span by span.
    let (mut at, mut way) = (named("wa send"), Vec::new());
    while hex(&at.parent) != caller {
        way.push(at.name.as_str());
        at = *mine.iter().find(|span| span.id == at.parent).unwrap_or_else(|| panic!("the way breaks off behind {way:?}"));
    }
    assert_eq!((way, at.name.as_str()), (vec!["wa send", "attempt to send", "send message"], "request"));
    assert!(all.iter().any(|span| hex(&span.trace) != trace), "other calls have traces of their own");
    let raw = String::from_utf8_lossy(&raw);
    for secret in [SHOP, BUDI, "a text that no span may tell", KEY] {
        assert!(!raw.contains(secret), "{secret} is in the spans");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_holds_nobody_up() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let program = Program::start(&format!("http://{}", silent.local_addr().unwrap())).await;
    for _ in 0..3000 {
        program.call("GET", "/api/v1/sessions", Value::Null, None).await;
    }
    assert_eq!(program.end().await, Some(0));
    drop(silent);
}
