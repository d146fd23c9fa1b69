//! Owns one actor per session that shall run here, and makes the set of actors follow the rows: what a crash interrupted is taken up
//! again, and nothing has to be told twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::actor::{Actor, Command};
use super::live::Live;
use super::recorder::Recorder;
use super::timing::Timing;
use crate::domain::clock::Ambient;
use crate::domain::event::Payload;
use crate::domain::ids::{GatewayId, SessionId};
use crate::domain::session::{Fence, Reason, Session, State, Status};
use crate::error::Result;
use crate::event::EventLog;
use crate::store::{Cipher, Db};
use crate::wa::Endpoint;
use crate::wa::device::DeviceStore;

/// How long a lease lasts without being renewed.
pub const LEASE: Duration = Duration::from_secs(30);

/// How often leases are renewed.
const RENEW: Duration = Duration::from_secs(10);

/// How often the rows are looked at when nobody says that they changed.
const LOOK: Duration = Duration::from_secs(5);

/// How long an actor may take to end in good order before it is cut.
const STOP_LIMIT: Duration = Duration::from_secs(25);

/// How many sessions may be connecting at the same time.
const CONNECTS: usize = 16;

/// What every actor needs.
pub struct Context {
    /// The store.
    pub db: Db,
    /// The log.
    pub log: EventLog,
    /// Clock and randomness.
    pub ambient: Ambient,
    /// Where sessions connect.
    pub endpoint: Endpoint,
    /// Seals the library's state.
    pub cipher: Cipher,
    /// This gateway.
    pub gateway: GatewayId,
    /// Limits and waits.
    pub timing: Timing,
    pub(super) connects: Arc<Semaphore>,
}

impl Context {
    /// Puts together what every actor needs.
    pub fn new(
        db: Db,
        log: EventLog,
        ambient: Ambient,
        endpoint: Endpoint,
        cipher: Cipher,
        gateway: GatewayId,
        timing: Timing,
    ) -> Self {
        Self { db, log, ambient, endpoint, cipher, gateway, timing, connects: Arc::new(Semaphore::new(CONNECTS)) }
    }
}

struct Handle {
    fence: Fence,
    live: watch::Receiver<Live>,
    commands: mpsc::Sender<Command>,
    cancel: CancellationToken,
    stopping_since: Option<Instant>,
    task: AbortOnDropHandle<()>,
}

impl Handle {
    fn stop(&mut self) {
        self.cancel.cancel();
        self.stopping_since.get_or_insert_with(Instant::now);
    }
}

/// The set of running sessions. Cheap to clone; the actors end with the last clone of it or by [`Supervisor::run`]'s end.
#[derive(Clone)]
pub struct Supervisor {
    context: Arc<Context>,
    actors: Arc<Mutex<HashMap<SessionId, Handle>>>,
    wake: Arc<Notify>,
    /// Ticks whenever an actor was added or removed.
    changed: watch::Sender<u64>,
}

impl Supervisor {
    /// A supervisor without actors; [`Supervisor::run`] brings them.
    pub fn new(context: Context) -> Self {
        Self { context: Arc::new(context), actors: Arc::default(), wake: Arc::default(), changed: watch::channel(0).0 }
    }

    /// Says that rows have changed.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// How many sessions run here.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none runs here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is seen of a session that runs here.
    pub fn live(&self, session: &SessionId) -> Option<watch::Receiver<Live>> {
        self.lock().get(session).filter(|handle| handle.stopping_since.is_none()).map(|handle| handle.live.clone())
    }

    /// The same, waiting until it runs; `None` if it does not within `limit`.
    pub async fn wait_live(&self, session: &SessionId, limit: Duration) -> Option<watch::Receiver<Live>> {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                if let Some(live) = self.live(session) {
                    return Some(live);
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(limit, wait).await.ok().flatten()
    }

    /// Gives a command to a running session; false when none runs here or its queue is full.
    pub fn command(&self, session: &SessionId, command: Command) -> bool {
        self.lock().get(session).is_some_and(|handle| handle.commands.try_send(command).is_ok())
    }

    /// Has a running session log itself out: on WhatsApp's side if it is connected, then in its row. False when none runs here or it
    /// did not answer in time.
    pub async fn logout(&self, session: &SessionId) -> bool {
        let (done, wait) = oneshot::channel();
        self.command(session, Command::Logout(done))
            && tokio::time::timeout(STOP_LIMIT, wait).await.is_ok_and(|told| told.is_ok())
    }

    /// Ends what runs of a session here and forgets the device's keys. The caller has recorded before that it shall not run.
    pub async fn forget(&self, session: &SessionId) -> Result<()> {
        self.stop(session).await;
        let Context { db, cipher, .. } = &*self.context;
        DeviceStore::new(db.clone(), session.clone(), cipher).wipe().await
    }

    /// Ends a session's actor and waits until it is gone.
    pub async fn stop(&self, session: &SessionId) {
        let mut changed = self.changed.subscribe();
        if let Some(handle) = self.lock().get_mut(session) {
            handle.stop();
        }
        let gone = async {
            while self.lock().contains_key(session) {
                self.wake();
                // The supervisor sweeps ended actors; it is woken above, and again if this one takes its time.
                let _ = tokio::time::timeout(Duration::from_millis(50), changed.changed()).await;
            }
        };
        if tokio::time::timeout(STOP_LIMIT, gone).await.is_err() {
            tracing::warn!(%session, "the session did not stop in time and was cut");
            self.lock().remove(session);
        }
    }

    /// Takes back what the rows of this gateway's sessions say of a former life: nothing runs yet, so nothing is `working`. A ban goes on
    /// as it is. To be called once, before anybody can ask.
    pub async fn adopt(&self) -> Result<()> {
        let Context { db, log, ambient, gateway, .. } = &*self.context;
        let state = State::new(Status::Starting, Reason::Waiting, ambient.now());
        let mut recording = log.begin().await?;
        for row in db.sessions_to_run(gateway).await? {
            let banned = row.state.reason == Reason::Banned && row.state.until.is_some_and(|until| until > state.since);
            if row.state.status != Status::Starting && !banned {
                recording.tx.set_state(&row.id, None, &state, state.since).await?;
                recording.tell(&row.organization, &row.id, Payload::SessionStatus(state.clone()));
            }
        }
        recording.commit().await
    }

    /// Supervises until `cancel`, then ends all actors in good order. Must not be run twice.
    pub async fn run(self, cancel: CancellationToken) {
        let (mut look, mut renew) = (interval(LOOK), interval(RENEW));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                () = self.wake.notified() => {},
                _ = renew.tick() => match self.renew().await {
                    Ok(()) => renewed = Instant::now(),
                    Err(e) => tracing::error!(error = %e, cause = ?e.cause(), "leases could not be renewed"),
                },
                _ = look.tick() => {},
            }
            if renewed.elapsed() > LEASE {
                // Others may hold our sessions by now: better none than two.
                tracing::error!("leases have expired; all sessions are cut until the database answers again");
                self.lock().clear();
                continue;
            }
            self.sweep();
            if let Err(e) = self.reconcile().await {
                tracing::error!(error = %e, cause = ?e.cause(), "the sessions' rows could not be read");
            }
        }
        self.shut_down().await;
    }

    /// Removes actors that have ended, and cuts those that take too long to.
    fn sweep(&self) {
        let mut actors = self.lock();
        let before = actors.len();
        actors.retain(|session, handle| {
            let late = handle.stopping_since.is_some_and(|since| since.elapsed() > STOP_LIMIT);
            if late {
                tracing::warn!(%session, "the session did not stop in time and was cut");
            }
            !late && !handle.task.is_finished()
        });
        let swept = actors.len() != before;
        drop(actors);
        if swept {
            self.changed.send_modify(|n| *n += 1);
        }
    }

    async fn reconcile(&self) -> Result<()> {
        let wanted = self.context.db.sessions_to_run(&self.context.gateway).await?;
        let mut missing = Vec::new();
        {
            let mut actors = self.lock();
            let wanted: HashMap<&SessionId, &Session> = wanted.iter().map(|s| (&s.id, s)).collect();
            for (session, handle) in actors.iter_mut() {
                let fits = wanted.get(session).is_some_and(|row| row.generation == handle.fence.generation);
                if !fits {
                    handle.stop();
                }
            }
            missing.extend(wanted.into_values().filter(|row| !actors.contains_key(&row.id)).cloned());
        }
        for row in missing {
            self.start(row).await?;
        }
        Ok(())
    }

    async fn start(&self, row: Session) -> Result<()> {
        let Context { db, ambient, gateway, .. } = &*self.context;
        let Some(lease) = db.acquire_lease(&row.id, gateway, ambient.now(), LEASE).await? else {
            return Ok(());
        };
        let fence = Fence { epoch: lease.epoch, generation: row.generation };
        let recorder = Recorder::new(&self.context, row.organization.clone(), row.id.clone(), fence);
        let (live, seen) = watch::channel(Live::new(row.state));
        let (commands, inbox) = mpsc::channel(16);
        let cancel = CancellationToken::new();
        let actor = Actor {
            context: self.context.clone(),
            session: row.id.clone(),
            recorder,
            live,
            commands: inbox,
            cancel: cancel.clone(),
        };
        let (context, wake, id) = (self.context.clone(), self.wake.clone(), row.id.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            // A panic ends the actor; the row still wants it, so the supervisor starts another one at its next look.
            Box::pin(actor.run()).await;
            if let Err(e) = context.db.release_lease(&id, fence.epoch).await {
                tracing::warn!(session = %id, error = %e, "the lease could not be released; it expires by itself");
            }
            wake.notify_one();
        }));
        let handle = Handle { fence, live: seen, commands, cancel, stopping_since: None, task };
        self.lock().insert(row.id, handle);
        self.changed.send_modify(|n| *n += 1);
        Ok(())
    }

    /// Renews all leases; an actor whose lease is lost is cut at once.
    async fn renew(&self) -> Result<()> {
        let held: Vec<(SessionId, i64)> = self.lock().iter().map(|(id, handle)| (id.clone(), handle.fence.epoch)).collect();
        if held.is_empty() {
            return Ok(());
        }
        let Context { db, ambient, gateway, .. } = &*self.context;
        for session in db.renew_leases(gateway, &held, ambient.now(), LEASE).await? {
            let mut actors = self.lock();
            // An actor that was replaced meanwhile holds a newer lease.
            let same = |handle: &Handle| held.iter().any(|(id, epoch)| *id == session && *epoch == handle.fence.epoch);
            if actors.get(&session).is_some_and(|handle| same(handle) && handle.stopping_since.is_none()) {
                tracing::warn!(%session, "the session's lease was lost; its client is cut");
                actors.remove(&session);
            }
        }
        Ok(())
    }

    async fn shut_down(&self) {
        let handles: Vec<Handle> = {
            let mut actors = self.lock();
            actors.values_mut().for_each(Handle::stop);
            actors.drain().map(|(_, handle)| handle).collect()
        };
        let count = handles.len();
        if count > 0 {
            tracing::info!(sessions = count, "disconnecting all sessions");
        }
        join_all(handles.into_iter().map(|handle| async move {
            let _ = tokio::time::timeout(STOP_LIMIT, handle.task).await;
        }))
        .await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Handle>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
