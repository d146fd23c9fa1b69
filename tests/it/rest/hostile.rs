//! Clients that mean harm: what they get is an end or a clear error, and others are served meanwhile.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use whatsapp_gateway::rest::serve::Limits;

use super::{Server, refused};

const PATIENCE: Duration = Duration::from_secs(40);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(&server.address).await.unwrap()
}

/// The connection's end, and what came before it.
pub(super) async fn end(mut stream: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the connection ends");
    rest
}

async fn is_served(server: &Server) {
    let answer = server.get("/api/v1/sessions").timeout(PATIENCE).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

/// One HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_drip_are_cut_while_others_are_served() {
    let server = Server::with(Limits { head_timeout: Duration::from_millis(500), ..Limits::default() }, &[]).await;
    let mut slow = tokio::task::JoinSet::new();
    for n in 0..200 {
        let mut stream = connect(&server).await;
        slow.spawn(async move {
            let begun = if n % 2 == 0 { &b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: "[..] } else { &PREFACE[..10] };
            stream.write_all(begun).await.unwrap();
            let (read, mut write) = stream.into_split();
            let drip = async {
                // Always just in time, if only the silence counted.
                while write.write_all(b"a").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::select! { _ = end(read) => {}, () = drip => {} }
        });
    }
    while !slow.is_empty() {
        is_served(&server).await;
        while slow.try_join_next().is_some_and(|ended| ended.is_ok()) {}
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn floods_of_headers_are_refused() {
    let server = Server::start().await;
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "a".repeat(70 << 10));
    let address = format!("/{}", "a".repeat(66 << 10));
    for (path, headers, status) in [
        ("/healthz", &many, "431"),
        ("/healthz", &long, "431"), // The bound on the head may strike first.
        (&address, &String::new(), "4"),
    ] {
        let mut stream = connect(&server).await;
        // The answer may come, and the end with it, before all is written.
        let _ = stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes()).await;
        let answer = end(stream).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    // HTTP/2: one head without an end.
    let mut stream = connect(&server).await;
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(1, 0, 1, &[0x82, 0x86, 0x84])).await.unwrap();
    let header = [&[0x40, 1, b'x', 0x7f, 0x81, 0x7e][..], &[b'a'; 16_000]].concat();
    let continuation = frame(9, 0, 1, &header);
    let (read, mut write) = stream.into_split();
    let flood = async {
        let mut sent = 0;
        while sent < 64 << 20 && write.write_all(&continuation).await.is_ok() {
            sent += continuation.len();
        }
        sent
    };
    let (sent, _) = tokio::join!(tokio::time::timeout(PATIENCE, flood), end(read));
    assert!(sent.unwrap() < 64 << 20, "the flood is cut");
    is_served(&server).await;
}

#[tokio::test]
async fn streams_that_are_begun_and_dropped_end_the_connection() {
    let server = Server::start().await;
    let stream = connect(&server).await;
    let (read, mut write) = stream.into_split();
    write.write_all(PREFACE).await.unwrap();
    let flood = async {
        for n in 0..100_000_u32 {
            let head = frame(1, 5, 2 * n + 1, &[0x82, 0x86, 0x84, 0x41, 1, b'x']);
            let reset = frame(3, 0, 2 * n + 1, &[0, 0, 0, 8]);
            if write.write_all(&[head, reset].concat()).await.is_err() {
                return n;
            }
        }
        100_000
    };
    let (begun, _) = tokio::join!(flood, end(read));
    assert!(begun < 100_000, "the connection is cut");
    is_served(&server).await;
}

#[tokio::test]
async fn bodies_that_are_too_much_are_refused_in_words() {
    let server = Server::start().await;
    // Nested without end: as a list, as objects, as the value of a field.
    for deep in ["[".repeat(1 << 20), "{\"a\":".repeat(1 << 18), format!("{{\"metadata\":{}", "{\"a\":".repeat(200))] {
        refused(server.post("/api/v1/sessions", &deep), 400, "validation_error").await;
    }
    refused(server.post("/api/v1/sessions", &format!("{{\"label\":\"{}\"}}", "x".repeat(5 << 20))), 413, "validation_error")
        .await;
    // A length that is promised is not reserved.
    let mut stream = connect(&server).await;
    let head = "POST /api/v1/sessions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer all\r\ncontent-type: application/json\r\n";
    stream.write_all(format!("{head}content-length: 9000000000000000\r\n\r\n{{").as_bytes()).await.unwrap();
    is_served(&server).await;
    drop(stream);
    // What is no text is named: in the body, the path, the query, a header.
    let body = |bytes: &[u8]| server.post("/api/v1/sessions", "").body(bytes.to_vec());
    refused(body(b"{\"label\":\"\xc3\x28\"}"), 400, "validation_error").await;
    refused(body(b"\xff\xfe{\0}\0"), 400, "validation_error").await;
    refused(body(br#"{"label":"\ud800"}"#), 400, "validation_error").await;
    refused(server.get("/api/v1/sessions/%c3%28"), 400, "validation_error").await;
    refused(server.get("/api/v1/events?sessions=%c3%28"), 400, "validation_error").await;
    let key = reqwest::header::HeaderValue::from_bytes(b"\xc3\x28").unwrap();
    let send =
        server.post("/api/v1/sessions/a/messages", r#"{"type":"text","to":"1","text":"x"}"#).header("idempotency-key", key);
    refused(send, 400, "validation_error").await;
    // A stranger's body is not read at all.
    let stranger = server.http.request(Method::POST, server.url("/api/v1/sessions")).body("[".repeat(1 << 20));
    refused(stranger, 401, "unauthorized").await;
}

#[tokio::test]
async fn one_address_cannot_have_all_connections() {
    let server = Server::with(Limits { per_address: 2, ..Limits::default() }, &[]).await;
    let (first, second) = (connect(&server).await, connect(&server).await);
    assert!(end(connect(&server).await).await.is_empty(), "the third one is closed at once");
    let from = |address: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        socket.connect(server.address.parse().unwrap())
    };
    let mut other = from("127.0.0.2").await.unwrap();
    other.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(end(other).await.starts_with(b"HTTP/1.1 200"), "another address is served");
    drop((first, second));
    let begun = Instant::now();
    while server.get("/healthz").send().await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "places become free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
