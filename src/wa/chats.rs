//! What a live session does with its conversations: their state on all devices of the account, and receipts.

use anyhow::Context as _;
use wacore_binary::Jid;

use super::connection::Sender;
use super::outgoing;
use crate::domain::clock::Time;
use crate::domain::jid::Address;

/// A change of a conversation's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatOrder {
    /// Put it away, or take it back.
    Archive(bool),
    /// Keep it at the top, or no longer.
    Pin(bool),
    /// Let it make no sound until then.
    Mute(Time),
    /// Let it make sounds.
    Unmute,
    /// Mark it as read.
    Read,
    /// Delete it with its messages.
    Delete,
}

impl Sender {
    /// Tells all devices of the account what shall hold of a conversation.
    pub async fn order_chat(&self, chat: &Address, order: ChatOrder) -> anyhow::Result<()> {
        let (jid, actions) = (outgoing::jid(chat), self.client.chat_actions());
        match order {
            ChatOrder::Archive(true) => Box::pin(actions.archive_chat(&jid, None)).await?,
            ChatOrder::Archive(false) => Box::pin(actions.unarchive_chat(&jid, None)).await?,
            ChatOrder::Pin(true) => Box::pin(actions.pin_chat(&jid)).await?,
            ChatOrder::Pin(false) => Box::pin(actions.unpin_chat(&jid)).await?,
            ChatOrder::Mute(until) => Box::pin(actions.mute_chat_until(&jid, until.0)).await?,
            ChatOrder::Unmute => Box::pin(actions.unmute_chat(&jid)).await?,
            ChatOrder::Read => Box::pin(actions.mark_chat_as_read(&jid, true, None)).await?,
            ChatOrder::Delete => Box::pin(actions.delete_chat(&jid, true, None)).await?,
        }
        Ok(())
    }

    /// Tells a message's sender that it was read; `sender` where a chat has several.
    pub async fn send_read(&self, chat: &Address, sender: Option<&str>, wa_message_ids: &[String]) -> anyhow::Result<()> {
        let sender: Option<Jid> = sender.map(|jid| jid.parse().context("the sender's address")).transpose()?;
        let ids: Vec<&str> = wa_message_ids.iter().map(String::as_str).collect();
        Ok(self.client.mark_as_read(&outgoing::jid(chat), sender.as_ref(), &ids).await?)
    }
}
