//! What makes new messages of stored ones: passing one on, and voting in a poll.

use super::Service;
use super::message::Post;
use super::message_action::{Done, Named, accepted};
use crate::domain::chat::Vote;
use crate::domain::content::Content;
use crate::domain::event::{MessagePayload, Payload};
use crate::domain::ids::SessionId;
use crate::domain::jid::{Address, Kind};
use crate::domain::message::Message;
use crate::domain::outbox::Draft;
use crate::domain::payload::Who;
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::Session;
use crate::error::{Code, Error, Result};
use crate::wa::outgoing::{self, Ballot};

/// How long WhatsApp's server may take to accept a vote.
const ACCEPT_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

impl Service {
    /// Passes a message on as it is: its content and the keys of its file are copied, and it is marked as forwarded.
    pub async fn forward_message(
        &self,
        caller: &Principal,
        id: &SessionId,
        named: &Named,
        to: &str,
    ) -> Result<super::message::Sent> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let to = Address::parse("to", to)?;
        let source = self.stored(&session, named).await?;
        let is_file = matches!(source.kind.as_str(), "image" | "video" | "audio" | "document" | "sticker");
        let known = is_file || matches!(source.kind.as_str(), "text" | "location" | "contact");
        let complete = !is_file || source.content.media.as_ref().is_some_and(|media| media.keys.is_some());
        if !known || !complete || source.content.view_once || source.marks.deleted_at.is_some() {
            let message = format!("this message of type {} cannot be passed on", source.kind);
            return Err(Error::new(Code::Conflict, message).reason("not_forwardable"));
        }
        self.online(&session)?;
        let to = self.recipient(&session, &to).await?;
        // What stood around it stays behind: whom it answered and named, when it disappears, its secret.
        let content = Content {
            quote: None,
            mentions: Vec::new(),
            ephemeral: self.timer(&session, &to.address).await?,
            secret: None,
            forwarded: source.content.forwarded.saturating_add(1),
            ..source.content
        };
        let draft = Draft { kind: source.kind, body: source.body, content, ..Draft::default() };
        let post = Post { to, drafts: vec![draft], send_at: None, hash: String::new(), key: None, detached: false };
        self.post(caller, &session, post).await
    }

    /// Votes in a poll; no option takes an earlier vote back.
    pub async fn vote(&self, caller: &Principal, id: &SessionId, named: &Named, options: &[String]) -> Result<Done> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let message = self.stored(&session, named).await?;
        let (Some(poll), Some(secret)) = (&message.content.poll, &message.content.secret) else {
            return Err(Error::new(Code::Conflict, "this message is no poll whose secret is known").reason("not_a_poll"));
        };
        let now = self.0.ambient.now();
        if poll.end_at.is_some_and(|end| end <= now) {
            return Err(Error::new(Code::Conflict, "the poll has ended").reason("poll_ended"));
        }
        if let Some(at) = options.iter().position(|option| !poll.options.contains(option)) {
            return Err(Error::field(format!("options[{at}]"), "the poll has no such option"));
        }
        let most = usize::try_from(poll.selectable).unwrap_or(usize::MAX);
        if most > 0 && options.len() > most {
            return Err(Error::field("options", format!("the poll takes at most {most}")));
        }
        let sender = self.online(&session)?;
        let (target, _) = self.target(&session, named, false).await?;
        let own = session.account.as_ref().ok_or_else(|| Error::not_found("account"))?;
        // Whoever reads votes derives their key from the addresses of who asks and who votes, both of one kind.
        let by_lid = message.sender_lid.as_ref().filter(|_| target.chat.kind == Kind::Group).zip(own.wa_lid.as_ref());
        let (creator, voter) = match by_lid {
            Some((creator, voter)) => (creator.clone(), voter.clone()),
            None => (message.sender_jid.clone(), own.wa_jid.clone()),
        };
        let ballot = Ballot { secret: secret.0.clone(), creator, voter, options: options.to_vec() };
        let wa_message_id = outgoing::message_id(&self.0.ambient);
        let answer = Box::pin(sender.vote(&target, &ballot, &wa_message_id, now, ACCEPT_LIMIT)).await;
        let at = accepted(answer, "vote")?.unwrap_or(now);
        let payload = MessagePayload {
            wa_message_id: wa_message_id.clone(),
            chat: Who::new(message.chat_jid.clone()),
            from_me: true,
            kind: "poll_vote".to_owned(),
            sender: Some(Who::new(own.wa_jid.clone())),
            timestamp: at,
            target: Some(message.wa_message_id.clone()),
            selected: options.to_vec(),
            ..MessagePayload::default()
        };
        let vote = Vote { sender_jid: own.wa_jid.clone(), name: None, from_me: true, selected: options.to_vec(), timestamp: at };
        let mut recording = self.0.log.begin().await?;
        recording.tx.vote(id, &message.wa_message_id, &vote).await?;
        recording.tell(&session.organization, id, Payload::PollVote(Box::new(payload)));
        recording.commit().await?;
        Ok(Done { mode: "sync", wa_message_id, chat_jid: message.chat_jid, at })
    }

    async fn stored(&self, session: &Session, named: &Named) -> Result<Message> {
        let found = self.0.db.message(&session.organization, &session.id, &named.mid).await?;
        found.ok_or_else(|| Error::not_found("message"))
    }
}
