//! Messages.

use tonic::Response;

use super::{accepted, content, time, timestamp};
use crate::domain::chat::{Reaction, Vote, tally};
use crate::domain::message::{Direction, Message, MessageStatus};
use crate::domain::outbox::{Item, OutboxState};
use crate::domain::outgoing::{FileSource, NewCard, Outgoing};
use crate::proto::gateway as pb;
use crate::service::message::Sent;
use crate::service::message_action::Done;

/// A stored message.
pub fn message(it: &Message) -> pb::Message {
    let direction = match it.direction {
        Direction::In => pb::MessageDirection::In,
        Direction::Out => pb::MessageDirection::Out,
    };
    pb::Message {
        id: it.id.clone(),
        session_id: it.session.to_string(),
        wa_message_id: it.wa_message_id.clone(),
        chat_jid: it.chat_jid.clone(),
        from_me: it.from_me,
        direction: direction.into(),
        r#type: it.kind.clone(),
        body: it.body.clone(),
        has_media: has_media(&it.kind) || it.content.media.is_some(),
        media: it.content.media.as_ref().map(content::media),
        sender_jid: Some(it.sender_jid.clone()),
        sender_lid: it.sender_lid.clone(),
        sender_name: it.sender_name.clone(),
        status: it.status.map(|s| status(s).into()),
        error: it.error.clone(),
        edited: it.marks.edited_at.is_some(),
        deleted: it.marks.deleted_at.is_some(),
        timestamp: Some(timestamp(it.timestamp)),
        created_at: Some(timestamp(it.created_at)),
        delivery: None,
        ack_level: it.status.map(ack_level),
        quoted_message_id: it.content.quote.as_ref().map(|quote| quote.wa_message_id.clone()),
        mentions: it.content.mentions.iter().map(|mention| mention.jid.clone()).collect(),
        mention_names: names(it),
        location: it.content.location.as_ref().map(content::location),
        contacts: it.content.contacts.iter().map(content::contact).collect(),
        poll: it.content.poll.as_ref().map(content::poll),
        poll_results: Vec::new(),
        reactions: Vec::new(),
        view_once: it.content.view_once.then_some(true),
        forwarded: (it.content.forwarded > 0).then(|| i64::from(it.content.forwarded)),
        ephemeral_seconds: it.content.ephemeral.map(i64::from),
        starred: it.marks.starred,
        edited_at: it.marks.edited_at.map(timestamp),
        deleted_at: it.marks.deleted_at.map(timestamp),
        sent_at: it.marks.sent_at.map(timestamp),
        delivered_at: it.marks.delivered_at.map(timestamp),
        read_at: it.marks.read_at.map(timestamp),
        played_at: it.marks.played_at.map(timestamp),
        failed_at: it.marks.failed_at.map(timestamp),
    }
}

/// A stored message with how people reacted to it and, for a poll, what was voted.
pub fn told(it: &Message, reactions: &[Reaction], votes: &[Vote]) -> pb::Message {
    let reactions = reactions.iter().map(|one| pb::MessageReaction {
        sender_jid: one.sender_jid.clone(),
        from_me: one.from_me,
        emoji: one.emoji.clone(),
        timestamp: Some(timestamp(one.timestamp)),
    });
    let answers = it.content.poll.as_ref().map(|poll| tally(poll, votes)).unwrap_or_default();
    let voters = |option: &String| {
        let all = votes.iter().filter(|vote| vote.selected.contains(option));
        all.map(|vote| vote.sender_jid.clone()).collect()
    };
    let answers = answers.into_iter().map(|(option, count)| pb::PollAnswer { voters: voters(&option), option, count });
    pb::Message { reactions: reactions.collect(), poll_results: answers.collect(), ..message(it) }
}

fn names(it: &Message) -> std::collections::BTreeMap<String, String> {
    let mentions = it.content.mentions.iter();
    mentions.filter_map(|mention| Some((mention.jid.clone(), mention.push_name.clone()?))).collect()
}

fn ack_level(it: MessageStatus) -> i64 {
    match it {
        MessageStatus::Pending => 0,
        MessageStatus::Sent => 1,
        MessageStatus::Delivered => 2,
        MessageStatus::Read => 3,
        MessageStatus::Played => 4,
        MessageStatus::Failed => -1,
    }
}

/// What became of a message.
pub fn status(it: MessageStatus) -> pb::MessageStatus {
    match it {
        MessageStatus::Pending => pb::MessageStatus::Pending,
        MessageStatus::Sent => pb::MessageStatus::Sent,
        MessageStatus::Delivered => pb::MessageStatus::Delivered,
        MessageStatus::Read => pb::MessageStatus::Read,
        MessageStatus::Played => pb::MessageStatus::Played,
        MessageStatus::Failed => pb::MessageStatus::Failed,
    }
}

/// The answer to a call that sent a message. What is only stored is 202 to those who call by HTTP.
pub fn sent(it: Sent) -> Response<pb::SendResult> {
    let Sent { message, detached, replayed, phone, lid } = it;
    let mut response = Response::new(pb::SendResult {
        mode: if detached { "async" } else { "sync" }.to_owned(),
        wa_message_id: Some(message.wa_message_id),
        outbox_id: Some(message.id),
        status: message.status.map(|s| status(s).into()),
        timestamp: Some(timestamp(message.timestamp)),
        replayed: Some(replayed),
        chat_jid: Some(message.chat_jid),
        phone_number: phone,
        lid,
    });
    if detached {
        accepted(&mut response);
    }
    response
}

/// The answer to a call that did something to a message.
pub fn done(it: Done) -> Response<pb::SendResult> {
    Response::new(pb::SendResult {
        mode: it.mode.to_owned(),
        wa_message_id: Some(it.wa_message_id),
        timestamp: Some(timestamp(it.at)),
        chat_jid: Some(it.chat_jid),
        ..pb::SendResult::default()
    })
}

/// A message's way to WhatsApp.
pub fn delivery(it: &Item) -> pb::Delivery {
    let state = match it.state {
        OutboxState::Queued => pb::DeliveryState::Queued,
        OutboxState::Sending => pb::DeliveryState::Sending,
        OutboxState::Unknown => pb::DeliveryState::Unknown,
        OutboxState::Sent => pb::DeliveryState::Sent,
        OutboxState::Failed => pb::DeliveryState::Failed,
        OutboxState::Cancelled => pb::DeliveryState::Cancelled,
    };
    pb::Delivery {
        state: state.into(),
        reason: it.reason.clone(),
        queued_at: Some(timestamp(it.created_at)),
        due_at: Some(timestamp(it.due_at)),
        sending_at: it.sending_at.map(timestamp),
        settled_at: it.settled_at.map(timestamp),
        deadline: Some(timestamp(it.expires_at)),
        attempts: i32::try_from(it.attempts).unwrap_or(i32::MAX),
    }
}

/// A message to send.
pub fn outgoing(it: pb::SendMessageRequest) -> Outgoing {
    let kind = match pb::MessageType::try_from(it.r#type).unwrap_or_default() {
        pb::MessageType::Unspecified => "",
        pb::MessageType::Text => "text",
        pb::MessageType::Image => "image",
        pb::MessageType::Video => "video",
        pb::MessageType::Audio => "audio",
        pb::MessageType::Document => "document",
        pb::MessageType::Sticker => "sticker",
        pb::MessageType::Album => "album",
        pb::MessageType::Location => "location",
        pb::MessageType::Contact => "contact",
        pb::MessageType::Poll => "poll",
    };
    let file = |it: pb::MediaPayload| FileSource {
        kind: None,
        url: it.url,
        data: it.data,
        id: it.id,
        mimetype: it.mimetype,
        filename: it.filename,
        caption: it.caption,
    };
    let part = |it: pb::AlbumMediaPayload| FileSource {
        kind: it.r#type,
        url: it.url,
        data: it.data,
        id: it.id,
        mimetype: it.mimetype,
        ..FileSource::default()
    };
    Outgoing {
        to: it.to,
        kind: kind.to_owned(),
        text: it.text,
        caption: it.caption,
        contact: it.contact.map(|card| NewCard { name: card.name, phone: card.phone, vcard: card.vcard }),
        latitude: it.latitude,
        longitude: it.longitude,
        media: it.media.map(file),
        medias: it.medias.into_iter().map(part).collect(),
        mentions: it.mentions,
        name: it.name,
        address: it.address,
        options: it.options,
        poll_end: it.poll_end_time.as_ref().map(time),
        poll_hide_votes: it.poll_hide_votes.unwrap_or(false),
        selectable: it.selectable_count.map(i64::from),
        reply_to: it.reply_to,
        view_once: it.view_once.unwrap_or(false),
        voice: it.voice,
        send_at: it.send_at.as_ref().map(time),
    }
}

/// Whether messages of this kind carry a file.
pub fn has_media(kind: &str) -> bool {
    matches!(kind, "image" | "video" | "audio" | "document" | "sticker")
}
