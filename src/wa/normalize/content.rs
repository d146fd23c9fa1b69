//! What a message is: a thing of its own, or something done to another one.

use wacore::proto_helpers::MessageExt;
use wacore_binary::{Jid, Server};
use waproto::whatsapp as wa;

use super::act::{Act, Sealed, Target};
use crate::domain::clock::Time;
use crate::domain::content::{Blob, Card, Content, Location, Media, MediaKeys, Mention, Poll, Quote};
use crate::domain::jid::{Address, Kind};

/// How many bytes of a preview are kept; WhatsApp's own are a few kilobytes.
const THUMBNAIL: usize = 64 * 1024;

/// What a message is; `None` for what the protocol sends for its own purposes (keys, notices of history).
pub fn act(whole: &wa::Message) -> Option<Act> {
    let base = whole.get_base_message();
    if let Some(protocol) = base.protocol_message.as_option() {
        return of_protocol(protocol);
    }
    if let Some(reaction) = base.reaction_message.as_option() {
        let emoji = reaction.text.clone().unwrap_or_default();
        return Some(Act::Reaction { target: target(reaction.key.as_option())?, emoji });
    }
    if let Some(update) = base.poll_update_message.as_option() {
        let vote = update.vote.as_option()?;
        let sealed = Sealed { payload: vote.enc_payload.clone()?, iv: vote.enc_iv.clone()? };
        return Some(Act::Vote { poll: target(update.poll_creation_message_key.as_option())?, sealed });
    }
    if let Some(pin) = base.pin_in_chat_message.as_option() {
        use wa::message::pin_in_chat_message::Type;
        return Some(Act::Pin { target: target(pin.key.as_option())?, pinned: pin.r#type == Some(Type::PIN_FOR_ALL) });
    }
    let (kind, body, mut content, context) = thing(base)?;
    content.view_once = whole.is_view_once();
    let wrapper = whole.message_context_info.as_option().or_else(|| base.message_context_info.as_option());
    content.secret = wrapper.and_then(|info| info.message_secret.clone()).map(Blob);
    if let Some(context) = context {
        with_context(&mut content, context);
    }
    Some(Act::Message { kind, body, content })
}

fn of_protocol(protocol: &wa::message::ProtocolMessage) -> Option<Act> {
    use wa::message::protocol_message::Type;
    match protocol.r#type {
        Some(Type::REVOKE) => Some(Act::Revoke { target: target(protocol.key.as_option())? }),
        Some(Type::MESSAGE_EDIT) => match act(protocol.edited_message.as_option()?)? {
            Act::Message { body, content, .. } => Some(Act::Edit { target: target(protocol.key.as_option())?, body, content }),
            _ => None,
        },
        Some(Type::EPHEMERAL_SETTING) => Some(Act::Ephemeral { seconds: protocol.ephemeral_expiration.unwrap_or_default() }),
        _ => None,
    }
}

/// The message that a key names.
fn target(key: Option<&wa::MessageKey>) -> Option<Target> {
    let key = key?;
    Some(Target {
        wa_message_id: key.id.clone().filter(|id| !id.is_empty())?,
        from_me: key.from_me.unwrap_or_default(),
        sender: key.participant.as_deref().and_then(plain),
    })
}

type Thing<'a> = (&'static str, Option<String>, Content, Option<&'a wa::ContextInfo>);

/// The word for what a message is, its text, what else it holds, and what it refers to.
fn thing(message: &wa::Message) -> Option<Thing<'_>> {
    if let Some(text) = &message.conversation {
        return Some(("text", Some(text.clone()), Content::default(), None));
    }
    macro_rules! kinds {
        ($($field:ident = $kind:literal, $body:expr, $content:expr;)+) => {
            $(if let Some(found) = message.$field.as_option() {
                return Some(($kind, ($body)(found), ($content)(found), found.context_info.as_option()));
            })+
        };
    }
    macro_rules! media {
        ($it:ident, $thumbnail:expr, {$($field:ident: $value:expr),*}) => {
            Content {
                media: Some(Media {
                    mimetype: $it.mimetype.clone(),
                    size: $it.file_length.and_then(|size| i64::try_from(size).ok()),
                    sha256: $it.file_sha256.as_deref().map(hex),
                    thumbnail: preview($thumbnail),
                    keys: keys(
                        $it.direct_path.as_deref(), $it.media_key.as_deref(), $it.file_sha256.as_deref(),
                        $it.file_enc_sha256.as_deref(), $it.media_key_timestamp,
                    ),
                    $($field: $value,)*
                    ..Media::default()
                }),
                ..Content::default()
            }
        };
    }
    let film = |it: &wa::message::VideoMessage| {
        media!(it, it.jpeg_thumbnail.as_deref(), {
            width: it.width, height: it.height, seconds: it.seconds, animated: it.gif_playback.unwrap_or_default()
        })
    };
    let poll = |it: &wa::message::PollCreationMessage| Content {
        poll: Some(Poll {
            name: it.name.clone().unwrap_or_default(),
            options: it.options.iter().map(|option| option.option_name.clone().unwrap_or_default()).collect(),
            selectable: it.selectable_options_count.unwrap_or_default(),
            end_at: it.end_time.filter(|end| *end > 0).map(moment),
            hide_votes: it.hide_participant_name.unwrap_or_default(),
        }),
        ..Content::default()
    };
    kinds! {
        extended_text_message = "text", |m: &wa::message::ExtendedTextMessage| m.text.clone(), |_| Content::default();
        image_message = "image", |m: &wa::message::ImageMessage| m.caption.clone(), |it: &wa::message::ImageMessage| media!(
            it, it.jpeg_thumbnail.as_deref(), {width: it.width, height: it.height}
        );
        video_message = "video", |m: &wa::message::VideoMessage| m.caption.clone(), film;
        ptv_message = "video", |m: &wa::message::VideoMessage| m.caption.clone(), film;
        audio_message = "audio", |_| None, |it: &wa::message::AudioMessage| media!(it, None, {
            seconds: it.seconds, voice: it.ptt.unwrap_or_default()
        });
        document_message = "document", |m: &wa::message::DocumentMessage| m.caption.clone(), |it: &wa::message::DocumentMessage| media!(
            it, it.jpeg_thumbnail.as_deref(), {filename: it.file_name.clone().or_else(|| it.title.clone())}
        );
        sticker_message = "sticker", |_| None, |it: &wa::message::StickerMessage| media!(it, it.png_thumbnail.as_deref(), {
            width: it.width, height: it.height, animated: it.is_animated.unwrap_or_default()
        });
        location_message = "location", |m: &wa::message::LocationMessage| m.comment.clone().or_else(|| m.name.clone()),
            |it: &wa::message::LocationMessage| place(Location {
                latitude: it.degrees_latitude.unwrap_or_default(),
                longitude: it.degrees_longitude.unwrap_or_default(),
                name: it.name.clone(),
                address: it.address.clone(),
                live: it.is_live.unwrap_or_default(),
            });
        live_location_message = "location", |m: &wa::message::LiveLocationMessage| m.caption.clone(),
            |it: &wa::message::LiveLocationMessage| place(Location {
                latitude: it.degrees_latitude.unwrap_or_default(),
                longitude: it.degrees_longitude.unwrap_or_default(),
                live: true,
                ..Location::default()
            });
        contact_message = "contact", |m: &wa::message::ContactMessage| m.display_name.clone(),
            |it: &wa::message::ContactMessage| Content { contacts: vec![card(it)], ..Content::default() };
        contacts_array_message = "contact", |m: &wa::message::ContactsArrayMessage| m.display_name.clone(),
            |it: &wa::message::ContactsArrayMessage| Content { contacts: it.contacts.iter().map(card).collect(), ..Content::default() };
        poll_creation_message = "poll", |m: &wa::message::PollCreationMessage| m.name.clone(), poll;
        poll_creation_message_v2 = "poll", |m: &wa::message::PollCreationMessage| m.name.clone(), poll;
        poll_creation_message_v3 = "poll", |m: &wa::message::PollCreationMessage| m.name.clone(), poll;
        poll_creation_message_v5 = "poll", |m: &wa::message::PollCreationMessage| m.name.clone(), poll;
        album_message = "album", |_| None, |_| Content::default();
        event_message = "event", |m: &wa::message::EventMessage| m.name.clone(), |_| Content::default();
        group_invite_message = "group_invite", |m: &wa::message::GroupInviteMessage| m.caption.clone().or_else(|| m.group_name.clone()),
            |_| Content::default();
        list_response_message = "list_response", |m: &wa::message::ListResponseMessage| m.title.clone(), |_| Content::default();
    }
    // Group keys travel alone in a message of their own.
    if message.sender_key_distribution_message.as_option().is_some() {
        return None;
    }
    Some(("unsupported", None, Content::default(), None))
}

fn preview(bytes: Option<&[u8]>) -> Option<Blob> {
    bytes.filter(|bytes| !bytes.is_empty() && bytes.len() <= THUMBNAIL).map(|bytes| Blob(bytes.to_vec()))
}

fn place(location: Location) -> Content {
    Content { location: Some(location), ..Content::default() }
}

fn card(it: &wa::message::ContactMessage) -> Card {
    Card { display_name: it.display_name.clone(), vcard: it.vcard.clone() }
}

fn keys(
    path: Option<&str>,
    key: Option<&[u8]>,
    sha: Option<&[u8]>,
    enc_sha: Option<&[u8]>,
    at: Option<i64>,
) -> Option<MediaKeys> {
    Some(MediaKeys {
        direct_path: path?.to_owned(),
        media_key: Blob(key?.to_vec()),
        file_sha256: Blob(sha.unwrap_or_default().to_vec()),
        file_enc_sha256: Blob(enc_sha.unwrap_or_default().to_vec()),
        media_key_timestamp: at,
    })
}

fn with_context(content: &mut Content, context: &wa::ContextInfo) {
    content.ephemeral = context.expiration.filter(|seconds| *seconds > 0);
    content.forwarded = context.forwarding_score.unwrap_or_else(|| u32::from(context.is_forwarded.unwrap_or_default()));
    content.mentions = context.mentioned_jid.iter().filter_map(|jid| mention(jid)).collect();
    if let Some(id) = context.stanza_id.clone().filter(|id| !id.is_empty()) {
        let body = context.quoted_message.as_option().and_then(|quoted| match act(quoted)? {
            Act::Message { body, .. } => body,
            _ => None,
        });
        let sender = context.participant.as_deref().and_then(plain);
        let is_lid = sender.as_ref().is_some_and(|sender| sender.ends_with("@lid"));
        let sender_lid = sender.clone().filter(|_| is_lid);
        content.quote = Some(Quote { wa_message_id: id, sender_jid: sender, sender_lid, body, from_me: false });
    }
}

fn mention(jid: &str) -> Option<Mention> {
    let address = Address::parse("mention", jid).ok()?;
    let text = address.to_string();
    Some(match address.kind {
        Kind::Lid => Mention { lid: Some(text.clone()), jid: text, ..Mention::default() },
        Kind::Phone => Mention { phone: Some(address.user), jid: text, ..Mention::default() },
        _ => Mention { jid: text, ..Mention::default() },
    })
}

/// A person's address without its device; `None` for what is none.
fn plain(jid: &str) -> Option<String> {
    let jid: Jid = jid.parse().ok()?;
    matches!(jid.server, Server::Pn | Server::Lid).then(|| jid.to_non_ad().to_string())
}

/// WhatsApp gives some moments in seconds and some in milliseconds; which, their size tells.
fn moment(at: i64) -> Time {
    if at > 100_000_000_000 { Time(at) } else { Time::from_secs(at) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
