//! Sending messages and telling what became of them.
//!
//! The message's WhatsApp id is chosen here and stored as `pending` before anything is sent; sending again after a crash repeats the
//! id, so a recipient sees one message.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tracing::Instrument as _;

use super::Service;
use crate::domain::ids::SessionId;
use crate::domain::jid::Address;
use crate::domain::message::{Direction, Message, MessageStatus};
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::Session;
use crate::error::{Code, Error, Result};
use crate::session::recorder::advance;
use crate::store::Tx;
use crate::wa::connection::{Ack, Sender};
use crate::wa::outgoing;

/// How long WhatsApp's server may take to accept a message before the caller is told that it is not known.
const ACCEPT_LIMIT: Duration = Duration::from_secs(20);

/// The windows of a session's budgets.
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// How long an idempotency key is remembered.
const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A text to send.
#[derive(Clone, Debug)]
pub struct NewText {
    /// The recipient as the caller wrote it.
    pub to: String,
    /// The text.
    pub text: String,
    /// The caller's key that makes a repetition harmless.
    pub idempotency_key: Option<String>,
}

/// A sent message, and whether an earlier call sent it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The message.
    pub message: Message,
    /// True when an earlier call with the same key sent it.
    pub replayed: bool,
}

impl Service {
    /// Sends a text and waits until WhatsApp's server has accepted it.
    #[tracing::instrument(name = "send message", skip_all)]
    pub async fn send_text(&self, caller: &Principal, id: &SessionId, new: NewText) -> Result<Sent> {
        caller.require(Capability::Send)?;
        let to = Address::parse("to", &new.to)?;
        let session = self.get_session(caller, id).await?;
        let hash = content_hash(id, &to, &new.text);
        if let Some(key) = &new.idempotency_key
            && let Some(earlier) = self.0.db.message_by_idempotency_key(&caller.organization, key).await?
            && self.0.ambient.now().since(earlier.created_at) < KEY_LIFE
        {
            return replay(earlier, &hash);
        }
        let sender = self.online(&session)?;
        let message = self.draft(&session, &to, &new, hash);
        let mut tx = self.0.db.begin().await?;
        let row = tx.lock_session(&caller.organization, id).await?.ok_or_else(|| Error::not_found("session"))?;
        self.check_budget(&mut tx, &row).await?;
        let stored = tx.insert_message(&message).await;
        match stored {
            Ok(_) => tx.commit().await?,
            // Two calls with the same key at the same moment: the other one was first.
            Err(e) if e.code == Code::Conflict => {
                drop(tx);
                let key = new.idempotency_key.as_deref().unwrap_or_default();
                let earlier = self.0.db.message_by_idempotency_key(&caller.organization, key).await?;
                return replay(earlier.ok_or(e)?, message.idempotency_hash.as_deref().unwrap_or_default());
            }
            Err(e) => return Err(e),
        }
        // From here on the message goes its way even if the caller hangs up.
        let (service, typing) = (self.clone(), row.settings.presence_typing);
        let work = async move { Box::pin(service.dispatch(&sender, &to, message, typing)).await };
        let work = self.0.tasks.spawn(work.in_current_span());
        let message = work.await.map_err(Error::internal)??;
        Ok(Sent { message, replayed: false })
    }

    /// One message of a session, by its id here or WhatsApp's.
    pub async fn get_message(&self, caller: &Principal, session: &SessionId, id: &str) -> Result<Message> {
        caller.require(Capability::Read)?;
        caller.check_session(session)?;
        self.0.db.message(&caller.organization, session, id).await?.ok_or_else(|| Error::not_found("message"))
    }

    /// Gives the message to WhatsApp and records the answer.
    async fn dispatch(&self, sender: &Sender, to: &Address, mut message: Message, typing: bool) -> Result<Message> {
        let text = message.body.clone().unwrap_or_default();
        if typing {
            sender.show_typing(to, typing_time(&text)).await;
        }
        let answer = sender.send_text(to, &message.wa_message_id, &text, ACCEPT_LIMIT).await;
        let ack = match answer {
            Ok(Some(ack)) => ack,
            Ok(None) => return Err(undecided(&message)),
            Err(e) if sender.is_online() => {
                // The connection stands, so it is the message that cannot be sent, now or later.
                let why = "the message could not be prepared for this recipient";
                let failed = Ack { wa_message_id: message.wa_message_id.clone(), error: Some("local".into()), at: None };
                self.record(&message, failed).await?;
                return Err(Error::field("to", why).because(e));
            }
            Err(e) => return Err(undecided(&message).because(e)),
        };
        let refused = ack.error.clone();
        let at = ack.at;
        self.record(&message, ack).await?;
        if let Some(code) = refused {
            let text = format!("WhatsApp refused the message (code {code})");
            return Err(Error::new(Code::Conflict, text).reason("refused_by_whatsapp").detail("whatsappCode", code));
        }
        message.status = Some(MessageStatus::Sent);
        message.timestamp = at.unwrap_or(message.timestamp);
        Ok(message)
    }

    async fn record(&self, message: &Message, ack: Ack) -> Result<()> {
        let mut recording = self.0.log.begin().await?;
        let news = ack.into_receipt(self.0.ambient.now());
        advance(&mut recording, &message.organization, &message.session, &news).await?;
        recording.commit().await
    }

    /// The way to send for a connected session.
    pub(super) fn online(&self, session: &Session) -> Result<Sender> {
        let live = self.0.supervisor.live(&session.id);
        let sender = live.and_then(|live| live.borrow().online().cloned());
        sender.ok_or_else(|| {
            let state = &session.state;
            let message = format!("the session is not connected: {}", state.reason.sentence());
            Error::new(Code::SessionNotConnected, message).reason("session_not_connected").detail("status", state.status.word())
        })
    }

    /// Refuses what is beyond the session's budgets. The caller holds the session's row, so the count is exact.
    async fn check_budget(&self, tx: &mut Tx, session: &Session) -> Result<()> {
        let now = self.0.ambient.now();
        let (per_min, per_hour) = (session.settings.rate_per_min, session.settings.rate_per_hour);
        for (limit, window, name) in [(per_min, MINUTE, "minute"), (per_hour, HOUR, "hour")] {
            let since = now.minus(window);
            let count = tx.sent_since(&session.id, since).await?;
            let excess = count - i64::from(limit);
            if excess < 0 {
                continue;
            }
            let frees = tx.nth_sent_since(&session.id, since, excess).await?.unwrap_or(now).plus(window);
            let message = format!("the session's budget of {limit} messages per {name} is used up");
            return Err(Error::new(Code::RateLimited, message).retry_after(frees.since(now)).detail("limit", limit));
        }
        Ok(())
    }

    fn draft(&self, session: &Session, to: &Address, new: &NewText, hash: String) -> Message {
        let now = self.0.ambient.now();
        let own = session.account.as_ref();
        Message {
            id: self.0.ambient.ulid(),
            session: session.id.clone(),
            organization: session.organization.clone(),
            wa_message_id: outgoing::message_id(&self.0.ambient),
            chat_jid: to.to_string(),
            sender_jid: own.map(|account| account.wa_jid.clone()).unwrap_or_default(),
            sender_lid: own.and_then(|account| account.wa_lid.clone()),
            sender_name: None,
            direction: Direction::Out,
            from_me: true,
            kind: "text".to_owned(),
            body: Some(new.text.clone()),
            status: Some(MessageStatus::Pending),
            error: None,
            idempotency_hash: new.idempotency_key.as_ref().map(|_| hash),
            idempotency_key: new.idempotency_key.clone(),
            timestamp: now,
            created_at: now,
        }
    }
}

/// The answer to a repeated call.
fn replay(earlier: Message, hash: &str) -> Result<Sent> {
    if earlier.idempotency_hash.as_deref() == Some(hash) {
        return Ok(Sent { message: earlier, replayed: true });
    }
    let message = "this idempotency key was used for another message; take a new key for each message";
    Err(Error::new(Code::Conflict, message).reason("idempotency_key_reused"))
}

/// WhatsApp has not answered: the message may be on its way. It stays `pending`, and goes out again under the same id.
fn undecided(message: &Message) -> Error {
    let text = "WhatsApp did not accept the message in time; it stays stored and its status is told by events";
    Error::new(Code::Timeout, text).reason("not_accepted_in_time").detail("waMessageId", &message.wa_message_id)
}

/// How long a person would type this, within limits: 30 ms a character, from 0.3 to 2 seconds.
fn typing_time(text: &str) -> Duration {
    let chars = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    Duration::from_millis(chars.saturating_mul(30).clamp(300, 2000))
}

fn content_hash(session: &SessionId, to: &Address, text: &str) -> String {
    let mut hash = Sha256::new();
    for part in [session.as_str(), &to.to_string(), "text", text] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
