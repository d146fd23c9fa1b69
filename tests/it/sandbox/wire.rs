//! Peers that do not speak the protocol: each loses its own connection, and nobody else notices.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, MaybeTlsStream, Message, WebSocketStream};
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::SandboxConfig;

use super::client::{ALICE, PATIENCE, Running};

async fn open(address: SocketAddr) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let uri = format!("ws://{address}/ws/chat").parse().unwrap();
    ClientBuilder::from_uri(uri).connect().await.unwrap().0
}

/// Waits until the server ends the connection.
async fn closed(mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>) {
    let end = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(PATIENCE, end).await.expect("the server ends the connection");
}

#[tokio::test]
async fn malformed_beginnings_close_only_their_own_connection() {
    let running = Running::with_phones().await;
    let client = running.linked(ALICE).await;
    let header = wacore_binary::consts::WA_CONN_HEADER;
    let oversize = [header.as_slice(), &[0xff, 0xff, 0xff]].concat();
    let garbage = [header.as_slice(), &[0, 0, 4, 1, 2, 3, 4]].concat();
    let empty = [header.as_slice(), &[0, 0, 0]].concat();
    for bytes in [b"GET / HTTP/1.1".to_vec(), b"WA\x05\x00".to_vec(), oversize, garbage, empty, vec![0; 3_000_000]] {
        let mut socket = open(running.address).await;
        let _ = socket.send(Message::binary(bytes)).await;
        closed(socket).await;
    }
    running.sandbox.send_message(super::client::BOB, ALICE, "undisturbed").await.unwrap();
    client.text("undisturbed").await;
}

#[tokio::test]
async fn a_connection_that_never_speaks_is_dropped() {
    let config = SandboxConfig { handshake_deadline: Duration::from_millis(200), ..Default::default() };
    let running = Running::with(config, Ambient::system()).await;
    closed(open(running.address).await).await;
    // The same without even an HTTP request.
    let mut raw = TcpStream::connect(running.address).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, raw.read_to_end(&mut rest)).await.expect("dropped").unwrap();
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let running = Running::start().await;
    let mut raw = TcpStream::connect(running.address).await.unwrap();
    raw.write_all(b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}
