//! A light device on a real connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use buffa::{Message as _, MessageField};
use bytes::BytesMut;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};
use wacore::companion_reg::CompanionWebClientType;
use wacore::pair::{DeviceState, PairUtils};
use wacore_binary::consts::{NOISE_PATTERN_XX, WA_CONN_HEADER};
use wacore_binary::{Jid, Node};
use wacore_libsignal::protocol::KeyPair;
use wacore_noise::framing::encode_frame;
use wacore_noise::{NoiseCipher, NoiseHandshake};
use waproto::whatsapp as wa;

use super::Phones;
use super::ledger::Ledger;
use crate::domain::clock::Ambient;
use crate::sandbox::keys::public;
use crate::sandbox::server::registration::CURVE;
use crate::sandbox::wire::frames::Frames;
use crate::sandbox::wire::node::{SERVER, attr, bytes, child_bytes, children, el, jid, pack, unpack};

/// The largest frame that a device takes.
const MAX_FRAME: usize = 4 * 1024 * 1024;

/// About as large as the ciphertext of a short text.
const CIPHERTEXT: usize = 160;

/// How often a device says that it is still there.
const PING: Duration = Duration::from_secs(60);

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<TcpStream>;

/// The sending half of a connection; the one who talks and the one who acknowledges share it.
#[derive(Clone)]
pub(super) struct Mouth {
    line: Arc<Mutex<Line>>,
    number: Arc<str>,
}

struct Line {
    sink: SplitSink<Socket, Message>,
    seal: NoiseCipher,
    count: u32,
}

impl Line {
    async fn say(&mut self, node: &Node) -> Result<()> {
        let sealed = self.seal.encrypt_with_counter(self.count, &pack(node)?)?;
        self.count += 1;
        Ok(self.sink.send(Message::binary(encode_frame(&sealed, None)?)).await?)
    }
}

impl Mouth {
    async fn say(&self, node: &Node) -> Result<()> {
        self.line.lock().await.say(node).await
    }

    /// Writes to a device.
    pub(super) async fn write(&self, id: &str, to: &str, device: u16) -> Result<()> {
        let sealed = el("enc").attr("v", "2").attr("type", "msg").bytes(vec![0x5a; CIPHERTEXT]).build();
        let copy = el("to").attr("jid", Jid::pn_device(to, device)).children([sealed]).build();
        let message = el("message").attr("to", Jid::pn(to)).attr("id", id.to_owned()).attr("type", "text");
        self.say(&message.children([el("participants").children([copy]).build()]).build()).await
    }
}

/// The receiving half.
pub(super) struct Ear {
    stream: SplitStream<Socket>,
    frames: Frames,
    open: NoiseCipher,
    count: u32,
}

impl Ear {
    /// The next stanza; none at the end.
    async fn hear(&mut self) -> Result<Option<Node>> {
        loop {
            if let Some(mut frame) = self.frames.next()? {
                self.open.decrypt_in_place_with_counter(self.count, &mut frame)?;
                self.count += 1;
                return Ok(Some(unpack(frame)?));
            }
            match self.stream.next().await {
                None => return Ok(None),
                Some(message) => {
                    let message = message?;
                    if message.is_close() {
                        return Ok(None);
                    }
                    self.frames.feed(message.as_payload());
                }
            }
        }
    }

    /// The next stanza of this name.
    async fn until(&mut self, tag: &str) -> Result<Node> {
        let search = async {
            loop {
                let node = self.hear().await?.with_context(|| format!("the connection ended before <{tag}>"))?;
                if node.tag == tag {
                    return Ok(node);
                }
                if node.tag == "failure" || node.tag == "stream:error" {
                    bail!("{} {}{} instead of <{tag}>", node.tag, attr(&node, "reason"), attr(&node, "code"));
                }
            }
        };
        tokio::time::timeout(DEADLINE, search).await.with_context(|| format!("<{tag}> did not come"))?
    }

    /// Takes and acknowledges what comes until the end.
    pub(super) async fn listen(mut self, mouth: Mouth, ledger: Arc<Ledger>, stop: CancellationToken) {
        let mut ping = tokio::time::interval(PING);
        loop {
            let heard = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                heard = self.hear() => heard,
                _ = ping.tick() => {
                    let ping = el("iq").attr("to", SERVER).attr("id", "ping").attr("xmlns", "w:p").attr("type", "get").build();
                    if mouth.say(&ping).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            let Ok(Some(node)) = heard else { return };
            for answer in answers(&node, &mouth.number, &ledger) {
                if mouth.say(&answer).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Notes what a stanza says and gives what is to be said to it.
fn answers(node: &Node, own: &str, ledger: &Ledger) -> Vec<Node> {
    let (id, kind) = (attr(node, "id"), attr(node, "type"));
    let from = jid(node, "from");
    let receipt = |kind: Option<&'static str>| {
        let receipt = el("receipt").attr("id", id.clone()).attr("to", attr(node, "from"));
        kind.into_iter().fold(receipt, |receipt, kind| receipt.attr("type", kind)).build()
    };
    match node.tag.as_ref() {
        "message" if attr(node, "category") == "peer" => vec![receipt(Some("peer_msg"))],
        // A copy of what the own phone sent.
        "message" if node.attrs.get("recipient").is_some() => vec![receipt(Some("sender"))],
        "message" => {
            let answers = vec![receipt(None), receipt(Some("read"))];
            ledger.arrived(id);
            answers
        }
        "receipt" | "notification" => {
            let ack = el("ack").attr("class", node.tag.to_string()).attr("id", id.clone()).attr("to", attr(node, "from"));
            // Of the account's own other devices, and of phones, which the load does not count.
            let of_device = from.is_some_and(|from| from.device != 0 && from.user != own);
            if node.tag == "receipt" && of_device {
                match kind.as_str() {
                    "" | "inactive" => ledger.receipt(id, false),
                    "read" => ledger.receipt(id, true),
                    _ => {}
                }
            }
            vec![if kind.is_empty() { ack } else { ack.attr("type", kind) }.build()]
        }
        "ack" if node.attrs.get("error").is_some() => {
            ledger.refused();
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// A device that is linked and logged in.
pub(super) struct Linked {
    mouth: Mouth,
    ear: Ear,
    device: u16,
}

impl Linked {
    /// Registers, is linked by the phone, and logs in.
    pub(super) async fn link(address: SocketAddr, number: &str, phones: &dyn Phones, ambient: &Ambient) -> Result<Self> {
        let pair = || KeyPair::generate(&mut ambient.rng());
        let (noise, identity, signed) = (pair(), pair(), pair());
        let signature = identity.calculate_signature(&signed.public_key.serialize(), &mut ambient.rng())?;
        let registration_id: [u8; 4] = (u32::from_be_bytes(ambient.random()) >> 2 | 1).to_be_bytes();
        let data = wa::client_payload::DevicePairingRegistrationData {
            e_regid: Some(registration_id.to_vec()),
            e_keytype: Some(vec![CURVE]),
            e_ident: Some(public(&identity).to_vec()),
            e_skey_id: Some(vec![0, 0, 1]),
            e_skey_val: Some(public(&signed).to_vec()),
            e_skey_sig: Some(signature.to_vec()),
            build_hash: Some(vec![0; 16]),
            device_props: Some(wa::DeviceProps { os: Some("load".to_owned()), ..Default::default() }.encode_to_vec()),
        };
        let payload = wa::ClientPayload { device_pairing_data: MessageField::some(data), ..Default::default() };
        let (mut line, mut ear) = connect(address, &noise, &payload, ambient).await?;
        let offer = ear.until("iq").await?;
        line.say(&el("iq").attr("to", SERVER).attr("id", attr(&offer, "id")).attr("type", "result").build()).await?;
        let first = offer.get_optional_child("pair-device").and_then(|offer| children(offer).first());
        let reference = String::from_utf8(first.map(bytes).context("no reference")?)?;
        let state = DeviceState { identity_key: identity.clone(), noise_key: noise.clone(), adv_secret_key: ambient.random() };
        let code = PairUtils::make_qr_data(&state, &reference, CompanionWebClientType::Chrome);
        let accept = async {
            let success = ear.until("iq").await?;
            let pair = success.get_optional_child("pair-success").context("no pair-success")?;
            let device = pair.get_optional_child("device").and_then(|device| jid(device, "jid")).context("no device")?.device;
            let proof = child_bytes(pair, "device-identity").context("no identity")?;
            let (own, index) = PairUtils::do_pair_crypto(&state, &proof).map_err(|error| anyhow::anyhow!("{error}"))?;
            line.say(&PairUtils::build_pair_success_response(&attr(&success, "id"), own, index)).await?;
            anyhow::Ok(device)
        };
        let (device, ()) = tokio::try_join!(accept, phones.scan(number, &code))?;

        let payload = wa::ClientPayload {
            username: number.parse().ok(),
            device: Some(u32::from(device)),
            passive: Some(true),
            pull: Some(true),
            ..Default::default()
        };
        let (mut line, mut ear) = connect(address, &noise, &payload, ambient).await?;
        ear.until("success").await?;
        let key =
            |id: u8, key: &KeyPair| vec![el("id").bytes(vec![0, 0, id]).build(), el("value").bytes(public(key).to_vec()).build()];
        let mut signed_key = key(1, &signed);
        signed_key.push(el("signature").bytes(signature.to_vec()).build());
        let one_time = (1..=5).map(|id| el("key").children(key(id, &pair())).build());
        line.say(&question(
            "keys",
            "encrypt",
            vec![
                el("registration").bytes(registration_id.to_vec()).build(),
                el("type").bytes(vec![CURVE]).build(),
                el("identity").bytes(public(&identity).to_vec()).build(),
                el("list").children(one_time).build(),
                el("skey").children(signed_key).build(),
            ],
        ))
        .await?;
        line.say(&question("active", "passive", vec![el("active").build()])).await?;
        // Its answers may be anything; the end of the offline queue says that all is well.
        while ear.until("ib").await?.get_optional_child("offline").is_none() {}
        line.say(&el("presence").attr("type", "available").attr("name", "Load").build()).await?;
        Ok(Self { mouth: Mouth { line: Arc::new(Mutex::new(line)), number: number.into() }, ear, device })
    }

    pub(super) fn address(&self) -> (String, u16) {
        (self.mouth.number.to_string(), self.device)
    }

    pub(super) fn split(self) -> (Mouth, Ear) {
        (self.mouth, self.ear)
    }
}

fn question(id: &'static str, namespace: &'static str, parts: Vec<Node>) -> Node {
    el("iq").attr("to", SERVER).attr("id", id).attr("type", "set").attr("xmlns", namespace).children(parts).build()
}

/// Opens a connection and comes by XX, without a look at the certificate.
async fn connect(address: SocketAddr, noise: &KeyPair, payload: &wa::ClientPayload, ambient: &Ambient) -> Result<(Line, Ear)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let uri = format!("ws://{address}/ws/chat").parse()?;
    let (mut socket, _) = ClientBuilder::from_uri(uri).connect_on(stream).await?;
    let mut frames = Frames::new(MAX_FRAME);
    let ephemeral = KeyPair::generate(&mut ambient.rng());
    let mut handshake = NoiseHandshake::new(NOISE_PATTERN_XX, &WA_CONN_HEADER)?;
    handshake.authenticate(&public(&ephemeral));
    let hello = wa::handshake_message::ClientHello { ephemeral: Some(public(&ephemeral).to_vec()), ..Default::default() };
    let hello = wa::HandshakeMessage { client_hello: MessageField::some(hello), ..Default::default() };
    socket.send(Message::binary(encode_frame(&hello.encode_to_vec(), Some(&WA_CONN_HEADER))?)).await?;
    let reply: BytesMut = loop {
        if let Some(frame) = frames.next()? {
            break frame;
        }
        let message = socket.next().await.context("no answer to the handshake")??;
        frames.feed(message.as_payload());
    };
    let reply = wa::HandshakeMessage::decode_from_slice(&reply)?.server_hello.into_option().context("no server hello")?;
    let key = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).map_err(|_| anyhow::anyhow!("not a key"));
    let theirs = key(reply.ephemeral.context("no ephemeral key")?)?;
    handshake.authenticate(&theirs);
    handshake.mix_shared_secret(ephemeral.private_key.serialize(), &theirs)?;
    let their_static = key(handshake.decrypt(&reply.r#static.context("no static key")?)?)?;
    handshake.mix_shared_secret(ephemeral.private_key.serialize(), &their_static)?;
    handshake.decrypt(&reply.payload.context("no certificate")?)?;
    let own_static = handshake.encrypt(&public(noise))?;
    handshake.mix_shared_secret(noise.private_key.serialize(), &theirs)?;
    let payload = handshake.encrypt(&payload.encode_to_vec())?;
    let finish = wa::handshake_message::ClientFinish { r#static: Some(own_static), payload: Some(payload), ..Default::default() };
    let finish = wa::HandshakeMessage { client_finish: MessageField::some(finish), ..Default::default() };
    socket.send(Message::binary(encode_frame(&finish.encode_to_vec(), None)?)).await?;
    let (seal, open) = handshake.finish()?;
    let (sink, stream) = socket.split();
    Ok((Line { sink, seal, count: 0 }, Ear { stream, frames, open, count: 0 }))
}
