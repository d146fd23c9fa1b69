//! Conversations.

use super::timestamp;
use crate::domain::chat::{Chat, ChatKind};
use crate::domain::clock::Time;
use crate::proto::gateway as pb;

/// A conversation.
pub fn chat(it: Chat) -> pb::Chat {
    let kind = match it.kind {
        ChatKind::Dm => pb::ChatType::Dm,
        ChatKind::Group => pb::ChatType::Group,
        ChatKind::Newsletter => pb::ChatType::Newsletter,
        ChatKind::Broadcast => pb::ChatType::Broadcast,
        ChatKind::Status => pb::ChatType::Status,
    };
    pb::Chat {
        id: it.id,
        session_id: it.session.to_string(),
        jid: it.jid,
        r#type: kind.into(),
        unread_count: it.unread,
        archived: it.archived,
        pinned: it.pinned,
        name: it.name,
        aliases: it.aliases,
        last_message_at: (it.last_message_at > Time(0)).then(|| timestamp(it.last_message_at)),
        muted_until: it.muted_until.map(timestamp),
        marked_unread: it.marked_unread,
        ephemeral_seconds: (it.ephemeral > 0).then_some(it.ephemeral),
    }
}
