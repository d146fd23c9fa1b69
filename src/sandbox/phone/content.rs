//! What a message is to somebody who looks at a phone: its kind, its text, and what it is about.

use waproto::whatsapp as wa;
use waproto::whatsapp::message::protocol_message;

/// What a content does on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It is a row of its own.
    Row,
    /// It replaces the target's text.
    Edit,
    /// It takes the target back.
    Revoke,
}

/// A content as a phone shows it.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) effect: Effect,
    pub(super) kind: &'static str,
    pub(super) text: String,
    /// The message that it answers, reacts to, changes or takes back.
    pub(super) target: Option<String>,
    /// It can be looked at once.
    pub(super) view_once: bool,
    /// Seconds after which it disappears.
    pub(super) expires: u32,
}

/// Describes a content; `None` for what nobody sees.
pub(super) fn describe(content: &wa::Message) -> Option<Shown> {
    let (content, view_once) = unwrap(content, false);
    let row = |kind: &'static str, text: Option<String>, context: Option<&wa::ContextInfo>| Shown {
        effect: Effect::Row,
        kind,
        text: text.unwrap_or_default(),
        target: context.and_then(|context| context.stanza_id.clone()),
        view_once,
        expires: context.and_then(|context| context.expiration).unwrap_or(0),
    };
    if let Some(protocol) = content.protocol_message.as_option() {
        let target = protocol.key.as_option().and_then(|key| key.id.clone());
        let (effect, kind) = match protocol.r#type {
            Some(protocol_message::Type::MESSAGE_EDIT) => (Effect::Edit, "edit"),
            Some(protocol_message::Type::REVOKE) => (Effect::Revoke, "revoke"),
            _ => return None,
        };
        let text = protocol.edited_message.as_option().and_then(describe).map(|shown| shown.text);
        return Some(Shown { effect, target, ..row(kind, text, None) });
    }
    if let Some(reaction) = content.reaction_message.as_option() {
        let target = reaction.key.as_option().and_then(|key| key.id.clone());
        return Some(Shown { target, ..row("reaction", reaction.text.clone(), None) });
    }
    if let Some(text) = &content.conversation {
        return Some(row("text", Some(text.clone()), None));
    }
    if let Some(it) = content.extended_text_message.as_option() {
        return Some(row("text", it.text.clone(), it.context_info.as_option()));
    }
    macro_rules! media {
        ($($field:ident $kind:literal $text:ident),+ $(,)?) => {
            $(if let Some(it) = content.$field.as_option() {
                return Some(row($kind, it.$text.clone(), it.context_info.as_option()));
            })+
        };
    }
    media!(
        image_message "image" caption,
        video_message "video" caption,
        document_message "document" caption,
        location_message "location" name,
        contact_message "contact" display_name,
        poll_creation_message "poll" name,
        poll_creation_message_v3 "poll" name,
    );
    if let Some(it) = content.audio_message.as_option() {
        return Some(row("audio", None, it.context_info.as_option()));
    }
    if let Some(it) = content.sticker_message.as_option() {
        return Some(row("sticker", None, it.context_info.as_option()));
    }
    if content.poll_update_message.is_set() || content.sender_key_distribution_message.is_set() {
        return None;
    }
    Some(row("other", None, None))
}

/// What the stanza around a content says about it: its type, and whether it changes another one.
pub(super) fn stanza_kind(content: &wa::Message) -> (&'static str, Option<&'static str>) {
    match describe(content).map(|shown| (shown.effect, shown.kind)) {
        Some((Effect::Edit, _)) => ("text", Some("1")),
        Some((Effect::Revoke, _)) => ("text", Some("7")),
        Some((_, "reaction")) => ("reaction", None),
        Some((_, "poll")) => ("poll", None),
        Some((_, "text")) | None => ("text", None),
        Some(_) => ("media", None),
    }
}

/// Takes off the wrappers.
fn unwrap(content: &wa::Message, view_once: bool) -> (&wa::Message, bool) {
    let wrapped = [
        (&content.ephemeral_message, false),
        (&content.view_once_message, true),
        (&content.view_once_message_v2, true),
        (&content.document_with_caption_message, false),
        (&content.edited_message, false),
    ];
    let inner = wrapped.into_iter().find_map(|(field, once)| Some((field.as_option()?.message.as_option()?, once)));
    match inner {
        Some((inner, once)) => unwrap(inner, view_once || once),
        None => (content, view_once),
    }
}
