//! Attaching a number to a session.

use std::time::Duration;

use tokio::sync::watch;

use super::Service;
use crate::domain::event::{AuthCode, Code as Shown, Payload};
use crate::domain::ids::SessionId;
use crate::domain::jid::phone_digits;
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::{Account, Desired, Reason, Session, State, Status};
use crate::error::{Code, Error, Result};
use crate::event::follow::Item;
use crate::event::{Filter, Follower};
use crate::session::Live;
use crate::session::actor::Command;
use crate::wa::connection::CodeError;

/// How long a pairing code may take: the socket, WhatsApp's answer and the key derivation.
const CODE_LIMIT: Duration = Duration::from_secs(30);

/// One step of a pairing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Where the session stands.
    Status(Status),
    /// A QR code to scan.
    Qr(Shown),
    /// A pairing code to type.
    Code(Shown),
    /// WhatsApp wants proof by a passkey: its request as JSON.
    PasskeyRequired(Shown),
    /// The code that is to be compared with the phone's.
    PasskeyConfirm(Shown),
    /// The number is attached. The last step.
    Paired(Account),
    /// No more codes will come. The last step.
    Failed(Reason),
}

/// A followed pairing.
pub struct Watch {
    service: Service,
    caller: Principal,
    session: SessionId,
    follower: Follower,
    queue: std::collections::VecDeque<Step>,
    over: bool,
}

impl Service {
    /// The QR code to scan now. Begins pairing when the session does not run; waits at most `wait` for a code.
    pub async fn get_qr(&self, caller: &Principal, id: &SessionId, wait: Duration) -> Result<Shown> {
        caller.require(Capability::Manage)?;
        self.begin_pairing(caller, id).await?;
        let find = |live: &Live| live.valid_qr(self.0.ambient.now()).cloned();
        if let Some(code) = self.find_live(id, wait, find).await {
            return Ok(code);
        }
        // Why there is none: paired meanwhile, ended, or simply not yet.
        let row = self.get_session(caller, id).await?;
        refuse_paired(&row)?;
        let message = format!("there is no QR code yet ({}); ask again, or with ?wait=30", row.state.reason.sentence());
        Err(Error::new(Code::NotFound, message).reason("no_qr_code").detail("status", row.state.status.word()))
    }

    /// A code that the phone with this number can type. Begins pairing when the session does not run.
    pub async fn request_pairing_code(&self, caller: &Principal, id: &SessionId, phone: &str) -> Result<Shown> {
        caller.require(Capability::Manage)?;
        let digits = phone_digits("phone", phone)?;
        let row = self.begin_pairing(caller, id).await?;
        // WhatsApp takes the request once it offers QR codes.
        let ready = |live: &Live| live.qr.as_ref().and(live.sender.clone());
        let Some(sender) = self.find_live(id, CODE_LIMIT, ready).await else {
            let message = "the session did not reach WhatsApp in time; try again";
            return Err(Error::new(Code::Unavailable, message).retry_after(Duration::from_secs(5)));
        };
        let (code, ttl) = sender.request_code(&digits).await.map_err(refused)?;
        let expires_at = Some(self.0.ambient.now().plus(ttl));
        let shown = Shown { code: dashed(&code), expires_at };
        self.0.supervisor.command(id, Command::ShowCode(shown.clone()));
        self.0.log.record(&row.organization, id, Payload::AuthCode(AuthCode::Shown(shown.clone()))).await?;
        Ok(shown)
    }

    /// Follows a pairing from now on; does not begin one.
    pub async fn watch_pairing(&self, caller: &Principal, id: &SessionId) -> Result<Watch> {
        caller.require(Capability::Manage)?;
        caller.check_session(id)?;
        // Follow first, then look, so that nothing falls in between.
        let names = ["session.status", "auth.qr", "auth.code"].map(str::to_owned).to_vec();
        let filter = Filter { sessions: vec![id.clone()], names };
        let follower =
            Follower::new(self.0.db.clone(), &self.0.hub, caller.organization.clone(), filter, None).await.map(|(it, _)| it)?;
        let row = self.get_session(caller, id).await?;
        let mut watch = Watch {
            service: self.clone(),
            caller: caller.clone(),
            session: id.clone(),
            follower,
            queue: std::iter::once(Step::Status(row.state.status)).chain(passkey(&row.state)).collect(),
            over: false,
        };
        if let Some(live) = self.0.supervisor.live(id) {
            let live = live.borrow();
            watch.queue.extend(live.valid_qr(self.0.ambient.now()).cloned().map(Step::Qr));
            watch.queue.extend(live.code.clone().map(Step::Code));
        }
        // A session that was never started, or was stopped, may be started while it is watched; only an ending after that is one.
        if let Some(account) = row.account {
            watch.queue.push_back(Step::Paired(account));
        }
        Ok(watch)
    }

    /// Makes an unpaired session run.
    pub(super) async fn begin_pairing(&self, caller: &Principal, id: &SessionId) -> Result<Session> {
        let row = self.get_session(caller, id).await?;
        refuse_paired(&row)?;
        match row.desired {
            Desired::Running => Ok(row),
            Desired::Stopped => self.start_session(caller, id).await,
        }
    }

    /// Looks at a running session until `find` finds something, at most for `limit`.
    async fn find_live<T>(&self, id: &SessionId, limit: Duration, find: impl Fn(&Live) -> Option<T>) -> Option<T> {
        let look = async {
            loop {
                // An actor that ends is followed by another one as long as the row wants it.
                let mut live: watch::Receiver<Live> = self.0.supervisor.wait_live(id, limit).await?;
                loop {
                    if let Some(found) = find(&live.borrow_and_update()) {
                        return Some(found);
                    }
                    if live.changed().await.is_err() {
                        break;
                    }
                }
                let row = self.0.db.session_by_id(id).await.ok().flatten()?;
                if row.desired == Desired::Stopped {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // Without a wait, what is there now is looked at once.
        let limit = limit.max(Duration::from_millis(1));
        tokio::time::timeout(limit, look).await.ok().flatten()
    }
}

impl Watch {
    /// The next step; `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<Step>> {
        loop {
            if let Some(step) = self.queue.pop_front() {
                self.over = matches!(step, Step::Paired(_) | Step::Failed(_));
                return Ok(Some(step));
            }
            if self.over {
                return Ok(None);
            }
            let Item::Event(event) = self.follower.next().await? else {
                // A deleted session tells nothing any more.
                self.service.get_session(&self.caller, &self.session).await?;
                continue;
            };
            match event.event.payload {
                Payload::AuthQr(code) => self.queue.push_back(Step::Qr(code)),
                Payload::AuthCode(AuthCode::Shown(code)) => self.queue.push_back(Step::Code(code)),
                Payload::SessionStatus(state) => self.on_state(state).await?,
                // That a phone has accepted is told by the status; the filter lets nothing else through.
                _ => {}
            }
        }
    }

    async fn on_state(&mut self, state: State) -> Result<()> {
        self.queue.push_back(Step::Status(state.status));
        self.queue.extend(passkey(&state));
        match state.status {
            Status::Failed | Status::Stopped | Status::LoggedOut => self.queue.push_back(Step::Failed(state.reason)),
            Status::Starting | Status::ScanQrCode => {}
            Status::Working => {
                let row = self.service.get_session(&self.caller, &self.session).await?;
                self.queue.extend(row.account.map(Step::Paired));
            }
        }
        Ok(())
    }
}

/// What a person has to do in the passkey step, if it is their turn.
fn passkey(state: &State) -> Option<Step> {
    let shown = Shown { code: state.data.clone()?, expires_at: state.until };
    match state.reason {
        Reason::PasskeyRequired => Some(Step::PasskeyRequired(shown)),
        Reason::PasskeyConfirm => Some(Step::PasskeyConfirm(shown)),
        _ => None,
    }
}

pub(super) fn refuse_paired(row: &Session) -> Result<()> {
    if row.account.is_none() {
        return Ok(());
    }
    let message = "the session is already paired; log it out first to attach another number";
    Err(Error::new(Code::Validation, message).reason("already_paired"))
}

fn refused(error: CodeError) -> Error {
    match error {
        CodeError::Outstanding => {
            Error::new(Code::Conflict, "another request for a code is under way").reason("code_outstanding")
        }
        CodeError::Throttled { wait } => Error::new(Code::RateLimited, "WhatsApp gives no more codes for this number for now")
            .retry_after(wait.unwrap_or(Duration::from_secs(300))),
        CodeError::NotConnected => Error::new(Code::Unavailable, "the session did not reach WhatsApp in time; try again"),
        CodeError::Refused(why) => Error::field("phone", "WhatsApp gives no code for this number").because(anyhow::anyhow!(why)),
    }
}

/// A code as it is read out: `ABCD-EFGH`.
fn dashed(code: &str) -> String {
    match code.split_at_checked(4) {
        Some((head, tail)) if !code.contains('-') && !tail.is_empty() => format!("{head}-{tail}"),
        _ => code.to_owned(),
    }
}
