//! A WhatsApp server simulator with simulated phones, reached over a real websocket by real clients.
//!
//! # For maintainers
//!
//! | part | what it does |
//! |---|---|
//! | `wire/` | websocket, frames, Noise handshake, stanzas as bytes; knows no accounts |
//! | `server/` | the server: accounts, login, pairing, one file per family of stanzas |
//! | `phone/` | the phones: device 0 of each account, with Signal both ways |
//! | [`load`] | many light devices that talk, for measuring |
//! | `journal` | what survives a restart or a kill |
//! | `world_file` | people, groups, channels and pasts that are there from the start |
//! | `people` | what people do with their phones; [`draft`] is what they send, [`seen`] what they see |
//! | [`business`], [`chats`], [`history`], [`media`], [`newsletters`], [`passkey`] | more of what can be done with phones, a file for each |
//! | [`sight`] | what happens, for those who look on |
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
//!
//! Clients of other authors that are told not to check the certificate come by XX and register by themselves (`server/registration`);
//! what they register is checked as the real server would: see `tests/it/sandbox/strangers.rs`.
//!
//! # Whom nobody trusts
//!
//! Anybody may connect, so everything that a peer can make large has an end: connections (`max_connections`), the handshake's time and
//! size, frames (small until the login), stanzas once unpacked, what waits for a peer that does not read (in number and in bytes), what a
//! device leaves in its queue (in number and in bytes), and the names that the report of unknown questions keeps. What cannot be read ends its own connection and
//! nothing else: `tests/it/sandbox/wire.rs`, and the fuzzers in `server/fuzz` and `wire/node`.

pub mod business;
pub mod chats;
pub mod control;
pub mod draft;
pub mod fault;
pub mod history;
mod journal;
mod keys;
pub mod load;
pub mod media;
pub mod newsletters;
pub mod passkey;
mod people;
mod phone;
pub mod seen;
mod server;
pub mod sight;
mod wire;
mod world_file;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use wacore_libsignal::protocol::KeyPair;

use self::business::BusinessProfile;
use self::journal::Journal;
use self::keys::{Secret, public};
use self::phone::Chat;
use self::server::World;
use self::server::media::MediaStore;
use self::world_file::WorldFile;
use crate::domain::clock::{Ambient, Time};
use crate::domain::jid::{Address, Kind, phone_digits};
use crate::error::{Code, Error, Result};

pub use self::people::{PhoneChange, Typing};
pub use self::phone::call::{Call, CallState};
pub use self::seen::{Direction, MessageState, PhoneMessage};
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
    /// How many connections there may be at once, those that have said nothing included; one more is told 503. Default 10,000. The
    /// process needs one file descriptor for each (`ulimit -n`).
    pub max_connections: usize,
    /// How long a connection may take until its handshake is done. Default 20 s.
    pub handshake_deadline: Duration,
    /// How long a connection may say nothing; clients ping every 15 to 30 s. Default 4 min.
    pub idle_deadline: Duration,
    /// How long a file stays on the media host. Default 30 days.
    pub media_life: Duration,
    /// A world file: who is there from the start, in a world that is empty otherwise.
    pub world: Option<PathBuf>,
    /// Where the dice of the world file begin. Default 0.
    pub seed: u64,
    /// How many bytes of files there may be, in memory or, with a state file, in a folder beside it. Default 1 GiB.
    pub media_limit: u64,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            state_file: None,
            lid_addressing: true,
            max_connections: 10_000,
            handshake_deadline: Duration::from_secs(20),
            idle_deadline: Duration::from_secs(240),
            media_life: Duration::from_secs(30 * 24 * 60 * 60),
            media_limit: 1 << 30,
            world: None,
            seed: 0,
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
    /// How many stanzas it lost because too many waited for it.
    pub dropped: u64,
    /// When it was linked.
    pub linked_at: Time,
    /// What it calls its system, such as `Mac OS`; empty for devices that did not register by themselves, like this gateway's.
    pub os: String,
    /// What kind of program it is, such as `CHROME`; empty like `os`.
    pub platform: String,
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
    /// Whether it answers each text with the same text.
    pub echo: bool,
    /// The seed of the small talk with which it answers each message, if it does.
    pub chatty: Option<i64>,
    /// What the account tells about itself.
    pub about: String,
    /// The id of its picture.
    pub picture_id: Option<String>,
    /// Whether somebody is there: the phone's owner or the user of a linked device.
    pub online: bool,
    /// When somebody was last there.
    pub last_seen: Option<Time>,
    /// The numbers that it has blocked.
    pub blocked: Vec<String>,
    /// Whether the phone is switched on.
    pub switched_on: bool,
    /// Who may see and do what, where it is not everybody.
    pub privacy: BTreeMap<String, String>,
    /// What it says about itself as a business.
    pub business: Option<BusinessProfile>,
    /// The linked devices.
    pub devices: Vec<Device>,
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
        if let Some(path) = &config.world {
            let file = WorldFile::read(path)?;
            if world.accounts.is_empty() {
                file.fill(&mut world, config.seed)?;
                // Nobody is connected yet.
                world.finish_step();
            }
        }
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
        inner.world().inner = Arc::downgrade(&inner);
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
            dropped: device.dropped,
            linked_at: device.linked_at,
            os: device.properties.as_ref().map(|said| said.os.clone()).unwrap_or_default(),
            platform: device.properties.as_ref().map(|said| said.platform.clone()).unwrap_or_default(),
        });
        Ok(Phone {
            number: account.number.clone(),
            lid: account.jid(0, true).to_string(),
            push_name: account.push_name.clone(),
            auto_read: account.auto_read,
            echo: account.behaviour.echo,
            chatty: account.behaviour.chatty,
            about: account.about.0.clone(),
            picture_id: account.picture.as_ref().map(|picture| picture.id.clone()),
            online: self.is_there(account),
            last_seen: i64::try_from(account.last_seen).ok().filter(|at| *at > 0).map(Time::from_secs),
            blocked: account.blocked.iter().cloned().collect(),
            switched_on: !account.off,
            privacy: account.privacy.clone(),
            business: account.business.clone(),
            devices: devices.collect(),
        })
    }

    /// The chat behind what a caller wrote.
    fn chat(&self, field: &str, address: &Address) -> Result<Chat> {
        let chat = match address.kind {
            Kind::Phone => Some(address.user.clone()).filter(|number| self.accounts.contains_key(number)).map(Chat::Person),
            Kind::Lid => self.number_of(&wacore_binary::Jid::lid(address.user.as_str())).map(Chat::Person),
            Kind::Group => Some(address.user.clone()).filter(|id| self.groups.contains_key(id)).map(Chat::Group),
            Kind::Broadcast if address.user == "status" => Some(Chat::Status(Vec::new())),
            Kind::Newsletter | Kind::Broadcast => {
                return Err(Error::field(field, "phones write to persons, groups and status@broadcast only"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_under_the_lock_is_one_connections_end() {
        let sandbox = Sandbox::open(SandboxConfig::default(), Ambient::system()).await.unwrap();
        sandbox.create_phone("5511900000001", "", true).await.unwrap();
        let inner = Arc::clone(&sandbox.inner);
        let died = tokio::spawn(async move { inner.act(|_| panic!("a bug in a step")) }).await;
        assert!(died.is_err_and(|error| error.is_panic()));
        sandbox.create_phone("5511900000002", "", true).await.unwrap();
        let sent = sandbox.send_message("5511900000001", "5511900000002", "still here").await.unwrap();
        assert_eq!(sandbox.list_messages("5511900000002", None).await.unwrap()[0].id, sent.id);
    }
}
