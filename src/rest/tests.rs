//! Tests of the JSON rules, and of what the start refuses.

use std::sync::LazyLock;

use http::HeaderMap;
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Value as Dynamic};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MessageOptions, Timestamp};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::*;
use crate::api::auth::Authenticator;
use crate::api::guard::{Gate, Guard};
use crate::domain::clock::Ambient;
use crate::proto::DESCRIPTORS;
use crate::proto::gateway::{Event, ListSessionsResponse, MessagePayload, SendMessageRequest, Session, StatusDetail, event};

fn pool() -> DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).unwrap());
    POOL.clone()
}

/// The plans of one message of `pool`, and its index.
fn plan_of(pool: &DescriptorPool, name: &str) -> (Plans, usize) {
    let mut planner = Planner::new(pool).unwrap();
    let id = planner.message(&pool.get_message_by_name(name).unwrap()).unwrap();
    (planner.finish().unwrap(), id)
}

fn ours(name: &str) -> (Plans, usize) {
    plan_of(&pool(), &format!("whatsapp.gateway.v1.{name}"))
}

fn encode((plans, message): &(Plans, usize), body: &[u8], query: &str) -> crate::error::Result<Vec<u8>> {
    let headers = HeaderMap::new();
    let takes_body = query.is_empty();
    Given { plans, message: *message, captures: Vec::new(), query, headers: &headers, takes_body, body }.encode()
}

fn json((plans, message): &(Plans, usize), bytes: &[u8]) -> String {
    let mut out = Vec::new();
    write(plans, *message, bytes, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn refusal(name: &str, body: &str) -> String {
    encode(&ours(name), body.as_bytes(), "").unwrap_err().message
}

fn time() -> impl Strategy<Value = Timestamp> {
    (-62_135_596_800i64..=253_402_300_799, 0..1000).prop_map(|(seconds, ms)| Timestamp { seconds, nanos: ms * 1_000_000 })
}

prop_compose! {
    fn session()(
        id: String, label: Option<String>, status in 1..=6, auto_read: bool, rate_per_min: i32, phone_number: Option<String>,
        reason: Option<String>, created_at in time(), updated_at in time(), connected in proptest::option::of(time()),
    ) -> Session {
        let detail = reason.map(|reason| StatusDetail { reason, since: Some(created_at), ..Default::default() });
        Session {
            id, label, status, auto_read, rate_per_min, phone_number, status_detail: detail,
            last_connected_at: connected, created_at: Some(created_at), updated_at: Some(updated_at), ..Default::default()
        }
    }
}

proptest! {
    #[test]
    fn messages_come_back_from_their_json(session in session()) {
        static PLAN: LazyLock<(Plans, usize)> = LazyLock::new(|| ours("Session"));
        let text = json(&PLAN, &session.encode_to_vec());
        let back = encode(&PLAN, text.as_bytes(), "").unwrap();
        prop_assert_eq!(Session::decode(back.as_slice()).unwrap(), session, "{}", text);
    }

    /// Encoders may write fields in any order, and a field twice; a message is read the same.
    #[test]
    fn the_order_of_fields_does_not_matter(session in session(), other in session(), turn in 0usize..20) {
        static PLAN: LazyLock<(Plans, usize)> = LazyLock::new(|| ours("Session"));
        let bytes = session.encode_to_vec();
        let mut parts = Vec::new();
        let mut reader = Reader::new(&bytes);
        while !reader.is_empty() {
            let from = reader.rest();
            reader.field().unwrap();
            parts.push(&from[..from.len() - reader.rest().len()]);
        }
        prop_assume!(!parts.is_empty());
        let by = turn % parts.len();
        parts.rotate_left(by);
        prop_assert_eq!(json(&PLAN, &parts.concat()), json(&PLAN, &bytes));
        let both = [other.encode_to_vec(), bytes].concat();
        let merged = Session::decode(both.as_slice()).unwrap().encode_to_vec();
        // What stands before the message in it, which decoders merge and which is written as it came last.
        let before = |text: String| text.split("statusDetail").next().map(str::to_owned);
        prop_assert_eq!(before(json(&PLAN, &both)), before(json(&PLAN, &merged)));
    }

    #[test]
    fn any_body_gets_an_answer(body: Vec<u8>, text: String) {
        static PLAN: LazyLock<(Plans, usize)> = LazyLock::new(|| ours("SendMessageRequest"));
        let _ = encode(&PLAN, &body, "");
        let _ = encode(&PLAN, text.as_bytes(), "");
        let _ = encode(&PLAN, b"", &format!("x{text}"));
        let _ = write(&PLAN.0, PLAN.1, &body, &mut Vec::new());
    }
}

/// A message with every kind of field, which the contract does not have.
fn every_kind() -> (Plans, usize) {
    let field = |number: i32, name: &str, kind: Type| FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..Default::default()
    };
    let kinds = [
        Type::Bool,
        Type::Int32,
        Type::Int64,
        Type::Uint32,
        Type::Uint64,
        Type::Sint32,
        Type::Sint64,
        Type::Fixed32,
        Type::Fixed64,
        Type::Sfixed32,
        Type::Sfixed64,
        Type::Float,
        Type::Double,
        Type::String,
        Type::Bytes,
    ];
    let mut fields: Vec<_> = (1..).zip(kinds).map(|(n, kind)| field(n, &format!("f_{n}"), kind)).collect();
    let list = |n, name, kind| FieldDescriptorProto { label: Some(Label::Repeated.into()), ..field(n, name, kind) };
    fields.push(list(5000, "many", Type::Sint64));
    fields.push(FieldDescriptorProto { type_name: Some(".t.All.NamesEntry".into()), ..list(21, "names", Type::Message) });
    fields.push(FieldDescriptorProto { type_name: Some(".t.All".into()), ..list(22, "inner", Type::Message) });
    let entry = DescriptorProto {
        name: Some("NamesEntry".into()),
        field: vec![field(1, "key", Type::Int32), field(2, "value", Type::String)],
        options: Some(MessageOptions { map_entry: Some(true), ..Default::default() }),
        ..Default::default()
    };
    let all = DescriptorProto { name: Some("All".into()), field: fields, nested_type: vec![entry], ..Default::default() };
    let file = FileDescriptorProto {
        name: Some("t.proto".into()),
        package: Some("t".into()),
        syntax: Some("proto3".into()),
        message_type: vec![all],
        ..Default::default()
    };
    let mut pool = pool();
    pool.add_file_descriptor_proto(file).unwrap();
    plan_of(&pool, "t.All")
}

#[test]
fn every_kind_of_field_comes_back() {
    let plan = every_kind();
    let text = concat!(
        r#"{"f1":true,"f2":-2147483648,"f3":-9223372036854775808,"f4":4294967295,"f5":18446744073709551615,"f6":-5,"#,
        r#""f7":9223372036854775807,"f8":4294967295,"f9":18446744073709551615,"f10":-1,"f11":-9007199254740993,"f12":0.5,"f13":-1e+300,"#,
        r#""f14":"a\"\u0001é","f15":"/wA=","names":{"7":"x"},"inner":[],"many":[1,-2,3]}"#
    );
    assert_eq!(json(&plan, &encode(&plan, text.as_bytes(), "").unwrap()), text);
    let range = |body: &str| encode(&plan, body.as_bytes(), "").unwrap_err().message;
    assert_eq!(range(r#"{"f2":2147483648}"#), "f2: must be between -2147483648 and 2147483647");
    assert_eq!(range(r#"{"f4":-1}"#), "f4: must be between 0 and 4294967295");
    assert_eq!(range(r#"{"f3":1.0}"#), "f3: must be an integer, not a number with a fraction, or one too large");
    assert_eq!(range(r#"{"f15":"%"}"#), "f15: must be base64");
    assert_eq!(range(r#"{"inner":[{"names":{"a":"x"}}]}"#), "inner[0].names[a]: must be an integer");
    let deep = format!("{}{}", r#"{"inner":["#.repeat(40), "]}".repeat(40)).replace("[]", "[{}]");
    assert!(range(&deep).contains("nested 32 deep"));
    // Numbers that are not packed are read as well.
    assert!(json(&plan, &[0xc0, 0xb8, 0x02, 0x02, 0xc0, 0xb8, 0x02, 0x04]).contains(r#""many":[1,2]"#));
}

#[test]
fn replies_write_what_the_rules_say() {
    let list = json(&ours("ListSessionsResponse"), &ListSessionsResponse::default().encode_to_vec());
    assert_eq!(list, r#"{"data":[],"nextCursor":null}"#);
    let session = json(&ours("Session"), &[]);
    assert!(session.contains(r#""isAdminSession":false"#) && session.contains(r#""ratePerMin":0"#), "{session}");
    assert!(
        session.contains(r#""createdAt":0"#) && !session.contains("label") && !session.contains("lastConnectedAt"),
        "{session}"
    );
    let event = |payload| json(&ours("Event"), &Event { sequence: 1 << 60, payload, ..Default::default() }.encode_to_vec());
    let message = event(Some(event::Payload::Message(MessagePayload { body: Some("x".into()), ..Default::default() })));
    assert!(message.contains(r#""sequence":1152921504606846976,"#), "{message}");
    assert!(message.contains(r#""payload":{"waMessageId":"","#) && message.contains(r#""media":{},"#), "{message}");
    assert!(event(None).ends_with(r#","payload":{}}"#));
    assert_eq!(write(&ours("Event").0, 0, &[0x0a, 0x7f], &mut Vec::new()), None);
}

#[test]
fn wrong_bodies_name_the_field() {
    assert!(refusal("UpdateSessionRequest", "{").starts_with("the body is not valid JSON"));
    assert_eq!(refusal("UpdateSessionRequest", "[]"), "the body must be an object, not a list");
    assert_eq!(refusal("UpdateSessionRequest", r#"{"labl":"x"}"#), "labl: unknown field");
    assert_eq!(refusal("UpdateSessionRequest", r#"{"auto_read":true}"#), "auto_read: unknown field");
    assert_eq!(refusal("UpdateSessionRequest", r#"{"label":1}"#), "label: must be a text, not an integer");
    assert_eq!(refusal("UpdateSessionRequest", r#"{"ratePerMin":"5"}"#), "ratePerMin: must be an integer, not a text");
    assert_eq!(refusal("UpdateSessionRequest", r#"{"label":null,"label":"x"}"#), "label: is given more than once");
    assert_eq!(
        refusal("CreateApiKeyRequest", r#"{"capabilities":["read","all"]}"#),
        "capabilities[1]: must be one of: read, send, manage, events"
    );
    assert_eq!(
        refusal("CreateApiKeyRequest", r#"{"capabilities":["unspecified"]}"#),
        "capabilities[0]: must be one of: read, send, manage, events"
    );
    assert_eq!(refusal("CreateApiKeyRequest", r#"{"expiresAt":"soon"}"#), "expiresAt: must be an integer, not a text");
    assert_eq!(
        refusal("SendMessageRequest", r#"{"idempotencyKey":"x"}"#),
        "idempotencyKey: belongs in the `idempotency-key` header, not in the body"
    );
    assert_eq!(encode(&ours("SendMessageRequest"), b"{\"to\":\"\xff\"}", "").unwrap_err().code, Code::Validation);
    let same = SendMessageRequest::decode(
        encode(&ours("SendMessageRequest"), br#"{"to":"1","type":"text","text":null}"#, "").unwrap().as_slice(),
    );
    assert_eq!(same.unwrap(), SendMessageRequest { to: "1".into(), r#type: 1, ..Default::default() });
}

#[test]
fn queries_are_read_like_bodies() {
    let plan = ours("ListEventsRequest");
    let read =
        |query: &str| encode(&plan, b"", query).map(|b| crate::proto::gateway::ListEventsRequest::decode(b.as_slice()).unwrap());
    let found = read("after=9007199254740993&sessions=a+b&sessions=%C3%A9&limit=5").unwrap();
    assert_eq!((found.after, found.limit, found.sessions), (9_007_199_254_740_993, 5, vec!["a b".to_owned(), "é".to_owned()]));
    let wrong = |query: &str| read(query).unwrap_err().message;
    assert_eq!(wrong("page=2"), "page: unknown query parameter");
    assert_eq!(wrong("limit="), "limit: must be an integer");
    assert_eq!(wrong("limit=1&limit=2"), "limit: is given more than once");
    assert_eq!(wrong("sessions=%ff"), "sessions: is not UTF-8 in the query");
}

fn rest(descriptors: &[u8]) -> anyhow::Result<Rest> {
    let pool = pool();
    let gate = Gate::new(&pool, Authenticator::new(|_| Box::pin(async { Ok(None) })), Ambient::system(), None)?;
    Rest::new(descriptors, Calls::new(&pool, Guard::new(gate, Routes::default()), CancellationToken::new()))
}

/// The contract with one method's HTTP rule changed.
fn with_rule(method: &str, field: &str, value: &str) -> Vec<u8> {
    fn each<'m>(of: &'m mut DynamicMessage, field: &str) -> impl Iterator<Item = &'m mut DynamicMessage> {
        of.get_field_by_name_mut(field).unwrap().as_list_mut().unwrap().iter_mut().map(|v| v.as_message_mut().unwrap())
    }
    let pool = pool();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let set = pool.get_message_by_name("google.protobuf.FileDescriptorSet").unwrap();
    let mut set = DynamicMessage::decode(set, DESCRIPTORS).unwrap();
    for found in each(&mut set, "file").flat_map(|f| each(f, "service")).flat_map(|s| each(s, "method")) {
        if found.get_field_by_name("name").unwrap().as_str() == Some(method) {
            let options = found.get_field_by_name_mut("options").unwrap().as_message_mut().unwrap();
            let rule = options.get_extension_mut(&http).as_message_mut().unwrap();
            rule.set_field_by_name(field, Dynamic::String(value.to_owned()));
        }
    }
    set.encode_to_vec()
}

#[test]
fn the_start_refuses_contracts_that_cannot_be_served() {
    rest(DESCRIPTORS).unwrap();
    for (method, field, value, complaint) in [
        ("GetMe", "get", "/api/v1/sessions/{session}", "bound twice"),
        ("GetMe", "get", "/api/v1/sessions/{nobody}/me", "no field"),
        ("GetMe", "get", "/api/v1/{session=sessions/*}", "not supported"),
        ("CreateSession", "body", "label", "not supported"),
        ("ListEvents", "get", "/api/v1/sessions/{sessions}/events", "cannot be a path variable"),
    ] {
        let error = format!("{:#}", rest(&with_rule(method, field, value)).unwrap_err());
        assert!(error.contains(complaint), "{method}: {error}");
    }
    assert!(rest(b"\xff").is_err());
}

#[test]
fn a_method_without_requires_stops_the_start() {
    // This decoder does not know our options, so it drops them.
    let bare = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap().encode_to_vec();
    let bare = DescriptorPool::decode(bare.as_slice()).unwrap();
    let error =
        Gate::new(&bare, Authenticator::new(|_| Box::pin(async { Ok(None) })), Ambient::system(), None).unwrap_err().to_string();
    assert!(error.contains("does not say what it requires"), "{error}");
    assert!(Gate::new(&pool(), Authenticator::new(|_| Box::pin(async { Ok(None) })), Ambient::system(), None).is_ok());
}
