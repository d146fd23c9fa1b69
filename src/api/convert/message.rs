//! Messages.

use tonic::Response;

use super::{accepted, time, timestamp};
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
        has_media: has_media(&it.kind),
        media: None,
        sender_jid: Some(it.sender_jid.clone()),
        sender_lid: it.sender_lid.clone(),
        sender_name: it.sender_name.clone(),
        status: it.status.map(|s| status(s).into()),
        error: it.error.clone(),
        edited: false,
        deleted: false,
        timestamp: Some(timestamp(it.timestamp)),
        created_at: Some(timestamp(it.created_at)),
        delivery: None,
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
