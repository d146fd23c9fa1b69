//! The library's events as our values. Pure: nothing here waits, stores or asks the clock.

use wacore::proto_helpers::MessageExt;
use wacore::types::events::{self, InboundMessage};
use wacore::types::message::MessageSource;
use wacore::types::presence::ReceiptType;
use wacore_binary::{Jid, JidExt, Server};
use waproto::whatsapp as wa;

use crate::domain::clock::Time;
use crate::domain::message::{MessageStatus, Receipt};
use crate::domain::session::Account;

/// A received message, or one that another device of the same account sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// WhatsApp's id.
    pub wa_message_id: String,
    /// The chat in canonical form: by number when it is known.
    pub chat_jid: String,
    /// The sender in canonical form.
    pub sender_jid: String,
    /// The sender's LID, when it is known.
    pub sender_lid: Option<String>,
    /// Whether the session's own account sent it.
    pub from_me: bool,
    /// `text`, or the word for what else it is.
    pub kind: &'static str,
    /// Text or caption.
    pub body: Option<String>,
    /// The name that the sender shows.
    pub push_name: Option<String>,
    /// When it was sent.
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
    let info = &message.info;
    if info.category == wacore::types::message::MessageCategory::Peer {
        return None;
    }
    let base = message.message.get_base_message();
    let (kind, body) = content(base)?;
    let source = &info.source;
    let from_me = source.is_from_me;
    let chat_alt = if from_me { source.recipient_alt.as_ref() } else { source.sender_alt.as_ref() };
    let chat_jid = match source.chat.server {
        Server::Pn | Server::Lid => canonical(&source.chat, chat_alt),
        _ => plain(&source.chat),
    };
    Some(Inbound {
        wa_message_id: info.id.clone(),
        chat_jid,
        sender_jid: canonical(&source.sender, source.sender_alt.as_ref()),
        sender_lid: lid_of(source),
        from_me,
        kind,
        body,
        push_name: Some(info.push_name.clone()).filter(|name| !name.is_empty()),
        timestamp: Time(info.timestamp.timestamp_millis()),
        origin: Origin {
            chat: source.chat.to_non_ad(),
            sender: (source.is_group || source.chat.is_status_broadcast()).then(|| source.sender.clone()),
        },
    })
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
        sender_jid: Some(canonical(&receipt.source.sender, receipt.source.sender_alt.as_ref())),
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

/// The one form in which an address is told: without its device part, and by number when `jid` or `alt` has one.
fn canonical(jid: &Jid, alt: Option<&Jid>) -> String {
    match (jid.server, alt) {
        (Server::Lid, Some(alt)) if alt.server == Server::Pn => plain(alt),
        _ => plain(jid),
    }
}

fn plain(jid: &Jid) -> String {
    jid.to_non_ad().to_string()
}

fn lid_of(source: &MessageSource) -> Option<String> {
    [Some(&source.sender), source.sender_alt.as_ref()].into_iter().flatten().find(|jid| jid.server == Server::Lid).map(plain)
}

/// The word for what a message is, and its text or caption.
pub(super) fn content(message: &wa::Message) -> Option<(&'static str, Option<String>)> {
    if let Some(text) = &message.conversation {
        return Some(("text", Some(text.clone())));
    }
    macro_rules! kinds {
        ($($field:ident = $kind:literal, $body:expr;)+) => {
            $(if let Some(found) = message.$field.as_option() {
                return Some(($kind, ($body)(found)));
            })+
        };
    }
    kinds! {
        extended_text_message = "text", |m: &wa::message::ExtendedTextMessage| m.text.clone();
        image_message = "image", |m: &wa::message::ImageMessage| m.caption.clone();
        video_message = "video", |m: &wa::message::VideoMessage| m.caption.clone();
        audio_message = "audio", |_| None;
        document_message = "document", |m: &wa::message::DocumentMessage| m.caption.clone();
        sticker_message = "sticker", |_| None;
        location_message = "location", |m: &wa::message::LocationMessage| m.name.clone();
        contact_message = "contact", |m: &wa::message::ContactMessage| m.display_name.clone();
        contacts_array_message = "contact", |m: &wa::message::ContactsArrayMessage| m.display_name.clone();
        reaction_message = "reaction", |m: &wa::message::ReactionMessage| m.text.clone();
        poll_creation_message = "poll", |m: &wa::message::PollCreationMessage| m.name.clone();
        poll_creation_message_v3 = "poll", |m: &wa::message::PollCreationMessage| m.name.clone();
        poll_update_message = "vote", |_| None;
    }
    // Key shares, history notices and the like belong to the protocol; people's edits and revocations come through it too.
    if let Some(protocol) = message.protocol_message.as_option() {
        use wa::message::protocol_message::Type;
        return match protocol.r#type {
            Some(Type::REVOKE) => Some(("revoked", None)),
            Some(Type::MESSAGE_EDIT) => Some(("edited", protocol.edited_message.as_option().and_then(|m| content(m)?.1))),
            _ => None,
        };
    }
    // Group keys travel alone in a message of their own.
    if message.sender_key_distribution_message.as_option().is_some() {
        return None;
    }
    Some(("unsupported", None))
}
