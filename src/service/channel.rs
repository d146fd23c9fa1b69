//! Channels: what WhatsApp tells of them, and what the account does with them.

use std::time::Duration;

use super::Service;
use super::contact::PATIENCE;
use crate::domain::channel::{Channel, ChannelMessage};
use crate::domain::ids::SessionId;
use crate::domain::jid::{Address, Kind};
use crate::domain::outbox::Draft;
use crate::domain::principal::{Capability, Principal};
use crate::error::{Code, Error, Result};
use crate::wa::connection::{Ack, Sender};
use crate::wa::outgoing;

/// How long WhatsApp's server may take to accept a post.
pub(super) const ACCEPT: Duration = Duration::from_secs(20);

/// What a channel's name may have in characters.
const MAX_NAME: usize = 100;

impl Service {
    /// The channels that the account follows or owns.
    pub async fn list_channels(&self, caller: &Principal, id: &SessionId) -> Result<Vec<Channel>> {
        caller.require(Capability::Read)?;
        let session = self.get_session(caller, id).await?;
        let sender = self.online(&session)?;
        sender.ask(PATIENCE, sender.channels()).await
    }

    /// Founds a channel.
    pub async fn create_channel(&self, caller: &Principal, id: &SessionId, name: &str, description: &str) -> Result<Channel> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME {
            return Err(Error::field("name", format!("takes 1 to {MAX_NAME} characters")));
        }
        let sender = self.online(&session)?;
        sender.ask(PATIENCE, sender.create_channel(name, Some(description).filter(|text| !text.is_empty()))).await
    }

    /// What WhatsApp tells of a channel.
    pub async fn get_channel(&self, caller: &Principal, id: &SessionId, jid: &str) -> Result<Channel> {
        let (sender, channel) = self.channel_of(caller, Capability::Read, id, jid).await?;
        sender.ask(PATIENCE, sender.channel(&channel)).await
    }

    /// Follows a channel, or no longer.
    pub async fn follow_channel(&self, caller: &Principal, id: &SessionId, jid: &str, follow: bool) -> Result<()> {
        let (sender, channel) = self.channel_of(caller, Capability::Send, id, jid).await?;
        sender.ask(PATIENCE, sender.follow_channel(&channel, follow)).await
    }

    /// Has the phone keep silent about a channel, or not.
    pub async fn mute_channel(&self, caller: &Principal, id: &SessionId, jid: &str, mute: bool) -> Result<()> {
        let (sender, channel) = self.channel_of(caller, Capability::Send, id, jid).await?;
        sender.ask(PATIENCE, sender.mute_channel(&channel, mute)).await
    }

    /// A page of a channel's messages, the newest first, and where the next one begins.
    pub async fn list_channel_messages(
        &self,
        caller: &Principal,
        id: &SessionId,
        jid: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<ChannelMessage>, Option<String>)> {
        let (sender, channel) = self.channel_of(caller, Capability::Read, id, jid).await?;
        let before = cursor.map(str::parse::<u64>).transpose();
        let before = before.map_err(|_| Error::field("cursor", "not the `nextCursor` of an earlier page"))?;
        // One more than asked for tells whether there is another page.
        let mut page = sender.ask(PATIENCE, sender.channel_messages(&channel, limit.saturating_add(1), before)).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|last| last.server_id.to_string());
        Ok((page, next))
    }

    /// Posts a text to a channel's followers; gives WhatsApp's id.
    pub async fn post_in_channel(&self, caller: &Principal, id: &SessionId, jid: &str, text: &str) -> Result<String> {
        let (sender, channel) = self.channel_of(caller, Capability::Send, id, jid).await?;
        let wa_message_id = outgoing::message_id(&self.0.ambient);
        let draft = Draft { kind: "text".to_owned(), body: Some(text.to_owned()), ..Draft::default() };
        let ack = sender.send(&channel, &wa_message_id, &draft, ACCEPT).await;
        accepted(ack.map_err(|cause| {
            Error::new(Code::Conflict, "WhatsApp does not let the account write in this channel")
                .reason("refused_by_whatsapp")
                .because(cause)
        })?)?;
        Ok(wa_message_id)
    }

    /// Reacts to a channel's message.
    pub async fn react_in_channel(
        &self,
        caller: &Principal,
        id: &SessionId,
        jid: &str,
        message: &str,
        emoji: &str,
    ) -> Result<()> {
        let (sender, channel) = self.channel_of(caller, Capability::Send, id, jid).await?;
        let server_id = message.parse::<u64>().map_err(|_| Error::field("mid", "not the `id` of a channel's message"))?;
        sender.ask(PATIENCE, sender.react_in_channel(&channel, server_id, emoji)).await
    }

    async fn channel_of(&self, caller: &Principal, need: Capability, id: &SessionId, jid: &str) -> Result<(Sender, Address)> {
        caller.require(need)?;
        let session = self.get_session(caller, id).await?;
        let text = if jid.contains('@') { jid.to_owned() } else { format!("{jid}@newsletter") };
        let channel = Address::parse("jid", &text)?;
        if channel.kind != Kind::Newsletter {
            return Err(Error::field("jid", "not a channel; use an address that ends in @newsletter"));
        }
        Ok((self.online(&session)?, channel))
    }
}

/// What the server's answer to a post means.
pub(super) fn accepted(ack: Option<Ack>) -> Result<Ack> {
    let ack = ack.ok_or_else(|| {
        let text = "WhatsApp did not answer in time; whether it took the post is not known";
        Error::new(Code::Timeout, text).reason("no_answer")
    })?;
    match &ack.error {
        None => Ok(ack),
        Some(code) => {
            let text = format!("WhatsApp refused the post (code {code})");
            Err(Error::new(Code::Conflict, text).reason("refused_by_whatsapp").detail("whatsappCode", code))
        }
    }
}
