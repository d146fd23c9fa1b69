//! What WhatsApp tells in passing: who is there, who types, who calls. It is kept in bounded memory, and is gone with the connection.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use wacore::types::call::CallAction;
use wacore::types::events::{Event, EventHandler, EventInterest, EventKind, Subscription};
use wacore::types::presence::{ChatPresence, ChatPresenceMedia};
use wacore_binary::Jid;
use whatsapp_rust::client::Client;

use super::connection::Signal;
use crate::domain::clock::{Ambient, Time};
use crate::domain::label::LabelNews;
use crate::domain::presence::{Presence, Seen};

/// How much news of people is remembered; the oldest goes first.
const SEEN: usize = 1024;

/// How many people are watched at a time; see [`Attention::watch`].
pub const WATCHED: usize = 128;

/// How many calls are remembered, and for how long: WhatsApp lets a phone ring for less than that.
const CALLS: (usize, Duration) = (64, Duration::from_secs(120));

/// The memory of one connection. Cheap to clone.
#[derive(Clone)]
pub struct Attention(Arc<Inner>);

struct Inner {
    ambient: Ambient,
    memory: Mutex<Memory>,
    news: Notify,
    /// Whether the account shall be shown as away. The library shows it as there after each connect.
    away: AtomicBool,
}

#[derive(Default)]
struct Memory {
    /// By chat and person.
    seen: HashMap<(String, String), Seen>,
    /// Whom WhatsApp was asked to tell of, the one asked for longest ago first.
    watched: VecDeque<Jid>,
    /// Calls that ring, oldest first.
    calls: VecDeque<Ringing>,
}

/// A call that rings.
#[derive(Clone, Debug)]
pub struct Ringing {
    /// Its id.
    pub call_id: String,
    pub(super) peer: Jid,
    pub(super) creator: Jid,
    at: Time,
}

impl Attention {
    /// An empty memory that goes by the given clock.
    pub(super) fn new(ambient: Ambient) -> Self {
        let (memory, news, away) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Self(Arc::new(Inner { ambient, memory, news, away }))
    }

    /// Listens to a client for as long as the subscription lives.
    pub(super) fn listen(&self, client: &Arc<Client>, signals: mpsc::Sender<Signal>) -> Subscription {
        let kinds = [
            EventKind::Connected,
            EventKind::Presence,
            EventKind::ChatPresence,
            EventKind::IncomingCall,
            EventKind::MissedCall,
            EventKind::LabelEditUpdate,
            EventKind::LabelAssociationUpdate,
        ];
        let ear = Ear { attention: self.clone(), client: Arc::downgrade(client), signals };
        client.subscribe(EventInterest::of(&kinds), Arc::new(ear))
    }

    /// The latest news of a chat among these addresses of it, `who` being anybody.
    pub fn latest(&self, chats: &[String]) -> Option<Seen> {
        let memory = self.memory();
        memory.seen.values().filter(|seen| chats.contains(&seen.chat)).max_by_key(|seen| seen.at.0).cloned()
    }

    /// The same, waiting for the first news at most `limit`.
    pub async fn wait(&self, chats: &[String], limit: Duration) -> Option<Seen> {
        let wait = async {
            loop {
                let news = self.0.news.notified();
                if let Some(seen) = self.latest(chats) {
                    return seen;
                }
                news.await;
            }
        };
        tokio::time::timeout(limit, wait).await.ok()
    }

    /// Forgets what was told of a chat among these addresses of it; what is being typed is told unasked, and stays.
    pub(super) fn forget(&self, chats: &[String]) {
        let now = self.0.ambient.now();
        let types = |seen: &Seen| matches!(seen.now(now), Presence::Composing { .. });
        self.memory().seen.retain(|_, seen| types(seen) || !chats.contains(&seen.chat));
    }

    /// A call that rings here.
    pub fn ringing(&self, call_id: &str) -> Option<Ringing> {
        let now = self.0.ambient.now();
        let memory = self.memory();
        memory.calls.iter().find(|call| call.call_id == call_id && now.since(call.at) < CALLS.1).cloned()
    }

    /// Forgets a call.
    pub fn silence(&self, call_id: &str) {
        self.memory().calls.retain(|call| call.call_id != call_id);
    }

    /// Notes that a person is to be watched. False when that was so already; with whom has to make place.
    pub(super) fn watch(&self, who: &Jid) -> (bool, Option<Jid>) {
        let mut memory = self.memory();
        if let Some(at) = memory.watched.iter().position(|one| one == who) {
            if let Some(one) = memory.watched.remove(at) {
                memory.watched.push_back(one);
            }
            return (false, None);
        }
        memory.watched.push_back(who.clone());
        let gone = if memory.watched.len() > WATCHED { memory.watched.pop_front() } else { None };
        (true, gone)
    }

    /// Takes a note back.
    pub(super) fn unwatch(&self, who: &Jid) {
        self.memory().watched.retain(|one| one != who);
    }

    pub(super) fn set_away(&self, away: bool) {
        self.0.away.store(away, Ordering::Relaxed);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, chat: &Jid, who: &Jid, presence: Presence, last_seen: Option<Time>) {
        let (chat, who) = (chat.to_non_ad().to_string(), who.to_non_ad().to_string());
        let seen = Seen { chat: chat.clone(), who: who.clone(), presence, last_seen, at: self.0.ambient.now() };
        let mut memory = self.memory();
        let key = (chat, who);
        if memory.seen.len() >= SEEN && !memory.seen.contains_key(&key) {
            let oldest = memory.seen.iter().min_by_key(|(_, seen)| seen.at.0).map(|(key, _)| key.clone());
            oldest.and_then(|key| memory.seen.remove(&key));
        }
        memory.seen.insert(key, seen);
        drop(memory);
        self.0.news.notify_waiters();
    }

    fn ring(&self, call: Ringing) {
        let mut memory = self.memory();
        memory.calls.retain(|known| known.call_id != call.call_id);
        if memory.calls.len() >= CALLS.0 {
            memory.calls.pop_front();
        }
        memory.calls.push_back(call);
    }
}

struct Ear {
    attention: Attention,
    client: Weak<Client>,
    signals: mpsc::Sender<Signal>,
}

impl Ear {
    /// Passes on what the session's actor deals with; when it is that far behind, it is left out.
    fn tell(&self, signal: Signal) {
        if self.signals.try_send(signal).is_err() {
            tracing::warn!("news of a call or a label came to no one: the session's actor is too far behind");
        }
    }

    fn call(&self, from: &Jid, action: &CallAction) {
        match action {
            CallAction::Offer { call_id, call_creator, .. } | CallAction::OfferNotice { call_id, call_creator, .. } => {
                let at = self.attention.0.ambient.now();
                let call = Ringing { call_id: call_id.clone(), peer: from.clone(), creator: call_creator.clone(), at };
                self.attention.ring(call.clone());
                self.tell(Signal::Ringing(call));
            }
            CallAction::Terminate { call_id, .. } | CallAction::Reject { call_id, .. } => self.attention.silence(call_id),
            _ => {}
        }
    }

    /// The library says after each connect that the account is there.
    fn connected(&self) {
        if !self.attention.0.away.load(Ordering::Relaxed) {
            return;
        }
        let Some(client) = self.client.upgrade() else { return };
        tokio::spawn(async move {
            if let Err(error) = client.presence().set_unavailable().await {
                tracing::debug!(%error, "the account could not be shown as away again");
            }
        });
    }
}

impl EventHandler for Ear {
    fn handle_event(&self, event: Arc<Event>) {
        match &*event {
            Event::Connected(_) => self.connected(),
            Event::Presence(it) => {
                let presence = if it.unavailable { Presence::Unavailable } else { Presence::Available };
                self.attention.learn(&it.from, &it.from, presence, it.last_seen.map(|at| Time(at.timestamp_millis())));
            }
            Event::ChatPresence(it) => {
                let presence = match it.state {
                    ChatPresence::Composing => Presence::Composing { audio: it.media == ChatPresenceMedia::Audio },
                    ChatPresence::Paused => Presence::Paused,
                };
                self.attention.learn(&it.source.chat, &it.source.sender, presence, None);
            }
            Event::IncomingCall(it) => self.call(&it.from, &it.action),
            Event::MissedCall(it) => self.attention.silence(&it.call_id),
            Event::LabelEditUpdate(it) => {
                let id = it.label_id.clone();
                self.tell(Signal::Label(match it.action.deleted {
                    Some(true) => LabelNews::Deleted { id },
                    _ => LabelNews::Set {
                        id,
                        name: it.action.name.clone().unwrap_or_default(),
                        color: it.action.color.unwrap_or_default().into(),
                    },
                }));
            }
            Event::LabelAssociationUpdate(it) => self.tell(Signal::Label(LabelNews::Assigned {
                id: it.label_id.clone(),
                chat: it.chat_jid.to_non_ad().to_string(),
                on: it.action.labeled.unwrap_or_default(),
            })),
            _ => {}
        }
    }
}
