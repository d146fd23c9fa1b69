//! What an actor writes. Every write of state is fenced: a holder that lost its lease, or whose row has moved on, changes nothing.

use std::sync::Arc;

use super::supervisor::Context;
use crate::domain::chat::ChatKind;
use crate::domain::clock::Ambient;
use crate::domain::event::{AuthCode, Code, Health, MessageStatusPayload, Payload};
use crate::domain::ids::{OrganizationId, SessionId};
use crate::domain::label::LabelNews;
use crate::domain::message::Receipt;
use crate::domain::payload::{Restriction, Who};
use crate::domain::session::{Account, Desired, Fence, Reason, State, Status};
use crate::error::Result;
use crate::event::{EventLog, Recording};
use crate::store::{Db, patiently};
use crate::wa::Commit;

/// Writes for one holding of one session. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    pub(super) db: Db,
    pub(super) log: EventLog,
    pub(super) ambient: Ambient,
    pub(super) organization: OrganizationId,
    pub(super) session: SessionId,
    fence: Fence,
}

/// Whether a fenced write took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// It did.
    Yes,
    /// It did not: somebody else holds the session now, or its owner wants something else.
    Fenced,
}

impl Recorder {
    /// A recorder for the holding that `fence` describes.
    pub fn new(context: &Context, organization: OrganizationId, session: SessionId, fence: Fence) -> Self {
        let Context { db, log, ambient, .. } = context;
        Self { db: db.clone(), log: log.clone(), ambient: ambient.clone(), organization, session, fence }
    }

    /// Records a new state and tells it; with it the end of what the account was restricted in, if that has come and nobody told it yet.
    pub async fn state(&self, state: State) -> Result<Written> {
        self.changed(state, None, None, None).await
    }

    /// Records that an account was attached, and the new state.
    pub async fn paired(&self, account: &Account, state: State) -> Result<Written> {
        self.changed(state, Some(Some(account)), None, None).await
    }

    /// The same when a phone has just accepted, which is told.
    pub async fn accepted(&self, accepted: AuthCode, state: State) -> Result<Written> {
        let AuthCode::Accepted { account, .. } = &accepted else { return self.state(state).await };
        let account = account.clone();
        self.changed(state, Some(Some(&account)), None, Some(Payload::AuthCode(accepted))).await
    }

    /// Records a new state that comes with a restriction of the account, and tells both.
    pub async fn restricted(&self, restriction: Restriction, state: State) -> Result<Written> {
        self.changed(state, None, None, Some(Payload::AccountRestricted(restriction))).await
    }

    /// Forgets the account and the device's keys; the session is tried again with a new device.
    pub async fn unpaired(&self, state: State) -> Result<Written> {
        self.changed(state, Some(None), None, None).await
    }

    /// Records an ending: the session is not tried again until a caller wants it. `unlink` forgets the account too.
    pub async fn ended(&self, state: State, unlink: bool) -> Result<Written> {
        self.changed(state, unlink.then_some(None), Some(Desired::Stopped), None).await
    }

    async fn changed(
        &self,
        state: State,
        account: Option<Option<&Account>>,
        desired: Option<Desired>,
        more: Option<Payload>,
    ) -> Result<Written> {
        let now = self.ambient.now();
        let mut recording = self.log.begin().await?;
        if !recording.tx.set_state(&self.session, Some(self.fence), &state, now).await? {
            return Ok(Written::Fenced);
        }
        if account == Some(None) {
            // In the same transaction: a device without a row's account, or an account without its device, could never be told apart
            // from what was wanted.
            crate::wa::device::wipe(&mut recording.tx, &self.session).await?;
        }
        if let Some(account) = account {
            recording.tx.set_account(&self.session, account, now).await?;
        }
        if state.reason == Reason::Banned {
            recording.tx.set_banned(&self.session, state.until).await?;
        }
        if state.status == Status::Working && matches!(state.reason, Reason::Connected | Reason::Restricted) {
            recording.tx.set_last_connected(&self.session, now).await?;
            recording.tx.end_pairing_links(&self.session, now).await?;
            // WhatsApp lets nobody in whom it bans.
            if recording.tx.end_ban(&self.session).await? {
                recording.tell(&self.organization, &self.session, over("banned", "WhatsApp's ban of the number is over"));
            }
        }
        if state.reason == Reason::Connected && recording.tx.end_restriction(&self.session, now).await? {
            let payload = over("cold_messages", "WhatsApp lets the number begin conversations again");
            recording.tell(&self.organization, &self.session, payload);
        }
        if let Some(desired) = desired {
            recording.tx.set_desired(&self.organization, &self.session, desired, false, now).await?;
        }
        if let Some(more) = more {
            recording.tell(&self.organization, &self.session, more);
        }
        recording.tell(&self.organization, &self.session, Payload::SessionStatus(state));
        recording.commit().await?;
        Ok(Written::Yes)
    }

    /// Tells how the session fares, when that is news.
    pub async fn health(&self, told: Option<Health>) -> Result<()> {
        match told {
            Some(health) => self.log.record(&self.organization, &self.session, Payload::SessionHealth(health)).await,
            None => Ok(()),
        }
    }

    /// Tells a QR code.
    pub async fn qr(&self, code: Code) -> Result<()> {
        self.log.record(&self.organization, &self.session, Payload::AuthQr(code)).await
    }

    /// Stores what became of a label.
    pub async fn label(&self, news: &LabelNews) -> Result<()> {
        let mut tx = self.db.begin().await?;
        tx.record_label(&self.session, news).await?;
        tx.commit().await
    }

    /// The function that stores received messages before WhatsApp is told that we have them.
    pub fn commit(&self) -> Commit {
        let recorder = self.clone();
        Arc::new(move |messages| {
            let recorder = recorder.clone();
            Box::pin(async move { patiently(|| recorder.received(&messages)).await })
        })
    }

    /// Records what a receipt or an answer says about messages that were sent from here.
    pub async fn receipt(&self, receipt: &Receipt) -> Result<()> {
        let mut recording = self.log.begin().await?;
        advance(&mut recording, &self.organization, &self.session, receipt).await?;
        recording.commit().await
    }
}

/// The end of a restriction.
fn over(kind: &str, message: &str) -> Payload {
    let (kind, message) = (kind.to_owned(), message.to_owned());
    Payload::AccountRestricted(Restriction { restricted: false, kind, code: None, message, until: None })
}

/// Moves messages forward and tells it, one event per chat: receipts repeat and overtake each other, and what says nothing new is
/// left out.
pub async fn advance(
    recording: &mut Recording,
    organization: &OrganizationId,
    session: &SessionId,
    receipt: &Receipt,
) -> Result<()> {
    let Receipt { message_ids, status, error, timestamp, sender_jid, .. } = receipt;
    let advanced = recording.tx.advance_message_status(session, message_ids, *status, error.as_deref(), *timestamp).await?;
    let mut chats: Vec<(String, Vec<String>)> = Vec::new();
    for message in advanced {
        match chats.iter_mut().find(|(chat, _)| *chat == message.chat_jid) {
            Some((_, ids)) => ids.push(message.wa_message_id),
            None => chats.push((message.chat_jid, vec![message.wa_message_id])),
        }
    }
    let sender = match sender_jid {
        Some(jid) if !chats.is_empty() => Some(person(recording, session, jid).await?),
        _ => None,
    };
    for (chat_jid, message_ids) in chats {
        let chat = match ChatKind::of(&chat_jid) {
            ChatKind::Dm => person(recording, session, &chat_jid).await?,
            _ => Who::new(chat_jid),
        };
        let payload = MessageStatusPayload {
            chat,
            message_ids,
            status: *status,
            timestamp: *timestamp,
            sender: sender.clone(),
            error: error.clone(),
        };
        recording.tell(organization, session, Payload::MessageStatus(payload));
    }
    Ok(())
}

/// A person under all addresses that are known.
async fn person(recording: &mut Recording, session: &SessionId, jid: &str) -> Result<Who> {
    let known = recording.tx.identity(session, jid).await?;
    Ok(known.map_or_else(|| Who::new(jid), |it| Who { jid: it.address(), lid: it.lid, phone: it.phone }))
}
