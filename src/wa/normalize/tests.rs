//! Messages and history as the library gives them.

use std::io::Write as _;

use buffa::{Message as _, MessageField};
use waproto::whatsapp as wa;

use super::*;
use crate::domain::content::{Blob, Content};

fn message(set: impl FnOnce(&mut wa::Message)) -> wa::Message {
    let mut message = wa::Message::default();
    set(&mut message);
    message
}

fn held(act: Option<Act>) -> (&'static str, Option<String>, Content) {
    match act {
        Some(Act::Message { kind, body, content }) => (kind, body, content),
        other => panic!("no message: {other:?}"),
    }
}

#[test]
fn a_picture_to_be_looked_at_once_keeps_what_opens_it() {
    let image = wa::message::ImageMessage {
        caption: Some("look".into()),
        mimetype: Some("image/jpeg".into()),
        direct_path: Some("/v/1".into()),
        media_key: Some(vec![1; 32]),
        file_sha256: Some(vec![0xab; 2]),
        file_enc_sha256: Some(vec![3; 32]),
        file_length: Some(77),
        width: Some(40),
        jpeg_thumbnail: Some(vec![9; THUMBNAIL_TOO_LARGE]),
        ..Default::default()
    };
    let inner = message(|it| it.image_message = MessageField::some(image));
    let wrapper = wa::message::FutureProofMessage { message: MessageField::some(inner) };
    let (kind, body, content) = held(act(&message(|it| it.view_once_message_v2 = MessageField::some(wrapper))));
    assert_eq!((kind, body.as_deref(), content.view_once), ("image", Some("look"), true));
    let media = content.media.unwrap();
    assert_eq!((media.size, media.width, media.sha256.as_deref(), media.thumbnail), (Some(77), Some(40), Some("abab"), None));
    let keys = media.keys.unwrap();
    assert_eq!((keys.direct_path.as_str(), keys.media_key), ("/v/1", Blob(vec![1; 32])));
}

const THUMBNAIL_TOO_LARGE: usize = 64 * 1024 + 1;

#[test]
fn what_a_text_refers_to() {
    let context = wa::ContextInfo {
        stanza_id: Some("Q".into()),
        participant: Some("77:3@lid".into()),
        quoted_message: MessageField::some(message(|it| it.conversation = Some("before".into()))),
        mentioned_jid: vec!["628111111111@s.whatsapp.net".into(), "88@lid".into(), "nonsense".into()],
        expiration: Some(60),
        forwarding_score: Some(2),
        ..Default::default()
    };
    let text = wa::message::ExtendedTextMessage {
        text: Some("after".into()),
        context_info: MessageField::some(context),
        ..Default::default()
    };
    let (kind, body, content) = held(act(&message(|it| it.extended_text_message = MessageField::some(text))));
    assert_eq!((kind, body.as_deref(), content.ephemeral, content.forwarded), ("text", Some("after"), Some(60), 2));
    let quote = content.quote.unwrap();
    assert_eq!((quote.wa_message_id.as_str(), quote.sender_lid.as_deref()), ("Q", Some("77@lid")), "without its device");
    assert_eq!(quote.body.as_deref(), Some("before"));
    let mentions: Vec<_> = content.mentions.iter().map(|it| (it.phone.as_deref(), it.lid.as_deref())).collect();
    assert_eq!(mentions, [(Some("628111111111"), None), (None, Some("88@lid"))]);
}

#[test]
fn what_is_done_to_messages_is_none_of_its_own() {
    use wa::message::protocol_message::Type;
    let key = || MessageField::some(wa::MessageKey { id: Some("T".into()), from_me: Some(true), ..Default::default() });
    let protocol = |kind, edited: Option<wa::Message>| {
        let protocol = wa::message::ProtocolMessage {
            key: key(),
            r#type: Some(kind),
            edited_message: edited.map_or_else(MessageField::none, MessageField::some),
            ..Default::default()
        };
        act(&message(|it| it.protocol_message = MessageField::some(protocol)))
    };
    let target = Target { wa_message_id: "T".into(), from_me: true, sender: None };
    assert_eq!(protocol(Type::REVOKE, None), Some(Act::Revoke { target: target.clone() }));
    let edited = protocol(Type::MESSAGE_EDIT, Some(message(|it| it.conversation = Some("better".into()))));
    assert_eq!(edited, Some(Act::Edit { target: target.clone(), body: Some("better".into()), content: Content::default() }));
    assert_eq!(protocol(Type::HISTORY_SYNC_NOTIFICATION, None), None, "the protocol's own");
    let reaction = wa::message::ReactionMessage { key: key(), text: Some("👍".into()), ..Default::default() };
    let reaction = act(&message(|it| it.reaction_message = MessageField::some(reaction)));
    assert_eq!(reaction, Some(Act::Reaction { target, emoji: "👍".into() }));
    let unknown = act(&message(|it| it.keep_in_chat_message = MessageField::some(Default::default())));
    assert_eq!(unknown.map(|act| act.word()), Some("unsupported"), "never silent");
}

fn entry(id: &str, from: Option<&str>, text: &str, at: u64) -> wa::HistorySyncMsg {
    let key = wa::MessageKey {
        id: Some(id.into()),
        from_me: Some(from.is_none()),
        participant: from.map(str::to_owned),
        ..Default::default()
    };
    let info = wa::WebMessageInfo {
        key: MessageField::some(key),
        message: MessageField::some(message(|it| it.conversation = Some(text.into()))),
        message_timestamp: Some(at),
        ..Default::default()
    };
    wa::HistorySyncMsg { message: MessageField::some(info), ..Default::default() }
}

#[test]
fn history_comes_a_conversation_at_a_time() {
    let chat = wa::Conversation {
        id: "77@lid".into(),
        pn_jid: Some("628111111111@s.whatsapp.net".into()),
        name: Some("Ana".into()),
        unread_count: Some(2),
        archived: Some(true),
        mute_end_time: Some(1_900_000_000),
        messages: vec![entry("A", None, "mine", 100), entry("B", None, "also mine", 200)],
        ..Default::default()
    };
    let group =
        wa::Conversation { id: "1@g.us".into(), messages: vec![entry("C", Some("88:4@lid"), "hers", 300)], ..Default::default() };
    let whole = wa::HistorySync {
        conversations: vec![chat, group],
        pushnames: vec![wa::Pushname { id: Some("88@lid".into()), pushname: Some("Dewi".into()) }],
        phone_number_to_lid_mappings: vec![wa::PhoneNumberToLIDMapping {
            pn_jid: Some("628222222222@s.whatsapp.net".into()),
            lid_jid: Some("88@lid".into()),
        }],
        ..Default::default()
    };
    let bytes = whole.encode_to_vec();
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(&bytes).unwrap();
    let packed = packer.finish().unwrap();
    let mut parts = Vec::new();
    read_history(&packed, bytes.len() as u64, |part| {
        parts.push(part);
        true
    })
    .unwrap();
    let [Part::Conversation(chat), Part::Conversation(group), Part::Rest(rest)] = &parts[..] else { panic!("{parts:#?}") };
    assert_eq!((chat.chat.jid.as_str(), chat.chat.lid.as_deref()), ("628111111111@s.whatsapp.net", Some("77@lid")));
    assert_eq!((chat.name.as_deref(), chat.unread, chat.archived), (Some("Ana"), 2, true));
    assert_eq!((chat.last_message_at, chat.muted_until), (Time::from_secs(200), Some(Time::from_secs(1_900_000_000))));
    assert_eq!(chat.messages.iter().map(|it| it.body.as_deref()).collect::<Vec<_>>(), [Some("mine"), Some("also mine")]);
    assert!(chat.messages.iter().all(|it| it.sender.is_none()));
    assert_eq!(group.messages[0].sender.as_ref().map(|who| who.jid.as_str()), Some("88@lid"));
    assert_eq!(rest.names, [("88@lid".to_owned(), "Dewi".to_owned())]);
    assert_eq!(rest.pairs.len(), 1);
    // Who has enough is given no more.
    let mut given = 0;
    read_history(&packed, bytes.len() as u64, |_| {
        given += 1;
        false
    })
    .unwrap();
    assert_eq!(given, 1);
    assert!(read_history(b"no history", 10, |_| true).is_err());
}
