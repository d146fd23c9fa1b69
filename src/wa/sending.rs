//! Messages and what is done to them, given to WhatsApp.

use std::time::Duration;

use waproto::whatsapp as wa;
use whatsapp_rust::send::SendOptions;

use super::connection::{Ack, Sender};
use super::failure::Unsent;
use super::outgoing::{self, Ballot, Operation, Target};
use crate::domain::clock::Time;
use crate::domain::jid::Address;
use crate::domain::outbox::Draft;

impl Sender {
    /// Sends a draft under the given id and waits for the server's answer; `None` when it did not answer within `limit`. Sending the
    /// same id again is harmless: recipients show one message.
    pub async fn send(&self, to: &Address, wa_message_id: &str, draft: &Draft, limit: Duration) -> Result<Option<Ack>, Unsent> {
        self.send_message(to, wa_message_id, outgoing::message(draft, to), limit).await
    }

    /// Does something to a message; otherwise like [`Sender::send`].
    pub async fn operate(
        &self,
        target: &Target,
        operation: &Operation,
        wa_message_id: &str,
        now: Time,
        limit: Duration,
    ) -> Result<Option<Ack>, Unsent> {
        self.send_message(&target.chat, wa_message_id, outgoing::operation(target, operation, now), limit).await
    }

    /// Votes in a poll; otherwise like [`Sender::operate`].
    pub async fn vote(
        &self,
        poll: &Target,
        ballot: &Ballot,
        wa_message_id: &str,
        now: Time,
        limit: Duration,
    ) -> Result<Option<Ack>, Unsent> {
        let vote = outgoing::vote(poll, ballot, now).map_err(|e| Unsent::Refused(e.into()))?;
        self.send_message(&poll.chat, wa_message_id, vote, limit).await
    }

    /// Marks a message with a star, or takes the star away, on all of the account's devices.
    pub async fn star(&self, target: &Target, starred: bool) -> anyhow::Result<()> {
        let chat = outgoing::jid(&target.chat);
        let sender = target.group_sender().map(outgoing::jid);
        let (id, actions) = (&target.wa_message_id, self.client.chat_actions());
        match starred {
            true => Box::pin(actions.star_message(&chat, sender.as_ref(), id, target.from_me)).await?,
            false => Box::pin(actions.unstar_message(&chat, sender.as_ref(), id, target.from_me)).await?,
        }
        Ok(())
    }

    /// Tells the sender that a message was played.
    pub async fn mark_played(&self, target: &Target) -> anyhow::Result<()> {
        let sender = target.group_sender().map(outgoing::jid);
        self.client.mark_as_played(&outgoing::jid(&target.chat), sender.as_ref(), &[&target.wa_message_id]).await
    }

    #[tracing::instrument(name = "wa send", skip_all)]
    async fn send_message(
        &self,
        to: &Address,
        wa_message_id: &str,
        message: wa::Message,
        limit: Duration,
    ) -> Result<Option<Ack>, Unsent> {
        let options = SendOptions::default().with_message_id(wa_message_id);
        let sending = async {
            let sent = Box::pin(self.client.send_message_with_options(outgoing::jid(to), message, options)).await;
            sent.map(drop).map_err(Unsent::from)
        };
        self.answered(wa_message_id, limit, sending).await
    }
}
