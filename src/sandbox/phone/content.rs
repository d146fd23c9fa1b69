//! What a message is to somebody who looks at a phone: its kind, its text, and what it is about.

use waproto::whatsapp as wa;
use waproto::whatsapp::message::protocol_message;

use super::poll::SealedVote;
use crate::sandbox::PhoneMessage;
use crate::sandbox::keys::hex;
use crate::sandbox::seen::{Card, Location, Media, Poll, PollOption};

/// What a content does on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It is a row of its own.
    Row,
    /// It replaces the target's text.
    Edit,
    /// It takes the target back.
    Revoke,
    /// It is a row of its own, and is shown at its target.
    React,
    /// The same for a vote, once it is opened.
    Vote(SealedVote),
}

/// A content as a phone shows it.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) effect: Effect,
    /// What of a row comes from its content.
    pub(super) row: PhoneMessage,
}

/// Describes a content; `None` for what nobody sees.
pub(super) fn describe(whole: &wa::Message) -> Option<Shown> {
    let (content, view_once) = unwrap(whole, false);
    if let Some(protocol) = content.protocol_message.as_option() {
        let effect = match protocol.r#type {
            Some(protocol_message::Type::MESSAGE_EDIT) => Effect::Edit,
            Some(protocol_message::Type::REVOKE) => Effect::Revoke,
            _ => return None,
        };
        let text = protocol.edited_message.as_option().and_then(describe).map(|shown| shown.row.text);
        return Some(about(effect, "", text, protocol.key.as_option()));
    }
    if let Some(reaction) = content.reaction_message.as_option() {
        return Some(about(Effect::React, "reaction", reaction.text.clone(), reaction.key.as_option()));
    }
    if let Some(update) = content.poll_update_message.as_option() {
        let vote = update.vote.as_option()?;
        let (payload, iv) = (vote.enc_payload.clone()?, vote.enc_iv.clone()?);
        return Some(about(Effect::Vote(SealedVote { payload, iv }), "vote", None, update.poll_creation_message_key.as_option()));
    }
    let mut row = described(content)?;
    row.view_once |= view_once;
    // Some clients say it around the message, some in it.
    if let (Some(file), Some(album)) = (&mut row.media, album(whole).or_else(|| album(content))) {
        file.album = Some(album);
    }
    Some(Shown { effect: Effect::Row, row })
}

fn about(effect: Effect, kind: &str, text: Option<String>, key: Option<&wa::MessageKey>) -> Shown {
    let target = key.and_then(|key| key.id.clone());
    let row = PhoneMessage { kind: kind.to_owned(), text: text.unwrap_or_default(), target, ..PhoneMessage::default() };
    Shown { effect, row }
}

/// A row of its own.
fn described(content: &wa::Message) -> Option<PhoneMessage> {
    if let Some(text) = &content.conversation {
        return Some(plain("text", Some(text), None));
    }
    if let Some(it) = content.extended_text_message.as_option() {
        return Some(plain("text", it.text.as_ref(), it.context_info.as_option()));
    }
    if let Some(row) = media(content) {
        return Some(row);
    }
    if let Some(it) = content.location_message.as_option() {
        let row = plain("location", it.name.as_ref(), it.context_info.as_option());
        let location = Location {
            latitude: it.degrees_latitude.unwrap_or_default(),
            longitude: it.degrees_longitude.unwrap_or_default(),
            name: it.name.clone().unwrap_or_default(),
            address: it.address.clone().unwrap_or_default(),
        };
        return Some(PhoneMessage { location: Some(location), ..row });
    }
    if let Some(it) = content.contact_message.as_option() {
        let row = plain("contact", it.display_name.as_ref(), it.context_info.as_option());
        return Some(PhoneMessage { contacts: vec![card(it)], ..row });
    }
    if let Some(it) = content.contacts_array_message.as_option() {
        let row = plain("contacts", it.display_name.as_ref(), it.context_info.as_option());
        return Some(PhoneMessage { contacts: it.contacts.iter().map(card).collect(), ..row });
    }
    let polls = [
        &content.poll_creation_message,
        &content.poll_creation_message_v2,
        &content.poll_creation_message_v3,
        &content.poll_creation_message_v5,
    ];
    if let Some(it) = polls.into_iter().find_map(|poll| poll.as_option()) {
        let row = plain("poll", it.name.as_ref(), it.context_info.as_option());
        let options = it.options.iter().filter_map(|option| option.option_name.clone());
        let options = options.map(|name| PollOption { name, voters: Vec::new() }).collect();
        let poll = Poll { options, selectable: it.selectable_options_count.unwrap_or(0) };
        return Some(PhoneMessage { poll: Some(poll), ..row });
    }
    if let Some(it) = content.album_message.as_option() {
        return Some(plain("album", None, it.context_info.as_option()));
    }
    if content.sender_key_distribution_message.is_set() {
        return None;
    }
    Some(plain("other", None, None))
}

/// A row with what is in every content.
fn plain(kind: &str, text: Option<&String>, context: Option<&wa::ContextInfo>) -> PhoneMessage {
    let mut row = PhoneMessage { kind: kind.to_owned(), text: text.cloned().unwrap_or_default(), ..PhoneMessage::default() };
    if let Some(context) = context {
        row.target = context.stanza_id.clone();
        row.quoted = context.quoted_message.as_option().and_then(describe).map(|quoted| quoted.row.text);
        row.expires = context.expiration.unwrap_or(0);
        row.forwarded = context.is_forwarded == Some(true);
        row.mentions.clone_from(&context.mentioned_jid);
    }
    row
}

fn card(it: &wa::message::ContactMessage) -> Card {
    Card { name: it.display_name.clone().unwrap_or_default(), vcard: it.vcard.clone().unwrap_or_default() }
}

/// The album that a message belongs to.
fn album(message: &wa::Message) -> Option<String> {
    let association = message.message_context_info.as_option()?.message_association.as_option()?;
    association.parent_message_key.as_option()?.id.clone()
}

/// A row with a file.
fn media(content: &wa::Message) -> Option<PhoneMessage> {
    macro_rules! file {
        ($it:ident) => {
            Media {
                mime_type: $it.mimetype.clone().unwrap_or_default(),
                length: $it.file_length.unwrap_or(0),
                sha256: hex($it.file_sha256.as_deref().unwrap_or_default()).to_lowercase(),
                ..Media::default()
            }
        };
    }
    let size = |thumbnail: &Option<Vec<u8>>| thumbnail.as_ref().and_then(|it| u32::try_from(it.len()).ok()).unwrap_or(0);
    let (row, file, view_once) = if let Some(it) = content.image_message.as_option() {
        let row = plain("image", it.caption.as_ref(), it.context_info.as_option());
        let (width, height, thumbnail) = (it.width.unwrap_or(0), it.height.unwrap_or(0), size(&it.jpeg_thumbnail));
        (row, Media { width, height, thumbnail, ..file!(it) }, it.view_once)
    } else if let Some(it) = content.video_message.as_option().or(content.ptv_message.as_option()) {
        let row = plain("video", it.caption.as_ref(), it.context_info.as_option());
        let (width, height, thumbnail) = (it.width.unwrap_or(0), it.height.unwrap_or(0), size(&it.jpeg_thumbnail));
        let (seconds, animated) = (it.seconds.unwrap_or(0), it.gif_playback == Some(true));
        (row, Media { width, height, thumbnail, seconds, animated, ..file!(it) }, it.view_once)
    } else if let Some(it) = content.audio_message.as_option() {
        let row = plain("audio", None, it.context_info.as_option());
        let (seconds, voice) = (it.seconds.unwrap_or(0), it.ptt == Some(true));
        (row, Media { seconds, voice, ..file!(it) }, it.view_once)
    } else if let Some(it) = content.document_message.as_option() {
        let row = plain("document", it.caption.as_ref(), it.context_info.as_option());
        let (file_name, thumbnail) = (it.file_name.clone().unwrap_or_default(), size(&it.jpeg_thumbnail));
        (row, Media { file_name, thumbnail, ..file!(it) }, None)
    } else if let Some(it) = content.sticker_message.as_option() {
        let row = plain("sticker", None, it.context_info.as_option());
        let (width, height, animated) = (it.width.unwrap_or(0), it.height.unwrap_or(0), it.is_animated == Some(true));
        (row, Media { width, height, animated, ..file!(it) }, None)
    } else {
        return None;
    };
    Some(PhoneMessage { media: Some(file), view_once: view_once == Some(true), ..row })
}

/// What the stanza around a content says about changes that it makes.
pub(super) fn edit_of(content: &wa::Message) -> Option<&'static str> {
    let (content, _) = unwrap(content, false);
    let own = |key: Option<&wa::MessageKey>| key.is_some_and(|key| key.from_me == Some(true));
    if let Some(protocol) = content.protocol_message.as_option() {
        return match protocol.r#type {
            Some(protocol_message::Type::MESSAGE_EDIT) => Some("1"),
            Some(protocol_message::Type::REVOKE) if own(protocol.key.as_option()) => Some("7"),
            // By an admin of the group.
            Some(protocol_message::Type::REVOKE) => Some("8"),
            _ => None,
        };
    }
    content.reaction_message.as_option().filter(|it| it.text.as_deref().unwrap_or_default().is_empty()).map(|_| "7")
}

/// Takes off the wrappers.
fn unwrap(content: &wa::Message, view_once: bool) -> (&wa::Message, bool) {
    let wrapped = [
        (&content.ephemeral_message, false),
        (&content.view_once_message, true),
        (&content.view_once_message_v2, true),
        (&content.view_once_message_v2_extension, true),
        (&content.document_with_caption_message, false),
        (&content.edited_message, false),
        (&content.associated_child_message, false),
        (&content.group_mentioned_message, false),
    ];
    let inner = wrapped.into_iter().find_map(|(field, once)| Some((field.as_option()?.message.as_option()?, once)));
    match inner {
        Some((inner, once)) => unwrap(inner, view_once || once),
        None => (content, view_once),
    }
}
