//! What messages hold beside their text.

use std::collections::BTreeMap;

use super::timestamp;
use crate::domain::content::{Card, Location, Media, Mention, Poll};
use crate::proto::gateway as pb;

/// What is known of a file. Its keys stay here.
pub fn media(it: &Media) -> pb::MediaMeta {
    pb::MediaMeta {
        filename: it.filename.clone(),
        mimetype: it.mimetype.clone(),
        size: it.size,
        width: it.width.map(i64::from),
        height: it.height.map(i64::from),
        seconds: it.seconds.map(i64::from),
        voice: it.voice.then_some(true),
        animated: it.animated.then_some(true),
        sha256: it.sha256.clone(),
    }
}

/// A place.
pub fn location(it: &Location) -> pb::LocationData {
    pb::LocationData {
        latitude: it.latitude,
        longitude: it.longitude,
        name: it.name.clone(),
        address: it.address.clone(),
        live: it.live.then_some(true),
    }
}

/// A shared contact.
pub fn contact(it: &Card) -> pb::ContactData {
    pb::ContactData { display_name: it.display_name.clone(), vcard: it.vcard.clone() }
}

/// A poll.
pub fn poll(it: &Poll) -> pb::PollData {
    pb::PollData {
        name: it.name.clone(),
        options: it.options.clone(),
        selectable_count: i64::from(it.selectable),
        end_time: it.end_at.map(timestamp),
        hide_votes: Some(it.hide_votes),
    }
}

/// Who is mentioned, by address.
pub fn mentions(all: &[Mention]) -> BTreeMap<String, pb::MentionData> {
    let tag = |jid: &str| jid.split_once('@').map(|(user, _)| format!("@{user}"));
    let one = |it: &Mention| {
        let data =
            pb::MentionData { tag: tag(&it.jid), push_name: it.push_name.clone(), lid: it.lid.clone(), phone: it.phone.clone() };
        (it.jid.clone(), data)
    };
    all.iter().map(one).collect()
}
