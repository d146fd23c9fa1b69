//! Events.

use super::payload::payload;
use super::timestamp;
use crate::domain::event::Event;
use crate::event::follow::{Bounds, Item};
use crate::proto::gateway as pb;
use pb::subscribe_response::Item as WireItem;

/// A recorded event.
pub fn event(it: Event) -> pb::Event {
    let Event { sequence, event, metadata } = it;
    pb::Event {
        schema: "v1".to_owned(),
        id: event.id,
        event: event.payload.name().to_owned(),
        session: event.session.to_string(),
        organization: event.organization.to_string(),
        timestamp: Some(timestamp(event.timestamp)),
        sequence,
        metadata,
        payload: Some(payload(event.payload, event.timestamp)),
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
