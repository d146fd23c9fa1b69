//! What people did in chats, stored with its events before WhatsApp is told that we have it; each once however often it comes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::recorder::Recorder;
use crate::domain::chat::{ChatKind, ChatPatch, Reaction, Vote};
use crate::domain::content::Content;
use crate::domain::event::{ChatChange, MessagePayload, Payload};
use crate::domain::identity::{Learned, Names, Seen, Source};
use crate::domain::ids::MediaId;
use crate::domain::media::{Media, MediaKind, MediaState};
use crate::domain::message::{Direction, Marks, Message};
use crate::domain::payload::Who;
use crate::domain::session::{Account, Ignore, Session};
use crate::error::Result;
use crate::event::Recording;
use crate::wa::normalize::{Act, Inbound, Sealed, Target};
use crate::wa::poll;

/// How many mentions of one message are looked up; more keep the address with which they were written.
const MENTIONS: usize = 32;

/// How long a file waits to be fetched when its session is not connected.
const WAITS: Duration = Duration::from_secs(30 * 24 * 3600);

/// Who did something, and where, as the session knows them.
struct Parties {
    chat: Who,
    sender: Who,
}

impl Recorder {
    /// Stores what was received, with its events.
    pub async fn received(&self, all: &[Inbound]) -> Result<()> {
        let row = self.row_for(all).await?;
        let ignore = row.as_ref().map(|row| row.settings.ignore).unwrap_or_default();
        let own = row.and_then(|row| row.account);
        let wanted: Vec<&Inbound> = all.iter().filter(|inbound| !ignore.covers(&inbound.chat.jid)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut recording = self.log.begin().await?;
        let parties = self.parties(&mut recording, &wanted, own.as_ref()).await?;
        for (inbound, parties) in wanted.into_iter().zip(parties) {
            self.record(&mut recording, inbound, &parties, own.as_ref()).await?;
        }
        recording.commit().await
    }

    /// Notes that the senders of these messages were told that they were read.
    pub async fn marked_read(&self, all: &[Inbound]) -> Result<()> {
        let chats: BTreeSet<&str> = all.iter().filter(|it| !it.from_me).map(|it| it.chat.jid.as_str()).collect();
        let mut tx = self.db.begin().await?;
        for chat in chats {
            let jid = tx.identity(&self.session, chat).await?.map_or_else(|| chat.to_owned(), |person| person.address());
            tx.chat_read(&self.session, &jid, None).await?;
        }
        tx.commit().await
    }

    /// The session's row, when it is needed: for its filters, which cover no chat with one person, and for its account.
    async fn row_for(&self, all: &[Inbound]) -> Result<Option<Session>> {
        let needed = |it: &Inbound| {
            let quotes = matches!(&it.act, Act::Message { content, .. } if content.quote.is_some());
            it.from_me || quotes || matches!(it.act, Act::Vote { .. }) || Ignore::ALL.covers(&it.chat.jid)
        };
        if all.iter().any(needed) { self.db.session_by_id(&self.session).await } else { Ok(None) }
    }

    /// Learns from what was received who is who, and gives chat and sender of each as they are known after all of it.
    async fn parties(&self, recording: &mut Recording, all: &[&Inbound], own: Option<&Account>) -> Result<Vec<Parties>> {
        let mut seen = Vec::new();
        let mut places: Vec<(Option<usize>, Option<usize>)> = Vec::new();
        let mut see = |who: &Who, name: Option<&str>, source| {
            let addresses = [Some(who.jid.as_str()), who.lid.as_deref()];
            let one = Seen::new(addresses.into_iter().flatten(), Names::push(name), source)?;
            seen.push(one);
            Some(seen.len() - 1)
        };
        for inbound in all {
            let name = inbound.push_name.as_deref().filter(|_| !inbound.from_me);
            let kind = ChatKind::of(&inbound.chat.jid);
            places.push(match kind {
                ChatKind::Dm => {
                    let peer = see(&inbound.chat, name, Some(Source::Dm));
                    (peer, peer.filter(|_| !inbound.from_me))
                }
                _ if inbound.from_me => (None, None),
                ChatKind::Group => (None, see(&inbound.sender, name, Some(Source::Group))),
                _ => (None, see(&inbound.sender, name, None)),
            });
        }
        let learned = recording.tx.learn(&self.session, &seen, self.ambient.now()).await?;
        let known = |at: Option<usize>| at.map(|at| as_of_now(&learned, at));
        let own = own.map(|own| Who { jid: own.wa_jid.clone(), lid: own.wa_lid.clone(), phone: Some(own.phone_number.clone()) });
        let parties = all.iter().zip(places).map(|(inbound, (chat, sender))| {
            let own = own.clone().filter(|_| inbound.from_me);
            Parties {
                chat: known(chat).unwrap_or_else(|| inbound.chat.clone()),
                sender: own.or_else(|| known(sender)).unwrap_or_else(|| inbound.sender.clone()),
            }
        });
        Ok(parties.collect())
    }

    async fn record(&self, recording: &mut Recording, inbound: &Inbound, parties: &Parties, own: Option<&Account>) -> Result<()> {
        if let Act::Message { kind, body, content } = &inbound.act {
            if *kind == "unsupported" {
                metrics::counter!("wagw_unknown_inbound_total", "kind" => "message").increment(1);
            }
            let content = self.completed(recording, content, own).await?;
            let mut message = self.message(inbound, parties, kind, body.as_deref(), content.clone());
            let mut is_news = recording.tx.insert_message(&message).await?;
            // The phone's history may have overtaken it.
            if !is_news && let Some(id) = recording.tx.tell_past(&message).await? {
                (message.id, is_news) = (id, true);
            }
            if is_news {
                if message.content.media.as_ref().is_some_and(|file| file.keys.is_some()) {
                    recording.tx.want_media(&self.waiting(&message)).await?;
                }
                let payload =
                    Box::new(MessagePayload { content: content.told(), body: body.clone(), ..payload(inbound, parties) });
                let payload = if inbound.from_me { Payload::MessageFromMe(payload) } else { Payload::Message(payload) };
                recording.tell(&self.organization, &self.session, payload);
            }
            return Ok(());
        }
        let now = self.ambient.now();
        if !recording.tx.is_new_deed(&self.session, &inbound.wa_message_id, &parties.sender.jid, now).await? {
            return Ok(());
        }
        let told = match &inbound.act {
            Act::Message { .. } => None,
            Act::Reaction { target, emoji } => self.reaction(recording, inbound, parties, target, emoji).await?,
            Act::Edit { target, body, content } => {
                self.edit(recording, inbound, parties, target, body.as_deref(), content).await?
            }
            Act::Revoke { target } => self.revoke(recording, inbound, parties, target).await?,
            Act::Vote { poll, sealed } => self.vote(recording, inbound, parties, (poll, sealed), own).await?,
            Act::Pin { target, pinned } => Some(chat_change(parties, |change| {
                "message_pinned".clone_into(&mut change.change);
                (change.message_id, change.removed) = (Some(target.wa_message_id.clone()), Some(!pinned));
            })),
            Act::Ephemeral { seconds } => {
                let patch = ChatPatch { ephemeral: Some(i64::from(*seconds)), ..ChatPatch::default() };
                recording.tx.set_chat(&self.session, &parties.chat.jid, &patch, now).await?;
                Some(chat_change(parties, |change| {
                    "ephemeral".clone_into(&mut change.change);
                    change.ephemeral = Some(*seconds);
                }))
            }
        };
        if let Some(told) = told {
            recording.tell(&self.organization, &self.session, told);
        }
        Ok(())
    }

    async fn reaction(
        &self,
        recording: &mut Recording,
        inbound: &Inbound,
        parties: &Parties,
        target: &Target,
        emoji: &str,
    ) -> Result<Option<Payload>> {
        let reaction = Reaction {
            sender_jid: parties.sender.jid.clone(),
            from_me: inbound.from_me,
            emoji: emoji.to_owned(),
            timestamp: inbound.timestamp,
        };
        recording.tx.react(&self.session, &target.wa_message_id, &reaction).await?;
        let payload = MessagePayload { reaction: Some(emoji.to_owned()), ..about(target, inbound, parties) };
        Ok(Some(Payload::MessageReaction(Box::new(payload))))
    }

    async fn edit(
        &self,
        recording: &mut Recording,
        inbound: &Inbound,
        parties: &Parties,
        target: &Target,
        body: Option<&str>,
        content: &Content,
    ) -> Result<Option<Payload>> {
        let rows = self.targets(recording, target, parties).await?;
        let own = rows.iter().find(|row| is_by(row, inbound, parties));
        if own.is_none() && !rows.is_empty() {
            // Who changes a message that somebody else has sent is not believed.
            metrics::counter!("wagw_forged_inbound_total", "kind" => "edit").increment(1);
            return Ok(None);
        }
        if let Some(row) = own {
            let mut merged = row.content.clone();
            merged.mentions.clone_from(&content.mentions);
            if content.media.as_ref().is_some_and(|media| media.keys.is_some()) {
                merged.media.clone_from(&content.media);
            }
            recording.tx.edit_message(&row.id, body, &merged, inbound.timestamp).await?;
        }
        let payload =
            MessagePayload { body: body.map(str::to_owned), content: content.clone().told(), ..about(target, inbound, parties) };
        Ok(Some(Payload::MessageEdited(Box::new(payload))))
    }

    async fn revoke(
        &self,
        recording: &mut Recording,
        inbound: &Inbound,
        parties: &Parties,
        target: &Target,
    ) -> Result<Option<Payload>> {
        let rows = self.targets(recording, target, parties).await?;
        // In groups admins may take back what others have sent; which of the two it is, WhatsApp has checked.
        let in_group = ChatKind::of(&parties.chat.jid) == ChatKind::Group;
        let allowed: Vec<&Message> = rows.iter().filter(|row| in_group || is_by(row, inbound, parties)).collect();
        if allowed.is_empty() && !rows.is_empty() {
            metrics::counter!("wagw_forged_inbound_total", "kind" => "revoke").increment(1);
            return Ok(None);
        }
        for row in allowed {
            recording.tx.revoke_message(&row.id, inbound.timestamp).await?;
        }
        Ok(Some(Payload::MessageRevoked(Box::new(about(target, inbound, parties)))))
    }

    async fn vote(
        &self,
        recording: &mut Recording,
        inbound: &Inbound,
        parties: &Parties,
        (target, sealed): (&Target, &Sealed),
        own: Option<&Account>,
    ) -> Result<Option<Payload>> {
        let rows = self.targets(recording, target, parties).await?;
        let found = rows.iter().find_map(|row| Some((row, row.content.poll.as_ref()?, row.content.secret.as_ref()?)));
        let opened = found.and_then(|(row, poll, secret)| {
            let creators = if row.from_me { own_addresses(own) } else { Vec::new() };
            let creators =
                [creators, [Some(row.sender_jid.clone()), row.sender_lid.clone()].into_iter().flatten().collect()].concat();
            let creators = [creators, addresses(&parties.chat), target.sender.iter().cloned().collect()].concat();
            let voters = if inbound.from_me { own_addresses(own) } else { Vec::new() };
            let voters = [voters, addresses(&parties.sender), addresses(&inbound.sender)].concat();
            poll::open(sealed, &secret.0, &target.wa_message_id, &creators, &voters, &poll.options)
        });
        let Some(selected) = opened else {
            metrics::counter!("wagw_unopened_votes_total").increment(1);
            tracing::info!(session = %self.session, poll = target.wa_message_id, known = found.is_some(), "a vote could not be opened");
            return Ok(None);
        };
        let vote = Vote {
            sender_jid: parties.sender.jid.clone(),
            name: None,
            from_me: inbound.from_me,
            selected: selected.clone(),
            timestamp: inbound.timestamp,
        };
        recording.tx.vote(&self.session, &target.wa_message_id, &vote).await?;
        Ok(Some(Payload::PollVote(Box::new(MessagePayload { selected, ..about(target, inbound, parties) }))))
    }

    /// The messages of this chat that a target names.
    async fn targets(&self, recording: &mut Recording, target: &Target, parties: &Parties) -> Result<Vec<Message>> {
        let rows = recording.tx.messages_by_wa_id(&self.session, &target.wa_message_id).await?;
        Ok(rows.into_iter().filter(|row| row.chat_jid == parties.chat.jid).collect())
    }

    /// Who is quoted and mentioned, as the session knows them.
    async fn completed(&self, recording: &mut Recording, content: &Content, own: Option<&Account>) -> Result<Content> {
        let mut content = content.clone();
        if let Some(quote) = &mut content.quote
            && let Some(jid) = quote.sender_jid.clone()
        {
            quote.from_me = own_addresses(own).contains(&jid);
            if let Some(person) = recording.tx.identity(&self.session, &jid).await? {
                quote.sender_jid = Some(person.address());
                quote.sender_lid = person.lid.or(quote.sender_lid.take());
            }
        }
        for mention in content.mentions.iter_mut().take(MENTIONS) {
            if let Some(person) = recording.tx.identity(&self.session, &mention.jid).await? {
                mention.push_name = person.name().map(str::to_owned);
                mention.lid = person.lid.or(mention.lid.take());
                mention.phone = person.phone.or(mention.phone.take());
            }
        }
        Ok(content)
    }

    /// A message's file as long as nobody has fetched it. The rest is learned with it.
    fn waiting(&self, message: &Message) -> Media {
        let file = message.content.media.clone().unwrap_or_default();
        Media {
            id: MediaId::new(self.ambient.ulid()),
            organization: self.organization.clone(),
            session: self.session.clone(),
            message: Some(message.id.clone()),
            kind: MediaKind::of(file.mimetype.as_deref().unwrap_or_default()),
            mimetype: file.mimetype.unwrap_or_default(),
            filename: None,
            size: file.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            sha256: None,
            state: MediaState::Pending,
            reason: None,
            created_at: message.created_at,
            expires_at: message.created_at.plus(WAITS),
        }
    }

    fn message(&self, inbound: &Inbound, parties: &Parties, kind: &str, body: Option<&str>, content: Content) -> Message {
        Message {
            id: self.ambient.ulid(),
            session: self.session.clone(),
            organization: self.organization.clone(),
            wa_message_id: inbound.wa_message_id.clone(),
            chat_jid: parties.chat.jid.clone(),
            sender_jid: parties.sender.jid.clone(),
            sender_lid: parties.sender.lid.clone(),
            sender_name: inbound.push_name.clone(),
            direction: if inbound.from_me { Direction::Out } else { Direction::In },
            from_me: inbound.from_me,
            kind: kind.to_owned(),
            body: body.map(str::to_owned),
            content,
            status: None,
            error: None,
            idempotency_key: None,
            idempotency_hash: None,
            timestamp: inbound.timestamp,
            created_at: self.ambient.now(),
            marks: Marks::default(),
        }
    }
}

/// A person as it is known after everything was learned: what came later may have moved its address.
pub(super) fn as_of_now(learned: &[Learned], at: usize) -> Who {
    let Some(one) = learned.get(at) else { return Who::default() };
    let later = learned.iter().skip(at + 1).flat_map(|later| &later.moved);
    let jid = later.fold(one.address.clone(), |jid, (from, to)| if jid == *from { to.clone() } else { jid });
    let newest = learned.iter().rev().find(|other| other.address == jid).unwrap_or(one);
    Who { jid, lid: newest.lid.clone().or_else(|| one.lid.clone()), phone: newest.phone.clone().or_else(|| one.phone.clone()) }
}

/// Whether who acts is who has sent a message.
fn is_by(row: &Message, inbound: &Inbound, parties: &Parties) -> bool {
    let same = row.sender_jid == parties.sender.jid || row.sender_lid.is_some() && row.sender_lid == parties.sender.lid;
    row.from_me == inbound.from_me && (inbound.from_me || same)
}

fn own_addresses(own: Option<&Account>) -> Vec<String> {
    own.map(|own| [Some(own.wa_jid.clone()), own.wa_lid.clone()].into_iter().flatten().collect()).unwrap_or_default()
}

fn addresses(who: &Who) -> Vec<String> {
    let phone = who.phone.as_ref().map(|digits| crate::domain::jid::Address::phone(digits).to_string());
    [Some(who.jid.clone()), who.lid.clone(), phone].into_iter().flatten().collect()
}

fn chat_change(parties: &Parties, set: impl FnOnce(&mut ChatChange)) -> Payload {
    let mut change = Box::new(ChatChange { chat: parties.chat.clone(), ..ChatChange::default() });
    set(&mut change);
    Payload::ChatUpdate(change)
}

/// What was done to `target`.
fn about(target: &Target, inbound: &Inbound, parties: &Parties) -> MessagePayload {
    MessagePayload { target: Some(target.wa_message_id.clone()), ..payload(inbound, parties) }
}

fn payload(inbound: &Inbound, parties: &Parties) -> MessagePayload {
    MessagePayload {
        wa_message_id: inbound.wa_message_id.clone(),
        chat: parties.chat.clone(),
        from_me: inbound.from_me,
        kind: inbound.act.word().to_owned(),
        sender: Some(parties.sender.clone()),
        push_name: inbound.push_name.clone(),
        timestamp: inbound.timestamp,
        ..MessagePayload::default()
    }
}
