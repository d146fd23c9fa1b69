//! One of every event that can be in the log.

use whatsapp_gateway::domain::backfill::BackfillJob;
use whatsapp_gateway::domain::clock::Time;
use whatsapp_gateway::domain::content::{Blob, Card, Content, Location, Media, MediaKeys, Mention, Poll, Quote};
use whatsapp_gateway::domain::event::{
    AuthCode, Call, ChatChange, Code, ContactChange, GroupChange, Health, HistorySynced, MediaReady, MessagePayload,
    MessageStatusPayload, NewsletterChange, Payload, PollRecap, Presence, Restriction, WebhookDisabledPayload,
};
use whatsapp_gateway::domain::ids::{OrganizationId, SessionId, WebhookId};
use whatsapp_gateway::domain::message::MessageStatus;
use whatsapp_gateway::domain::payload::{CallStatus, PresenceState, Problem, Voter, Who};
use whatsapp_gateway::domain::session::{Account, Reason, State, Status};
use whatsapp_gateway::domain::webhook::Disabled;

const NOW: Time = Time(1_700_000_000_123);
const NUMBER: &str = "6281234567890@s.whatsapp.net";

fn who() -> Who {
    Who { lid: Some("77@lid".into()), ..Who::new(NUMBER) }
}

/// Content in which everything is set.
pub(crate) fn content() -> Content {
    let keys = MediaKeys {
        direct_path: "/v/t62".into(),
        media_key: Blob(vec![1; 32]),
        file_sha256: Blob(vec![2; 32]),
        file_enc_sha256: Blob(vec![3; 32]),
        media_key_timestamp: Some(1_700_000_000),
    };
    let media = Media {
        mimetype: Some("image/jpeg".into()),
        filename: Some("a.jpg".into()),
        size: Some(9),
        width: Some(4),
        height: Some(3),
        seconds: Some(2),
        voice: true,
        animated: true,
        sha256: Some("02".into()),
        thumbnail: Some(Blob(vec![4])),
        keys: Some(keys),
    };
    let name = Some("Office".to_owned());
    Content {
        media: Some(media),
        location: Some(Location { latitude: -6.2, longitude: 106.8, name, address: Some("Jl. 1".into()), live: true }),
        contacts: vec![Card { display_name: Some("Budi".into()), vcard: Some("BEGIN:VCARD".into()) }],
        poll: Some(Poll {
            name: "?".into(),
            options: vec!["a".into(), "b".into()],
            selectable: 1,
            end_at: Some(NOW),
            hide_votes: true,
        }),
        quote: Some(Quote {
            wa_message_id: "Q".into(),
            sender_jid: Some(NUMBER.into()),
            sender_lid: Some("77@lid".into()),
            body: Some("before".into()),
            from_me: true,
        }),
        mentions: vec![Mention {
            jid: NUMBER.into(),
            lid: Some("77@lid".into()),
            phone: Some("6281234567890".into()),
            push_name: Some("Budi".into()),
        }],
        ephemeral: Some(86_400),
        view_once: true,
        forwarded: 2,
        secret: Some(Blob(vec![5; 32])),
    }
}

fn message(kind: &str) -> Box<MessagePayload> {
    let done = matches!(kind, "reaction" | "edited" | "revoked" | "vote");
    Box::new(MessagePayload {
        wa_message_id: "W".into(),
        chat: who(),
        from_me: false,
        kind: kind.into(),
        body: Some("ünï \\u0000 \"quoted\" \u{1F600}".into()),
        sender: Some(who()),
        push_name: Some("Budi".into()),
        timestamp: NOW,
        content: if done { Content::default() } else { content().told() },
        target: done.then(|| "T".into()),
        reaction: (kind == "reaction").then(|| "👍".into()),
        selected: if kind == "vote" { vec!["a".into()] } else { Vec::new() },
    })
}

/// One of each, in the order of the catalogue, with everything set that can be.
pub(crate) fn payloads() -> Vec<Payload> {
    let code = Code { code: "2@abc,def==".into(), expires_at: Some(NOW) };
    let account = Account { phone_number: "6281234567890".into(), wa_jid: NUMBER.into(), wa_lid: Some("77@lid".into()) };
    let group = GroupChange {
        group_jid: "1@g.us".into(),
        action: "add".into(),
        sender: Some(who()),
        subject: Some("S".into()),
        description: Some("D".into()),
        is_announce: Some(true),
        is_locked: Some(false),
        ephemeral: Some(7),
        approval: Some(true),
        people: vec![who()],
        reason: Some("invite".into()),
        invite: Some("https://chat.whatsapp.com/x".into()),
        timestamp: NOW,
    };
    let contact = ContactChange {
        who: who(),
        change: "name".into(),
        push_name: Some("B".into()),
        full_name: Some("Budi S".into()),
        first_name: Some("Budi".into()),
        business_name: Some("Shop".into()),
        about: Some("busy".into()),
        picture_id: Some("1".into()),
        picture_removed: Some(false),
        previous_jid: Some("628000000000@s.whatsapp.net".into()),
        ephemeral: Some(0),
    };
    let chat = ChatChange {
        chat: who(),
        change: "muted".into(),
        picture_id: Some("1".into()),
        removed: Some(false),
        muted_until: Some(NOW),
        ephemeral: Some(1),
        message_id: Some("M".into()),
        label_id: Some("L".into()),
    };
    vec![
        Payload::SessionStatus(State { until: Some(NOW), ..State::new(Status::Failed, Reason::Banned, NOW) }),
        Payload::SessionHealth(Health { healthy: false, problem: Problem::Deaf, since: NOW }),
        Payload::AuthQr(code),
        Payload::AuthCode(AuthCode::Accepted { account, platform: Some("android".into()), business_name: Some("Shop".into()) }),
        Payload::AccountRestricted(Restriction {
            restricted: true,
            kind: "cold_messages".into(),
            code: Some("463".into()),
            message: "m".into(),
            until: Some(NOW),
        }),
        Payload::Message(message("image")),
        Payload::MessageFromMe(message("text")),
        Payload::MessageReaction(message("reaction")),
        Payload::MessageEdited(message("edited")),
        Payload::MessageRevoked(message("revoked")),
        Payload::MessageStatus(MessageStatusPayload {
            chat: who(),
            message_ids: vec!["W".into()],
            status: MessageStatus::Read,
            timestamp: NOW,
            sender: Some(who()),
            error: Some("e".into()),
        }),
        Payload::MediaReady(Box::new(MediaReady {
            chat_jid: NUMBER.into(),
            wa_message_id: "W".into(),
            message_id: "01".into(),
            media: content().told().media.unwrap(),
            error: Some("gone".into()),
        })),
        Payload::PollVote(message("vote")),
        Payload::PollRecap(PollRecap {
            wa_message_id: "P".into(),
            chat_jid: "1@g.us".into(),
            name: "?".into(),
            options: vec![("a".into(), 1), ("b".into(), 0)],
            selectable: 1,
            end_at: NOW,
            hide_votes: false,
            total: 1,
            voters: vec![Voter { jid: NUMBER.into(), name: "Budi".into(), selected: vec!["a".into()] }],
        }),
        Payload::PresenceUpdate(Presence {
            from: who(),
            state: PresenceState::Composing,
            chat_jid: Some("1@g.us".into()),
            audio: true,
            last_seen: Some(NOW),
        }),
        Payload::GroupUpdate(Box::new(GroupChange { action: "subject".into(), ..group.clone() })),
        Payload::GroupParticipant(Box::new(group)),
        Payload::ChatUpdate(Box::new(chat)),
        Payload::ContactUpdate(Box::new(contact)),
        Payload::CallIncoming(Call {
            call_id: "C".into(),
            from: who(),
            timestamp: NOW,
            is_group: true,
            group_jid: Some("1@g.us".into()),
            is_video: Some(true),
            status: CallStatus::Ringing,
        }),
        Payload::NewsletterUpdate(NewsletterChange {
            jid: "1@newsletter".into(),
            action: "join".into(),
            server_id: Some(1),
            reactions: vec![("👍".into(), 3)],
        }),
        Payload::BackfillProgress(Box::new(BackfillJob::new("J".into(), SessionId::new("S1"), OrganizationId::new("a"), NOW))),
        Payload::HistorySynced(HistorySynced {
            kind: "recent".into(),
            chunk: Some(2),
            progress: Some(40),
            chats: 3,
            messages: 100,
            contacts: 9,
        }),
        Payload::WebhookDisabled(WebhookDisabledPayload { webhook: WebhookId::new("H"), reason: Disabled::Gone }),
        Payload::WebhookTest(WebhookId::new("H")),
    ]
}
