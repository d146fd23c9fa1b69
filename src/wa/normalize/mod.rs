//! The library's events as our values. Pure: nothing here waits, stores or asks the clock.

mod act;
mod content;
mod history;
mod news;

use wacore::types::events::{self, InboundMessage};
use wacore::types::message::{MessageInfo, MessageSource};
use wacore::types::presence::ReceiptType;
use wacore_binary::{Jid, JidExt, Server};

pub use self::act::{Act, Sealed, Target};
pub use self::history::{Conversation, HistoryNotice, Part, Past, Rest, notice, read as read_history};
pub use self::news::{Change, ChatState, FOR_EVER, News, several};
use crate::domain::clock::Time;
use crate::domain::message::{MessageStatus, Receipt};
use crate::domain::payload::Who;
use crate::domain::session::Account;

/// What somebody did in a chat: received, or done on another device of the same account.
#[derive(Clone, Debug, PartialEq)]
pub struct Inbound {
    /// WhatsApp's id.
    pub wa_message_id: String,
    /// The chat: by number when that is known.
    pub chat: Who,
    /// Who did it.
    pub sender: Who,
    /// Whether the session's own account did it.
    pub from_me: bool,
    /// What was done.
    pub act: Act,
    /// The name that the sender shows.
    pub push_name: Option<String>,
    /// When it was done.
    pub timestamp: Time,
    /// Chat and sender as WhatsApp named them, for receipts.
    pub origin: Origin,
}

/// Where a message came from, in WhatsApp's own terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The chat.
    pub chat: Jid,
    /// The sender, where a chat has several.
    pub sender: Option<Jid>,
}

/// A received message as ours; `None` for what the protocol sends for its own purposes (keys, history notices).
pub fn inbound(message: &InboundMessage) -> Option<Inbound> {
    if message.info.category == wacore::types::message::MessageCategory::Peer {
        return None;
    }
    Some(told(&message.info, content::act(&message.message)?))
}

/// A message that WhatsApp shows on the phone only; `None` for what nobody is to see.
pub fn unavailable(message: &events::UndecryptableMessage) -> Option<Inbound> {
    if message.decrypt_fail_mode == events::DecryptFailMode::Hide {
        return None;
    }
    let content = crate::domain::content::Content {
        view_once: message.unavailable_type == events::UnavailableType::ViewOnce,
        ..crate::domain::content::Content::default()
    };
    Some(told(&message.info, Act::Message { kind: "unavailable", body: None, content }))
}

fn told(info: &MessageInfo, act: Act) -> Inbound {
    let source = &info.source;
    Inbound {
        wa_message_id: info.id.clone(),
        chat: chat_of(source),
        sender: who(&source.sender, source.sender_alt.as_ref()),
        from_me: source.is_from_me,
        act,
        push_name: Some(info.push_name.clone()).filter(|name| !name.is_empty()),
        timestamp: Time(info.timestamp.timestamp_millis()),
        origin: Origin {
            chat: source.chat.to_non_ad(),
            sender: (source.is_group || source.chat.is_status_broadcast()).then(|| source.sender.clone()),
        },
    }
}

fn chat_of(source: &MessageSource) -> Who {
    let alt = if source.is_from_me { source.recipient_alt.as_ref() } else { source.sender_alt.as_ref() };
    match source.chat.server {
        Server::Pn | Server::Lid => who(&source.chat, alt),
        _ => Who::new(plain(&source.chat)),
    }
}

/// A person by one address and, where WhatsApp tells it, the other one.
fn who(jid: &Jid, alt: Option<&Jid>) -> Who {
    let all = [Some(jid), alt];
    let by = |server| all.into_iter().flatten().find(|jid| jid.server == server);
    let (lid, phone) = (by(Server::Lid).map(plain), by(Server::Pn));
    Who { jid: plain(phone.unwrap_or(jid)), lid, phone: phone.map(|jid| jid.user.to_string()) }
}

/// What a receipt says about messages that were sent from here; `None` when it says nothing about them.
pub fn receipt(receipt: &events::Receipt) -> Option<Receipt> {
    let status = match receipt.r#type {
        // `inactive` is a device that has the message while its owner does not look.
        ReceiptType::Delivered | ReceiptType::Inactive => MessageStatus::Delivered,
        ReceiptType::Read => MessageStatus::Read,
        ReceiptType::Played => MessageStatus::Played,
        _ => return None,
    };
    // Receipts of our own other devices say nothing about the recipient.
    if receipt.source.is_from_me {
        return None;
    }
    Some(Receipt {
        sender_jid: Some(who(&receipt.source.sender, receipt.source.sender_alt.as_ref()).jid),
        message_ids: receipt.message_ids.iter().map(ToString::to_string).collect(),
        status,
        error: None,
        timestamp: Time(receipt.timestamp.timestamp_millis()),
    })
}

/// The account that was attached.
pub fn account(pn: &Jid, lid: Option<&Jid>) -> Account {
    Account { phone_number: pn.user.to_string(), wa_jid: plain(pn), wa_lid: lid.map(plain) }
}

fn plain(jid: &Jid) -> String {
    jid.to_non_ad().to_string()
}

#[cfg(test)]
mod tests;
