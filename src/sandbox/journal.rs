//! What survives: an append-only journal of JSON lines, `{"k": key, "v": value}`; the last line of a key counts, `null` removes it. An
//! empty line ends a round.
//!
//! The rule is that **no stanza leaves before the state it depends on is on disk**. Each step of the world raises a generation; one
//! saver task writes everything that changed since its last round, syncs the file, and publishes the generation it reached; the
//! connections' writers and the control operations wait for theirs. While one round is written the next collects, so a busy sandbox
//! pays one sync for many stanzas. A kill at any moment leaves a journal whose last round may be cut off, in a line or between two; it
//! counts as a whole or not at all, or else a queue could hold the receipt of a message that its reader does not have. Nothing that was in
//! it has been told to anybody. Messages, queues, prekeys and ratchet steps therefore never fall back behind what a peer has seen.
//!
//! At every start, and when it has grown much, the journal is rewritten with only what is current (temporary file, sync, rename).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use super::Inner;
use super::keys::{Blob, Secret};
use super::phone::call::CallState;
use super::phone::message::Stored;
use super::server::World;
use super::server::account::{Account, Bundle, Device, Place};
use super::server::app_state::Collection;
use super::server::newsletter::Post;
use super::server::prekeys::PREKEY_BLOCK;
use super::server::queue::Queued;
use wacore_libsignal::protocol::{SenderKeyRecord, SessionRecord};

/// The journal is rewritten when it has grown by this much and to several times its size.
const SLACK: u64 = 8 * 1024 * 1024;

/// The end of a round.
const END: &[u8] = b"\n";

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Key {
    /// The server's static key.
    Server,
    /// An account, by number.
    Account(String),
    /// A device: number, id.
    Device(String, u16),
    /// A device's published keys, without one-time prekeys.
    Bundle(String, u16),
    /// A one-time prekey that a device published: number, device, id.
    Offered(String, u16, u32),
    /// A stanza in a device's queue, or in that of a phone (device 0) that is switched off.
    Queued(String, u16, u64),
    /// The private half of a phone's one-time prekey.
    OneTime(String, u32),
    /// A phone's Signal session, by its address.
    Session(String, String),
    /// A message that a phone shows.
    Message(String, u64),
    /// A group, by the first part of its address.
    Group(String),
    /// A phone's sender key, by group and sender.
    Sender(String, String),
    /// A collection of an account's app state.
    AppState(String, String),
    /// The devices that have a phone's key of a group.
    Distributed(String, String),
    /// A channel, by the first part of its address.
    Newsletter(String),
    /// A post: channel, number.
    Post(String, u64),
    /// A file on the media host, by its direct path.
    Media(String),
}

#[derive(Serialize, Deserialize)]
struct Line {
    k: Key,
    v: Value,
}

/// The journal's file.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    compact_at: u64,
}

impl Journal {
    /// Reads what is there into `world`; gives the server's key if there was one.
    pub(super) fn load(path: &Path, world: &mut World) -> io::Result<Option<Secret>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut latest = BTreeMap::new();
        let (mut round, mut whole) = (Vec::new(), false);
        let mut reader = BufReader::new(file);
        let mut text = String::new();
        loop {
            text.clear();
            // A line or a round without its end was being written when the process died.
            if reader.read_line(&mut text)? == 0 || !text.ends_with('\n') {
                break;
            }
            if text.as_bytes() != END {
                let line = serde_json::from_str::<Line>(&text);
                round
                    .push(line.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("damaged journal: {error}")))?);
                continue;
            }
            whole = true;
            take(&mut latest, round.drain(..));
        }
        if !whole {
            // From before rounds had ends, for every journal since then begins with a whole one.
            take(&mut latest, round);
        }
        let mut server = None;
        // Keys sort accounts first, then devices, then what belongs to them.
        for (key, value) in latest {
            let restored = if key == Key::Server {
                serde_json::from_value(value).map(|key| server = Some(key))
            } else {
                world.restore(&key, value)
            };
            restored
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("damaged journal at {key:?}: {error}")))?;
        }
        Ok(server)
    }

    /// Writes a fresh journal with everything current.
    pub(super) fn create(path: &Path, lines: &[u8]) -> io::Result<Self> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;
        let temporary = path.with_extension("tmp");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(lines)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()?;
        let length = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(Self { path: path.to_owned(), file, length, compact_at: length.saturating_mul(4).saturating_add(SLACK) })
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.length += u64::try_from(lines.len()).unwrap_or(0);
        Ok(())
    }
}

/// Writes rounds until the sandbox is gone.
pub(super) async fn save(inner: Weak<Inner>, mut journal: Journal, wake: Arc<Notify>, durable: watch::Sender<u64>) {
    let mut whole = false;
    loop {
        if !whole {
            wake.notified().await;
        }
        let Some(inner) = inner.upgrade() else { return };
        whole |= journal.length > journal.compact_at;
        let (lines, generation) = inner.collect(whole);
        drop(inner);
        let written = tokio::task::spawn_blocking(move || {
            let result =
                if whole { Journal::create(&journal.path, &lines).map(|fresh| journal = fresh) } else { journal.append(&lines) };
            (journal, result)
        });
        let result;
        (journal, result) = match written.await {
            Ok(written) => written,
            Err(failure) => return error!(%failure, "the journal's writer died: nothing is saved any more"),
        };
        match result {
            Ok(()) => {
                whole = false;
                durable.send_replace(generation);
            }
            Err(failure) => {
                // A half-written line may be in the file: start over with a whole one. Until then no stanza leaves.
                warn!(%failure, "cannot write the journal; trying again");
                whole = true;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

impl World {
    /// What changed since the last round, or everything, as lines; and the generation that they reach.
    pub(super) fn lines(&mut self, whole: bool, server: &Secret) -> (Vec<u8>, u64) {
        let changed = std::mem::take(&mut self.changed);
        let mut lines = Vec::new();
        if whole {
            push(&mut lines, Key::Server, serde_json::to_value(server).unwrap_or_default());
            for key in self.all_keys() {
                let value = self.value(&key);
                push(&mut lines, key, value);
            }
        } else {
            for key in changed {
                let value = self.value(&key);
                push(&mut lines, key, value);
            }
        }
        lines.extend_from_slice(END);
        (lines, self.generation)
    }

    fn all_keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.groups.keys().map(|id| Key::Group(id.clone())).collect();
        keys.extend(self.media.records().keys().map(|path| Key::Media(path.clone())));
        for (id, newsletter) in &self.newsletters {
            keys.push(Key::Newsletter(id.clone()));
            keys.extend(newsletter.posts.keys().map(|post| Key::Post(id.clone(), *post)));
        }
        for number in self.accounts.keys() {
            keys.extend(self.account_keys(number));
        }
        keys
    }

    /// The keys of everything that belongs to an account.
    pub(super) fn account_keys(&self, number: &str) -> Vec<Key> {
        let Some(account) = self.accounts.get(number) else { return Vec::new() };
        let mut keys = Vec::new();
        keys.push(Key::Account(number.to_owned()));
        keys.extend(account.inbox.iter().map(|(place, _)| Key::Queued(number.to_owned(), 0, place)));
        keys.extend(account.prekeys.keys().map(|id| Key::OneTime(number.to_owned(), *id)));
        keys.extend(account.sessions.keys().map(|address| Key::Session(number.to_owned(), address.clone())));
        keys.extend(account.app_state.keys().map(|name| Key::AppState(number.to_owned(), name.clone())));
        keys.extend(account.sender_keys.keys().map(|name| Key::Sender(number.to_owned(), name.clone())));
        keys.extend(account.distributed.keys().map(|group| Key::Distributed(number.to_owned(), group.clone())));
        keys.extend(account.messages.keys().map(|place| Key::Message(number.to_owned(), *place)));
        for (id, device) in &account.devices {
            keys.push(Key::Device(number.to_owned(), *id));
            keys.push(Key::Bundle(number.to_owned(), *id));
            let offered = device.bundle.iter().flat_map(|bundle| bundle.one_time.keys());
            keys.extend(offered.map(|key| Key::Offered(number.to_owned(), *id, *key)));
            keys.extend(device.queue.iter().map(|(place, _)| Key::Queued(number.to_owned(), *id, place)));
        }
        keys
    }

    /// The current value of a key; null when it is gone.
    fn value(&self, key: &Key) -> Value {
        let account = |number: &String| self.accounts.get(number);
        let device = |number: &String, id: &u16| account(number).and_then(|account| account.devices.get(id));
        let value = match key {
            Key::Server => None,
            Key::Account(number) => account(number).map(serde_json::to_value),
            Key::Device(number, id) => device(number, id).map(serde_json::to_value),
            Key::Bundle(number, id) => device(number, id).and_then(|device| device.bundle.as_ref()).map(serde_json::to_value),
            Key::Offered(number, id, key) => {
                let bundle = device(number, id).and_then(|device| device.bundle.as_ref());
                bundle.and_then(|bundle| bundle.one_time.get(key)).map(serde_json::to_value)
            }
            Key::Queued(number, 0, place) => {
                account(number).and_then(|account| account.inbox.get(*place)).map(serde_json::to_value)
            }
            Key::Queued(number, id, place) => {
                device(number, id).and_then(|device| device.queue.get(*place)).map(serde_json::to_value)
            }
            Key::OneTime(number, id) => account(number).and_then(|account| account.prekeys.get(id)).map(serde_json::to_value),
            Key::Message(number, place) => {
                account(number).and_then(|account| account.messages.get(place)).map(serde_json::to_value)
            }
            Key::Newsletter(id) => self.newsletters.get(id).map(serde_json::to_value),
            Key::Post(id, post) => {
                self.newsletters.get(id).and_then(|newsletter| newsletter.posts.get(post)).map(serde_json::to_value)
            }
            Key::Media(path) => self.media.records().get(path).map(serde_json::to_value),
            Key::Group(id) => self.groups.get(id).map(serde_json::to_value),
            Key::AppState(number, name) => {
                account(number).and_then(|account| account.app_state.get(name)).map(serde_json::to_value)
            }
            Key::Distributed(number, group) => {
                account(number).and_then(|account| account.distributed.get(group)).map(serde_json::to_value)
            }
            Key::Sender(number, name) => account(number)
                .and_then(|account| account.sender_keys.get(name))
                .and_then(|key| key.serialize().ok())
                .map(|bytes| serde_json::to_value(Blob(bytes))),
            Key::Session(number, address) => account(number)
                .and_then(|account| account.sessions.get(address))
                .and_then(|session| session.serialize().ok())
                .map(|bytes| serde_json::to_value(Blob(bytes))),
        };
        value.and_then(Result::ok).unwrap_or_default()
    }

    fn restore(&mut self, key: &Key, value: Value) -> serde_json::Result<()> {
        match key {
            Key::Server => {}
            Key::Account(_) => {
                let mut account: Account = serde_json::from_value(value)?;
                account.next_message = 1;
                // Nobody is left who would stop the ringing.
                for call in account.calls.iter_mut().filter(|call| call.state == CallState::Ringing) {
                    call.state = CallState::Ended;
                }
                account.next_prekey = account.next_prekey.saturating_add(PREKEY_BLOCK);
                self.insert_account(account);
            }
            Key::Device(number, id) => {
                let device: Device = serde_json::from_value(value)?;
                if let Some(account) = self.accounts.get_mut(number) {
                    account.devices.insert(*id, device);
                }
            }
            Key::Bundle(number, id) => {
                let bundle: Bundle = serde_json::from_value(value)?;
                if let Some(device) = self.device_mut(&Place { number: number.clone(), device: *id }) {
                    device.bundle = Some(bundle);
                }
            }
            Key::Offered(number, id, key) => {
                let place = Place { number: number.clone(), device: *id };
                if let Some(bundle) = self.device_mut(&place).and_then(|device| device.bundle.as_mut()) {
                    bundle.one_time.insert(*key, serde_json::from_value(value)?);
                }
            }
            Key::Queued(number, id, place) => {
                let queued: Queued = serde_json::from_value(value)?;
                if let Some(queue) = self.queue_mut(&Place { number: number.clone(), device: *id }) {
                    queue.restore(*place, queued);
                }
            }
            Key::OneTime(number, id) => {
                let secret: Secret = serde_json::from_value(value)?;
                if let Some(account) = self.accounts.get_mut(number) {
                    account.prekeys.insert(*id, secret);
                }
            }
            Key::Session(number, address) => {
                let bytes: Blob = serde_json::from_value(value)?;
                let mut record = SessionRecord::deserialize(&bytes.0).map_err(serde::de::Error::custom)?;
                record.waive_counter_lease();
                if let Some(account) = self.accounts.get_mut(number) {
                    account.sessions.insert(address.clone(), record);
                }
            }
            Key::Newsletter(_) => self.insert_newsletter(serde_json::from_value(value)?),
            Key::Post(id, post) => {
                let known: Post = serde_json::from_value(value)?;
                if let Some(newsletter) = self.newsletters.get_mut(id) {
                    newsletter.posts.insert(*post, known);
                }
            }
            Key::Media(path) => self.media.restore(path, serde_json::from_value(value)?),
            Key::Group(_) => self.insert_group(serde_json::from_value(value)?),
            Key::AppState(number, name) => {
                let collection: Collection = serde_json::from_value(value)?;
                if let Some(account) = self.accounts.get_mut(number) {
                    account.app_state.insert(name.clone(), collection);
                }
            }
            Key::Distributed(number, group) => {
                let devices = serde_json::from_value(value)?;
                if let Some(account) = self.accounts.get_mut(number) {
                    account.distributed.insert(group.clone(), devices);
                }
            }
            Key::Sender(number, name) => {
                let bytes: Blob = serde_json::from_value(value)?;
                let mut record = SenderKeyRecord::deserialize(&bytes.0).map_err(serde::de::Error::custom)?;
                record.waive_counter_lease().map_err(serde::de::Error::custom)?;
                if let Some(account) = self.accounts.get_mut(number) {
                    account.sender_keys.insert(name.clone(), record);
                }
            }
            Key::Message(number, place) => {
                let row: Stored = serde_json::from_value(value)?;
                if let Some(account) = self.accounts.get_mut(number) {
                    account.by_id.insert((row.shown.chat.clone(), row.shown.id.clone()), *place);
                    account.messages.insert(*place, row);
                    account.next_message = place + 1;
                }
            }
        }
        Ok(())
    }
}

/// Takes lines over, each in the place of an earlier one of its key.
fn take(latest: &mut BTreeMap<Key, Value>, lines: impl IntoIterator<Item = Line>) {
    for Line { k, v } in lines {
        match v {
            Value::Null => drop(latest.remove(&k)),
            v => drop(latest.insert(k, v)),
        }
    }
}

fn push(lines: &mut Vec<u8>, key: Key, value: Value) {
    // Neither the keys nor the values can fail to encode.
    if serde_json::to_writer(&mut *lines, &Line { k: key, v: value }).is_ok() {
        lines.push(b'\n');
    }
}
