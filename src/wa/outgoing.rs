//! Our messages as the library's. Pure: the same draft gives the same message, so that one that goes out again is the one that went out
//! before.

use wacore::proto_helpers::{MessageExt as _, wrap_as_album_child};
use wacore_binary::{Jid, Server};
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;
use waproto::whatsapp::message::protocol_message;

use crate::domain::clock::{Ambient, Time};
use crate::domain::content::{Content, Media, MediaKeys, Poll};
use crate::domain::jid::{Address, Kind};
use crate::domain::outbox::Draft;

/// The score from which on WhatsApp shows a message as forwarded many times, and how often it must have been forwarded for that.
const MANY_TIMES: (u32, u32) = (127, 5);

/// A fresh message id in the form of WhatsApp Web's: `3EB0` and 18 hexadecimal digits.
pub fn message_id(ambient: &Ambient) -> String {
    let random = ambient.random::<9>();
    random.iter().fold(String::from("3EB0"), |id, byte| format!("{id}{byte:02X}"))
}

/// The library's form of an address.
pub fn jid(address: &Address) -> Jid {
    let server = match address.kind {
        Kind::Phone => Server::Pn,
        Kind::Lid => Server::Lid,
        Kind::Group => Server::Group,
        Kind::Newsletter => Server::Newsletter,
        Kind::Broadcast => Server::Broadcast,
    };
    Jid::new(&*address.user, server)
}

/// Reads an address that this program wrote itself.
pub fn address(canonical: &str) -> Option<Address> {
    Address::parse("chatJid", canonical).ok()
}

/// Names one message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The chat.
    pub chat: Address,
    /// WhatsApp's id.
    pub wa_message_id: String,
    /// Whether this account sent it.
    pub from_me: bool,
    /// Who sent it; of weight in groups.
    pub sender: Option<Address>,
}

impl Target {
    /// Who sent it, where that has to be told: of others' messages in groups.
    pub(super) fn group_sender(&self) -> Option<&Address> {
        self.sender.as_ref().filter(|_| self.chat.kind == Kind::Group && !self.from_me)
    }

    fn key(&self) -> wa::MessageKey {
        let participant = self.group_sender();
        wa::MessageKey {
            remote_jid: Some(self.chat.to_string()),
            from_me: Some(self.from_me),
            id: Some(self.wa_message_id.clone()),
            participant: participant.map(Address::to_string),
        }
    }
}

/// What is done to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Its text or caption is another now.
    Edit {
        /// The new text.
        text: String,
        /// Whether it is a text; otherwise the caption of a file of this kind.
        kind: String,
    },
    /// It is taken back for everybody.
    Revoke,
    /// A reaction to it; the empty text takes an earlier one back.
    React(String),
    /// It stays at the top of the chat for these seconds, or no longer.
    Pin(Option<u32>),
}

/// An operation as a message of its own.
pub fn operation(target: &Target, operation: &Operation, now: Time) -> wa::Message {
    match operation {
        Operation::Edit { text, kind } => {
            let edited = match kind.as_str() {
                "image" => {
                    let image = wa::message::ImageMessage { caption: Some(text.clone()), ..Default::default() };
                    wa::Message { image_message: MessageField::some(image), ..Default::default() }
                }
                "video" => {
                    let video = wa::message::VideoMessage { caption: Some(text.clone()), ..Default::default() };
                    wa::Message { video_message: MessageField::some(video), ..Default::default() }
                }
                "document" => {
                    let document = wa::message::DocumentMessage { caption: Some(text.clone()), ..Default::default() };
                    wa::Message { document_message: MessageField::some(document), ..Default::default() }
                }
                _ => wa::Message { conversation: Some(text.clone()), ..Default::default() },
            };
            protocol(wa::message::ProtocolMessage {
                key: MessageField::some(target.key()),
                r#type: Some(protocol_message::Type::MESSAGE_EDIT),
                edited_message: MessageField::some(edited),
                timestamp_ms: Some(now.0),
                ..Default::default()
            })
        }
        Operation::Revoke => protocol(wa::message::ProtocolMessage {
            key: MessageField::some(target.key()),
            r#type: Some(protocol_message::Type::REVOKE),
            ..Default::default()
        }),
        Operation::React(emoji) => wacore::proto_helpers::build_reaction_message(target.key(), emoji, now.0),
        Operation::Pin(seconds) => {
            use wa::message::pin_in_chat_message::Type;
            let pin = wa::message::PinInChatMessage {
                key: MessageField::some(target.key()),
                r#type: Some(if seconds.is_some() { Type::PinForAll } else { Type::UnpinForAll }),
                sender_timestamp_ms: Some(now.0),
            };
            let context =
                wa::MessageContextInfo { message_add_on_duration_in_secs: Some(seconds.unwrap_or(0)), ..Default::default() };
            wa::Message {
                pin_in_chat_message: MessageField::some(pin),
                message_context_info: MessageField::some(context),
                ..Default::default()
            }
        }
    }
}

/// A vote in a poll.
#[derive(Clone, Debug)]
pub struct Ballot {
    /// The poll's secret.
    pub secret: Vec<u8>,
    /// Who asks.
    pub creator: String,
    /// Who votes, by an address of the same kind.
    pub voter: String,
    /// What is voted for.
    pub options: Vec<String>,
}

/// A vote as a message: the choice is encrypted for those who have the poll.
///
/// # Errors
/// Only with a secret that is none.
pub fn vote(poll: &Target, ballot: &Ballot, now: Time) -> anyhow::Result<wa::Message> {
    let chosen: Vec<Vec<u8>> = ballot.options.iter().map(|option| wacore::poll::compute_option_hash(option).to_vec()).collect();
    let Ballot { secret, creator, voter, .. } = ballot;
    let (payload, iv) = wacore::poll::encrypt_poll_vote_with_secret(&chosen, secret, &poll.wa_message_id, creator, voter)?;
    let vote = wa::message::PollEncValue { enc_payload: Some(payload), enc_iv: Some(iv.to_vec()) };
    let update = wa::message::PollUpdateMessage {
        poll_creation_message_key: MessageField::some(poll.key()),
        vote: MessageField::some(vote),
        sender_timestamp_ms: Some(now.0),
        ..Default::default()
    };
    Ok(wa::Message { poll_update_message: MessageField::some(update), ..Default::default() })
}

fn protocol(protocol: wa::message::ProtocolMessage) -> wa::Message {
    wa::Message { protocol_message: MessageField::some(protocol), ..Default::default() }
}

/// The library's form of a draft that goes to `chat`.
pub fn message(draft: &Draft, chat: &Address) -> wa::Message {
    let mut message = body(&draft.kind, draft.body.as_deref(), &draft.content);
    if let Some((images, videos)) = draft.expects {
        let album = wa::message::AlbumMessage {
            expected_image_count: Some(images),
            expected_video_count: Some(videos),
            ..Default::default()
        };
        message = wa::Message { album_message: MessageField::some(album), ..Default::default() };
    }
    if let Some(context) = context(draft) {
        match message.conversation.take() {
            Some(text) => {
                let text = wa::message::ExtendedTextMessage {
                    text: Some(text),
                    context_info: MessageField::some(context),
                    ..Default::default()
                };
                message.extended_text_message = MessageField::some(text);
            }
            None => {
                message.set_context_info(context);
            }
        }
    }
    if let Some(secret) = &draft.content.secret {
        let info = wa::MessageContextInfo { message_secret: Some(secret.0.clone()), ..Default::default() };
        message.message_context_info = MessageField::some(info);
    }
    if draft.content.view_once {
        message = once(message, &draft.kind);
    }
    if let Some(parent) = &draft.album {
        let key = wa::MessageKey {
            remote_jid: Some(chat.to_string()),
            from_me: Some(true),
            id: Some(parent.clone()),
            participant: None,
        };
        message = wrap_as_album_child(message, key);
    }
    message
}

/// What stands around a content: what it answers, whom it names, when it disappears, how far it has come.
fn context(draft: &Draft) -> Option<wa::ContextInfo> {
    let content = &draft.content;
    let mut context = wa::ContextInfo::default();
    if let Some(quote) = &content.quote {
        let quoted = draft.quoted.as_deref().map(|it| body(&it.kind, it.body.as_deref(), &it.content));
        let quoted = quoted.unwrap_or_else(|| body("text", Some(quote.body.as_deref().unwrap_or_default()), &Content::default()));
        context.stanza_id = Some(quote.wa_message_id.clone());
        context.participant.clone_from(&quote.sender_jid);
        context.quoted_message = MessageField::from_box(quoted.prepare_for_quote());
    }
    context.mentioned_jid = content.mentions.iter().map(|mention| mention.jid.clone()).collect();
    context.expiration = content.ephemeral.filter(|seconds| *seconds > 0);
    if content.forwarded > 0 {
        context.is_forwarded = Some(true);
        let (many, from) = MANY_TIMES;
        context.forwarding_score = Some(if content.forwarded >= from { many } else { content.forwarded });
    }
    let empty = content.quote.is_none() && content.mentions.is_empty() && context.expiration.is_none() && content.forwarded == 0;
    (!empty).then_some(context)
}

/// A content without what stands around it.
fn body(kind: &str, text: Option<&str>, content: &Content) -> wa::Message {
    let text = text.map(str::to_owned);
    let mut message = wa::Message::default();
    let file = content.media.clone().unwrap_or_default();
    match kind {
        "image" => message.image_message = MessageField::some(image(file, text)),
        "video" => message.video_message = MessageField::some(video(file, text)),
        "audio" => message.audio_message = MessageField::some(audio(file)),
        "document" => message.document_message = MessageField::some(document(file, text)),
        "sticker" => message.sticker_message = MessageField::some(sticker(file)),
        "location" => {
            let place = content.location.clone().unwrap_or_default();
            message.location_message = MessageField::some(wa::message::LocationMessage {
                degrees_latitude: Some(place.latitude),
                degrees_longitude: Some(place.longitude),
                name: place.name,
                address: place.address,
                ..Default::default()
            });
        }
        "contact" => {
            let mut cards = content.contacts.iter().map(|card| wa::message::ContactMessage {
                display_name: card.display_name.clone(),
                vcard: card.vcard.clone(),
                ..Default::default()
            });
            if cards.len() > 1 {
                let all =
                    wa::message::ContactsArrayMessage { display_name: text, contacts: cards.collect(), ..Default::default() };
                message.contacts_array_message = MessageField::some(all);
            } else if let Some(card) = cards.next() {
                message.contact_message = MessageField::some(card);
            }
        }
        "poll" => {
            let poll = content.poll.clone().unwrap_or_default();
            // One answer and several go by different fields, as WhatsApp Web does it.
            let single = poll.selectable == 1;
            let poll = MessageField::some(creation(poll));
            if single {
                message.poll_creation_message_v3 = poll;
            } else {
                message.poll_creation_message = poll;
            }
        }
        _ => message.conversation = Some(text.unwrap_or_default()),
    }
    message
}

fn creation(poll: Poll) -> wa::message::PollCreationMessage {
    let option = |name: String| wa::message::poll_creation_message::Option { option_name: Some(name), ..Default::default() };
    wa::message::PollCreationMessage {
        name: Some(poll.name),
        options: poll.options.into_iter().map(option).collect(),
        selectable_options_count: Some(poll.selectable),
        end_time: poll.end_at.map(|end| end.0 / 1000),
        hide_participant_name: poll.hide_votes.then_some(true),
        ..Default::default()
    }
}

/// The fields that every kind of file has, set from `$file` and its keys.
macro_rules! file {
    ($type:ident, $file:ident, $($field:ident: $value:expr),* $(,)?) => {{
        let MediaKeys { direct_path, media_key, file_sha256, file_enc_sha256, media_key_timestamp } = $file.keys.clone().unwrap_or_default();
        wa::message::$type {
            url: Some(format!("https://mmg.whatsapp.net{direct_path}")),
            direct_path: Some(direct_path),
            media_key: Some(media_key.0),
            file_sha256: Some(file_sha256.0),
            file_enc_sha256: Some(file_enc_sha256.0),
            file_length: $file.size.and_then(|size| u64::try_from(size).ok()),
            mimetype: $file.mimetype,
            media_key_timestamp,
            $($field: $value,)*
            ..Default::default()
        }
    }};
}

fn image(file: Media, caption: Option<String>) -> wa::message::ImageMessage {
    let thumbnail = file.thumbnail.map(|it| it.0);
    file!(ImageMessage, file, caption: caption, width: file.width, height: file.height, jpeg_thumbnail: thumbnail)
}

fn video(file: Media, caption: Option<String>) -> wa::message::VideoMessage {
    let thumbnail = file.thumbnail.map(|it| it.0);
    file!(
        VideoMessage,
        file,
        caption: caption,
        width: file.width,
        height: file.height,
        seconds: file.seconds,
        gif_playback: file.animated.then_some(true),
        jpeg_thumbnail: thumbnail,
    )
}

fn audio(file: Media) -> wa::message::AudioMessage {
    file!(AudioMessage, file, seconds: file.seconds, ptt: Some(file.voice))
}

fn document(file: Media, caption: Option<String>) -> wa::message::DocumentMessage {
    let thumbnail = file.thumbnail.map(|it| it.0);
    let title = file.filename.clone();
    file!(DocumentMessage, file, caption: caption, file_name: file.filename, title: title, jpeg_thumbnail: thumbnail)
}

fn sticker(file: Media) -> wa::message::StickerMessage {
    let animated = file.animated.then_some(true);
    file!(StickerMessage, file, width: file.width, height: file.height, is_animated: animated)
}

/// A file that may be looked at once.
fn once(mut message: wa::Message, kind: &str) -> wa::Message {
    let context = message.message_context_info.take();
    if let Some(image) = message.image_message.as_option_mut() {
        image.view_once = Some(true);
    }
    if let Some(video) = message.video_message.as_option_mut() {
        video.view_once = Some(true);
    }
    if let Some(audio) = message.audio_message.as_option_mut() {
        audio.view_once = Some(true);
    }
    let wrapped = MessageField::some(wa::message::FutureProofMessage { message: MessageField::some(message) });
    let mut outer = wa::Message::default();
    if kind == "audio" {
        outer.view_once_message_v2_extension = wrapped;
    } else {
        outer.view_once_message_v2 = wrapped;
    }
    if let Some(context) = context {
        outer.message_context_info = MessageField::some(context);
    }
    outer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::content::{Blob, Mention, Quote};
    use crate::domain::outbox::Quoted;

    fn draft(kind: &str, body: Option<&str>, content: Content) -> Draft {
        Draft { kind: kind.into(), body: body.map(str::to_owned), content, ..Draft::default() }
    }

    #[test]
    fn what_stands_around_a_text() {
        let to = Address::phone("6281234567890");
        let plain = message(&draft("text", Some("hi"), Content::default()), &to);
        assert_eq!(plain.conversation.as_deref(), Some("hi"));
        let quote = Quote { wa_message_id: "Q1".into(), sender_jid: Some("1@s.whatsapp.net".into()), ..Quote::default() };
        let mentions = vec![Mention { jid: "2@lid".into(), ..Mention::default() }];
        let content = Content { quote: Some(quote), mentions, ephemeral: Some(86_400), forwarded: 7, ..Content::default() };
        let quoted = Quoted { kind: "text".into(), body: Some("the question".into()), ..Quoted::default() };
        let full = Draft { quoted: Some(Box::new(quoted)), ..draft("text", Some("hi"), content) };
        let full = message(&full, &to);
        let text = full.extended_text_message.as_option().unwrap();
        let context = text.context_info.as_option().unwrap();
        assert_eq!((text.text.as_deref(), context.stanza_id.as_deref()), (Some("hi"), Some("Q1")));
        assert_eq!(context.quoted_message.as_option().unwrap().conversation.as_deref(), Some("the question"));
        assert_eq!((context.mentioned_jid.as_slice(), context.expiration), (["2@lid".to_owned()].as_slice(), Some(86_400)));
        assert_eq!((context.is_forwarded, context.forwarding_score), (Some(true), Some(127)));
    }

    #[test]
    fn a_poll_carries_its_secret_and_its_rules() {
        let poll = Poll {
            name: "Lunch?".into(),
            options: vec!["a".into(), "b".into()],
            selectable: 1,
            end_at: Some(Time(5_000)),
            hide_votes: true,
        };
        let content = Content { poll: Some(poll), secret: Some(Blob(vec![7; 32])), ..Content::default() };
        let built = message(&draft("poll", Some("Lunch?"), content), &Address::phone("1234567"));
        let poll = built.poll_creation_message_v3.as_option().unwrap();
        assert_eq!((poll.end_time, poll.hide_participant_name, poll.selectable_options_count), (Some(5), Some(true), Some(1)));
        assert_eq!(built.message_context_info.as_option().unwrap().message_secret.as_deref(), Some([7; 32].as_slice()));
    }

    #[test]
    fn a_file_keeps_its_keys_and_may_be_seen_once() {
        let keys = MediaKeys { direct_path: "/v/t62".into(), media_key: Blob(vec![1; 32]), ..MediaKeys::default() };
        let media = Media { keys: Some(keys), size: Some(5), mimetype: Some("image/png".into()), ..Media::default() };
        let content = Content { media: Some(media), view_once: true, ..Content::default() };
        let built = message(&draft("image", Some("look"), content), &Address::phone("1234567"));
        let inner = built.get_base_message().image_message.as_option().unwrap();
        assert_eq!((inner.caption.as_deref(), inner.file_length, inner.view_once), (Some("look"), Some(5), Some(true)));
        assert_eq!((inner.direct_path.as_deref(), inner.media_key.as_deref()), (Some("/v/t62"), Some([1; 32].as_slice())));
        assert!(built.is_view_once());
    }
}
