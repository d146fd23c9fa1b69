//! The loop of one session: connects, listens, heals, and gives up with a reason.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, STABLE};
use super::health::Watch;
use super::live::Live;
use super::phase::{Phase, Timer};
use super::recorder::{Recorder, Written};
use super::supervisor::Context;
use crate::domain::clock::Time;
use crate::domain::event::Code;
use crate::domain::ids::SessionId;
use crate::domain::payload::Problem;
use crate::domain::session::{Reason, State, Status};
use crate::error::Result;
use crate::store::patiently;
use crate::wa::Connection;
use crate::wa::connection::{OpenError, Signal};
use crate::wa::device::DeviceStore;

/// What callers ask of a running session.
pub enum Command {
    /// Unlink the device on WhatsApp's side if it is connected, forget its keys, record it and end. Answered when all that is done.
    Logout(oneshot::Sender<()>),
    /// Show a pairing code that was given.
    ShowCode(Code),
    /// The passkey's proof was given to WhatsApp.
    PasskeySent,
    /// WhatsApp lets the number begin no conversations until then.
    Restricted(Time),
}

/// One session's loop.
pub struct Actor {
    pub(super) context: Arc<Context>,
    pub(super) session: SessionId,
    pub(super) recorder: Recorder,
    pub(super) live: watch::Sender<Live>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) cancel: CancellationToken,
}

/// How a connection ended.
enum Outcome {
    /// It shall not run any more.
    Cancelled,
    /// A caller logs out.
    Logout(oneshot::Sender<()>),
    /// For good, with a reason.
    Ended { status: Status, reason: Reason },
    /// WhatsApp does not know the device: its pairing was cut off before WhatsApp had heard the end of it.
    HalfPaired,
    /// To be tried again.
    Retry { reason: Reason, wait: Option<Duration> },
    /// WhatsApp has banned the number for a time.
    Banned { code: String, ttl: Duration },
    /// Somebody else decides about this session now.
    Fenced,
}

/// What is remembered from one connection to the next.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) backoff: Backoff,
    health: Watch,
    pub(super) troubled_since: Option<Instant>,
    pub(super) errands: JoinSet<()>,
    /// The right to put history into the tables.
    pub(super) history: Arc<tokio::sync::Mutex<()>>,
    /// The right to be among those that are connecting.
    turn: Option<OwnedSemaphorePermit>,
}

impl Actor {
    /// Runs until the session shall not run any more or has ended for good.
    pub async fn run(mut self) {
        let mut memory = Memory::default();
        if self.sit_out(&mut memory).await {
            return;
        }
        loop {
            let outcome = match self.attempt(&mut memory).await {
                Ok(outcome) => outcome,
                Err(e) => {
                    tracing::error!(session = %self.session, error = %e, cause = ?e.cause(), "the session's attempt failed");
                    Outcome::Retry { reason: Reason::Internal, wait: None }
                }
            };
            self.live.send_modify(|live| *live = Live::new(live.state.clone()));
            let over = match outcome {
                Outcome::Cancelled => {
                    // When the gateway stops, the session is wanted still, and no longer `working`. (When a caller stopped it, the row
                    // says so already, and this write is fenced off.)
                    let state = State::new(Status::Starting, Reason::Waiting, self.now());
                    let _ = tokio::time::timeout(Duration::from_secs(2), self.show(state)).await;
                    true
                }
                Outcome::Fenced => true,
                Outcome::Logout(done) => {
                    let over = self.end(Status::LoggedOut, Reason::LoggedOut).await;
                    let _ = done.send(());
                    over
                }
                Outcome::Ended { status, reason } => self.end(status, reason).await,
                Outcome::HalfPaired => self.begin_anew().await,
                Outcome::Retry { reason, wait } => self.wait(&mut memory, reason, wait).await,
                Outcome::Banned { code, ttl } => self.banned(&mut memory, code, ttl).await,
            };
            if over {
                return;
            }
        }
    }

    /// One connection, from opening to its end.
    async fn attempt(&mut self, memory: &mut Memory) -> Result<Outcome> {
        if memory.troubled_since.is_none() && !self.show(State::new(Status::Starting, Reason::Connecting, self.now())).await? {
            return Ok(Outcome::Fenced);
        }
        // Connections are opened a few at a time, so that a start with thousands of sessions is no stampede.
        let turn = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Ok(Outcome::Cancelled),
            turn = self.context.connects.clone().acquire_owned() => turn.ok(),
        };
        let Context { db, cipher, endpoint, ambient, .. } = &*self.context;
        let store = DeviceStore::new(db.clone(), self.session.clone(), cipher);
        let (mut connection, mut signals) =
            match Box::pin(Connection::open(endpoint, store, self.recorder.commit(), ambient.clone())).await {
                Ok(open) => open,
                Err(OpenError::Mismatch(mismatch)) => {
                    tracing::error!(session = %self.session, "{mismatch}");
                    return Ok(Outcome::Ended { status: Status::Failed, reason: Reason::Refused });
                }
                Err(e) => return Err(crate::error::Error::internal(e)),
            };
        let sender = connection.sender();
        self.live.send_modify(|live| live.sender = Some(sender));
        memory.turn = turn;
        let outcome = self.listen(&mut connection, &mut signals, memory).await;
        memory.turn = None;
        self.live.send_modify(|live| live.sender = None);
        memory.errands.abort_all();
        match outcome {
            Ok(Outcome::Logout(done)) => {
                Box::pin(connection.logout()).await;
                Ok(Outcome::Logout(done))
            }
            outcome => {
                Box::pin(connection.close()).await;
                outcome
            }
        }
    }

    async fn listen(
        &mut self,
        connection: &mut Connection,
        signals: &mut mpsc::Receiver<Signal>,
        memory: &mut Memory,
    ) -> Result<Outcome> {
        let mut timer = Timer::enter(Phase::Connecting);
        let mut look = interval(self.context.timing.look);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = (0, Instant::now());
        loop {
            // Biased: cancel first, then callers, then what WhatsApp says, then the client's end (behind everything it said), then timers.
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Ok(Outcome::Cancelled),
                Some(command) = self.commands.recv() => match command {
                    Command::Logout(done) => return Ok(Outcome::Logout(done)),
                    Command::ShowCode(code) => self.live.send_modify(|live| live.code = Some(code)),
                    // The answer may have overtaken this news.
                    Command::PasskeySent if timer.phase == Phase::Passkey => {
                        if let Some(outcome) = self.passkey(&mut timer, Phase::PasskeySent, Reason::PasskeySent, None).await? {
                            return Ok(outcome);
                        }
                    },
                    Command::PasskeySent => {},
                    Command::Restricted(until) => {
                        if timer.phase == Phase::Online && !self.show(self.connected(Some(until))).await? {
                            return Ok(Outcome::Fenced);
                        }
                    },
                },
                Some(signal) = signals.recv() => {
                    if let Some(outcome) = self.on_signal(connection, signal, &mut timer, memory).await? {
                        return Ok(outcome);
                    }
                    if timer.phase != Phase::Connecting {
                        memory.turn = None;
                    }
                },
                clean = connection.ended() => {
                    tracing::warn!(session = %self.session, clean, phase = ?timer.phase, "the client ended by itself");
                    let reason = if clean { Reason::Reconnecting } else { Reason::Internal };
                    return Ok(Outcome::Retry { reason, wait: None });
                },
                () = timer.expired(&self.context.timing) => match timer.phase {
                    Phase::Scanning => return Ok(Outcome::Ended { status: Status::Failed, reason: Reason::QrExhausted }),
                    Phase::Passkey | Phase::PasskeySent | Phase::PasskeyConfirm => {
                        return Ok(Outcome::Ended { status: Status::Failed, reason: Reason::PasskeyFailed });
                    },
                    Phase::Blip => {
                        timer = Timer::enter(Phase::Lost);
                        if !self.show(State::new(Status::Starting, Reason::Reconnecting, self.now())).await? {
                            return Ok(Outcome::Fenced);
                        }
                    },
                    Phase::Connecting | Phase::Accepted | Phase::Lost | Phase::Online => {
                        return Ok(Outcome::Retry { reason: Reason::ConnectTimeout, wait: None });
                    },
                },
                _ = look.tick() => {
                    if timer.phase == Phase::Online && timer.elapsed() > STABLE {
                        memory.backoff.reset();
                        self.recorder.health(memory.health.well()).await?;
                    }
                    let shown = self.live.borrow().state.clone();
                    let over = shown.reason == Reason::Restricted && shown.until.is_some_and(|until| until <= self.now());
                    if over && !self.show(self.connected(None)).await? {
                        return Ok(Outcome::Fenced);
                    }
                    if connection.is_saver_halted() {
                        self.recorder.health(memory.health.trouble(Problem::SaverHalted, self.now())).await?;
                        return Ok(Outcome::Retry { reason: Reason::Internal, wait: None });
                    }
                    if heard.0 != connection.heard() {
                        heard = (connection.heard(), Instant::now());
                    }
                    let deaf = heard.0 != 0 && heard.1.elapsed() > self.context.timing.deaf;
                    if timer.phase == Phase::Online && deaf {
                        tracing::warn!(session = %self.session, "nothing was heard for too long; connecting anew");
                        timer = Timer::enter(Phase::Blip);
                        if !self.show(State::new(Status::Working, Reason::Reconnecting, self.now())).await? {
                            return Ok(Outcome::Fenced);
                        }
                        self.recorder.health(memory.health.trouble(Problem::Deaf, self.now())).await?;
                        connection.reconnect().await;
                    }
                },
            }
            while memory.errands.try_join_next().is_some() {}
        }
    }

    /// Deals with one signal; an outcome ends the connection.
    async fn on_signal(
        &mut self,
        connection: &Connection,
        signal: Signal,
        timer: &mut Timer,
        memory: &mut Memory,
    ) -> Result<Option<Outcome>> {
        let ended = |status, reason| Ok(Some(Outcome::Ended { status, reason }));
        match signal {
            // Once WhatsApp wants a passkey, scanning does not help any more.
            Signal::Qr { .. } if timer.phase.is_passkey() => {}
            Signal::Qr { code, ttl } => {
                memory.troubled_since = None;
                if timer.phase != Phase::Scanning {
                    *timer = Timer::enter(Phase::Scanning);
                }
                let code = Code { code, expires_at: Some(self.now().plus(ttl)) };
                self.live.send_modify(|live| live.qr = Some(code.clone()));
                self.recorder.qr(code).await?;
                return self.move_on(State::new(Status::ScanQrCode, Reason::WaitingForScan, self.now())).await;
            }
            Signal::QrExhausted => {
                let now = self.now();
                let code = self.live.borrow().code.clone();
                let typing = code.is_some_and(|code| code.expires_at.is_some_and(|end| end > now));
                self.live.send_modify(|live| live.qr = None);
                // Somebody may be typing a pairing code; the phase's own deadline ends that wait.
                if !typing && !timer.phase.is_passkey() {
                    return ended(Status::Failed, Reason::QrExhausted);
                }
            }
            Signal::CodeExpired => self.live.send_modify(|live| live.code = None),
            Signal::PasskeyRequired { options } => {
                self.live.send_modify(|live| (live.qr, live.code) = (None, None));
                return self.passkey(timer, Phase::Passkey, Reason::PasskeyRequired, Some(options)).await;
            }
            Signal::PasskeyConfirm { code } => {
                return self.passkey(timer, Phase::PasskeyConfirm, Reason::PasskeyConfirm, Some(code)).await;
            }
            Signal::PasskeyFailed => return ended(Status::Failed, Reason::PasskeyFailed),
            Signal::Paired(account) => {
                connection.flush().await.map_err(crate::error::Error::internal)?;
                *timer = Timer::enter(Phase::Accepted);
                let state = State::new(Status::Starting, Reason::PairingAccepted, self.now());
                let written = self.recorder.accepted(account, state.clone()).await?;
                self.live.send_modify(|live| *live = Live { sender: live.sender.clone(), ..Live::new(state) });
                return Ok((written == Written::Fenced).then_some(Outcome::Fenced));
            }
            Signal::Online => return self.online(connection, timer, memory).await,
            Signal::Offline => match timer.phase {
                Phase::Online => {
                    *timer = Timer::enter(Phase::Blip);
                    self.recorder.health(memory.health.lost(self.now())).await?;
                    return self.move_on(State::new(Status::Working, Reason::Reconnecting, self.now())).await;
                }
                // What was agreed on is lost with the connection; a new client begins anew.
                phase if phase.is_passkey() => return Ok(Some(Outcome::Retry { reason: Reason::Reconnecting, wait: None })),
                _ => {}
            },
            Signal::LoggedOut => return Ok(Some(self.unlinked().await?)),
            Signal::Replaced => return ended(Status::Failed, Reason::Replaced),
            Signal::Outdated => return ended(Status::Failed, Reason::ClientOutdated),
            Signal::Refused(code) => {
                tracing::warn!(session = %self.session, code, "WhatsApp refused the connection");
                return ended(Status::Failed, Reason::Refused);
            }
            // What was not acknowledged comes again with the next connection, and not before.
            Signal::Unstored => return Ok(Some(Outcome::Retry { reason: Reason::Internal, wait: None })),
            Signal::Banned { code, ttl } => return Ok(Some(Outcome::Banned { code, ttl })),
            Signal::Receipt(receipt) => patiently(|| self.recorder.receipt(&receipt)).await?,
            Signal::Ack(ack) => {
                let receipt = ack.into_receipt(self.now());
                patiently(|| self.recorder.receipt(&receipt)).await?;
            }
            Signal::Messages(messages) => patiently(|| self.recorder.received(&messages)).await?,
            Signal::Stored(messages) => self.read(connection, messages, memory).await?,
            Signal::Ringing(call) => self.ringing(connection, call, memory).await?,
            Signal::Label(news) => patiently(|| self.recorder.label(&news)).await?,
            Signal::News => self.news(connection).await?,
            Signal::History(part) => {
                patiently(|| self.recorder.keep_history(part.clone())).await?;
                self.digest_history(memory);
            }
            Signal::Undecryptable { wa_message_id } => {
                tracing::info!(session = %self.session, message = wa_message_id, "a message could not be decrypted; it is asked for again");
            }
        }
        Ok(None)
    }

    async fn online(&mut self, connection: &Connection, timer: &mut Timer, memory: &mut Memory) -> Result<Option<Outcome>> {
        *timer = Timer::enter(Phase::Online);
        memory.troubled_since = None;
        let row = self.context.db.session_by_id(&self.session).await?;
        let state = self.connected(row.and_then(|row| row.restricted_until));
        // A crash may have come between the device's own record of the pairing and the row's.
        let written = match connection.account() {
            Some(account) => self.recorder.paired(&account, state.clone()).await?,
            None => self.recorder.state(state.clone()).await?,
        };
        self.live.send_modify(|live| *live = Live { sender: live.sender.clone(), ..Live::new(state) });
        if written == Written::Fenced {
            return Ok(Some(Outcome::Fenced));
        }
        self.digest_history(memory);
        Ok(None)
    }

    /// Connected, and whether the number may begin conversations.
    fn connected(&self, restricted_until: Option<Time>) -> State {
        let now = self.now();
        match restricted_until.filter(|until| *until > now) {
            Some(until) => State { until: Some(until), ..State::new(Status::Working, Reason::Restricted, now) },
            None => State::new(Status::Working, Reason::Connected, now),
        }
    }

    /// WhatsApp does not know the device any more, or never did.
    async fn unlinked(&self) -> Result<Outcome> {
        let row = self.context.db.session_by_id(&self.session).await?;
        Ok(match row.is_some_and(|row| row.account.is_none() || row.last_connected_at.is_none()) {
            true => Outcome::HalfPaired,
            false => Outcome::Ended { status: Status::LoggedOut, reason: Reason::Unlinked },
        })
    }

    /// Forgets a pairing that was cut off, so that codes are shown again; true when the actor is over.
    async fn begin_anew(&mut self) -> bool {
        tracing::info!(session = %self.session, "the pairing was cut off; it begins anew");
        match self.recorder.unpaired(State::new(Status::Starting, Reason::Connecting, self.now())).await {
            Ok(written) => written == Written::Fenced,
            Err(e) => {
                // The next attempt meets the same answer of WhatsApp.
                tracing::error!(session = %self.session, error = %e, cause = ?e.cause(), "a pairing that was cut off could not be forgotten");
                tokio::time::timeout(Duration::from_secs(5), self.cancel.cancelled()).await.is_ok()
            }
        }
    }

    /// Records the ending; true when the actor is over.
    pub(super) async fn end(&mut self, status: Status, reason: Reason) -> bool {
        let state = State::new(status, reason, self.now());
        let unlink = status == Status::LoggedOut;
        match self.recorder.ended(state.clone(), unlink).await {
            Ok(Written::Yes | Written::Fenced) => {
                tracing::info!(session = %self.session, status = status.word(), reason = reason.word(), "the session has ended");
                self.live.send_modify(|live| *live = Live::new(state.clone()));
                true
            }
            Err(e) => {
                // The row still wants it to run, so the next attempt meets the same ending and records it then.
                tracing::error!(session = %self.session, error = %e, cause = ?e.cause(), "the session's ending could not be recorded");
                tokio::time::timeout(Duration::from_secs(5), self.cancel.cancelled()).await.is_ok()
            }
        }
    }

    /// Enters a part of the passkey step.
    async fn passkey(
        &mut self,
        timer: &mut Timer,
        phase: Phase,
        reason: Reason,
        data: Option<String>,
    ) -> Result<Option<Outcome>> {
        *timer = Timer::enter(phase);
        let now = self.now();
        self.move_on(State {
            until: Some(now.plus(self.context.timing.passkey)),
            data,
            ..State::new(Status::ScanQrCode, reason, now)
        })
        .await
    }

    /// Records a state that ends nothing; an outcome says that somebody else decides now.
    async fn move_on(&mut self, state: State) -> Result<Option<Outcome>> {
        Ok((!self.show(state).await?).then_some(Outcome::Fenced))
    }

    /// Records and shows a state if it says something new; false when the write was fenced off.
    pub(super) async fn show(&mut self, state: State) -> Result<bool> {
        let shown = self.live.borrow().state.clone();
        if shown == (State { since: shown.since, ..state.clone() }) {
            return Ok(true);
        }
        let written = self.recorder.state(state.clone()).await?;
        self.live.send_modify(|live| live.state = state);
        Ok(written == Written::Yes)
    }

    pub(super) fn now(&self) -> Time {
        self.context.ambient.now()
    }
}
