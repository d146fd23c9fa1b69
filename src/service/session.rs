//! Sessions: slots for WhatsApp numbers.

use std::time::Duration;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Service;
use crate::domain::clock::Ambient;
use crate::domain::event::Payload;
use crate::domain::ids::{GatewayId, SessionId};
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::{Desired, Ignore, Metadata, Reason, Session, Settings, State, Status, merged};
use crate::error::{Code, Error, Result};
use crate::event::Recording;

/// How long a creating call's idempotency key is remembered.
const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A gateway that was heard of within this time lives.
const ALIVE: Duration = Duration::from_secs(30);

/// What a new session starts with; what is absent takes its default.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewSession {
    /// A name for people.
    pub label: Option<String>,
    /// Mark incoming messages as read at once.
    pub auto_read: Option<bool>,
    /// Show "typing" before a text is sent.
    pub presence_typing: Option<bool>,
    /// Refuse every call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_reject_calls: Option<bool>,
    /// Whose messages are left out.
    pub ignore: IgnorePatch,
    /// Words of the owner's own.
    pub metadata: Metadata,
    /// Begin pairing right away.
    pub start: bool,
}

/// A created session, and whether an earlier call created it.
#[derive(Clone, Debug)]
pub struct Created {
    /// The session as it is now.
    pub session: Session,
    /// True when an earlier call with the same key created it.
    pub replayed: bool,
}

/// Filters to change; what is absent stays.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct IgnorePatch {
    /// Status posts.
    pub status: Option<bool>,
    /// Groups.
    pub groups: Option<bool>,
    /// Channels.
    pub channels: Option<bool>,
    /// Broadcast lists.
    pub broadcast: Option<bool>,
}

impl IgnorePatch {
    fn applied(self, old: Ignore) -> Ignore {
        Ignore {
            status: self.status.unwrap_or(old.status),
            groups: self.groups.unwrap_or(old.groups),
            channels: self.channels.unwrap_or(old.channels),
            broadcast: self.broadcast.unwrap_or(old.broadcast),
        }
    }
}

/// Settings to change; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct SettingsPatch {
    /// A name for people; the empty text removes it.
    pub label: Option<String>,
    /// Mark incoming messages as read at once.
    pub auto_read: Option<bool>,
    /// Show "typing" before a text is sent.
    pub presence_typing: Option<bool>,
    /// Refuse every call.
    pub auto_reject_calls: Option<bool>,
    /// Messages per minute.
    pub rate_per_min: Option<i32>,
    /// Messages per hour.
    pub rate_per_hour: Option<i32>,
    /// Whose messages are left out.
    pub ignore: IgnorePatch,
    /// Entries to set; those with an empty text are removed.
    pub metadata: Metadata,
}

impl Service {
    /// Every session of the caller's organization, oldest first.
    pub async fn list_sessions(&self, caller: &Principal) -> Result<Vec<Session>> {
        caller.require(Capability::Manage)?;
        let mut all = self.0.db.list_sessions(&caller.organization).await?;
        all.retain(|session| caller.sees(&session.id));
        Ok(all)
    }

    /// One session of the caller's organization.
    pub async fn get_session(&self, caller: &Principal, id: &SessionId) -> Result<Session> {
        caller.check_session(id)?;
        self.0.db.session(&caller.organization, id).await?.ok_or_else(|| Error::not_found("session"))
    }

    /// Creates a session, placed on the living gateway that holds the fewest. With a `key` the same call, repeated within a day,
    /// creates nothing more and gives the same session.
    pub async fn create_session(&self, caller: &Principal, new: NewSession, key: Option<&str>) -> Result<Created> {
        self.create(caller, new, key, false).await
    }

    /// The same; `is_admin` marks the platform's own.
    pub(super) async fn create(&self, caller: &Principal, new: NewSession, key: Option<&str>, is_admin: bool) -> Result<Created> {
        caller.require(Capability::Manage)?;
        caller.check_unrestricted()?;
        let parts = &*self.0;
        let now = parts.ambient.now();
        let hash = content_hash(&new)?;
        if let Some(key) = key
            && let Some(earlier) = parts.db.created_by_key(&caller.organization, key, now.minus(KEY_LIFE)).await?
        {
            return replay(earlier, &hash);
        }
        let placed = parts.db.least_loaded_gateway(now.minus(ALIVE)).await?;
        let gateway = placed.unwrap_or_else(|| parts.gateway.clone());
        let session = Session { is_admin, ..draft(caller, new, gateway, &parts.ambient)? };
        let mut recording = parts.log.begin().await?;
        recording.tx.ensure_organization(&caller.organization, now).await?;
        recording.tx.insert_session(&session).await?;
        if let Some(key) = key {
            let remembered = recording.tx.remember_creation(&session, key, &hash, now.minus(KEY_LIFE)).await;
            // Two calls with the same key at the same moment: the other one was first.
            if remembered.as_ref().is_err_and(|e| e.code == Code::Conflict) {
                drop(recording);
                let earlier = parts.db.created_by_key(&caller.organization, key, now.minus(KEY_LIFE)).await?;
                return replay(earlier.ok_or_else(|| Error::new(Code::Conflict, "the key is in use; try again"))?, &hash);
            }
            remembered?;
        }
        recording.tell(&session.organization, &session.id, Payload::SessionStatus(session.state.clone()));
        recording.commit().await?;
        parts.supervisor.wake();
        Ok(Created { session, replayed: false })
    }

    /// Changes settings; what is absent stays.
    pub async fn update_session(&self, caller: &Principal, id: &SessionId, patch: SettingsPatch) -> Result<Session> {
        caller.require(Capability::Manage)?;
        caller.check_session(id)?;
        let now = self.0.ambient.now();
        let mut tx = self.0.db.begin().await?;
        let row = tx.lock_session(&caller.organization, id).await?.ok_or_else(|| Error::not_found("session"))?;
        let old = row.settings;
        let settings = Settings {
            label: patch.label.or(old.label).filter(|label| !label.is_empty()),
            auto_read: patch.auto_read.unwrap_or(old.auto_read),
            presence_typing: patch.presence_typing.unwrap_or(old.presence_typing),
            auto_reject_calls: patch.auto_reject_calls.unwrap_or(old.auto_reject_calls),
            rate_per_min: patch.rate_per_min.unwrap_or(old.rate_per_min),
            rate_per_hour: patch.rate_per_hour.unwrap_or(old.rate_per_hour),
            ignore: patch.ignore.applied(old.ignore),
            metadata: merged(&old.metadata, patch.metadata)?,
        };
        let row = tx.update_settings(&caller.organization, id, &settings, now).await?;
        tx.commit().await?;
        row.ok_or_else(|| Error::not_found("session"))
    }

    /// Wants a session to run. Changes nothing when it already does.
    pub async fn start_session(&self, caller: &Principal, id: &SessionId) -> Result<Session> {
        self.run(caller, id, false).await
    }

    /// Wants a session to connect anew.
    pub async fn restart_session(&self, caller: &Principal, id: &SessionId) -> Result<Session> {
        self.run(caller, id, true).await
    }

    async fn run(&self, caller: &Principal, id: &SessionId, anew: bool) -> Result<Session> {
        caller.require(Capability::Manage)?;
        let (mut recording, row) = self.lock(caller, id).await?;
        if row.desired == Desired::Running && !anew {
            return Ok(row);
        }
        let state = State::new(Status::Starting, Reason::Waiting, self.0.ambient.now());
        let row = wish(&mut recording, row, Desired::Running, state).await?;
        recording.commit().await?;
        self.0.supervisor.wake();
        Ok(row)
    }

    /// Wants a session not to run, and waits until it does not. The pairing stays.
    pub async fn stop_session(&self, caller: &Principal, id: &SessionId) -> Result<Session> {
        caller.require(Capability::Manage)?;
        let (mut recording, row) = self.lock(caller, id).await?;
        let resting = matches!(row.state.status, Status::Stopped | Status::LoggedOut);
        if row.desired == Desired::Stopped && resting {
            return Ok(row);
        }
        let state = State::new(Status::Stopped, Reason::StoppedByCaller, self.0.ambient.now());
        let row = wish(&mut recording, row, Desired::Stopped, state).await?;
        recording.commit().await?;
        self.0.supervisor.stop(id).await;
        Ok(row)
    }

    /// Unlinks the number: on WhatsApp's side when the session is connected, and here in any case.
    pub async fn logout_session(&self, caller: &Principal, id: &SessionId) -> Result<Session> {
        caller.require(Capability::Manage)?;
        let row = self.get_session(caller, id).await?;
        if row.state.status == Status::LoggedOut {
            return Ok(row);
        }
        // A running session does it itself, so that its lease guards what is written.
        if self.0.supervisor.logout(id).await {
            let row = self.get_session(caller, id).await?;
            if row.state.status == Status::LoggedOut {
                return Ok(row);
            }
        }
        let (mut recording, row) = self.lock(caller, id).await?;
        let state = State::new(Status::LoggedOut, Reason::LoggedOut, self.0.ambient.now());
        let row = wish(&mut recording, row, Desired::Stopped, state).await?;
        recording.tx.set_account(id, None, row.state.since).await?;
        recording.commit().await?;
        self.0.supervisor.forget(id).await?;
        Ok(Session { account: None, ..row })
    }

    /// Deletes a session with everything stored for it; a paired one is logged out first if it is connected. Its last event says
    /// whether that was done: see [`Reason::Deleted`] and [`Reason::DeletedStillLinked`].
    pub async fn delete_session(&self, caller: &Principal, id: &SessionId) -> Result<()> {
        caller.require(Capability::Manage)?;
        let row = self.get_session(caller, id).await?;
        let reason = match row.account.is_some() {
            true if self.is_connected(&row) && self.0.supervisor.logout(id).await => Reason::Deleted,
            true => Reason::DeletedStillLinked,
            false => Reason::Deleted,
        };
        tracing::info!(session = %id, reason = reason.word(), "deleting the session");
        let (mut recording, row) = self.lock(caller, id).await?;
        let state = State::new(Status::Stopped, reason, self.0.ambient.now());
        wish(&mut recording, row, Desired::Stopped, state).await?;
        recording.commit().await?;
        self.0.supervisor.stop(id).await;
        let mut tx = self.0.db.begin().await?;
        tx.delete_session(&caller.organization, id).await?;
        tx.commit().await?;
        self.0.media.files.sweep_soon();
        Ok(())
    }

    /// Whether a session is connected at this moment.
    pub fn is_connected(&self, session: &Session) -> bool {
        self.0.supervisor.live(&session.id).is_some_and(|live| live.borrow().online().is_some())
    }

    /// Begins a transaction that holds the session's row.
    async fn lock(&self, caller: &Principal, id: &SessionId) -> Result<(Recording, Session)> {
        caller.check_session(id)?;
        let mut recording = self.0.log.begin().await?;
        let row = recording.tx.lock_session(&caller.organization, id).await?;
        Ok((recording, row.ok_or_else(|| Error::not_found("session"))?))
    }
}

/// Records and tells what shall be. The generation grows, so whatever runs for the old wish can no longer write.
async fn wish(recording: &mut Recording, row: Session, desired: Desired, state: State) -> Result<Session> {
    recording.tx.set_desired(&row.organization, &row.id, desired, true, state.since).await?;
    recording.tx.set_state(&row.id, None, &state, state.since).await?;
    recording.tell(&row.organization, &row.id, Payload::SessionStatus(state.clone()));
    Ok(Session { desired, generation: row.generation + 1, updated_at: state.since, state, ..row })
}

/// A new session as it is stored.
fn draft(caller: &Principal, new: NewSession, gateway: GatewayId, ambient: &Ambient) -> Result<Session> {
    let now = ambient.now();
    let defaults = Settings::default();
    let (desired, state) = match new.start {
        true => (Desired::Running, State::new(Status::Starting, Reason::Waiting, now)),
        false => (Desired::Stopped, State::new(Status::Stopped, Reason::Created, now)),
    };
    Ok(Session {
        id: SessionId::new(ambient.ulid()),
        organization: caller.organization.clone(),
        gateway,
        created_by_user: caller.user_id().map(str::to_owned),
        settings: Settings {
            label: new.label.filter(|label| !label.is_empty()),
            auto_read: new.auto_read.unwrap_or(defaults.auto_read),
            presence_typing: new.presence_typing.unwrap_or(defaults.presence_typing),
            auto_reject_calls: new.auto_reject_calls.unwrap_or(defaults.auto_reject_calls),
            ignore: new.ignore.applied(defaults.ignore),
            metadata: merged(&Metadata::new(), new.metadata)?,
            ..defaults
        },
        desired,
        generation: 0,
        state,
        account: None,
        is_admin: false,
        last_connected_at: None,
        created_at: now,
        updated_at: now,
    })
}

/// The answer to a repeated call.
fn replay((session, earlier): (Session, String), hash: &str) -> Result<Created> {
    if earlier == hash {
        return Ok(Created { session, replayed: true });
    }
    let message = "this idempotency key was used for another session; take a new key for each session";
    Err(Error::new(Code::Conflict, message).reason("idempotency_key_reused"))
}

/// SHA-256 of what is asked for, in hex, to tell a repetition from another call.
fn content_hash(new: &NewSession) -> Result<String> {
    let text = serde_json::to_vec(new).map_err(Error::internal)?;
    Ok(Sha256::digest(text).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")))
}
