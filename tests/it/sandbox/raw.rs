//! A small client of our own that speaks in raw stanzas: it comes by XX without checking the certificate and registers by itself, as
//! clients of other authors do, and it can say what the real library never would.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use buffa::{Message as _, MessageField};
use bytes::BytesMut;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, MaybeTlsStream, Message, WebSocketStream};
use wacore::companion_reg::CompanionWebClientType;
use wacore::pair::{DeviceState, PairUtils};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::consts::{NOISE_PATTERN_XX, WA_CONN_HEADER};
use wacore_binary::{Jid, Node, NodeContent, OwnedNodeRef};
use wacore_libsignal::protocol::{
    CiphertextMessage, Direction, GenericSignedPreKey as _, IdentityChange, IdentityKey, IdentityKeyPair, IdentityKeyStore,
    KeyPair, PreKeyId, PreKeyRecord, PreKeySignalMessage, PreKeyStore, ProtocolAddress, SessionRecord, SessionStore,
    SignalMessage, SignalProtocolError, SignedPreKeyId, SignedPreKeyRecord, SignedPreKeyStore, Timestamp, UsePQRatchet,
    message_decrypt,
};
use wacore_noise::framing::encode_frame;
use wacore_noise::{NoiseCipher, NoiseHandshake};
use waproto::whatsapp as wa;
use whatsapp_gateway::domain::clock::Ambient;

use super::client::{PATIENCE, Running};

pub(super) const SERVER: &str = "s.whatsapp.net";

pub(super) fn el(tag: &'static str) -> NodeBuilder {
    NodeBuilder::new(tag)
}

pub(super) fn attr(node: &Node, name: &str) -> String {
    node.attrs.get(name).map(|value| value.as_str().into_owned()).unwrap_or_default()
}

pub(super) fn child<'a>(node: &'a Node, tag: &str) -> &'a Node {
    node.get_optional_child(tag).unwrap_or_else(|| panic!("no <{tag}> in {node:?}"))
}

pub(super) fn content(node: &Node) -> Vec<u8> {
    match &node.content {
        Some(NodeContent::Bytes(bytes)) => bytes.clone(),
        Some(NodeContent::String(text)) => text.as_bytes().to_vec(),
        _ => Vec::new(),
    }
}

/// The keys of a device.
pub(super) struct Keys {
    pub(super) noise: KeyPair,
    pub(super) identity: KeyPair,
    pub(super) signed: KeyPair,
    pub(super) signature: [u8; 64],
    pub(super) registration_id: u32,
    pub(super) adv_secret: [u8; 32],
    pub(super) one_time: Vec<KeyPair>,
    sessions: HashMap<String, SessionRecord>,
    ambient: Ambient,
}

impl Keys {
    pub(super) fn generate() -> Self {
        let ambient = Ambient::system();
        let pair = || KeyPair::generate(&mut ambient.rng());
        let (identity, signed) = (pair(), pair());
        let signature = identity.calculate_signature(&signed.public_key.serialize(), &mut ambient.rng()).unwrap();
        Self {
            noise: pair(),
            identity,
            signed,
            signature: signature.as_ref().try_into().unwrap(),
            registration_id: 0x0102_0304,
            adv_secret: ambient.random(),
            one_time: (0..5).map(|_| pair()).collect(),
            sessions: HashMap::new(),
            ambient,
        }
    }

    /// What the client says when it registers; every part as the real server wants it.
    pub(super) fn registration(&self) -> wa::client_payload::DevicePairingRegistrationData {
        let properties = wa::DeviceProps {
            os: Some("Plan 9".to_owned()),
            platform_type: Some(wa::device_props::PlatformType::FIREFOX),
            require_full_sync: Some(false),
            ..Default::default()
        };
        wa::client_payload::DevicePairingRegistrationData {
            e_regid: Some(self.registration_id.to_be_bytes().to_vec()),
            e_keytype: Some(vec![5]),
            e_ident: Some(self.identity.public_key.public_key_bytes().to_vec()),
            e_skey_id: Some(vec![0, 0, 1]),
            e_skey_val: Some(self.signed.public_key.public_key_bytes().to_vec()),
            e_skey_sig: Some(self.signature.to_vec()),
            build_hash: Some(vec![7; 16]),
            device_props: Some(properties.encode_to_vec()),
        }
    }

    /// The text of the QR code for a reference.
    pub(super) fn qr(&self, reference: &str) -> String {
        PairUtils::make_qr_data(&self.device_state(), reference, CompanionWebClientType::Chrome)
    }

    fn device_state(&self) -> DeviceState {
        DeviceState { identity_key: self.identity.clone(), noise_key: self.noise.clone(), adv_secret_key: self.adv_secret }
    }

    /// Decrypts one `<enc>` from `from` to the text in it.
    pub(super) async fn open(&mut self, from: &Jid, encrypted: &Node) -> wa::Message {
        let bytes = content(encrypted);
        let sealed = match attr(encrypted, "type").as_str() {
            "pkmsg" => CiphertextMessage::PreKeySignalMessage(PreKeySignalMessage::try_from(bytes.as_slice()).unwrap()),
            _ => CiphertextMessage::SignalMessage(SignalMessage::try_from(bytes.as_slice()).unwrap()),
        };
        let address = ProtocolAddress::new(&from.user, u32::from(from.device).into());
        let mut rng = self.ambient.rng();
        let mut identity = Stores { keys: &Own::of(self), sessions: &mut HashMap::new() };
        let own = Own::of(self);
        let mut sessions = Stores { keys: &own, sessions: &mut self.sessions };
        let mut prekeys = own.clone();
        let opened =
            message_decrypt(&sealed, &address, &mut sessions, &mut identity, &mut prekeys, &own, &mut rng, UsePQRatchet::No);
        let mut plain = opened.await.unwrap().plaintext;
        let padding = usize::from(*plain.last().unwrap());
        plain.truncate(plain.len() - padding);
        wa::Message::decode_from_slice(&plain).unwrap()
    }
}

/// The private keys, as the Signal library asks for them.
#[derive(Clone)]
struct Own {
    identity: KeyPair,
    registration_id: u32,
    signed: KeyPair,
    signature: [u8; 64],
    one_time: Vec<KeyPair>,
}

impl Own {
    fn of(keys: &Keys) -> Self {
        Self {
            identity: keys.identity.clone(),
            registration_id: keys.registration_id,
            signed: keys.signed.clone(),
            signature: keys.signature,
            one_time: keys.one_time.clone(),
        }
    }
}

struct Stores<'a> {
    keys: &'a Own,
    sessions: &'a mut HashMap<String, SessionRecord>,
}

type Outcome<T> = Result<T, SignalProtocolError>;

#[async_trait]
impl IdentityKeyStore for Stores<'_> {
    async fn get_identity_key_pair(&self) -> Outcome<IdentityKeyPair> {
        let pair = &self.keys.identity;
        Ok(IdentityKeyPair::new(IdentityKey::new(pair.public_key), pair.private_key.clone()))
    }
    async fn get_local_registration_id(&self) -> Outcome<u32> {
        Ok(self.keys.registration_id)
    }
    async fn save_identity(&mut self, _: &ProtocolAddress, _: &IdentityKey) -> Outcome<IdentityChange> {
        Ok(IdentityChange::NewOrUnchanged)
    }
    async fn is_trusted_identity(&self, _: &ProtocolAddress, _: &IdentityKey, _: Direction) -> Outcome<bool> {
        Ok(true)
    }
    async fn get_identity(&self, _: &ProtocolAddress) -> Outcome<Option<IdentityKey>> {
        Ok(None)
    }
}

#[async_trait]
impl SessionStore for Stores<'_> {
    async fn load_session(&self, address: &ProtocolAddress) -> Outcome<Option<SessionRecord>> {
        Ok(self.sessions.get(address.as_str()).cloned())
    }
    async fn has_session(&self, address: &ProtocolAddress) -> Outcome<bool> {
        Ok(self.sessions.contains_key(address.as_str()))
    }
    async fn store_session(&mut self, address: &ProtocolAddress, mut record: SessionRecord) -> Outcome<()> {
        record.waive_counter_lease();
        self.sessions.insert(address.as_str().to_owned(), record);
        Ok(())
    }
}

#[async_trait]
impl PreKeyStore for Own {
    async fn get_pre_key(&self, id: PreKeyId) -> Outcome<PreKeyRecord> {
        let at = usize::try_from(u32::from(id)).unwrap() - 1;
        Ok(PreKeyRecord::new(id, self.one_time.get(at).ok_or(SignalProtocolError::InvalidPreKeyId)?))
    }
    async fn save_pre_key(&mut self, _: PreKeyId, _: &PreKeyRecord) -> Outcome<()> {
        Ok(())
    }
    async fn remove_pre_key(&mut self, _: PreKeyId) -> Outcome<()> {
        Ok(())
    }
}

#[async_trait]
impl SignedPreKeyStore for Own {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> Outcome<SignedPreKeyRecord> {
        Ok(SignedPreKeyRecord::new(id, Timestamp::from_epoch_millis(0), &self.signed, &self.signature))
    }
    async fn save_signed_pre_key(&mut self, _: SignedPreKeyId, _: &SignedPreKeyRecord) -> Outcome<()> {
        Ok(())
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection after the handshake.
pub(super) struct Raw {
    socket: Socket,
    buffer: BytesMut,
    seal: NoiseCipher,
    open: NoiseCipher,
    sent: u32,
    received: u32,
    asked: u32,
    /// Stanzas that came while something else was awaited, oldest first.
    pub(super) aside: Vec<Node>,
}

pub(super) async fn websocket(address: SocketAddr) -> Socket {
    let uri = format!("ws://{address}/ws/chat").parse().unwrap();
    ClientBuilder::from_uri(uri).connect().await.unwrap().0
}

impl Raw {
    /// Comes by XX with this payload.
    pub(super) async fn connect(address: SocketAddr, noise: &KeyPair, payload: &wa::ClientPayload) -> Self {
        let mut socket = websocket(address).await;
        let mut buffer = BytesMut::new();
        let ephemeral = KeyPair::generate(&mut Ambient::system().rng());
        let mut handshake = NoiseHandshake::new(NOISE_PATTERN_XX, &WA_CONN_HEADER).unwrap();
        let ephemeral_public = ephemeral.public_key.public_key_bytes().to_vec();
        handshake.authenticate(&ephemeral_public);
        let hello = wa::handshake_message::ClientHello { ephemeral: Some(ephemeral_public), ..Default::default() };
        let hello = wa::HandshakeMessage { client_hello: MessageField::some(hello), ..Default::default() };
        let frame = encode_frame(&hello.encode_to_vec(), Some(&WA_CONN_HEADER)).unwrap();
        socket.send(Message::binary(frame)).await.unwrap();
        let answer = next_frame(&mut socket, &mut buffer).await.expect("a server hello");
        let answer = wa::HandshakeMessage::decode_from_slice(&answer).unwrap().server_hello.into_option().unwrap();
        let theirs: [u8; 32] = answer.ephemeral.unwrap().try_into().unwrap();
        handshake.authenticate(&theirs);
        handshake.mix_shared_secret(ephemeral.private_key.serialize(), &theirs).unwrap();
        let their_static: [u8; 32] = handshake.decrypt(&answer.r#static.unwrap()).unwrap().try_into().unwrap();
        handshake.mix_shared_secret(ephemeral.private_key.serialize(), &their_static).unwrap();
        // The certificate, which this client is told not to check.
        handshake.decrypt(&answer.payload.unwrap()).unwrap();
        let own_static = handshake.encrypt(noise.public_key.public_key_bytes()).unwrap();
        handshake.mix_shared_secret(noise.private_key.serialize(), &theirs).unwrap();
        let payload = handshake.encrypt(&payload.encode_to_vec()).unwrap();
        let finish =
            wa::handshake_message::ClientFinish { r#static: Some(own_static), payload: Some(payload), ..Default::default() };
        let finish = wa::HandshakeMessage { client_finish: MessageField::some(finish), ..Default::default() };
        socket.send(Message::binary(encode_frame(&finish.encode_to_vec(), None).unwrap())).await.unwrap();
        let (seal, open) = handshake.finish().unwrap();
        Self { socket, buffer, seal, open, sent: 0, received: 0, asked: 0, aside: Vec::new() }
    }

    /// Comes to be registered.
    pub(super) async fn register(
        address: SocketAddr,
        keys: &Keys,
        data: wa::client_payload::DevicePairingRegistrationData,
    ) -> Self {
        let payload = wa::ClientPayload {
            passive: Some(false),
            pull: Some(false),
            device_pairing_data: MessageField::some(data),
            ..Default::default()
        };
        Self::connect(address, &keys.noise, &payload).await
    }

    /// Logs in as a linked device, without making itself ready.
    pub(super) async fn log_in(address: SocketAddr, keys: &Keys, number: &str, device: u16) -> Self {
        let payload = wa::ClientPayload {
            username: number.parse().ok(),
            device: Some(u32::from(device)),
            passive: Some(true),
            pull: Some(true),
            ..Default::default()
        };
        let mut raw = Self::connect(address, &keys.noise, &payload).await;
        let success = raw.next().await.unwrap();
        assert_eq!(success.tag, "success", "{success:?}");
        raw
    }

    /// Registers and is linked by the phone `number`; the connection has ended then.
    pub(super) async fn link(running: &Running, keys: &Keys, number: &str) -> u16 {
        let mut raw = Self::register(running.address, keys, keys.registration()).await;
        let reference = raw.reference().await;
        // Newer clients put an address before it, so that a phone's own camera opens the right page.
        let code = format!("https://wa.me/settings/linked_devices#{}", keys.qr(&reference));
        let (scanned, device) = tokio::join!(running.sandbox.scan_qr(number, &code), raw.accept_link(keys));
        scanned.unwrap();
        let restart = raw.until("stream:error").await;
        assert_eq!(attr(&restart, "code"), "515");
        raw.ended().await;
        device
    }

    /// The first reference that the server offers, acknowledged.
    pub(super) async fn reference(&mut self) -> String {
        let offer = self.until("iq").await;
        let references = child(&offer, "pair-device").children().unwrap();
        assert_eq!(references.len(), 6);
        self.send(el("iq").attr("to", SERVER).attr("id", attr(&offer, "id")).attr("type", "result").build()).await;
        String::from_utf8(content(&references[0])).unwrap()
    }

    /// Signs what the phone has signed, and leaves out the account's key, as some clients do. Gives the device's number.
    pub(super) async fn accept_link(&mut self, keys: &Keys) -> u16 {
        let success = self.until("iq").await;
        let pair = child(&success, "pair-success");
        let device = child(pair, "device").attrs().optional_jid("jid").unwrap().device;
        let (signed, index) = PairUtils::do_pair_crypto(&keys.device_state(), &content(child(pair, "device-identity"))).unwrap();
        let mut signed = wa::ADVSignedDeviceIdentity::decode_from_slice(&signed).unwrap();
        signed.account_signature_key = None;
        let answer = PairUtils::build_pair_success_response(&attr(&success, "id"), signed.encode_to_vec(), index);
        self.send(answer).await;
        device
    }

    pub(super) async fn send(&mut self, node: Node) {
        self.send_plain(&wacore_binary::marshal::marshal(&node).unwrap()).await;
    }

    /// Sends any bytes as if they were a stanza.
    pub(super) async fn send_plain(&mut self, plain: &[u8]) {
        let sealed = self.seal.encrypt_with_counter(self.sent, plain).unwrap();
        self.sent += 1;
        self.send_frame(&encode_frame(&sealed, None).unwrap()).await;
    }

    /// Sends any bytes. A server that has closed does not matter here.
    pub(super) async fn send_frame(&mut self, frame: &[u8]) {
        let _ = self.socket.send(Message::binary(frame.to_vec())).await;
    }

    /// Says the same again and again, without ever reading, until the server has closed.
    pub(super) async fn flood(&mut self, node: &Node) {
        let plain = wacore_binary::marshal::marshal(node).unwrap();
        loop {
            let sealed = self.seal.encrypt_with_counter(self.sent, &plain).unwrap();
            self.sent += 1;
            if self.socket.send(Message::binary(encode_frame(&sealed, None).unwrap())).await.is_err() {
                return;
            }
        }
    }

    /// The next stanza; none when the server has closed. News are acknowledged, as by every client.
    pub(super) async fn next(&mut self) -> Option<Node> {
        let mut frame =
            tokio::time::timeout(PATIENCE, next_frame(&mut self.socket, &mut self.buffer)).await.expect("a stanza")?;
        self.open.decrypt_in_place_with_counter(self.received, &mut frame).unwrap();
        self.received += 1;
        let node = OwnedNodeRef::new(wacore_binary::util::unpack_bytes(frame).unwrap()).unwrap().to_owned_node();
        if node.tag == "notification" {
            self.send(acknowledgement(&node)).await;
        }
        Some(node)
    }

    /// The next stanza with this tag; others are put aside.
    pub(super) async fn until(&mut self, tag: &str) -> Node {
        self.wait(tag, |node| node.tag == tag).await
    }

    pub(super) async fn wait(&mut self, what: &str, mut wanted: impl FnMut(&Node) -> bool) -> Node {
        if let Some(at) = self.aside.iter().position(&mut wanted) {
            return self.aside.remove(at);
        }
        loop {
            let node = self.next().await.unwrap_or_else(|| panic!("closed before {what}; had {:?}", self.aside));
            if wanted(&node) {
                return node;
            }
            self.aside.push(node);
        }
    }

    /// Waits until the server closes.
    pub(super) async fn ended(&mut self) {
        let end = async { while next_frame(&mut self.socket, &mut self.buffer).await.is_some() {} };
        tokio::time::timeout(PATIENCE, end).await.expect("the server ends the connection");
    }

    /// Asks and waits for the answer.
    pub(super) async fn ask(&mut self, namespace: &str, kind: &str, children: Vec<Node>) -> Node {
        let id = self.question(namespace, kind, children).await;
        self.wait("an answer", |node| node.tag == "iq" && attr(node, "id") == id).await
    }

    /// Asks without waiting; gives the id.
    pub(super) async fn question(&mut self, namespace: &str, kind: &str, children: Vec<Node>) -> String {
        self.asked += 1;
        let id = format!("q{}", self.asked);
        let question = el("iq").attr("to", SERVER).attr("id", id.clone()).attr("type", kind).attr("xmlns", namespace);
        self.send(question.children(children).build()).await;
        id
    }

    /// The four things that clients want to hear before they call a connection open, in their order.
    pub(super) async fn make_ready(&mut self, keys: &Keys) {
        let count = self.ask("encrypt", "get", vec![el("count").build()]).await;
        if attr(child(&count, "count"), "value") == "0" {
            self.publish(keys).await;
        }
        self.ask("passive", "set", vec![el("active").build()]).await;
        self.wait("the end of the offline queue", |node| node.tag == "ib" && node.get_optional_child("offline").is_some()).await;
        let digest = self.ask("encrypt", "get", vec![el("digest").build()]).await;
        child(&digest, "digest");
    }

    /// Publishes its keys.
    pub(super) async fn publish(&mut self, keys: &Keys) -> Node {
        let one_time = (1u32..).zip(&keys.one_time).map(|(id, key)| {
            let value = key.public_key.public_key_bytes().to_vec();
            el("key").children([el("id").bytes(id.to_be_bytes()[1..].to_vec()).build(), el("value").bytes(value).build()]).build()
        });
        let list = el("list").children(one_time).build();
        let signed = el("skey").children([
            el("id").bytes(vec![0, 0, 1]).build(),
            el("value").bytes(keys.signed.public_key.public_key_bytes().to_vec()).build(),
            el("signature").bytes(keys.signature.to_vec()).build(),
        ]);
        let parts = vec![
            el("registration").bytes(keys.registration_id.to_be_bytes().to_vec()).build(),
            el("type").bytes(vec![5]).build(),
            el("identity").bytes(keys.identity.public_key.public_key_bytes().to_vec()).build(),
            list,
            signed.build(),
        ];
        self.ask("encrypt", "set", parts).await
    }

    /// Waits for a message from somebody else and acknowledges it; gives its text.
    pub(super) async fn text(&mut self, keys: &mut Keys) -> String {
        loop {
            let message = self.until("message").await;
            let from = message.attrs().optional_jid("from").unwrap();
            let opened = keys.open(&from, child(&message, "enc")).await;
            let receipt = el("receipt").attr("to", from).attr("id", attr(&message, "id"));
            self.send(receipt.build()).await;
            if let Some(text) = opened.conversation {
                return text;
            }
        }
    }

    /// Leaves without a word.
    pub(super) async fn leave(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(5), self.socket.close()).await;
    }
}

fn acknowledgement(news: &Node) -> Node {
    let ack = el("ack").attr("class", "notification").attr("id", attr(news, "id")).attr("type", attr(news, "type"));
    ack.attr("to", news.attrs().optional_jid("from").unwrap()).build()
}

/// The next frame; none when the server has closed.
async fn next_frame(socket: &mut Socket, buffer: &mut BytesMut) -> Option<BytesMut> {
    loop {
        if let [high, middle, low, ..] = **buffer {
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if buffer.len() >= 3 + length {
                let _ = buffer.split_to(3);
                return Some(buffer.split_to(length));
            }
        }
        match socket.next().await {
            Some(Ok(message)) if message.is_binary() => buffer.extend_from_slice(message.as_payload()),
            Some(Ok(message)) if !message.is_close() => {}
            _ => return None,
        }
    }
}
