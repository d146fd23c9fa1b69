//! Peers that do not speak the protocol, or speak it badly: each loses its own connection, and nobody else notices.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_websockets::{MaybeTlsStream, Message, WebSocketStream};
use wacore_binary::{Jid, Node};
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::SandboxConfig;

use super::client::{ALICE, BOB, PATIENCE, Peer, Running};
use super::raw::{Keys, Raw, SERVER, attr, child, el, websocket};

/// Waits until the server ends the connection.
async fn closed(mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>) {
    let end = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(PATIENCE, end).await.expect("the server ends the connection");
}

async fn undisturbed(running: &Running, client: &Peer) {
    running.sandbox.send_message(BOB, ALICE, "undisturbed").await.unwrap();
    client.text("undisturbed").await;
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
        let mut socket = websocket(running.address).await;
        let _ = socket.send(Message::binary(bytes)).await;
        closed(socket).await;
    }
    undisturbed(&running, &client).await;
}

#[tokio::test]
async fn what_is_no_websocket_frame_closes_only_its_own_connection() {
    let running = Running::with_phones().await;
    let client = running.linked(ALICE).await;
    // Not masked, reserved bits, an unknown opcode, a control frame of 2^63 bytes, a continuation of nothing.
    let frames: [&[u8]; 5] = [
        &[0x82, 0x05, 1, 2, 3, 4, 5],
        &[0xF2, 0x80, 0, 0, 0, 0],
        &[0x8B, 0x80, 0, 0, 0, 0],
        &[0x89, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0],
        &[0x80, 0x81, 0, 0, 0, 0, 1],
    ];
    for frame in frames {
        let mut raw = TcpStream::connect(running.address).await.unwrap();
        let upgrade = "GET /ws/chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        raw.write_all(upgrade.as_bytes()).await.unwrap();
        raw.write_all(frame).await.unwrap();
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, raw.read_to_end(&mut rest)).await.expect("closed");
        // A reset is as good as an end.
        assert!(read.is_err() || rest.starts_with(b"HTTP/1.1 101"), "{rest:?}");
    }
    undisturbed(&running, &client).await;
}

#[tokio::test]
async fn a_thousand_connections_that_never_speak_disturb_nobody() {
    let config = SandboxConfig { max_connections: 1010, ..Default::default() };
    let running = Running::with(config, Ambient::system()).await;
    running.sandbox.create_phone(ALICE, "Alice", true).await.unwrap();
    running.sandbox.create_phone(BOB, "Bob", true).await.unwrap();
    let client = running.linked(ALICE).await;
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    undisturbed(&running, &client).await;
    // A newcomer is still served.
    let other = running.linked(BOB).await;
    // Beyond the cap there is a clean refusal.
    for _ in 0..20 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    let mut refused = silent.pop().unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, refused.read_to_string(&mut answer)).await.expect("refused at once").unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    running.sandbox.send_message(BOB, ALICE, "still").await.unwrap();
    client.text("still").await;
    // When they go there is room again.
    drop(silent);
    drop(other);
    let room = super::client::eventually("there is room again", || async {
        let mut raw = TcpStream::connect(running.address).await.unwrap();
        raw.write_all(b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        raw.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 404").then_some(())
    });
    room.await;
}

#[tokio::test]
async fn half_handshakes_are_dropped() {
    let config = SandboxConfig { handshake_deadline: Duration::from_millis(300), ..Default::default() };
    let running = Running::with(config, Ambient::system()).await;
    let header = wacore_binary::consts::WA_CONN_HEADER;
    // A frame that never ends; a hello without its finish.
    let mut half = websocket(running.address).await;
    half.send(Message::binary([header.as_slice(), &[0, 0, 36, 1, 2]].concat())).await.unwrap();
    closed(half).await;
    let hello = waproto::whatsapp::handshake_message::ClientHello { ephemeral: Some(vec![9; 32]), ..Default::default() };
    let hello = waproto::whatsapp::HandshakeMessage { client_hello: buffa::MessageField::some(hello), ..Default::default() };
    let frame = wacore_noise::framing::encode_frame(&buffa::Message::encode_to_vec(&hello), Some(&header)).unwrap();
    let mut half = websocket(running.address).await;
    half.send(Message::binary(frame)).await.unwrap();
    closed(half).await;
}

#[tokio::test]
async fn a_connection_that_never_speaks_is_dropped() {
    let config = SandboxConfig { handshake_deadline: Duration::from_millis(200), ..Default::default() };
    let running = Running::with(config, Ambient::system()).await;
    closed(websocket(running.address).await).await;
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

/// Nothing of this gets an answer, and each ends the connection of the linked device that said it.
#[tokio::test]
async fn damaged_stanzas_of_a_known_device_close_only_its_connection() {
    let running = Running::with_phones().await;
    let client = running.linked(ALICE).await;
    let keys = Keys::generate();
    let device = Raw::link(&running, &keys, BOB).await;
    let deep: Vec<u8> = std::iter::once(0).chain((0..100_000).flat_map(|_| [248, 2, 252, 1, b'a', 248, 1])).collect();
    // Compressed, it is a few kilobytes; unpacked, 64 megabytes.
    let bomb = {
        use std::io::Write as _;
        let mut encoder = flate2::write::ZlibEncoder::new(vec![2], flate2::Compression::best());
        encoder.write_all(&vec![0; 64 << 20]).unwrap();
        encoder.finish().unwrap()
    };
    let cases: [(&str, Vec<u8>); 5] = [
        ("nothing", Vec::new()),
        ("noise", vec![0, 248, 255, 255, 1, 2, 3]),
        ("a list that is longer than the frame", vec![0, 249, 0xff, 0xff]),
        ("a deep nest", deep),
        ("a bomb", bomb),
    ];
    for (what, plain) in cases {
        let mut raw = Raw::log_in(running.address, &keys, BOB, device).await;
        raw.send_plain(&plain).await;
        let ended = tokio::time::timeout(PATIENCE, raw.ended()).await;
        assert!(ended.is_ok(), "{what}");
    }
    // A wrong seal, and a frame that is announced too large.
    for frame in [[&[0, 0, 40][..], &[7; 40]].concat(), vec![0x20, 0, 0]] {
        let mut raw = Raw::log_in(running.address, &keys, BOB, device).await;
        raw.send_frame(&frame).await;
        raw.ended().await;
    }
    undisturbed(&running, &client).await;
}

#[tokio::test]
async fn who_is_not_linked_may_not_send_large_frames() {
    let running = Running::with_phones().await;
    let keys = Keys::generate();
    let mut raw = Raw::register(running.address, &keys, keys.registration()).await;
    raw.reference().await;
    raw.send(el("iq").attr("id", "1").attr("xmlns", "w:p").attr("type", "get").attr("pad", "x".repeat(200_000)).build()).await;
    raw.ended().await;
}

#[tokio::test]
async fn unknown_stanzas_are_ignored_and_unknown_questions_refused() {
    let running = Running::with_phones().await;
    let keys = Keys::generate();
    let device = Raw::link(&running, &keys, ALICE).await;
    let mut raw = Raw::log_in(running.address, &keys, ALICE, device).await;
    for nonsense in [
        el("nonsense").build(),
        el("message").build(),
        el("message").attr("to", "4900000@s.whatsapp.net").attr("id", "1").build(),
        el("receipt").attr("to", SERVER).build(),
        el("ack").build(),
        el("presence").attr("type", "subscribe").build(),
        el("chatstate").build(),
        el("ib").children([el("offline_batch").attr("count", "-1").build()]).build(),
        el("iq").attr("type", "result").attr("id", "never-asked").build(),
    ] {
        raw.send(nonsense).await;
    }
    let refused = raw.ask("w:unheard-of", "get", vec![el("what").build()]).await;
    assert_eq!(attr(child(&refused, "error"), "code"), "501");
    assert_eq!(running.sandbox.unknown_requests().into_keys().collect::<Vec<_>>(), ["w:unheard-of what"]);
    // Names that a client invents are cut and counted together from some number on.
    let questions: Vec<Node> = (0..300).map(|n| el("x").attr("n", n.to_string()).build()).collect();
    for (n, question) in questions.into_iter().enumerate() {
        raw.question(&format!("{n}{}", "y".repeat(1000)), "get", vec![question]).await;
    }
    raw.ask("w:p", "get", Vec::new()).await;
    let unknown = running.sandbox.unknown_requests();
    assert!(unknown.len() <= 257 && unknown.keys().all(|name| name.len() <= 100), "{}", unknown.len());
    assert!(unknown["others"] > 40);
}

/// It asks and never reads: what waits for it is bounded, and then it is cut off.
#[tokio::test]
async fn a_client_that_never_reads_is_cut_off() {
    let running = Running::with_phones().await;
    let client = running.linked(ALICE).await;
    let keys = Keys::generate();
    let device = Raw::link(&running, &keys, BOB).await;
    let mut raw = Raw::log_in(running.address, &keys, BOB, device).await;
    // A small question with a large answer.
    running.sandbox.set_picture(BOB, Some(vec![0xff; 500_000])).await.unwrap();
    let wish = el("picture").attr("type", "image").build();
    let question = el("iq").attr("type", "get").attr("xmlns", "w:profile:picture").attr("id", "1");
    let question = question.attr("target", Jid::pn(BOB)).children([wish]).build();
    tokio::time::timeout(PATIENCE, raw.flood(&question)).await.expect("the server closes");
    running.phone(BOB, "cut off", |phone| (!phone.devices[0].online).then_some(())).await;
    undisturbed(&running, &client).await;
}
