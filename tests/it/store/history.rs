//! The history that a phone shares, put into the tables: once however often it comes, and met by what comes live.

use std::io::Write as _;

use buffa::{Message as _, MessageField};
use waproto::whatsapp as wa;
use whatsapp_gateway::domain::clock::{Ambient, Time};
use whatsapp_gateway::domain::event::Payload;
use whatsapp_gateway::domain::ids::GatewayId;
use whatsapp_gateway::domain::message::Direction;
use whatsapp_gateway::domain::session::Fence;
use whatsapp_gateway::event::EventLog;
use whatsapp_gateway::event::hub::Hub;
use whatsapp_gateway::session::recorder::Recorder;
use whatsapp_gateway::session::{Context, Timing};
use whatsapp_gateway::store::{Cipher, Db};
use whatsapp_gateway::wa::Endpoint;
use whatsapp_gateway::wa::normalize::HistoryNotice;

use super::{NOW, on_both_engines, stored_session};

on_both_engines!(a_part_is_stored_once_and_told, a_broken_part_stops_nothing);

const ANA: &str = "628111111111@s.whatsapp.net";
const DEWI: &str = "628222222222@s.whatsapp.net";
const GROUP: &str = "120363000000000001@g.us";

fn entry(id: &str, from: Option<&str>, text: &str, at: u64) -> wa::HistorySyncMsg {
    let key = wa::MessageKey {
        id: Some(id.into()),
        from_me: Some(from.is_none()),
        participant: from.map(str::to_owned),
        ..Default::default()
    };
    let info = wa::WebMessageInfo {
        key: MessageField::some(key),
        message: MessageField::some(wa::Message { conversation: Some(text.into()), ..Default::default() }),
        message_timestamp: Some(at),
        ..Default::default()
    };
    wa::HistorySyncMsg { message: MessageField::some(info), ..Default::default() }
}

fn notice(whole: &wa::HistorySync) -> HistoryNotice {
    let bytes = whole.encode_to_vec();
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(&bytes).unwrap();
    let size = i64::try_from(bytes.len()).unwrap();
    HistoryNotice { kind: "recent", chunk: Some(1), progress: Some(50), data: packer.finish().unwrap().into(), size }
}

fn part() -> wa::HistorySync {
    let ana = wa::Conversation {
        id: "77@lid".into(),
        pn_jid: Some(ANA.into()),
        unread_count: Some(1),
        pinned: Some(1),
        messages: vec![entry("A1", None, "to Ana", 100), entry("A2", Some("77@lid"), "from Ana", 200)],
        ..Default::default()
    };
    // More than one transaction takes.
    let many = (0..1200).map(|n| entry(&format!("G{n}"), Some("88:4@lid"), "in the group", 300 + n)).collect();
    let group = wa::Conversation { id: GROUP.into(), messages: many, ..Default::default() };
    wa::HistorySync {
        conversations: vec![ana, group],
        pushnames: vec![wa::Pushname { id: Some("88@lid".into()), pushname: Some("Dewi".into()) }],
        phone_number_to_lid_mappings: vec![wa::PhoneNumberToLIDMapping {
            pn_jid: Some(DEWI.into()),
            lid_jid: Some("88@lid".into()),
        }],
        ..Default::default()
    }
}

async fn recorder(db: &Db) -> (Recorder, whatsapp_gateway::domain::session::Session) {
    let session = stored_session(db, "S1", "a").await;
    let ambient = Ambient::held(NOW);
    let log = EventLog::new(db.clone(), Hub::default(), ambient.clone());
    let cipher = Cipher::new(ambient.clone(), None, Vec::new());
    let endpoint = Endpoint::WhatsApp { version: None };
    let context = Context::new(db.clone(), log, ambient, endpoint, cipher, GatewayId::new("gw-1"), Timing::default());
    let fence = Fence { epoch: 0, generation: 0 };
    (Recorder::new(&context, session.organization.clone(), session.id.clone(), fence), session)
}

async fn a_part_is_stored_once_and_told(db: Db) {
    let (recorder, session) = recorder(&db).await;
    let whole = part();
    // The phone may send the same twice.
    recorder.keep_history(notice(&whole)).await.unwrap();
    recorder.keep_history(notice(&whole)).await.unwrap();
    recorder.digest_history().await.unwrap();
    let ana = db.chat_by_jid(&session.id, ANA).await.unwrap().unwrap();
    assert_eq!((ana.unread, ana.pinned, ana.last_message_at), (1, true, Time::from_secs(200)));
    let said = db.chat_messages(&session.id, ANA, None, 10).await.unwrap();
    let told: Vec<_> = said.iter().map(|it| (it.body.as_deref(), it.direction, it.sender_jid.as_str())).collect();
    assert_eq!(told[0], (Some("from Ana"), Direction::In, ANA));
    assert_eq!((told.len(), told[1].0, told[1].1), (2, Some("to Ana"), Direction::Out));
    assert!(said.iter().all(|it| it.status.is_none()), "what was sent from elsewhere is on no budget");
    let in_group = db.chat_messages(&session.id, GROUP, None, 2000).await.unwrap();
    assert_eq!(in_group.len(), 1200);
    assert!(in_group.iter().all(|it| it.sender_jid == DEWI), "who was told of last is known everywhere");
    assert_eq!(db.identity(&session.id, DEWI).await.unwrap().unwrap().name(), Some("Dewi"));
    let events = db.list_events(&session.organization, 0, 10, &[], &[]).await.unwrap();
    let told: Vec<_> = events
        .iter()
        .map(|event| match &event.event.payload {
            Payload::HistorySynced(it) => (it.kind.as_str(), it.progress, it.chats, it.messages, it.contacts),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [("recent", Some(50), 2, 1202, 1), ("recent", Some(50), 2, 0, 1)], "one event a part, none a message");
    assert!(db.next_history_part(&session.id).await.unwrap().is_none());
}

async fn a_broken_part_stops_nothing(db: Db) {
    let (recorder, session) = recorder(&db).await;
    let broken = HistoryNotice { kind: "full", chunk: None, progress: None, data: b"no history".to_vec().into(), size: 10 };
    recorder.keep_history(broken).await.unwrap();
    recorder.keep_history(notice(&part())).await.unwrap();
    recorder.digest_history().await.unwrap();
    assert_eq!(db.chats(&session.id, None, 10).await.unwrap().len(), 2);
    assert!(db.next_history_part(&session.id).await.unwrap().is_none());
}
