//! What a port bears: browsers from elsewhere, slow and silent connections.

use std::time::Duration;

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use whatsapp_gateway::rest::serve::Limits;

use super::Server;

#[tokio::test]
async fn browsers_are_answered_from_configured_origins_only() {
    let server = Server::with(Limits::default(), &["https://console.example.org"]).await;
    let preflight = async |server: &Server, origin: &str| {
        let request = server.http.request(Method::OPTIONS, server.url("/whatsapp.gateway.v1.SessionService/GetSession"));
        let request = request.header("origin", origin).header("access-control-request-method", "POST");
        request.header("access-control-request-headers", "authorization,content-type,x-grpc-web").send().await.unwrap()
    };
    let answer = preflight(&server, "https://console.example.org").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["access-control-allow-origin"]),
        (200, &"https://console.example.org".parse().unwrap())
    );
    assert!(answer.headers().contains_key("x-request-id"));
    assert!(!preflight(&server, "https://evil.example.org").await.headers().contains_key("access-control-allow-origin"));
    let actual = server.get("/api/v1/sessions").header("origin", "https://console.example.org").send().await.unwrap();
    let exposed = actual.headers()["access-control-expose-headers"].to_str().unwrap();
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"] {
        assert!(exposed.split(',').any(|found| found.trim() == name), "{exposed}");
    }
    let closed = Server::start().await;
    let answer = preflight(&closed, "https://console.example.org").await;
    assert!(answer.status() == 404 && !answer.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn connections_that_bring_no_request_are_dropped() {
    let limits = Limits { head_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = Server::with(limits, &[]).await;
    // Silent; cut within the protocol detection; cut within the head; an HTTP/2 connection without a request.
    for begun in ["", "PRI * H", "GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut connection = TcpStream::connect(&server.address).await.unwrap();
        connection.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(20), connection.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "{begun:?} is still connected");
    }
    assert_eq!(server.get("/healthz").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let server = Server::with(Limits { connections: 1, ..Limits::default() }, &[]).await;
    let mut first = TcpStream::connect(&server.address).await.unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut begun = [0; 15];
    first.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200 OK");
    let second = server.get("/healthz").timeout(Duration::from_millis(300)).send().await;
    assert!(second.unwrap_err().is_timeout());
    drop(first);
    assert_eq!(server.get("/healthz").timeout(Duration::from_secs(20)).send().await.unwrap().status(), 200);
}
