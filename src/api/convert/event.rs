//! Events.

use super::message::has_media;
use super::{message, session, timestamp};
use crate::domain::event::{Event, MessagePayload, MessageStatusPayload, Payload};
use crate::domain::jid::{Address, Kind};
use crate::event::follow::{Bounds, Item};
use crate::proto::gateway as pb;
use pb::event::Payload as Wire;
use pb::subscribe_response::Item as WireItem;

/// A recorded event.
pub fn event(it: Event) -> pb::Event {
    let Event { sequence, event } = it;
    pb::Event {
        schema: "v1".to_owned(),
        id: event.id,
        event: event.payload.name().to_owned(),
        session: event.session.to_string(),
        organization: event.organization.to_string(),
        timestamp: Some(timestamp(event.timestamp)),
        sequence,
        payload: Some(payload(event.payload)),
    }
}

/// The first item of a stream.
pub fn position(cursor: i64, bounds: Bounds) -> pb::SubscribeResponse {
    pb::SubscribeResponse { item: Some(WireItem::Position(pb::StreamPosition { sequence: cursor, oldest: bounds.oldest })) }
}

/// Any other item of a stream.
pub fn item(it: Item) -> pb::SubscribeResponse {
    let item = match it {
        Item::Event(it) => WireItem::Event(event(*it)),
        Item::Heartbeat(sequence) => WireItem::Heartbeat(pb::Heartbeat { sequence }),
    };
    pb::SubscribeResponse { item: Some(item) }
}

fn payload(it: Payload) -> Wire {
    match it {
        Payload::SessionStatus(state) => Wire::SessionStatus(pb::SessionStatusPayload {
            status: session::status(state.status).into(),
            status_detail: Some(session::detail(&state)),
        }),
        Payload::AuthQr(code) => Wire::AuthQr(pb::AuthQrPayload { code: code.code, expires_at: code.expires_at.map(timestamp) }),
        Payload::AuthCode(code) => {
            Wire::AuthCode(pb::AuthCodePayload { code: code.code, expires_at: code.expires_at.map(timestamp) })
        }
        Payload::Message(it) | Payload::MessageFromMe(it) => Wire::Message(message_payload(it)),
        Payload::MessageStatus(it) => Wire::MessageStatus(status_payload(it)),
    }
}

fn message_payload(it: MessagePayload) -> pb::MessagePayload {
    let sender_phone = it.sender_jid.as_deref().and_then(phone);
    pb::MessagePayload {
        has_media: has_media(&it.kind),
        wa_message_id: it.wa_message_id,
        chat_jid: it.chat_jid,
        from_me: it.from_me,
        r#type: it.kind,
        media: Some(pb::MediaMeta::default()),
        timestamp: Some(timestamp(it.timestamp)),
        body: it.body,
        sender_phone,
        sender_jid: it.sender_jid,
        sender_lid: it.sender_lid,
        push_name: it.push_name,
    }
}

fn status_payload(it: MessageStatusPayload) -> pb::MessageStatusPayload {
    pb::MessageStatusPayload {
        chat_jid: it.chat_jid,
        message_ids: it.message_ids,
        status: message::status(it.status).into(),
        timestamp: Some(timestamp(it.timestamp)),
        sender_jid: it.sender_jid,
        error: it.error,
    }
}

fn phone(jid: &str) -> Option<String> {
    Address::parse("senderJid", jid).ok().filter(|address| address.kind == Kind::Phone).map(|address| address.user)
}
