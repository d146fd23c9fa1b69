//! What happens beside messages, stored and told: presence, groups, people, chats' state on other devices, calls, channels.

use super::inbox::as_of_now;
use super::recorder::Recorder;
use crate::domain::chat::{ChatKind, ChatPatch};
use crate::domain::event::{Call, ChatChange, ContactChange, GroupChange, Payload, Presence};
use crate::domain::group::{GroupPatch, MemberAction};
use crate::domain::identity::{Names, Seen, Source};
use crate::domain::payload::Who;
use crate::error::Result;
use crate::event::Recording;
use crate::wa::normalize::{Change, ChatState, News};

impl Recorder {
    /// Stores and tells what happened, all in one transaction.
    pub async fn happened(&self, all: &[News]) -> Result<()> {
        let ignore = self.db.session_by_id(&self.session).await?.map(|row| row.settings.ignore).unwrap_or_default();
        let mut recording = self.log.begin().await?;
        for News { change, quiet } in all.iter().cloned() {
            let place = place(&change);
            let told = self.happen(&mut recording, change).await?;
            // What is left out is left out of the log; the tables stay right.
            if !quiet && !place.is_some_and(|place| ignore.covers(&place)) {
                for payload in told {
                    recording.tell(&self.organization, &self.session, payload);
                }
            }
        }
        recording.commit().await
    }

    async fn happen(&self, recording: &mut Recording, change: Change) -> Result<Vec<Payload>> {
        let now = self.ambient.now();
        Ok(match change {
            Change::Presence(it) => {
                let from = self.known(recording, &it.from, None, &Names::default()).await?;
                // The chat of two is told under the same address as the person.
                let chat_jid = it.chat_jid.map(|jid| if ChatKind::of(&jid) == ChatKind::Dm { from.jid.clone() } else { jid });
                vec![Payload::PresenceUpdate(Presence { from, chat_jid, ..it })]
            }
            Change::Group(change) => self.group(recording, *change).await?,
            Change::Picture { of, id } if ChatKind::of(&of.jid) == ChatKind::Dm => {
                let who = self.known(recording, &of, None, &Names::default()).await?;
                vec![Payload::ContactUpdate(Box::new(ContactChange {
                    who,
                    change: "picture".to_owned(),
                    picture_removed: Some(id.is_none()),
                    picture_id: id,
                    ..ContactChange::default()
                }))]
            }
            Change::Picture { of, id } => vec![Payload::ChatUpdate(Box::new(ChatChange {
                chat: of,
                change: "picture".to_owned(),
                removed: Some(id.is_none()),
                picture_id: id,
                ..ChatChange::default()
            }))],
            Change::Contact { change, names } => {
                let source = change.full_name.is_some().then_some(Source::Dm);
                let who = self.known(recording, &change.who, source, &names).await?;
                vec![Payload::ContactUpdate(Box::new(ContactChange { who, ..*change }))]
            }
            Change::Call(it) => {
                let from = self.known(recording, &it.from, None, &Names::default()).await?;
                vec![Payload::CallIncoming(Call { from, ..it })]
            }
            Change::Newsletter(it) => vec![Payload::NewsletterUpdate(it)],
            Change::Chat { chat, state } => {
                let chat = self.known_chat(recording, &chat).await?;
                let patch = |patch| (Some(patch), None);
                let (patch, read) = match state {
                    ChatState::Archived(on) => patch(ChatPatch { archived: Some(on), ..ChatPatch::default() }),
                    ChatState::Pinned(on) => patch(ChatPatch { pinned: Some(on), ..ChatPatch::default() }),
                    ChatState::Muted(until) => patch(ChatPatch { muted_until: Some(until), ..ChatPatch::default() }),
                    ChatState::Read(false) => patch(ChatPatch { marked_unread: Some(true), ..ChatPatch::default() }),
                    ChatState::Read(true) => (None, Some(())),
                    ChatState::Deleted | ChatState::Cleared => {
                        recording.tx.delete_chat(&self.session, &chat.jid, state == ChatState::Deleted).await?;
                        (None, None)
                    }
                };
                if let Some(patch) = patch {
                    recording.tx.set_chat(&self.session, &chat.jid, &patch, now).await?;
                }
                if read.is_some() {
                    recording.tx.chat_read(&self.session, &chat.jid, None).await?;
                }
                vec![Payload::ChatUpdate(Box::new(chat_change(chat, state)))]
            }
            Change::Star { chat, message_id, starred } => {
                let chat = self.known_chat(recording, &chat).await?;
                recording.tx.star_message(&self.session, &message_id, starred).await?;
                vec![Payload::ChatUpdate(Box::new(ChatChange {
                    chat,
                    change: "starred".to_owned(),
                    message_id: Some(message_id),
                    removed: Some(!starred),
                    ..ChatChange::default()
                }))]
            }
            Change::Label { chat, label_id, on } => {
                let chat = self.known_chat(recording, &chat).await?;
                vec![Payload::ChatUpdate(Box::new(ChatChange {
                    chat,
                    change: "label".to_owned(),
                    label_id: Some(label_id),
                    removed: Some(!on),
                    ..ChatChange::default()
                }))]
            }
            Change::MessageDeleted { chat, message_id } => {
                let chat = self.known_chat(recording, &chat).await?;
                for row in recording.tx.messages_by_wa_id(&self.session, &message_id).await? {
                    if row.chat_jid == chat.jid {
                        recording.tx.revoke_message(&row.id, now).await?;
                    }
                }
                vec![Payload::ChatUpdate(Box::new(ChatChange {
                    chat,
                    change: "message_deleted".to_owned(),
                    message_id: Some(message_id),
                    ..ChatChange::default()
                }))]
            }
            Change::ReadElsewhere { chat, message_ids } => {
                let chat = self.known_chat(recording, &chat).await?;
                let until = recording.tx.newest_of(&self.session, &message_ids).await?;
                if until.is_some() {
                    recording.tx.chat_read(&self.session, &chat.jid, until).await?;
                }
                vec![Payload::ChatUpdate(Box::new(ChatChange { chat, change: "read".to_owned(), ..ChatChange::default() }))]
            }
        })
    }

    async fn group(&self, recording: &mut Recording, change: GroupChange) -> Result<Vec<Payload>> {
        let jid = change.group_jid.clone();
        let at = change.timestamp;
        let action = match change.action.as_str() {
            "add" => Some(MemberAction::Join),
            "remove" => Some(MemberAction::Leave),
            "promote" => Some(MemberAction::Promote),
            "demote" => Some(MemberAction::Demote),
            _ => None,
        };
        let sender = match &change.sender {
            Some(sender) => Some(self.known(recording, sender, Some(Source::Group), &Names::default()).await?),
            None => None,
        };
        let mut people = Vec::with_capacity(change.people.len());
        for who in &change.people {
            people.push(self.known(recording, who, Some(Source::Group), &Names::default()).await?);
        }
        let tx = &mut recording.tx;
        if let Some(action) = action {
            let seen: Vec<Seen> = people.iter().filter_map(|who| seen(who, Some(Source::Group), &Names::default())).collect();
            let actor = sender.as_ref().map(|sender| sender.jid.as_str());
            tx.members_changed(&self.session, &jid, action, &seen, actor, at).await?;
        }
        let patch = GroupPatch {
            subject: change.subject.clone(),
            description: change.description.clone(),
            announce: change.is_announce,
            locked: change.is_locked,
            ephemeral: change.ephemeral,
            approval: change.approval,
        };
        tx.group_changed(&self.session, &jid, &patch, at).await?;
        if matches!(change.action.as_str(), "create" | "modify" | "link" | "unlink" | "delete") {
            tx.outdate_group(&self.session, &jid).await?;
        }
        let about_members = change.is_about_members();
        let change = Box::new(GroupChange { sender, people, ..change });
        Ok(vec![if about_members { Payload::GroupParticipant(change) } else { Payload::GroupUpdate(change) }])
    }

    /// Somebody under all addresses that are known, now that this sight is too.
    async fn known(&self, recording: &mut Recording, who: &Who, source: Option<Source>, names: &Names) -> Result<Who> {
        let Some(seen) = seen(who, source, names) else { return Ok(who.clone()) };
        let learned = recording.tx.learn(&self.session, &[seen], self.ambient.now()).await?;
        Ok(if learned.is_empty() { who.clone() } else { as_of_now(&learned, 0) })
    }

    async fn known_chat(&self, recording: &mut Recording, chat: &Who) -> Result<Who> {
        match ChatKind::of(&chat.jid) {
            ChatKind::Dm => self.known(recording, chat, Some(Source::Dm), &Names::default()).await,
            _ => Ok(chat.clone()),
        }
    }
}

fn seen(who: &Who, source: Option<Source>, names: &Names) -> Option<Seen> {
    Seen::new([Some(who.jid.as_str()), who.lid.as_deref()].into_iter().flatten(), names.clone(), source)
}

/// The chat that it happened in, by which filters go; `None` when it is about a person.
fn place(change: &Change) -> Option<String> {
    match change {
        Change::Presence(it) => it.chat_jid.clone(),
        Change::Group(it) => Some(it.group_jid.clone()),
        Change::Picture { of, .. } => Some(of.jid.clone()),
        Change::Call(it) => it.group_jid.clone(),
        Change::Newsletter(it) => Some(it.jid.clone()),
        Change::Chat { chat, .. }
        | Change::Star { chat, .. }
        | Change::Label { chat, .. }
        | Change::MessageDeleted { chat, .. }
        | Change::ReadElsewhere { chat, .. } => Some(chat.jid.clone()),
        Change::Contact { .. } => None,
    }
}

fn chat_change(chat: Who, state: ChatState) -> ChatChange {
    let change = ChatChange { chat, ..ChatChange::default() };
    let (word, removed, muted_until) = match state {
        ChatState::Archived(on) => ("archived", Some(!on), None),
        ChatState::Pinned(on) => ("pinned", Some(!on), None),
        ChatState::Muted(until) => ("muted", Some(until.is_none()), until),
        ChatState::Read(true) => ("read", None, None),
        ChatState::Read(false) => ("unread", None, None),
        ChatState::Deleted => ("deleted", None, None),
        ChatState::Cleared => ("cleared", None, None),
    };
    ChatChange { change: word.to_owned(), removed, muted_until, ..change }
}
