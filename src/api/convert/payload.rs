//! What events tell.

use super::message::has_media;
use super::{backfill, content, message, session, timestamp};
use crate::domain::clock::Time;
use crate::domain::event::{
    AuthCode, Call, ChatChange, ContactChange, GroupChange, Health, HistorySynced, MediaReady, MessagePayload,
    MessageStatusPayload, NewsletterChange, Payload, PollRecap, Presence, Restriction,
};
use crate::domain::payload::{PresenceState, Who};
use crate::proto::gateway as pb;
use pb::event::Payload as Wire;

/// An event's payload; `at` is when the event was recorded.
pub fn payload(it: Payload, at: Time) -> Wire {
    match it {
        Payload::SessionStatus(state) => Wire::SessionStatus(pb::SessionStatusPayload {
            status: session::status(state.status).into(),
            status_detail: Some(session::detail(&state)),
        }),
        Payload::SessionHealth(it) => Wire::SessionHealth(health(&it)),
        Payload::AuthQr(code) => Wire::AuthQr(pb::AuthQrPayload { code: code.code, expires_at: code.expires_at.map(timestamp) }),
        Payload::AuthCode(it) => Wire::AuthCode(auth_code(it)),
        Payload::AccountRestricted(it) => Wire::AccountRestricted(restricted(it)),
        Payload::Message(it)
        | Payload::MessageFromMe(it)
        | Payload::MessageReaction(it)
        | Payload::MessageEdited(it)
        | Payload::MessageRevoked(it)
        | Payload::PollVote(it) => Wire::Message(message_payload(*it)),
        Payload::MessageStatus(it) => Wire::MessageStatus(status_payload(it)),
        Payload::MediaReady(it) => Wire::MediaReady(media_ready(*it)),
        Payload::PollRecap(it) => Wire::PollRecap(poll_recap(it)),
        Payload::PresenceUpdate(it) => Wire::Presence(presence(it)),
        Payload::GroupUpdate(it) | Payload::GroupParticipant(it) => Wire::Group(group(*it)),
        Payload::ChatUpdate(it) => Wire::Chat(chat(*it)),
        Payload::ContactUpdate(it) => Wire::Contact(contact(*it)),
        Payload::CallIncoming(it) => Wire::Call(call(it)),
        Payload::NewsletterUpdate(it) => Wire::Newsletter(newsletter(it)),
        Payload::BackfillProgress(it) => {
            Wire::BackfillProgress(pb::BackfillProgressPayload { job: Some(backfill::backfill(*it, at)) })
        }
        Payload::HistorySynced(it) => Wire::HistorySynced(history(it)),
        Payload::WebhookDisabled(it) => Wire::WebhookDisabled(pb::WebhookDisabledPayload {
            webhook_id: it.webhook.to_string(),
            reason: it.reason.word().to_owned(),
        }),
        Payload::WebhookTest(webhook) => Wire::WebhookTest(pb::WebhookTestPayload { webhook_id: webhook.to_string() }),
    }
}

fn health(it: &Health) -> pb::SessionHealthPayload {
    pb::SessionHealthPayload {
        healthy: it.healthy,
        problem: it.problem.word().to_owned(),
        message: if it.healthy { "all is well again" } else { it.problem.sentence() }.to_owned(),
        since: Some(timestamp(it.since)),
    }
}

fn auth_code(it: AuthCode) -> pb::AuthCodePayload {
    match it {
        AuthCode::Shown(code) => pb::AuthCodePayload {
            code: Some(code.code),
            expires_at: code.expires_at.map(timestamp),
            ..pb::AuthCodePayload::default()
        },
        AuthCode::Accepted { account, platform, business_name } => pb::AuthCodePayload {
            jid: Some(account.wa_jid),
            lid: account.wa_lid,
            platform,
            business_name,
            ..pb::AuthCodePayload::default()
        },
    }
}

fn restricted(it: Restriction) -> pb::AccountRestrictedPayload {
    let Restriction { restricted, kind, code, message, until } = it;
    pb::AccountRestrictedPayload { restricted, kind, code, message, until: until.map(timestamp) }
}

fn message_payload(it: MessagePayload) -> pb::MessagePayload {
    let sender = it.sender.unwrap_or_default();
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let content = it.content;
    let quote = content.quote;
    pb::MessagePayload {
        has_media: has_media(&it.kind) || content.media.is_some(),
        wa_message_id: it.wa_message_id,
        chat_jid: it.chat.jid,
        chat_lid: it.chat.lid,
        chat_phone: it.chat.phone,
        from_me: it.from_me,
        r#type: it.kind,
        media: Some(content.media.as_ref().map(content::media).unwrap_or_default()),
        timestamp: Some(timestamp(it.timestamp)),
        body: it.body,
        sender_jid: some(sender.jid),
        sender_lid: sender.lid,
        sender_phone: sender.phone,
        push_name: it.push_name,
        location: content.location.as_ref().map(content::location),
        contact: content.contacts.first().map(content::contact),
        contacts: content.contacts.iter().map(content::contact).collect(),
        poll: content.poll.as_ref().map(content::poll),
        mentions: content::mentions(&content.mentions),
        quoted_message_id: quote.as_ref().map(|quote| quote.wa_message_id.clone()),
        quoted_from_me: quote.as_ref().map(|quote| quote.from_me),
        quoted_sender_lid: quote.as_ref().and_then(|quote| quote.sender_lid.clone()),
        quoted_sender_jid: quote.as_ref().and_then(|quote| quote.sender_jid.clone()),
        quoted_body: quote.and_then(|quote| quote.body),
        target_id: it.target,
        reaction: it.reaction,
        selected_options: it.selected,
        view_once: content.view_once.then_some(true),
        forwarded: (content.forwarded > 0).then(|| i64::from(content.forwarded)),
        ephemeral_seconds: content.ephemeral.map(i64::from),
    }
}

fn status_payload(it: MessageStatusPayload) -> pb::MessageStatusPayload {
    let sender = it.sender.unwrap_or_default();
    pb::MessageStatusPayload {
        chat_jid: it.chat.jid,
        chat_lid: it.chat.lid,
        chat_phone: it.chat.phone,
        message_ids: it.message_ids,
        status: message::status(it.status).into(),
        timestamp: Some(timestamp(it.timestamp)),
        sender_jid: Some(sender.jid).filter(|jid| !jid.is_empty()),
        sender_lid: sender.lid,
        sender_phone: sender.phone,
        error: it.error,
    }
}

fn media_ready(it: MediaReady) -> pb::MediaReadyPayload {
    pb::MediaReadyPayload {
        chat_jid: it.chat_jid,
        wa_message_id: it.wa_message_id,
        message_id: it.message_id,
        state: if it.error.is_some() { "failed" } else { "ready" }.to_owned(),
        media: Some(content::media(&it.media)),
        error: it.error,
    }
}

fn poll_recap(it: PollRecap) -> pb::PollRecapPayload {
    pb::PollRecapPayload {
        poll_message_id: it.wa_message_id,
        chat_jid: it.chat_jid,
        name: it.name,
        options: it.options.into_iter().map(|(option, count)| pb::PollRecapOption { option, count }).collect(),
        selectable_count: i64::from(it.selectable),
        end_time: Some(timestamp(it.end_at)),
        hide_votes: it.hide_votes,
        total_votes: it.total,
        voters: it
            .voters
            .into_iter()
            .map(|voter| pb::PollRecapVoter { voter_id: voter.jid, display_name: voter.name, selected_options: voter.selected })
            .collect(),
    }
}

/// Somebody's presence.
pub fn presence(it: Presence) -> pb::PresenceStatus {
    let state = match it.state {
        PresenceState::Unknown => pb::PresenceState::Unknown,
        PresenceState::Available => pb::PresenceState::Available,
        PresenceState::Unavailable => pb::PresenceState::Unavailable,
        PresenceState::Composing => pb::PresenceState::Composing,
        PresenceState::Paused => pb::PresenceState::Paused,
    };
    let media = if it.audio { pb::PresenceMedia::Audio } else { pb::PresenceMedia::Text };
    let composes = it.state == PresenceState::Composing;
    pb::PresenceStatus {
        from: it.from.jid,
        lid: it.from.lid,
        phone: it.from.phone,
        state: state.into(),
        chat_jid: it.chat_jid,
        media: composes.then(|| media.into()),
        unavailable: match it.state {
            PresenceState::Available | PresenceState::Composing | PresenceState::Paused => Some(false),
            PresenceState::Unavailable => Some(true),
            PresenceState::Unknown => None,
        },
        last_seen: it.last_seen.map(timestamp),
    }
}

fn person(it: &Who) -> pb::PersonAddresses {
    pb::PersonAddresses { jid: it.jid.clone(), lid: it.lid.clone(), phone: it.phone.clone() }
}

fn group(it: GroupChange) -> pb::GroupPayload {
    let sender = it.sender.unwrap_or_default();
    let people: Vec<String> = it.people.iter().map(|who| who.jid.clone()).collect();
    let when = |action: &str| if it.action == action { people.clone() } else { Vec::new() };
    pb::GroupPayload {
        join: when("add"),
        leave: when("remove"),
        promote: when("promote"),
        demote: when("demote"),
        group_jid: it.group_jid,
        sender: Some(sender.jid).filter(|jid| !jid.is_empty()),
        sender_lid: sender.lid,
        sender_phone: sender.phone,
        subject: it.subject,
        description: it.description,
        is_announce: it.is_announce,
        is_locked: it.is_locked,
        reason: it.reason,
        new_invite_link: it.invite,
        timestamp: Some(timestamp(it.timestamp)),
        people: it.people.iter().map(person).collect(),
        action: it.action,
        ephemeral_seconds: it.ephemeral.map(i64::from),
        approval: it.approval,
    }
}

fn chat(it: ChatChange) -> pb::ChatUpdatePayload {
    pb::ChatUpdatePayload {
        chat_jid: it.chat.jid,
        chat_lid: it.chat.lid,
        chat_phone: it.chat.phone,
        change: it.change,
        picture_id: it.picture_id,
        removed: it.removed,
        muted_until: it.muted_until.map(timestamp),
        ephemeral_seconds: it.ephemeral.map(i64::from),
        message_id: it.message_id,
        label_id: it.label_id,
    }
}

fn contact(it: ContactChange) -> pb::ContactUpdatePayload {
    pb::ContactUpdatePayload {
        jid: it.who.jid,
        lid: it.who.lid,
        phone: it.who.phone,
        change: it.change,
        push_name: it.push_name,
        full_name: it.full_name,
        first_name: it.first_name,
        business_name: it.business_name,
        about: it.about,
        picture_id: it.picture_id,
        picture_removed: it.picture_removed,
        previous_jid: it.previous_jid,
        ephemeral_seconds: it.ephemeral.map(i64::from),
    }
}

fn call(it: Call) -> pb::CallPayload {
    pb::CallPayload {
        call_id: it.call_id,
        from: it.from.jid,
        lid: it.from.lid,
        phone: it.from.phone,
        timestamp: Some(timestamp(it.timestamp)),
        is_group: it.is_group,
        group_jid: it.group_jid,
        is_video: it.is_video,
        status: it.status.word().to_owned(),
    }
}

fn newsletter(it: NewsletterChange) -> pb::NewsletterPayload {
    let reactions = it.reactions.into_iter().map(|(emoji, count)| pb::ReactionCount { emoji, count });
    pb::NewsletterPayload { jid: it.jid, action: it.action, server_id: it.server_id, reactions: reactions.collect() }
}

fn history(it: HistorySynced) -> pb::HistorySyncedPayload {
    let HistorySynced { kind, chunk, progress, chats, messages, contacts } = it;
    pb::HistorySyncedPayload { kind, chunk, progress, chats, messages, contacts }
}
