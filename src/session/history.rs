//! The history that a phone shares: parts are kept as they come and then put into the tables piece by piece, a conversation at a time,
//! so that memory holds little of it and a crash repeats at most a piece. Nothing of it is an event of its own; each part is told once.

use tokio::sync::mpsc;

use super::inbox::as_of_now;
use super::recorder::Recorder;
use crate::domain::chat::{Chat, ChatKind, Reaction, Vote};
use crate::domain::event::{HistorySynced, Payload};
use crate::domain::identity::{Names, Seen, Source};
use crate::domain::message::{Direction, Marks, Message};
use crate::domain::payload::Who;
use crate::domain::session::Account;
use crate::error::{Error, Result};
use crate::store::{HistoryPart, Tx};
use crate::wa::normalize::{self, Conversation, Part, Past, Rest};

/// How many pieces may wait between the one who reads and the one who stores.
const PIECES: usize = 2;

/// How many messages are stored in one transaction.
const BATCH: usize = 500;

impl Recorder {
    /// Keeps a part of the history until [`Recorder::digest_history`] is through with it.
    pub async fn keep_history(&self, part: normalize::HistoryNotice) -> Result<()> {
        let part = HistoryPart {
            id: self.ambient.ulid(),
            kind: part.kind.to_owned(),
            chunk: part.chunk,
            progress: part.progress,
            data: part.data.to_vec(),
            size: part.size,
        };
        self.db.keep_history_part(&self.session, &part, self.ambient.now()).await
    }

    /// Puts every part that was kept into the tables and tells each.
    pub async fn digest_history(&self) -> Result<()> {
        while let Some(part) = self.db.next_history_part(&self.session).await? {
            let own = self.db.session_by_id(&self.session).await?.and_then(|row| row.account);
            let mut told =
                HistorySynced { kind: part.kind, chunk: part.chunk, progress: part.progress, ..HistorySynced::default() };
            let (give, mut pieces) = mpsc::channel(PIECES);
            let size = u64::try_from(part.size).unwrap_or_default();
            let reading = tokio::task::spawn_blocking(move || {
                normalize::read_history(&part.data, size, |piece| give.blocking_send(piece).is_ok())
            });
            while let Some(piece) = pieces.recv().await {
                match piece {
                    Part::Conversation(conversation) => {
                        told.chats += 1;
                        told.messages += self.past_conversation(*conversation, own.as_ref()).await?;
                    }
                    Part::Rest(rest) => {
                        told.contacts += i64::try_from(rest.names.len()).unwrap_or(i64::MAX);
                        told.messages += self.past_rest(rest, own.as_ref()).await?;
                    }
                }
            }
            if let Err(e) = reading.await.map_err(Error::internal)? {
                // It will not be read the next time either.
                tracing::warn!(session = %self.session, error = %e, "a part of the history is broken and was left out from there on");
            }
            let mut recording = self.log.begin().await?;
            if recording.tx.drop_history_part(&part.id).await? {
                recording.tell(&self.organization, &self.session, Payload::HistorySynced(told));
            }
            recording.commit().await?;
        }
        Ok(())
    }

    /// Gives the number of new messages.
    async fn past_conversation(&self, it: Conversation, own: Option<&Account>) -> Result<i64> {
        let now = self.ambient.now();
        let kind = ChatKind::of(&it.chat.jid);
        let mut tx = self.db.begin().await?;
        let chat = match kind {
            ChatKind::Dm => self.learn(&mut tx, &it.chat, it.name.as_deref()).await?,
            _ => it.chat.clone(),
        };
        let row = Chat {
            id: 0,
            session: self.session.clone(),
            jid: chat.jid.clone(),
            kind,
            name: it.name,
            unread: it.unread,
            marked_unread: it.marked_unread,
            archived: it.archived,
            pinned: it.pinned,
            muted_until: it.muted_until,
            ephemeral: i64::from(it.ephemeral),
            last_message_at: it.last_message_at,
            aliases: Vec::new(),
        };
        tx.remember_chat(&row, now).await?;
        tx.commit().await?;
        let mut new = 0;
        for batch in it.messages.chunks(BATCH) {
            new += self.past_messages(&chat, batch, own).await?;
        }
        Ok(new)
    }

    async fn past_rest(&self, it: Rest, own: Option<&Account>) -> Result<i64> {
        let named = it.names.iter().filter_map(|(jid, name)| Seen::new([jid.as_str()], Names::push(Some(name)), None));
        let pairs = it.pairs.iter().filter_map(|(pn, lid)| Seen::new([pn.as_str(), lid.as_str()], Names::default(), None));
        // The pairs first: then a name finds its person whichever address it comes with.
        let seen: Vec<Seen> = pairs.chain(named).collect();
        for batch in seen.chunks(BATCH) {
            let mut tx = self.db.begin().await?;
            tx.learn(&self.session, batch, self.ambient.now()).await?;
            tx.commit().await?;
        }
        let status = Who::new("status@broadcast");
        let mut new = 0;
        for batch in it.status.chunks(BATCH) {
            new += self.past_messages(&status, batch, own).await?;
        }
        Ok(new)
    }

    async fn past_messages(&self, chat: &Who, all: &[Past], own: Option<&Account>) -> Result<i64> {
        let now = self.ambient.now();
        let in_group = ChatKind::of(&chat.jid) != ChatKind::Dm;
        let mut tx = self.db.begin().await?;
        // Who speaks in a group may be met here for the first time.
        let people: Vec<&Who> = all
            .iter()
            .flat_map(|it| {
                [it.sender.as_ref()]
                    .into_iter()
                    .chain(it.reactions.iter().map(|one| one.0.as_ref()))
                    .chain(it.votes.iter().map(|one| one.0.as_ref()))
            })
            .flatten()
            .filter(|_| in_group)
            .collect();
        let source = in_group.then_some(Source::Group);
        let seen: Vec<Seen> = people.iter().filter_map(|who| Seen::new(addresses(who), Names::default(), source)).collect();
        let learned = tx.learn(&self.session, &seen, now).await?;
        let known = |who: &Who| -> Who {
            let at = people.iter().position(|other| *other == who);
            at.filter(|_| learned.len() == people.len()).map_or_else(|| who.clone(), |at| as_of_now(&learned, at))
        };
        let own_who =
            own.map(|own| Who { jid: own.wa_jid.clone(), lid: own.wa_lid.clone(), phone: Some(own.phone_number.clone()) });
        let sender = |who: Option<&Who>| match who {
            None => own_who.clone().unwrap_or_default(),
            Some(_) if !in_group => chat.clone(),
            Some(who) => known(who),
        };
        let rows: Vec<Message> = all
            .iter()
            .map(|it| {
                let from_me = it.sender.is_none();
                let by = sender(it.sender.as_ref());
                Message {
                    id: self.ambient.ulid(),
                    session: self.session.clone(),
                    organization: self.organization.clone(),
                    wa_message_id: it.wa_message_id.clone(),
                    chat_jid: chat.jid.clone(),
                    sender_jid: by.jid,
                    sender_lid: by.lid,
                    sender_name: it.push_name.clone(),
                    direction: if from_me { Direction::Out } else { Direction::In },
                    from_me,
                    kind: it.kind.to_owned(),
                    body: it.body.clone(),
                    content: it.content.clone(),
                    status: None,
                    error: None,
                    idempotency_key: None,
                    idempotency_hash: None,
                    timestamp: it.timestamp,
                    created_at: now,
                    marks: Marks { starred: it.starred, ..Marks::default() },
                }
            })
            .collect();
        let new = tx.insert_past(&rows).await?;
        for row in rows.iter().filter(|row| new.contains(&row.id)) {
            if let Some(end) = row.content.poll.as_ref().and_then(|poll| poll.end_at).filter(|end| *end > now) {
                tx.await_poll_end(&row.id, end).await?;
            }
        }
        for it in all {
            for (by, emoji, timestamp) in &it.reactions {
                let reaction = Reaction {
                    sender_jid: sender(by.as_ref()).jid,
                    from_me: by.is_none(),
                    emoji: emoji.clone(),
                    timestamp: *timestamp,
                };
                tx.react(&self.session, &it.wa_message_id, &reaction).await?;
            }
            for (by, selected, timestamp) in &it.votes {
                let vote = Vote {
                    sender_jid: sender(by.as_ref()).jid,
                    name: None,
                    from_me: by.is_none(),
                    selected: selected.clone(),
                    timestamp: *timestamp,
                };
                tx.vote(&self.session, &it.wa_message_id, &vote).await?;
            }
        }
        tx.commit().await?;
        Ok(i64::try_from(new.len()).unwrap_or(i64::MAX))
    }

    async fn learn(&self, tx: &mut Tx, who: &Who, name: Option<&str>) -> Result<Who> {
        // What the phone calls a conversation with a person is what its address book says.
        let names = Names { full: name.map(str::to_owned), ..Names::default() };
        let Some(seen) = Seen::new(addresses(who), names, Some(Source::Dm)) else { return Ok(who.clone()) };
        let learned = tx.learn(&self.session, &[seen], self.ambient.now()).await?;
        Ok(as_of_now(&learned, 0))
    }
}

fn addresses(who: &Who) -> impl Iterator<Item = &str> {
    [Some(who.jid.as_str()), who.lid.as_deref()].into_iter().flatten()
}
