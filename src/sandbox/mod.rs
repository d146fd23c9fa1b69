//! A WhatsApp server simulator with simulated phones, reached over a real websocket by real clients.
//!
//! # For maintainers
//!
//! | part | what it does |
//! |---|---|
//! | `wire/` | websocket, frames, Noise handshake, stanzas as bytes; knows no accounts |
//! | `server/` | the server: accounts, login, pairing, one file per family of stanzas |
//! | `phone/` | the phones: device 0 of each account, with Signal both ways |
//! | `journal` | what survives a restart or a kill |
//! | [`fault`] | what can go wrong on command |
//! | [`control`] | the control operations over gRPC |
//!
//! Everything the simulator knows is one value, `server::World`, behind one lock that is never held across an await. A step (a
//! stanza arrived, a control operation) runs to its end under the lock, phones included, and collects what is to be sent. After the
//! step the stanzas go to the connections' bounded queues, stamped with the generation of the state they depend on; the writers hold
//! them back until the journal has that generation on disk. So a kill at any moment never contradicts what a client has seen, and
//! the handlers need not think about it: they change the world with `touch`, and send with `send` (an answer) or `deliver`
//! (something a device must receive, kept until it acknowledges).
//!
//! **A new family of stanzas** (groups, media, …) is a file in `server/` with `impl World`, a line in `on_stanza` or in the router in
//! `iq`, and a kind of `journal::Key` when it has state of its own. What phones do about it is a file in `phone/`.
//!
//! # How clients trust it
//!
//! WhatsApp's certificate cannot be forged, and the client is compiled without any feature that skips it. A session of the sandbox
//! is given the sandbox's static key beforehand, as the cached certificate chain of its device, together with the number
//! [`PLACEHOLDER`], so that it takes the handshake for known servers (IK) and logs in as the placeholder; the sandbox answers such a
//! login with pairing. Everything else fails closed: see `tests/it/sandbox/trust.rs`.

pub mod control;
pub mod fault;
mod journal;
mod keys;
pub mod media;
pub mod passkey;
mod phone;
mod server;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use wacore_libsignal::protocol::KeyPair;

use self::fault::{Fault, FaultSpec};
use self::journal::Journal;
use self::keys::{Secret, public};
use self::phone::Chat;
use self::server::World;
use self::server::media::MediaStore;
use crate::domain::clock::{Ambient, Time};
use crate::domain::jid::{Address, Kind, phone_digits};
use crate::error::{Code, Error, Result};

pub use crate::domain::jid::PLACEHOLDER;

/// How long a control operation waits for the device that it links.
const LINK_DEADLINE: Duration = Duration::from_secs(20);

/// How a sandbox behaves.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Where accounts, devices, queues and the server's key are kept; in memory when absent. One process at a time may use it.
    pub state_file: Option<PathBuf>,
    /// Whether direct chats are addressed by LID, as in accounts that WhatsApp has migrated. Default true.
    pub lid_addressing: bool,
    /// How long a connection may take until its handshake is done. Default 20 s.
    pub handshake_deadline: Duration,
    /// How long a connection may say nothing; clients ping every 15 to 30 s. Default 4 min.
    pub idle_deadline: Duration,
    /// How long a file stays on the media host. Default 30 days.
    pub media_life: Duration,
    /// How many bytes of files there may be, in memory or, with a state file, in a folder beside it. Default 1 GiB.
    pub media_limit: u64,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            state_file: None,
            lid_addressing: true,
            handshake_deadline: Duration::from_secs(20),
            idle_deadline: Duration::from_secs(240),
            media_life: Duration::from_secs(30 * 24 * 60 * 60),
            media_limit: 1 << 30,
        }
    }
}

/// A device linked to a phone's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device's number within the account, from 1.
    pub id: u16,
    /// Whether it is connected now.
    pub online: bool,
    /// How many stanzas it has not acknowledged.
    pub queued: usize,
    /// When it was linked.
    pub linked_at: Time,
}

/// A simulated phone with its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phone {
    /// The number in digits with country code.
    pub number: String,
    /// The account's LID, such as `1100000000000001@lid`.
    pub lid: String,
    /// The name it was created with.
    pub push_name: String,
    /// Whether it answers what it receives with a read receipt at once.
    pub auto_read: bool,
    /// The linked devices.
    pub devices: Vec<Device>,
}

/// Which way a message went, as its phone sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Received.
    In,
    /// Sent by the phone or by another device of its account.
    Out,
}

/// What became of a message. Later states of a sent message are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Received, and the phone could not decrypt it.
    Undecryptable,
    /// Received and decrypted.
    Received,
    /// Sent; the server has it.
    Sent,
    /// A device of the recipient has it.
    Delivered,
    /// The recipient has read it.
    Read,
}

/// A message as a phone shows it, decrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneMessage {
    /// WhatsApp's id.
    pub id: String,
    /// The other side's address by number, such as `6281234567890@s.whatsapp.net`.
    pub chat: String,
    /// Which way it went.
    pub direction: Direction,
    /// The author's address by number.
    #[serde(default)]
    pub sender: String,
    /// `text`, `image`, `location`, `contact`, `poll`, `reaction`, …; `revoked` for one that was taken back.
    #[serde(default)]
    pub kind: String,
    /// Its text, caption, name or emoji; empty when it has none.
    pub text: String,
    /// The id of the message that it answers or reacts to.
    #[serde(default)]
    pub target: Option<String>,
    /// Whether its author has changed it.
    #[serde(default)]
    pub edited: bool,
    /// Whether it can be looked at only once.
    #[serde(default)]
    pub view_once: bool,
    /// Seconds after which it disappears; 0 for never.
    #[serde(default)]
    pub expires: u32,
    /// What became of it.
    pub state: MessageState,
    /// When it was sent.
    pub timestamp: Time,
    /// When a device of the recipient had it (sent), or the phone had it (received).
    pub delivered_at: Option<Time>,
    /// When it was read.
    pub read_at: Option<Time>,
    /// How often it arrived; more than 1 means that it was sent more than once.
    pub arrivals: u32,
}

impl Default for PhoneMessage {
    fn default() -> Self {
        Self {
            id: String::new(),
            chat: String::new(),
            direction: Direction::In,
            sender: String::new(),
            kind: String::new(),
            text: String::new(),
            target: None,
            edited: false,
            view_once: false,
            expires: 0,
            state: MessageState::Received,
            timestamp: Time::default(),
            delivered_at: None,
            read_at: None,
            arrivals: 1,
        }
    }
}

struct Inner {
    config: SandboxConfig,
    ambient: Ambient,
    static_key: KeyPair,
    world: Mutex<World>,
    /// Wakes the saver.
    wake: Arc<Notify>,
    /// The generation that is on disk.
    durable: watch::Sender<u64>,
}

impl Inner {
    fn world(&self) -> MutexGuard<'_, World> {
        // A panic in one step ends that connection; the others go on with the state as it is.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one step of the world and hands out what it sends.
    fn act<T>(&self, step: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world();
        let result = step(&mut world);
        world.finish_step();
        if self.config.state_file.is_none() {
            world.changed.clear();
        } else if !world.changed.is_empty() {
            self.wake.notify_one();
        }
        result
    }

    /// What the journal has to write.
    fn collect(&self, whole: bool) -> (Vec<u8>, u64) {
        self.world().lines(whole, &Secret(self.static_key.clone()))
    }

    /// Waits until everything that happened so far is on disk.
    async fn settled(&self) {
        let generation = self.world().generation;
        // The sender lives in `self`, so this cannot fail.
        let _ = self.durable.subscribe().wait_for(|saved| *saved >= generation).await;
    }
}

/// A running sandbox. Clones are the same sandbox; it ends with the last one.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

impl Sandbox {
    /// Opens a sandbox, with what its state file keeps. Needs a tokio runtime. Fails when the file cannot be read or written.
    pub async fn open(config: SandboxConfig, ambient: Ambient) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::open_blocking(config, ambient)).await.map_err(Error::internal)?
    }

    fn open_blocking(config: SandboxConfig, ambient: Ambient) -> Result<Self> {
        let folder = config.state_file.as_ref().map(|path| path.with_extension("media"));
        let media = MediaStore::new(folder, config.media_limit, config.media_life, ambient.random());
        let mut world = World::new(ambient.clone(), config.lid_addressing, media);
        let kept = match &config.state_file {
            Some(path) => Journal::load(path, &mut world).map_err(|error| unusable(&error).because(error))?,
            None => None,
        };
        world.media.clear_strays().map_err(|error| unusable(&error).because(error))?;
        let server = kept.unwrap_or_else(|| Secret::generate(&ambient));
        let (lines, generation) = world.lines(true, &server);
        let journal = match &config.state_file {
            Some(path) => Some(Journal::create(path, &lines).map_err(|error| unusable(&error).because(error))?),
            None => None,
        };
        // Without a file everything counts as saved.
        let durable = watch::Sender::new(if journal.is_some() { generation } else { u64::MAX });
        let wake = Arc::new(Notify::new());
        let static_key = server.0;
        let inner = Arc::new(Inner { config, ambient, static_key, world: Mutex::new(world), wake, durable });
        if let Some(journal) = journal {
            // Ends by itself: it holds the sandbox only weakly, and the last handle's drop wakes it.
            let saver = journal::save(Arc::downgrade(&inner), journal, Arc::clone(&inner.wake), inner.durable.clone());
            tokio::spawn(saver);
        }
        Ok(Self { inner })
    }

    /// The public half of the server's Noise key: what sessions are told to trust. The same for as long as the state file lives.
    pub fn static_public_key(&self) -> [u8; 32] {
        public(&self.inner.static_key)
    }

    /// Serves clients on `listener` (websocket at `/ws/chat`) until `shutdown`; then all are disconnected and everything is saved.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) {
        wire::http::serve(Arc::clone(&self.inner), listener, shutdown).await;
        self.inner.settled().await;
    }

    /// Adds a phone. Fails when the number is no number or has a phone already.
    pub async fn create_phone(&self, number: &str, push_name: &str, auto_read: bool) -> Result<Phone> {
        let number = phone_digits("phoneNumber", number)?;
        let push_name = if push_name.is_empty() { number.clone() } else { push_name.to_owned() };
        let phone = self.inner.act(|world| {
            world.create_account(&number, &push_name, auto_read)?;
            world.phone(&number)
        })?;
        self.inner.settled().await;
        Ok(phone)
    }

    /// Adds `people` with numbers from 628770000000 on, where there are none yet, and `groups` that the phone founded, each with
    /// `members` of them, itself included. Fails when there is no such phone.
    pub async fn populate(&self, number: &str, people: usize, groups: usize, members: usize) -> Result<Vec<Phone>> {
        let number = phone_digits("phoneNumber", number)?;
        let sandbox = self.clone();
        let crowd =
            tokio::task::spawn_blocking(move || sandbox.inner.act(|world| world.populate(&number, people, groups, members)));
        let crowd = crowd.await.map_err(Error::internal)??;
        self.inner.settled().await;
        Ok(crowd)
    }

    /// All phones, by number.
    pub async fn list_phones(&self) -> Result<Vec<Phone>> {
        let world = self.inner.world();
        world.accounts.keys().map(|number| world.phone(number)).collect()
    }

    /// One phone. Fails when there is none with this number.
    pub async fn get_phone(&self, number: &str) -> Result<Phone> {
        let number = phone_digits("phoneNumber", number)?;
        self.inner.world().phone(&number)
    }

    /// The phone scans the text of a QR code and links the device that shows it; returns when the device has accepted, or has
    /// been asked for the account's passkey. Fails when the code is none, is not valid any more, or the device refuses or is gone.
    pub async fn scan_qr(&self, number: &str, code: &str) -> Result<Phone> {
        let number = phone_digits("phoneNumber", number)?;
        let outcome = self.inner.act(|world| world.scan(&number, code))?;
        self.linked(&number, outcome).await
    }

    /// The phone's owner types a pairing code, with or without its dash; returns when the device is linked. Fails when no device
    /// asked for a code, when the code is wrong, and after three wrong ones.
    pub async fn enter_code(&self, number: &str, code: &str) -> Result<Phone> {
        let number = phone_digits("phoneNumber", number)?;
        let code: String = code.chars().filter(|c| *c != '-').collect::<String>().to_ascii_uppercase();
        if code.len() != 8 {
            return Err(Error::field("code", "a pairing code has eight characters"));
        }
        let typing = self.inner.act(|world| world.begin_typing(&number))?;
        let (ambient, wrapped) = (self.inner.ambient.clone(), typing.wrapped_ephemeral.clone());
        let half = tokio::task::spawn_blocking(move || phone::link::type_code(&ambient, &code, &wrapped)).await;
        let half = half.map_err(Error::internal)??;
        let answer = self.inner.act(|world| world.send_typed(&typing, half))?;
        let outcome = tokio::time::timeout(LINK_DEADLINE, answer).await.map_err(|_| link_timeout())?;
        let outcome = outcome.map_err(|_| device_gone())??;
        self.linked(&number, outcome).await
    }

    async fn linked(&self, number: &str, outcome: server::pairing::Outcome) -> Result<Phone> {
        let outcome = tokio::time::timeout(LINK_DEADLINE, outcome).await.map_err(|_| link_timeout())?;
        outcome.map_err(|_| device_gone())??;
        self.inner.settled().await;
        self.inner.world().phone(number)
    }

    /// The phone's owner removes a linked device, or all (`device` 0). Fails when there is no such phone or device.
    pub async fn unlink(&self, number: &str, device: u16) -> Result<Phone> {
        let number = phone_digits("phoneNumber", number)?;
        let phone = self.inner.act(|world| {
            world.unlink(&number, device)?;
            world.phone(&number)
        })?;
        self.inner.settled().await;
        Ok(phone)
    }

    /// The phone sends a text to another number, encrypted for every device of the recipient. Fails when either side is unknown.
    pub async fn send_message(&self, number: &str, to: &str, text: &str) -> Result<PhoneMessage> {
        let number = phone_digits("phoneNumber", number)?;
        let to = Address::parse("to", to)?;
        if text.is_empty() {
            return Err(Error::field("text", "must not be empty"));
        }
        let content = waproto::whatsapp::Message { conversation: Some(text.to_owned()), ..Default::default() };
        let message = self.inner.act(|world| {
            let to = world.chat("to", &to)?;
            world.phone_sends(&number, &to, &content)
        })?;
        self.inner.settled().await;
        Ok(message)
    }

    /// What the phone shows, oldest first; only the chat with `with` when given. Fails when there is no such phone.
    pub async fn list_messages(&self, number: &str, with: Option<&str>) -> Result<Vec<PhoneMessage>> {
        let number = phone_digits("phoneNumber", number)?;
        let with = with.map(|with| Address::parse("with", with)).transpose()?;
        let world = self.inner.world();
        // A chat with nobody we know is an empty one.
        let chat = with.map(|with| world.chat("with", &with).map_or_else(|_| with.to_string(), |chat| chat.name()));
        let account = world.known(&number)?;
        let rows = account.messages.values().map(|row| &row.shown);
        Ok(rows.filter(|row| chat.as_ref().is_none_or(|chat| row.chat == *chat)).cloned().collect())
    }

    /// Arms a fault; one of the connection that names no stanza strikes at once. Fails when the fault makes no sense or there are 1000.
    pub fn create_fault(&self, spec: FaultSpec) -> Result<Fault> {
        self.inner.act(|world| world.arm(spec))
    }

    /// All faults with what they did, oldest first.
    pub fn list_faults(&self) -> Vec<Fault> {
        self.inner.world().list_faults()
    }

    /// Disarms a fault. Fails when there is none with this id.
    pub fn delete_fault(&self, id: u64) -> Result<()> {
        self.inner.act(|world| world.disarm(id))
    }

    /// Disarms all faults.
    pub fn delete_faults(&self) {
        self.inner.act(World::disarm_all);
    }

    /// The clock and the random source.
    pub(crate) fn ambient(&self) -> &Ambient {
        &self.inner.ambient
    }

    /// How often clients asked for what the sandbox does not know, by namespace and element.
    pub fn unknown_requests(&self) -> BTreeMap<String, u64> {
        self.inner.world().unknown.clone()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The saver sees that it is alone.
        self.wake.notify_one();
    }
}

impl World {
    /// A phone as it is shown.
    fn phone(&self, number: &str) -> Result<Phone> {
        let account = self.known(number)?;
        let devices = account.devices.iter().map(|(id, device)| Device {
            id: *id,
            online: device.online.is_some(),
            queued: device.queue.len(),
            linked_at: device.linked_at,
        });
        Ok(Phone {
            number: account.number.clone(),
            lid: account.jid(0, true).to_string(),
            push_name: account.push_name.clone(),
            auto_read: account.auto_read,
            devices: devices.collect(),
        })
    }

    /// The chat behind what a caller wrote.
    fn chat(&self, field: &str, address: &Address) -> Result<Chat> {
        let chat = match address.kind {
            Kind::Phone => Some(address.user.clone()).filter(|number| self.accounts.contains_key(number)).map(Chat::Person),
            Kind::Lid => self.number_of(&wacore_binary::Jid::lid(address.user.as_str())).map(Chat::Person),
            Kind::Group => Some(address.user.clone()).filter(|id| self.groups.contains_key(id)).map(Chat::Group),
            Kind::Newsletter | Kind::Broadcast => {
                return Err(Error::field(field, "phones write to persons and groups only"));
            }
        };
        chat.ok_or_else(|| Error::not_found("recipient"))
    }
}

fn unusable(error: &std::io::Error) -> Error {
    Error::new(Code::Unavailable, format!("the sandbox's state file cannot be used: {}", error.kind()))
}

fn link_timeout() -> Error {
    Error::new(Code::Timeout, "the device did not answer in time")
}

fn device_gone() -> Error {
    Error::new(Code::SessionNotConnected, "the device that shows the code is gone").reason("device_gone")
}
