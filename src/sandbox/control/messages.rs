//! Messages between the contract and the sandbox.

use super::timestamp;
use crate::domain::jid::phone_digits;
use crate::error::{Error, Result};
use crate::proto::sandbox as proto;
use crate::sandbox::draft::{Content, Draft, File, FileKind};
use crate::sandbox::seen::{Card, Location, Media, Poll};
use crate::sandbox::{Direction, MessageState, PhoneMessage};

/// What a caller wants to be sent.
pub(super) fn draft(mut asked: proto::SendPhoneMessageRequest) -> Result<Draft> {
    let mut contents = Vec::new();
    if let Some(proto::PhoneLocation { latitude, longitude, name, address }) = asked.location {
        contents.push(Content::Location(Location { latitude, longitude, name, address }));
    }
    if !asked.contacts.is_empty() {
        contents.push(Content::Contacts(asked.contacts.into_iter().map(card).collect::<Result<_>>()?));
    }
    if let Some(proto::NewPhonePoll { question, options, selectable }) = asked.poll {
        contents.push(Content::Poll { question, options, selectable: count(selectable.unwrap_or(1)) });
    }
    if let Some(proto::NewPhoneVote { message_id, options }) = asked.vote {
        contents.push(Content::Vote { message: message_id, options });
    }
    if let Some(proto::NewPhoneReaction { message_id, emoji }) = asked.reaction {
        contents.push(Content::Reaction { message: message_id, emoji });
    }
    if let Some(proto::NewPhoneEdit { message_id, text }) = asked.edit {
        contents.push(Content::Edit { message: message_id, text });
    }
    if let Some(proto::NewPhoneRevocation { message_id }) = asked.revoke {
        contents.push(Content::Revoke { message: message_id });
    }
    if let Some(album) = asked.album {
        contents.push(Content::Album { images: count(album.images), videos: count(album.videos) });
    }
    if let Some(media) = asked.media {
        contents.push(Content::Media(Box::new(file(media, std::mem::take(&mut asked.text))?)));
    }
    if !asked.text.is_empty() || contents.is_empty() {
        contents.push(Content::Text(asked.text));
    }
    let (Some(content), true) = (contents.pop(), contents.is_empty()) else {
        let hint = "a message has one content: text, media, album, location, contacts, poll, vote, reaction, edit or revoke";
        return Err(Error::field("text", hint));
    };
    Ok(Draft {
        content,
        quote: asked.reply_to,
        mentions: asked.mentions,
        forwarded: asked.forwarded,
        view_once: asked.view_once,
        expires: count(asked.expires_seconds),
        audience: asked.audience,
    })
}

fn file(asked: proto::NewPhoneMedia, caption: String) -> Result<File> {
    let kind = match asked.kind() {
        proto::PhoneMediaKind::Unspecified => return Err(Error::field("media.kind", "must be one of the kinds of files")),
        proto::PhoneMediaKind::Image => FileKind::Image,
        proto::PhoneMediaKind::Video => FileKind::Video,
        proto::PhoneMediaKind::Audio => FileKind::Audio,
        proto::PhoneMediaKind::Document => FileKind::Document,
        proto::PhoneMediaKind::Sticker => FileKind::Sticker,
    };
    if !caption.is_empty() && matches!(kind, FileKind::Audio | FileKind::Sticker) {
        return Err(Error::field("text", "audio and stickers have no caption"));
    }
    Ok(File {
        kind,
        bytes: asked.data,
        caption,
        mime_type: asked.mime_type,
        file_name: asked.file_name,
        seconds: count(asked.seconds),
        voice: asked.voice,
        animated: asked.animated,
        album: Some(asked.album_id).filter(|id| !id.is_empty()),
    })
}

fn card(asked: proto::PhoneContact) -> Result<Card> {
    let proto::PhoneContact { name, vcard, phone_number } = asked;
    if !vcard.is_empty() {
        return Ok(Card { name, vcard });
    }
    let digits = phone_digits("contacts.phoneNumber", &phone_number)?;
    let name = if name.is_empty() { format!("+{digits}") } else { name };
    let vcard = format!("BEGIN:VCARD\nVERSION:3.0\nN:;{name};;;\nFN:{name}\nTEL;type=CELL;waid={digits}:+{digits}\nEND:VCARD");
    Ok(Card { name, vcard })
}

fn count(asked: i32) -> u32 {
    u32::try_from(asked).unwrap_or(0)
}

fn int<T: TryInto<i32>>(value: T) -> i32 {
    value.try_into().unwrap_or(i32::MAX)
}

impl From<PhoneMessage> for proto::PhoneMessage {
    fn from(message: PhoneMessage) -> Self {
        let direction = match message.direction {
            Direction::In => proto::MessageDirection::In,
            Direction::Out => proto::MessageDirection::Out,
        };
        let state = match message.state {
            MessageState::Undecryptable => proto::MessageState::Undecryptable,
            MessageState::Received => proto::MessageState::Received,
            MessageState::Sent => proto::MessageState::Sent,
            MessageState::Delivered => proto::MessageState::Delivered,
            MessageState::Read => proto::MessageState::Read,
            MessageState::Played => proto::MessageState::Played,
        };
        let contacts = message.contacts.into_iter();
        let reactions = message.reactions.into_iter();
        Self {
            id: message.id,
            chat_jid: message.chat,
            direction: direction.into(),
            text: message.text,
            state: state.into(),
            timestamp: Some(timestamp(message.timestamp)),
            delivered_at: message.delivered_at.map(timestamp),
            read_at: message.read_at.map(timestamp),
            arrivals: int(message.arrivals),
            kind: message.kind,
            sender_jid: message.sender,
            target_id: message.target.unwrap_or_default(),
            quoted_text: message.quoted.unwrap_or_default(),
            edited: message.edited,
            view_once: message.view_once,
            forwarded: message.forwarded,
            expires_seconds: int(message.expires),
            mentions: message.mentions,
            media: message.media.map(Into::into),
            location: message.location.map(|Location { latitude, longitude, name, address }| proto::PhoneLocation {
                latitude,
                longitude,
                name,
                address,
            }),
            contacts: contacts
                .map(|Card { name, vcard }| proto::PhoneContact { name, vcard, phone_number: String::new() })
                .collect(),
            poll: message.poll.map(Into::into),
            reactions: reactions
                .map(|reaction| proto::PhoneReaction { sender_jid: reaction.sender, emoji: reaction.emoji })
                .collect(),
        }
    }
}

impl From<Poll> for proto::PhonePoll {
    fn from(poll: Poll) -> Self {
        let options = poll.options.into_iter();
        Self {
            options: options.map(|option| proto::PhonePollOption { name: option.name, voters: option.voters }).collect(),
            selectable: int(poll.selectable),
        }
    }
}

impl From<Media> for proto::PhoneMediaInfo {
    fn from(media: Media) -> Self {
        Self {
            mime_type: media.mime_type,
            file_name: media.file_name,
            length: i64::try_from(media.length).unwrap_or(i64::MAX),
            sha256: media.sha256,
            seconds: int(media.seconds),
            width: int(media.width),
            height: int(media.height),
            voice: media.voice,
            animated: media.animated,
            thumbnail_length: int(media.thumbnail),
            album_id: media.album.unwrap_or_default(),
        }
    }
}
