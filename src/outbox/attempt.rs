//! One message given to WhatsApp, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use super::{Outbox, Outcome, Parts, check, lock};
use crate::domain::clock::Time;
use crate::domain::event::{Payload, Restriction};
use crate::domain::jid::Kind;
use crate::domain::message::{MessageStatus, Receipt};
use crate::domain::outbox::{Item, Lane, OutboxState, retry_after};
use crate::domain::session::Session;
use crate::error::{Code, Result};
use crate::session::actor::Command;
use crate::session::recorder::advance;
use crate::wa::connection::{Ack, Sender};
use crate::wa::failure::Unsent;
use crate::wa::outgoing;

/// How long WhatsApp's server may take to say that it has a message.
const ACCEPT_LIMIT: Duration = Duration::from_secs(20);

/// How often a message that does not leave although the connection stands is tried.
const TRIES: i64 = 3;

/// How long the first words wait when WhatsApp refuses them without saying for how long.
const RESTRICTED: Duration = Duration::from_secs(3600);

/// How long everything waits when WhatsApp wants fewer messages.
const TOO_MUCH: Duration = Duration::from_secs(60);

/// WhatsApp's code for a number that may begin no conversations for a time.
const REACH_OUT: &str = "463";

/// WhatsApp's code for too many messages.
const OVER_LIMIT: &str = "429";

/// What is to be recorded of an attempt.
enum Ending {
    /// It goes out again from then on; with a word that says why.
    Again { state: OutboxState, reason: Option<&'static str>, due_at: Time },
    /// WhatsApp has it.
    Sent(Time),
    /// It will not be sent: one word, and a sentence.
    Failed { reason: &'static str, text: String },
}

impl Outbox {
    /// Gives one claimed message to WhatsApp.
    pub(super) async fn attempt(&self, item: Item, row: Arc<Session>) {
        let (ending, outcome) = self.try_once(&item, &row).await;
        let ambient = &self.0.parts.ambient;
        // What WhatsApp has said is not forgotten because the database is busy: the same is recorded until it is. A message that is not
        // recorded is sent again under the same id, so even giving up harms nobody.
        for wait in [0, 1, 2, 4, 8] {
            if wait > 0 {
                tokio::time::sleep(Duration::from_secs(wait)).await;
            }
            match self.record(&item, &ending, ambient.now()).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(session = %item.session, message = item.id, %error, cause = ?error.cause(), "what became of a message could not be recorded");
                }
            }
        }
        if let Some(outcome) = outcome {
            self.tell(&item.id, outcome);
        }
    }

    async fn try_once(&self, item: &Item, row: &Session) -> (Ending, Option<Outcome>) {
        let now = || self.0.parts.ambient.now();
        let again = |state, reason, wait: Duration| Ending::Again { state, reason, due_at: now().plus(wait) };
        let before = if item.attempts > 1 { OutboxState::Unknown } else { OutboxState::Queued };
        let failed = |reason, text: &str| (Ending::Failed { reason, text: text.to_owned() }, Some(Outcome::Failed(reason)));
        let Some(sender) = self.online(&item.session) else { return (again(before, None, Duration::from_secs(1)), None) };
        let Some(to) = outgoing::address(&item.chat_jid) else {
            return failed("unknown_recipient", "the recipient's address is not understood");
        };
        if item.patient && item.lane == Lane::Cold && item.attempts == 1 && to.kind == Kind::Phone {
            let Parts { db, .. } = &self.0.parts;
            let numbers = [to.user.clone()];
            match check::registered(db, &item.session, &numbers, now(), || Ok(sender.clone())).await {
                Ok(found) if found.get(&to.user).is_some_and(Option::is_none) => {
                    return failed("not_on_whatsapp", "nobody uses WhatsApp with this number");
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(session = %item.session, %error, "a number could not be checked yet");
                    return (again(before, None, error.retry_after.unwrap_or(Duration::from_secs(5))), None);
                }
            }
        }
        let mut item = item.clone();
        if let Err(error) = self.upload(&sender, &mut item).await {
            // A file that is not here any more, or that cannot be what it was said to be, never will be.
            if error.code == Code::Validation || item.attempts >= TRIES {
                tracing::info!(session = %item.session, message = item.id, %error, cause = ?error.cause(), "a message's file cannot be sent");
                return failed("media_unavailable", "the message's file could not be given to WhatsApp");
            }
            return (again(before, None, retry_after(item.attempts)), None);
        }
        let item = &item;
        self.type_first(&sender, item, row, &to).await;
        let answer = Box::pin(sender.send(&to, &item.wa_message_id, &item.draft, ACCEPT_LIMIT)).await;
        match answer {
            Ok(Some(ack)) => self.answered(item, row, ack).await,
            Ok(None) => (again(OutboxState::Unknown, None, retry_after(item.attempts)), None),
            Err(Unsent::Refused(error)) => {
                tracing::info!(session = %item.session, message = item.id, %error, "a message cannot be sent to its recipient");
                failed("unsendable", "the message cannot be sent to this recipient")
            }
            Err(Unsent::Broken(error)) if sender.is_online() && item.attempts >= TRIES => {
                tracing::warn!(session = %item.session, message = item.id, %error, "a message could not be prepared again and again");
                failed("unsendable", "the message could not be prepared for this recipient")
            }
            Err(Unsent::Broken(error)) => {
                tracing::debug!(session = %item.session, message = item.id, %error, "a message did not leave; it is tried again");
                (again(OutboxState::Unknown, None, retry_after(item.attempts)), None)
            }
        }
    }

    /// Shows "typing" for a human-like time before a text goes out for the first time.
    async fn type_first(&self, sender: &Sender, item: &Item, row: &Session, to: &crate::domain::jid::Address) {
        let text = item.draft.body.as_deref().filter(|_| item.draft.kind == "text");
        if let Some(text) = text.filter(|_| row.settings.presence_typing && item.attempts == 1) {
            sender.show_typing(to, typing_time(text)).await;
        }
    }

    async fn answered(&self, item: &Item, row: &Session, ack: Ack) -> (Ending, Option<Outcome>) {
        let now = self.0.parts.ambient.now();
        let Some(code) = ack.error else {
            let at = ack.at.unwrap_or(now);
            return (Ending::Sent(at), Some(Outcome::Sent(at)));
        };
        let text = format!("WhatsApp refused the message (code {code})");
        match code.as_str() {
            REACH_OUT => {
                let until = row.restricted_until.filter(|until| *until > now).unwrap_or_else(|| now.plus(RESTRICTED));
                if let Err(error) = self.restrict(item, until).await {
                    tracing::error!(session = %item.session, %error, cause = ?error.cause(), "a restriction could not be recorded");
                }
                let ending = match item.patient {
                    true => Ending::Again { state: OutboxState::Queued, reason: Some("restricted"), due_at: until },
                    false => Ending::Failed { reason: "restricted", text },
                };
                (ending, Some(Outcome::Restricted(until)))
            }
            OVER_LIMIT => {
                self.too_much(item, now).await;
                let ending = match item.patient {
                    true => Ending::Again { state: OutboxState::Queued, reason: Some("too_much"), due_at: now.plus(TOO_MUCH) },
                    false => Ending::Failed { reason: "too_much", text },
                };
                (ending, Some(Outcome::TooMuch(TOO_MUCH)))
            }
            _ => (Ending::Failed { reason: "refused_by_whatsapp", text }, Some(Outcome::Refused(code))),
        }
    }

    /// Notes that the number may begin no conversations for a time, and tells it.
    async fn restrict(&self, item: &Item, until: Time) -> Result<()> {
        let Parts { log, supervisor, ambient, .. } = &self.0.parts;
        let mut recording = log.begin().await?;
        let row = recording.tx.lock_session_by_id(&item.session).await?;
        if row.is_some_and(|row| row.restricted_until.is_some_and(|until| until > ambient.now())) {
            return Ok(());
        }
        recording.tx.set_restricted(&item.session, Some(until)).await?;
        let told = Restriction {
            restricted: true,
            kind: "cold_messages".to_owned(),
            code: Some(REACH_OUT.to_owned()),
            message: "WhatsApp lets this number begin no conversations for a time; answers go on".to_owned(),
            until: Some(until),
        };
        recording.tell(&item.organization, &item.session, Payload::AccountRestricted(told));
        recording.commit().await?;
        tracing::warn!(session = %item.session, until = until.0, "WhatsApp lets the number begin no conversations for a time");
        supervisor.command(&item.session, Command::Restricted(until));
        Ok(())
    }

    /// Tells that WhatsApp wants fewer messages, once for as long as that is believed to hold.
    async fn too_much(&self, item: &Item, now: Time) {
        let until = now.plus(TOO_MUCH);
        let known = lock(&self.0.limited).insert(item.session.clone(), until);
        if known.is_some_and(|known| known > now) {
            return;
        }
        let told = Restriction {
            restricted: true,
            kind: "rate".to_owned(),
            code: Some(OVER_LIMIT.to_owned()),
            message: "WhatsApp wants fewer messages from this number for now".to_owned(),
            until: Some(until),
        };
        let told = self.0.parts.log.record(&item.organization, &item.session, Payload::AccountRestricted(told)).await;
        if let Err(error) = told {
            tracing::error!(session = %item.session, %error, cause = ?error.cause(), "a restriction could not be recorded");
        }
    }

    async fn record(&self, item: &Item, ending: &Ending, now: Time) -> Result<()> {
        let mut recording = self.0.parts.log.begin().await?;
        let news = |status, error, timestamp| Receipt {
            sender_jid: None,
            message_ids: vec![item.wa_message_id.clone()],
            status,
            error,
            timestamp,
        };
        match ending {
            Ending::Again { state, reason, due_at } => {
                recording.tx.requeue_outbox(&item.id, *state, *reason, *due_at).await?;
            }
            Ending::Sent(at) => {
                recording.tx.settle_outbox(&item.id, OutboxState::Sent, None, now).await?;
                let news = news(MessageStatus::Sent, None, *at);
                advance(&mut recording, &item.organization, &item.session, &news).await?;
            }
            Ending::Failed { reason, text } => {
                // A receipt may have overtaken it: then it has arrived, whatever this answer said.
                if recording.tx.settle_outbox(&item.id, OutboxState::Failed, Some(reason), now).await? {
                    let news = news(MessageStatus::Failed, Some(text.clone()), now);
                    advance(&mut recording, &item.organization, &item.session, &news).await?;
                }
            }
        }
        recording.commit().await
    }
}

/// How long a person would type this, within limits: 30 ms a character, from 0.3 to 2 seconds.
fn typing_time(text: &str) -> Duration {
    let chars = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    Duration::from_millis(chars.saturating_mul(30).clamp(300, 2000))
}
