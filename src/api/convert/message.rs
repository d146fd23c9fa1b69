//! Messages.

use super::timestamp;
use crate::domain::message::{Direction, Message, MessageStatus};
use crate::proto::gateway as pb;
use crate::service::message::Sent;

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

/// The answer to a call that sent a message.
pub fn sent(it: Sent) -> pb::SendResult {
    let Sent { message, replayed } = it;
    pb::SendResult {
        mode: "sync".to_owned(),
        wa_message_id: Some(message.wa_message_id),
        outbox_id: Some(message.id),
        status: message.status.map(|s| status(s).into()),
        timestamp: Some(timestamp(message.timestamp)),
        replayed: Some(replayed),
        chat_jid: Some(message.chat_jid),
    }
}

/// Whether messages of this kind carry a file.
pub fn has_media(kind: &str) -> bool {
    matches!(kind, "image" | "video" | "audio" | "document" | "sticker")
}
