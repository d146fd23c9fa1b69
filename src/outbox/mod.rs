//! Messages on their way to WhatsApp.
//!
//! A message is stored with its id before anything is sent. From there its state tells the truth at every moment, and each state has an
//! end: `queued` until its turn, `sending` for as long as one attempt may take, `unknown` until WhatsApp says something about it or it
//! goes out again under the same id (recipients show one message however often it arrives), and all of them at most until `expires_at`.
//!
//! - [`run`](Outbox::run): finds sessions with something to send, and gives each a [`lane`]
//! - [`lane`]: one session's sending: claims the next messages of different chats in turn, within the session's budget
//! - [`attempt`]: one message given to WhatsApp, and what came of it recorded
//! - [`upload`]: a message's file given to WhatsApp first
//! - [`budget`]: how many may go, exact behind the session's row
//! - [`check`]: whether a number is on WhatsApp, asked before its first message
//! - [`sweep`]: ends what is over
//!
//! A claim is bound to the gateway's holding of the session: when another holds it, what this one was at is free at once.

mod attempt;
pub mod budget;
pub mod check;
mod lane;
mod sweep;
mod upload;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::{Ambient, Time};
use crate::domain::ids::{GatewayId, SessionId};
use crate::error::Result;
use crate::event::EventLog;
use crate::media::Files;
use crate::session::Supervisor;
use crate::store::Db;
use crate::wa::connection::Sender;

/// How often the table is looked into for what became due by itself.
const TICK: Duration = Duration::from_millis(500);

/// How often what is over is ended.
const SWEEP: Duration = Duration::from_secs(5);

/// What the outbox works with.
pub struct Parts {
    /// The store.
    pub db: Db,
    /// The log's writer.
    pub log: EventLog,
    /// Files that messages carry.
    pub files: Files,
    /// The running sessions.
    pub supervisor: Supervisor,
    /// This gateway.
    pub gateway: GatewayId,
    /// Clock and randomness.
    pub ambient: Ambient,
}

/// The outbox of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Outbox(Arc<Shared>);

struct Shared {
    parts: Parts,
    /// Callers that wait for what becomes of a message, by its id here.
    waiters: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    /// Sessions that have something to send now; as many as there are sessions at most.
    rung: Mutex<HashSet<SessionId>>,
    bell: Notify,
    /// Until when WhatsApp was told to want fewer messages of a session; one entry a session.
    limited: Mutex<HashMap<SessionId, Time>>,
    /// Sessions with a running lane, and its bell.
    lanes: Mutex<HashMap<SessionId, Arc<lane::Bell>>>,
}

/// What became of a message at its first attempt, for a caller that waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// WhatsApp has it since then.
    Sent(Time),
    /// WhatsApp refused it with this code.
    Refused(String),
    /// It cannot be sent to this recipient; one word says why.
    Failed(&'static str),
    /// WhatsApp lets the number begin no conversations until then.
    Restricted(Time),
    /// WhatsApp wants fewer messages; later, after this time.
    TooMuch(Duration),
}

/// A caller's wait for a message; it is forgotten however the wait ends.
pub struct Wait {
    outbox: Outbox,
    id: String,
    answer: oneshot::Receiver<Outcome>,
}

impl Wait {
    /// What became of the message, if that is known within `limit`.
    pub async fn outcome(mut self, limit: Duration) -> Option<Outcome> {
        tokio::time::timeout(limit, &mut self.answer).await.ok()?.ok()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        lock(&self.outbox.0.waiters).remove(&self.id);
    }
}

impl Outbox {
    /// An outbox that sends nothing before [`Outbox::run`].
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared {
            parts,
            waiters: Mutex::default(),
            rung: Mutex::default(),
            bell: Notify::new(),
            limited: Mutex::default(),
            lanes: Mutex::default(),
        }))
    }

    /// Waits for what becomes of a message; to be called before it is stored.
    pub fn wait(&self, id: &str) -> Wait {
        let (tell, answer) = oneshot::channel();
        lock(&self.0.waiters).insert(id.to_owned(), tell);
        Wait { outbox: self.clone(), id: id.to_owned(), answer }
    }

    /// Says that a session has something to send now.
    pub fn ring(&self, session: &SessionId) {
        if let Some(bell) = lock(&self.0.lanes).get(session) {
            return bell.ring();
        }
        lock(&self.0.rung).insert(session.clone());
        self.0.bell.notify_one();
    }

    /// Sends until `draining` is cancelled. What is under way then is finished, and everything else goes on after the next start, here or
    /// elsewhere. Must not be run twice.
    pub async fn run(self, draining: CancellationToken) {
        let (mut tick, mut sweep) = (interval(TICK), interval(SWEEP));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lanes: JoinSet<()> = JoinSet::new();
        loop {
            // Biased: the end first, then callers, then lanes that ended, then timers.
            tokio::select! {
                biased;
                () = draining.cancelled() => break,
                () = self.0.bell.notified() => {
                    let rung = std::mem::take(&mut *lock(&self.0.rung));
                    rung.into_iter().for_each(|session| self.open(session, &mut lanes, &draining));
                }
                Some(_) = lanes.join_next() => {}
                _ = tick.tick() => {
                    let Parts { db, gateway, ambient, .. } = &self.0.parts;
                    match db.sessions_with_outbox(gateway, ambient.now()).await {
                        Ok(due) => due.into_iter().for_each(|session| self.open(session, &mut lanes, &draining)),
                        Err(error) => tracing::warn!(%error, cause = ?error.cause(), "cannot look for messages to send"),
                    }
                }
                _ = sweep.tick() => {
                    if let Err(error) = self.sweep().await {
                        tracing::warn!(%error, cause = ?error.cause(), "cannot end messages whose time is over");
                    }
                }
            }
        }
        while lanes.join_next().await.is_some() {}
    }

    /// Begins a session's lane, if it can send now and has none.
    fn open(&self, session: SessionId, lanes: &mut JoinSet<()>, draining: &CancellationToken) {
        if let Some(bell) = lock(&self.0.lanes).get(&session) {
            return bell.ring();
        }
        if self.online(&session).is_none() {
            return;
        }
        let bell = Arc::new(lane::Bell::default());
        lock(&self.0.lanes).insert(session.clone(), bell.clone());
        let (outbox, draining) = (self.clone(), draining.clone());
        let work = lane::Lane::new(outbox.clone(), session.clone(), bell, draining);
        lanes.spawn(async move {
            // A lane that dies makes room for another one; one that ends has done so itself.
            let mut closed = Closed { outbox, session, died: true };
            work.run().await;
            closed.died = false;
        });
    }

    fn online(&self, session: &SessionId) -> Option<Sender> {
        self.0.parts.supervisor.live(session).and_then(|live| live.borrow().online().cloned())
    }

    /// Tells a waiting caller; nothing happens when there is none.
    fn tell(&self, id: &str, outcome: Outcome) {
        if let Some(waiter) = lock(&self.0.waiters).remove(id) {
            let _ = waiter.send(outcome);
        }
    }

    async fn sweep(&self) -> Result<()> {
        sweep::sweep(&self.0.parts).await
    }
}

struct Closed {
    outbox: Outbox,
    session: SessionId,
    died: bool,
}

impl Drop for Closed {
    fn drop(&mut self) {
        if self.died {
            lock(&self.outbox.0.lanes).remove(&self.session);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
