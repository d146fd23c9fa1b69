//! What an actor writes. Every write of state is fenced: a holder that lost its lease, or whose row has moved on, changes nothing.

use std::sync::Arc;

use super::supervisor::Context;
use crate::domain::clock::Ambient;
use crate::domain::event::{Code, MessagePayload, MessageStatusPayload, Payload};
use crate::domain::ids::{OrganizationId, SessionId};
use crate::domain::label::LabelNews;
use crate::domain::message::{Direction, Message, Receipt};
use crate::domain::payload::Who;
use crate::domain::session::{Account, Desired, Fence, Ignore, Reason, State, Status};
use crate::error::Result;
use crate::event::{EventLog, Recording};
use crate::store::Db;
use crate::wa::Commit;
use crate::wa::normalize::Inbound;

/// Writes for one holding of one session. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    db: Db,
    log: EventLog,
    ambient: Ambient,
    organization: OrganizationId,
    session: SessionId,
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

    /// Records a new state and tells it.
    pub async fn state(&self, state: State) -> Result<Written> {
        self.changed(state, None, None).await
    }

    /// Records that an account was attached, and the new state.
    pub async fn paired(&self, account: &Account, state: State) -> Result<Written> {
        self.changed(state, Some(Some(account)), None).await
    }

    /// Records an ending: the session is not tried again until a caller wants it. `unlink` forgets the account too.
    pub async fn ended(&self, state: State, unlink: bool) -> Result<Written> {
        self.changed(state, unlink.then_some(None), Some(Desired::Stopped)).await
    }

    async fn changed(&self, state: State, account: Option<Option<&Account>>, desired: Option<Desired>) -> Result<Written> {
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
        if state.status == Status::Working && state.reason == Reason::Connected {
            recording.tx.set_last_connected(&self.session, now).await?;
            recording.tx.end_pairing_links(&self.session, now).await?;
        }
        if let Some(desired) = desired {
            recording.tx.set_desired(&self.organization, &self.session, desired, false, now).await?;
        }
        recording.tell(&self.organization, &self.session, Payload::SessionStatus(state));
        recording.commit().await?;
        Ok(Written::Yes)
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
            Box::pin(async move { recorder.received(&messages).await })
        })
    }

    /// Stores received messages with their events, each once however often it comes.
    pub async fn received(&self, messages: &[Inbound]) -> Result<()> {
        let ignore = self.ignored(messages).await?;
        let wanted: Vec<_> = messages.iter().filter(|inbound| !ignore.covers(&inbound.chat_jid)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut recording = self.log.begin().await?;
        for inbound in wanted {
            if recording.tx.insert_message(&self.message(inbound)).await? {
                let payload = Box::new(payload(inbound));
                let payload = if inbound.from_me { Payload::MessageFromMe(payload) } else { Payload::Message(payload) };
                recording.tell(&self.organization, &self.session, payload);
            }
        }
        recording.commit().await
    }

    /// The session's filters as they are now. Nothing is asked for chats with one person, which none covers.
    async fn ignored(&self, messages: &[Inbound]) -> Result<Ignore> {
        if !messages.iter().any(|inbound| Ignore::ALL.covers(&inbound.chat_jid)) {
            return Ok(Ignore::default());
        }
        Ok(self.db.session_by_id(&self.session).await?.map(|row| row.settings.ignore).unwrap_or_default())
    }

    /// Records what a receipt or an answer says about messages that were sent from here.
    pub async fn receipt(&self, receipt: &Receipt) -> Result<()> {
        let mut recording = self.log.begin().await?;
        advance(&mut recording, &self.organization, &self.session, receipt).await?;
        recording.commit().await
    }

    fn message(&self, inbound: &Inbound) -> Message {
        let direction = if inbound.from_me { Direction::Out } else { Direction::In };
        Message {
            id: self.ambient.ulid(),
            session: self.session.clone(),
            organization: self.organization.clone(),
            wa_message_id: inbound.wa_message_id.clone(),
            chat_jid: inbound.chat_jid.clone(),
            sender_jid: inbound.sender_jid.clone(),
            sender_lid: inbound.sender_lid.clone(),
            sender_name: inbound.push_name.clone(),
            direction,
            from_me: inbound.from_me,
            kind: inbound.kind.to_owned(),
            body: inbound.body.clone(),
            status: None,
            error: None,
            idempotency_key: None,
            idempotency_hash: None,
            timestamp: inbound.timestamp,
            created_at: self.ambient.now(),
        }
    }
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
    for (chat_jid, message_ids) in chats {
        let payload = MessageStatusPayload {
            chat: Who::new(chat_jid),
            message_ids,
            status: *status,
            timestamp: *timestamp,
            sender: sender_jid.clone().map(Who::new),
            error: error.clone(),
        };
        recording.tell(organization, session, Payload::MessageStatus(payload));
    }
    Ok(())
}

fn payload(inbound: &Inbound) -> MessagePayload {
    let mut sender = Who::new(&inbound.sender_jid);
    sender.lid = sender.lid.or_else(|| inbound.sender_lid.clone());
    MessagePayload {
        wa_message_id: inbound.wa_message_id.clone(),
        chat: Who::new(&inbound.chat_jid),
        from_me: inbound.from_me,
        kind: inbound.kind.to_owned(),
        body: inbound.body.clone(),
        sender: Some(sender),
        push_name: inbound.push_name.clone(),
        timestamp: inbound.timestamp,
        ..MessagePayload::default()
    }
}
