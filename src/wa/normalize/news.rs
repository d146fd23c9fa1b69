//! What happens beside messages: presence, groups, chats' state on other devices, people, calls, channels.

use wacore::stanza::groups::{GroupNotificationAction as Action, GroupParticipantInfo};
use wacore::types::call::CallAction;
use wacore::types::events::{self, Event};
use wacore::types::presence::{ChatPresence, ChatPresenceMedia, ReceiptType};
use wacore_binary::{Jid, Server};

use super::{chat_of, plain, who};
use crate::domain::clock::Time;
use crate::domain::identity::Names;
use crate::domain::payload::{Call, CallStatus, ContactChange, GroupChange, NewsletterChange, Presence, PresenceState, Who};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// What.
    pub change: Change,
    /// Part of a sweep over everything that the account has: to be stored, and not worth an event.
    pub quiet: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Somebody came, went, or writes.
    Presence(Presence),
    /// A group or its members changed.
    Group(Box<GroupChange>),
    /// A picture of a person or a group changed.
    Picture {
        /// Whose.
        of: Who,
        /// The new one; `None` when it was taken away.
        id: Option<String>,
    },
    /// Something about a person changed.
    Contact {
        /// What is told.
        change: Box<ContactChange>,
        /// What the person is called now.
        names: Names,
    },
    /// Somebody calls, or no longer.
    Call(Call),
    /// A channel changed.
    Newsletter(NewsletterChange),
    /// A chat's state changed on another device.
    Chat {
        /// Which.
        chat: Who,
        /// What holds now.
        state: ChatState,
    },
    /// A message was marked with a star, or no longer.
    Star {
        /// Where.
        chat: Who,
        /// WhatsApp's id.
        message_id: String,
        /// Whether it has one now.
        starred: bool,
    },
    /// A chat got a label, or lost it.
    Label {
        /// Which.
        chat: Who,
        /// The label's id.
        label_id: String,
        /// Whether it has it now.
        on: bool,
    },
    /// The account has deleted a message for itself.
    MessageDeleted {
        /// Where.
        chat: Who,
        /// WhatsApp's id.
        message_id: String,
    },
    /// The account has read messages on another device.
    ReadElsewhere {
        /// Where.
        chat: Who,
        /// WhatsApp's ids.
        message_ids: Vec<String>,
    },
}

/// What holds of a chat now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatState {
    /// Whether it is put away.
    Archived(bool),
    /// Whether it stays at the top.
    Pinned(bool),
    /// Until when it makes no sound; `None` when it does.
    Muted(Option<Time>),
    /// Whether everything is read.
    Read(bool),
    /// It was deleted with its messages.
    Deleted,
    /// Its messages were deleted.
    Cleared,
}

/// What an event tells, where it tells one thing.
fn news(event: &Event) -> Option<News> {
    let (change, quiet) = match event {
        Event::Presence(it) => (Change::Presence(presence(it)), false),
        Event::ChatPresence(it) => (Change::Presence(chat_presence(it)), false),
        Event::GroupUpdate(it) => (Change::Group(Box::new(group(it)?)), false),
        Event::PictureUpdate(it) => {
            (Change::Picture { of: one(&it.jid), id: it.picture_id.clone().filter(|_| !it.removed) }, false)
        }
        Event::UserAboutUpdate(it) => {
            (contact(&it.jid, "about", |change| change.about = Some(it.status.clone()), Names::default()), false)
        }
        Event::PushNameUpdate(it) => {
            let names = Names::push(Some(&it.new_push_name));
            (contact(&it.jid, "name", |change| change.push_name = Some(it.new_push_name.clone()), names), false)
        }
        Event::ContactUpdate(it) => (address_book(it), it.from_full_sync),
        Event::ContactNumberChanged(it) => (number_changed(it), false),
        Event::ContactUpdated(it) => (contact(&it.jid, "profile", |_| (), Names::default()), false),
        Event::IdentityChange(it) => {
            let mut change = Box::new(ContactChange { who: who(&it.user, it.lid_user.as_ref()), ..ContactChange::default() });
            "identity".clone_into(&mut change.change);
            (Change::Contact { change, names: Names::default() }, it.implicit)
        }
        Event::BusinessStatusUpdate(it) => {
            let names = Names { business: it.verified_name.clone(), ..Names::default() };
            (contact(&it.jid, "business", |change| change.business_name.clone_from(&it.verified_name), names), false)
        }
        Event::DisappearingModeChanged(it) => {
            (contact(&it.from, "ephemeral", |change| change.ephemeral = Some(it.duration), Names::default()), false)
        }
        Event::IncomingCall(it) => (Change::Call(call(it)?), false),
        Event::MissedCall(it) => {
            (Change::Call(over(&it.from, &it.call_id, it.timestamp.timestamp_millis(), CallStatus::Missed)), false)
        }
        Event::PinUpdate(it) => (state(&it.jid, ChatState::Pinned(it.action.pinned.unwrap_or_default())), it.from_full_sync),
        Event::MuteUpdate(it) => {
            let end = it.action.mute_end_timestamp.map_or(FOR_EVER, |end| if end < 0 { FOR_EVER } else { Time(end) });
            let muted = it.action.muted.unwrap_or_default().then_some(end);
            (state(&it.jid, ChatState::Muted(muted)), it.from_full_sync)
        }
        Event::ArchiveUpdate(it) => {
            (state(&it.jid, ChatState::Archived(it.action.archived.unwrap_or_default())), it.from_full_sync)
        }
        Event::MarkChatAsReadUpdate(it) => {
            (state(&it.jid, ChatState::Read(it.action.read.unwrap_or_default())), it.from_full_sync)
        }
        Event::DeleteChatUpdate(it) => (state(&it.jid, ChatState::Deleted), it.from_full_sync),
        Event::ClearChatUpdate(it) => (state(&it.jid, ChatState::Cleared), it.from_full_sync),
        Event::StarUpdate(it) => {
            let starred = it.action.starred.unwrap_or_default();
            (Change::Star { chat: one(&it.chat_jid), message_id: it.message_id.clone(), starred }, it.from_full_sync)
        }
        Event::LabelAssociationUpdate(it) => {
            let on = it.action.labeled.unwrap_or_default();
            (Change::Label { chat: one(&it.chat_jid), label_id: it.label_id.clone(), on }, it.from_full_sync)
        }
        Event::DeleteMessageForMeUpdate(it) => {
            (Change::MessageDeleted { chat: one(&it.chat_jid), message_id: it.message_id.clone() }, it.from_full_sync)
        }
        _ => return None,
    };
    Some(News { change, quiet })
}

/// What a library's event tells beside messages; empty when it tells nothing of that kind.
pub fn several(event: &Event) -> Vec<News> {
    match event {
        Event::NewsletterLiveUpdate(it) => it
            .messages
            .iter()
            .map(|message| {
                let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
                let change = Change::Newsletter(NewsletterChange {
                    jid: plain(&it.newsletter_jid),
                    action: "reactions".to_owned(),
                    server_id: i64::try_from(message.server_id).ok(),
                    reactions: message.reactions.iter().map(|one| (one.code.clone(), count(one.count))).collect(),
                });
                News { change, quiet: false }
            })
            .collect(),
        Event::Receipt(it) if matches!(it.r#type, ReceiptType::ReadSelf | ReceiptType::PlayedSelf) => {
            let chat = chat_of(&it.source);
            let message_ids = it.message_ids.iter().map(ToString::to_string).collect();
            vec![News { change: Change::ReadElsewhere { chat, message_ids }, quiet: false }]
        }
        other => news(other).into_iter().collect(),
    }
}

/// Until the end of time, as times are stored.
pub const FOR_EVER: Time = Time(253_402_300_799_000);

fn one(jid: &Jid) -> Who {
    match jid.server {
        Server::Pn | Server::Lid => who(jid, None),
        _ => Who::new(plain(jid)),
    }
}

fn state(jid: &Jid, state: ChatState) -> Change {
    Change::Chat { chat: one(jid), state }
}

fn presence(it: &events::PresenceUpdate) -> Presence {
    let state = if it.unavailable { PresenceState::Unavailable } else { PresenceState::Available };
    let last_seen = it.last_seen.map(|at| Time(at.timestamp_millis()));
    Presence { from: one(&it.from), state, chat_jid: None, audio: false, last_seen }
}

fn chat_presence(it: &events::ChatPresenceUpdate) -> Presence {
    let state = match it.state {
        ChatPresence::Composing => PresenceState::Composing,
        ChatPresence::Paused => PresenceState::Paused,
    };
    Presence {
        from: who(&it.source.sender, it.source.sender_alt.as_ref()),
        state,
        chat_jid: Some(chat_of(&it.source).jid),
        audio: it.media == ChatPresenceMedia::Audio,
        last_seen: None,
    }
}

fn contact(jid: &Jid, word: &str, set: impl FnOnce(&mut ContactChange), names: Names) -> Change {
    let mut change = Box::new(ContactChange { who: one(jid), change: word.to_owned(), ..ContactChange::default() });
    set(&mut change);
    Change::Contact { change, names }
}

fn address_book(it: &events::ContactUpdate) -> Change {
    let action = &it.action;
    let (full, first) = (action.full_name.clone(), action.first_name.clone());
    let alt = action.lid_jid.as_deref().or(action.pn_jid.as_deref()).and_then(|jid| jid.parse::<Jid>().ok());
    let change = ContactChange {
        who: who(&it.jid, alt.as_ref()),
        change: "name".to_owned(),
        full_name: full.clone(),
        first_name: first.clone(),
        ..ContactChange::default()
    };
    Change::Contact { change: Box::new(change), names: Names { full, first, ..Names::default() } }
}

fn number_changed(it: &events::ContactNumberChanged) -> Change {
    let change = ContactChange {
        who: who(&it.new_jid, it.new_lid.as_ref()),
        change: "number".to_owned(),
        previous_jid: Some(plain(&it.old_jid)),
        ..ContactChange::default()
    };
    Change::Contact { change: Box::new(change), names: Names::default() }
}

fn call(it: &wacore::types::call::IncomingCall) -> Option<Call> {
    let at = Time(it.timestamp.timestamp_millis());
    Some(match &it.action {
        CallAction::Offer { call_id, call_creator, caller_pn, is_video, group_jid, .. } => Call {
            call_id: call_id.clone(),
            from: who(call_creator, caller_pn.as_ref()),
            timestamp: at,
            is_group: group_jid.is_some(),
            group_jid: group_jid.as_ref().map(plain),
            is_video: Some(*is_video),
            status: CallStatus::Ringing,
        },
        CallAction::OfferNotice { call_id, call_creator, is_video, is_group } => Call {
            call_id: call_id.clone(),
            from: one(call_creator),
            timestamp: at,
            is_group: *is_group,
            group_jid: (it.from.server == Server::Group).then(|| plain(&it.from)),
            is_video: Some(*is_video),
            status: CallStatus::Ringing,
        },
        CallAction::Terminate { call_id, call_creator, reason, .. } => {
            let elsewhere = reason.as_deref().is_some_and(|reason| reason.ends_with("_elsewhere"));
            let status = if elsewhere { CallStatus::Elsewhere } else { CallStatus::Ended };
            over(call_creator, call_id, at.0, status)
        }
        _ => return None,
    })
}

fn over(from: &Jid, call_id: &str, at: i64, status: CallStatus) -> Call {
    Call { call_id: call_id.to_owned(), from: one(from), timestamp: Time(at), status, ..Call::default() }
}

fn group(it: &events::GroupUpdate) -> Option<GroupChange> {
    let mut change = GroupChange {
        group_jid: plain(&it.group_jid),
        sender: it.participant.as_ref().map(|jid| who(jid, it.participant_pn.as_ref())),
        timestamp: Time(it.timestamp.timestamp_millis()),
        ..GroupChange::default()
    };
    let all = |people: &[GroupParticipantInfo]| people.iter().map(person).collect();
    let action = match &it.action {
        Action::Add { participants, reason } => {
            (change.people, change.reason) = (all(participants), reason.clone());
            "add"
        }
        Action::Remove { participants, reason } => {
            (change.people, change.reason) = (all(participants), reason.clone());
            "remove"
        }
        Action::Promote { participants } => {
            change.people = all(participants);
            "promote"
        }
        Action::Demote { participants } => {
            change.people = all(participants);
            "demote"
        }
        Action::Modify { participants } => {
            change.people = all(participants);
            "modify"
        }
        Action::Subject { subject, .. } => {
            change.subject = Some(subject.clone());
            "subject"
        }
        Action::Description { description, .. } => {
            change.description = Some(description.clone().unwrap_or_default());
            "description"
        }
        Action::Locked { .. } | Action::Unlocked => {
            change.is_locked = Some(matches!(it.action, Action::Locked { .. }));
            "locked"
        }
        Action::Announce | Action::NotAnnounce => {
            change.is_announce = Some(matches!(it.action, Action::Announce));
            "announcement"
        }
        Action::Ephemeral { expiration, .. } => {
            change.ephemeral = Some(*expiration);
            "ephemeral"
        }
        Action::MembershipApprovalMode { enabled } => {
            change.approval = Some(*enabled);
            "membership_approval_mode"
        }
        Action::MembershipApprovalRequest { .. } => {
            change.people = change.sender.clone().into_iter().collect();
            "membership_approval_request"
        }
        Action::CreatedMembershipRequests { requests, .. } => {
            change.people = all(requests);
            "membership_approval_request"
        }
        Action::RevokedMembershipRequests { participants } => {
            change.people = participants.iter().map(one).collect();
            "membership_request_revoked"
        }
        Action::Invite { code } => {
            change.invite = Some(format!("https://chat.whatsapp.com/{code}"));
            "invite"
        }
        Action::RevokeInvite => {
            change.invite = Some(String::new());
            "revoke"
        }
        Action::Create { .. } => "create",
        Action::Delete { reason } => {
            change.reason.clone_from(reason);
            "delete"
        }
        Action::Link { link_type, .. } => {
            change.reason = Some(link_type.clone());
            "link"
        }
        Action::Unlink { unlink_type, .. } => {
            change.reason = Some(unlink_type.clone());
            "unlink"
        }
        Action::LinkedGroupPromote { participants } => {
            change.people = all(participants);
            "linked_group_promote"
        }
        Action::LinkedGroupDemote { participants } => {
            change.people = all(participants);
            "linked_group_demote"
        }
        Action::MemberAddMode { mode } => {
            change.reason = Some(mode.clone());
            "member_add_mode"
        }
        Action::Suspended => "suspended",
        Action::Unsuspended => "unsuspended",
        Action::GrowthLocked { .. } => "growth_locked",
        Action::GrowthUnlocked => "growth_unlocked",
        Action::NoFrequentlyForwarded => "no_frequently_forwarded",
        Action::FrequentlyForwardedOk => "frequently_forwarded_ok",
        other => {
            metrics::counter!("wagw_unknown_inbound_total", "kind" => "group_action").increment(1);
            tracing::debug!(action = ?std::mem::discriminant(other), "a change of a group of a kind that is not known here");
            return None;
        }
    };
    action.clone_into(&mut change.action);
    Some(change)
}

fn person(it: &GroupParticipantInfo) -> Who {
    let mut found = who(&it.jid, it.phone_number.as_ref());
    found.lid = found.lid.or_else(|| it.lid.as_ref().map(plain));
    found
}
