//! From what a person wants to send to WhatsApp's message.

use buffa::{Message as _, MessageField};
use wacore_binary::Jid;
use waproto::whatsapp as wa;
use waproto::whatsapp::message::poll_creation_message::Option as Choice;
use waproto::whatsapp::message::protocol_message;

use super::Chat;
use super::message::Stored;
use crate::domain::jid::Address;
use crate::error::{Error, Result};
use crate::sandbox::draft::{Content, Draft};
use crate::sandbox::seen::{Card, Location};
use crate::sandbox::server::World;
use crate::sandbox::{Direction, PhoneMessage};

/// How many options a poll has at most.
const MAX_OPTIONS: usize = 12;
/// How many contact cards a message has at most.
const MAX_CARDS: usize = 257;

impl World {
    /// Makes a message of a draft. Fails when it makes no sense, or speaks of a message that the chat does not have.
    pub(super) fn compose(&self, number: &str, chat: &Chat, draft: &Draft) -> Result<wa::Message> {
        if draft.view_once || matches!(draft.content, Content::Media(_)) {
            return Err(Error::field("viewOnce", "only images, videos and voice messages can be looked at once"));
        }
        let context = self.context(number, chat, draft)?;
        let content = match &draft.content {
            Content::Text(text) => written(text, context)?,
            Content::Location(place) => location(place, context)?,
            Content::Contacts(cards) => contacts(cards, context)?,
            Content::Poll { question, options, selectable } => self.poll(question, options, *selectable, context)?,
            Content::Vote { message, options } => self.vote(number, chat, message, options)?,
            Content::Reaction { message, emoji } => {
                let row = self.row_of(number, chat, "reaction.messageId", message)?;
                let reaction = wa::message::ReactionMessage {
                    key: MessageField::some(self.key_of(number, chat, &row.shown)?),
                    text: Some(emoji.clone()),
                    sender_timestamp_ms: Some(self.ambient.now().0),
                    ..Default::default()
                };
                wa::Message { reaction_message: MessageField::some(reaction), ..Default::default() }
            }
            Content::Album { images, videos } => {
                let album = wa::message::AlbumMessage {
                    expected_image_count: Some(*images),
                    expected_video_count: Some(*videos),
                    context_info: field(context),
                };
                wa::Message { album_message: MessageField::some(album), ..Default::default() }
            }
            Content::Media(_) => return Err(Error::field("media", "has to be put on the media host first")),
            Content::Edit { message, text } => {
                let row = self.row_of(number, chat, "edit.messageId", message)?;
                if row.shown.direction != Direction::Out {
                    return Err(Error::field("edit.messageId", "only its author can change a message"));
                }
                let edited = edited(row, text)?;
                let key = self.key_of(number, chat, &row.shown)?;
                self.protocol(protocol_message::Type::MESSAGE_EDIT, key, Some(edited))
            }
            Content::Revoke { message } => {
                let row = self.row_of(number, chat, "revoke.messageId", message)?;
                let key = self.key_of(number, chat, &row.shown)?;
                if key.from_me != Some(true) && !self.may_revoke(number, chat) {
                    return Err(Error::field("revoke.messageId", "only its author and a group's admins can take a message back"));
                }
                self.protocol(protocol_message::Type::REVOKE, key, None)
            }
        };
        Ok(content)
    }

    /// The row of a message that a draft speaks of.
    pub(super) fn row_of(&self, number: &str, chat: &Chat, field: &str, id: &str) -> Result<&Stored> {
        let account = self.known(number)?;
        let place = account.by_id.get(&(chat.name(), id.to_owned()));
        let row = place.and_then(|place| account.messages.get(place));
        row.ok_or_else(|| Error::field(field, "the chat has no message with this id on this phone"))
    }

    /// How other devices know a message of the chat.
    pub(super) fn key_of(&self, number: &str, chat: &Chat, row: &PhoneMessage) -> Result<wa::MessageKey> {
        let group = !matches!(chat, Chat::Person(_));
        Ok(wa::MessageKey {
            remote_jid: Some(self.chat_jid(number, chat)?.to_string()),
            from_me: Some(row.direction == Direction::Out),
            id: Some(row.id.clone()),
            participant: group.then(|| self.author_jid(row).to_string()),
        })
    }

    /// The author's address as messages name it.
    pub(super) fn author_jid(&self, row: &PhoneMessage) -> Jid {
        let number = row.sender.split('@').next().unwrap_or_default();
        self.member_jid(number)
    }

    /// Whether somebody may take back what others wrote.
    pub(super) fn may_revoke(&self, number: &str, chat: &Chat) -> bool {
        let Chat::Group(id) = chat else { return false };
        self.groups.get(id).is_some_and(|group| group.is_admin(number))
    }

    fn protocol(&self, kind: protocol_message::Type, key: wa::MessageKey, edited: Option<wa::Message>) -> wa::Message {
        let protocol = wa::message::ProtocolMessage {
            key: MessageField::some(key),
            r#type: Some(kind),
            timestamp_ms: edited.as_ref().map(|_| self.ambient.now().0),
            edited_message: edited.map_or_else(MessageField::none, MessageField::some),
            ..Default::default()
        };
        wa::Message { protocol_message: MessageField::some(protocol), ..Default::default() }
    }

    /// What a message says beside its content; none when it says nothing.
    pub(super) fn context(&self, number: &str, chat: &Chat, draft: &Draft) -> Result<Option<wa::ContextInfo>> {
        let mut context = wa::ContextInfo::default();
        if let Some(id) = &draft.quote {
            let row = self.row_of(number, chat, "replyTo", id)?;
            let quoted = row.content.as_ref().and_then(|content| wa::Message::decode_from_slice(&content.0).ok());
            context.stanza_id = Some(id.clone());
            context.participant = Some(self.author_jid(&row.shown).to_string());
            context.quoted_message = MessageField::some(quotable(quoted.unwrap_or_default()));
        }
        for named in &draft.mentions {
            let address = Address::parse("mentions", named)?;
            let Chat::Person(person) = self.chat("mentions", &address)? else {
                return Err(Error::field("mentions", "only persons can be named"));
            };
            context.mentioned_jid.push(self.member_jid(&person).to_string());
        }
        if draft.forwarded {
            (context.is_forwarded, context.forwarding_score) = (Some(true), Some(1));
        }
        context.expiration = Some(draft.expires).filter(|expires| *expires > 0);
        Ok(Some(context).filter(|context| *context != wa::ContextInfo::default()))
    }

    fn poll(&self, question: &str, options: &[String], selectable: u32, context: Option<wa::ContextInfo>) -> Result<wa::Message> {
        if question.is_empty() {
            return Err(Error::field("poll.question", "must not be empty"));
        }
        let different: std::collections::BTreeSet<&String> = options.iter().filter(|option| !option.is_empty()).collect();
        if different.len() != options.len() || !(2..=MAX_OPTIONS).contains(&options.len()) {
            return Err(Error::field("poll.options", format!("give 2 to {MAX_OPTIONS} different options, none of them empty")));
        }
        if usize::try_from(selectable).unwrap_or(usize::MAX) > options.len() {
            return Err(Error::field("poll.selectable", "cannot be more than there are options"));
        }
        let options = options.iter().map(|name| Choice { option_name: Some(name.clone()), ..Default::default() });
        let poll = wa::message::PollCreationMessage {
            name: Some(question.to_owned()),
            options: options.collect(),
            selectable_options_count: Some(selectable),
            context_info: field(context),
            ..Default::default()
        };
        let secret = wa::MessageContextInfo { message_secret: Some(self.ambient.random::<32>().to_vec()), ..Default::default() };
        let mut message = wa::Message { message_context_info: MessageField::some(secret), ..Default::default() };
        // Polls with one choice have a kind of their own.
        if selectable == 1 {
            message.poll_creation_message_v3 = MessageField::some(poll);
        } else {
            message.poll_creation_message = MessageField::some(poll);
        }
        Ok(message)
    }
}

pub(super) fn field<T: Default>(value: Option<T>) -> MessageField<T> {
    value.map_or_else(MessageField::none, MessageField::some)
}

fn written(text: &str, context: Option<wa::ContextInfo>) -> Result<wa::Message> {
    if text.is_empty() {
        return Err(Error::field("text", "must not be empty when nothing else is sent"));
    }
    Ok(match context {
        None => wa::Message { conversation: Some(text.to_owned()), ..Default::default() },
        Some(context) => {
            let text = wa::message::ExtendedTextMessage {
                text: Some(text.to_owned()),
                context_info: MessageField::some(context),
                ..Default::default()
            };
            wa::Message { extended_text_message: MessageField::some(text), ..Default::default() }
        }
    })
}

fn location(place: &Location, context: Option<wa::ContextInfo>) -> Result<wa::Message> {
    if !(-90.0..=90.0).contains(&place.latitude) || !(-180.0..=180.0).contains(&place.longitude) {
        return Err(Error::field("location", "latitude is -90 to 90 degrees, longitude -180 to 180"));
    }
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let location = wa::message::LocationMessage {
        degrees_latitude: Some(place.latitude),
        degrees_longitude: Some(place.longitude),
        name: given(&place.name),
        address: given(&place.address),
        context_info: field(context),
        ..Default::default()
    };
    Ok(wa::Message { location_message: MessageField::some(location), ..Default::default() })
}

fn contacts(cards: &[Card], context: Option<wa::ContextInfo>) -> Result<wa::Message> {
    if cards.is_empty() || cards.len() > MAX_CARDS || cards.iter().any(|card| card.name.is_empty() || card.vcard.is_empty()) {
        return Err(Error::field("contacts", format!("give 1 to {MAX_CARDS} cards, each with a name and a number or vCard")));
    }
    let card = |card: &Card, context| wa::message::ContactMessage {
        display_name: Some(card.name.clone()),
        vcard: Some(card.vcard.clone()),
        context_info: field(context),
        ..Default::default()
    };
    if let [alone] = cards {
        return Ok(wa::Message { contact_message: MessageField::some(card(alone, context)), ..Default::default() });
    }
    let several = wa::message::ContactsArrayMessage {
        display_name: Some(format!("{} contacts", cards.len())),
        contacts: cards.iter().map(|each| card(each, None)).collect(),
        context_info: field(context),
    };
    Ok(wa::Message { contacts_array_message: MessageField::some(several), ..Default::default() })
}

/// What replaces a message's text: a text, or the same media with another caption.
fn edited(row: &Stored, text: &str) -> Result<wa::Message> {
    if text.is_empty() {
        return Err(Error::field("edit.text", "must not be empty"));
    }
    let before = row.content.as_ref().and_then(|content| wa::Message::decode_from_slice(&content.0).ok()).unwrap_or_default();
    let caption = Some(text.to_owned());
    let mut edited = wa::Message::default();
    match row.shown.kind.as_str() {
        "text" => edited.conversation = caption,
        "image" => edited.image_message = captioned(before.image_message, |it| it.caption = caption),
        "video" => edited.video_message = captioned(before.video_message, |it| it.caption = caption),
        "document" => edited.document_message = captioned(before.document_message, |it| it.caption = caption),
        kind => return Err(Error::field("edit.messageId", format!("a message of kind {kind} cannot be changed"))),
    }
    Ok(edited)
}

fn captioned<T: Default>(mut media: MessageField<T>, change: impl FnOnce(&mut T)) -> MessageField<T> {
    if let Some(media) = media.as_option_mut() {
        change(media);
    }
    media
}

/// A quote carries the content, without what it quoted itself and without keys.
fn quotable(mut quoted: wa::Message) -> wa::Message {
    quoted.message_context_info = MessageField::none();
    quoted.sender_key_distribution_message = MessageField::none();
    if let Some(text) = quoted.extended_text_message.take() {
        quoted.conversation = text.text;
    }
    quoted
}
