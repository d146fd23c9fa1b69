//! Protobuf messages as the contract's JSON, read from the embedded descriptors: camelCase, lower-case enums without their prefix,
//! epoch milliseconds. The same rules as the REST API's; here for reading, there for speed.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    OneofDescriptor, ReflectMessage, Value,
};
use serde_json::{Map, Number, Value as Json, json};

use super::failure::Failure;
use crate::proto::DESCRIPTORS;

static POOL: LazyLock<Result<DescriptorPool, String>> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).map_err(|error| error.to_string()));

/// `message`, which is a `whatsapp.gateway.v1.{name}`, as JSON. Fails when the contract has no message of that name.
pub(super) fn json<M: Message>(name: &str, message: &M) -> Result<Json, Failure> {
    let pool = POOL.as_ref().map_err(|error| Failure::other(error.clone()))?;
    let kind = pool
        .get_message_by_name(&format!("whatsapp.gateway.v1.{name}"))
        .ok_or_else(|| Failure::other(format!("the contract has no message {name}")))?;
    let dynamic =
        DynamicMessage::decode(kind, message.encode_to_vec().as_slice()).map_err(|error| Failure::other(error.to_string()))?;
    Ok(object(&dynamic))
}

/// A moment as people read it: `2026-01-31 12:34:56` in UTC.
pub(super) fn moment(time: Option<&prost_types::Timestamp>) -> String {
    time.map_or_else(String::new, |time| {
        time.to_string().split('.').next().unwrap_or_default().replace('T', " ").replace('Z', "")
    })
}

/// The lower-case word of an enum value without its prefix: `SESSION_STATUS_WORKING` of `SessionStatus` is `working`.
pub(super) fn word(enumeration: &str, value: i32) -> String {
    let found = POOL.as_ref().ok().and_then(|pool| pool.get_enum_by_name(&format!("whatsapp.gateway.v1.{enumeration}")));
    found.map_or_else(|| value.to_string(), |kind| enum_word(&kind, value))
}

fn object(message: &DynamicMessage) -> Json {
    let mut map = Map::new();
    for field in message.descriptor().fields() {
        let set = message.has_field(&field);
        let holder = field.containing_oneof().filter(oneof_is_nested);
        let name = holder.map_or_else(|| field.json_name().to_owned(), |oneof| oneof.name().to_owned());
        if set || always_there(&field) {
            map.insert(name, value(&field, &message.get_field(&field)));
        } else if is_nullable(&field) {
            map.insert(name, Json::Null);
        }
    }
    Json::Object(map)
}

/// What has no presence is there even when it has its default.
fn always_there(field: &FieldDescriptor) -> bool {
    field.cardinality() == Cardinality::Repeated || !field.supports_presence()
}

fn value(field: &FieldDescriptor, value: &Value) -> Json {
    match value {
        Value::List(items) => items.iter().map(|item| single(&field.kind(), item)).collect(),
        Value::Map(entries) => {
            let kind = field.kind().as_message().and_then(|entry| entry.get_field_by_name("value")).map(|value| value.kind());
            let entry = |(key, value): (&MapKey, &Value)| {
                let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
                (key, kind.as_ref().map_or(Json::Null, |kind| single(kind, value)))
            };
            Json::Object(entries.iter().map(entry).collect())
        }
        one => single(&field.kind(), one),
    }
}

fn single(kind: &Kind, value: &Value) -> Json {
    match value {
        Value::Bool(yes) => Json::Bool(*yes),
        Value::I32(number) => json!(number),
        Value::I64(number) => json!(number),
        Value::U32(number) => json!(number),
        Value::U64(number) => json!(number),
        Value::F32(number) => Number::from_f64(f64::from(*number)).map_or(Json::Null, Json::Number),
        Value::F64(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::String(text) => json!(text),
        Value::Bytes(bytes) => {
            use base64::Engine as _;
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Value::EnumNumber(number) => match kind {
            Kind::Enum(kind) => json!(enum_word(kind, *number)),
            _ => json!(number),
        },
        Value::Message(message) if is_timestamp(&message.descriptor()) => epoch_millis(message),
        Value::Message(message) => object(message),
        // Lists and maps stand only in fields.
        Value::List(_) | Value::Map(_) => Json::Null,
    }
}

fn enum_word(kind: &EnumDescriptor, number: i32) -> String {
    let Some(value) = kind.get_value(number) else { return number.to_string() };
    // SessionStatus → SESSION_STATUS_
    let mut prefix = String::new();
    for (i, c) in kind.name().chars().enumerate() {
        if i > 0 && c.is_ascii_uppercase() {
            prefix.push('_');
        }
        prefix.push(c.to_ascii_uppercase());
    }
    prefix.push('_');
    value.name().strip_prefix(&prefix).unwrap_or(value.name()).to_lowercase()
}

fn is_timestamp(kind: &MessageDescriptor) -> bool {
    kind.full_name() == "google.protobuf.Timestamp"
}

fn epoch_millis(time: &DynamicMessage) -> Json {
    let part = |name: &str| match time.get_field_by_name(name).as_deref() {
        Some(Value::I64(number)) => *number,
        Some(Value::I32(number)) => i64::from(*number),
        _ => 0,
    };
    json!(part("seconds") * 1000 + part("nanos") / 1_000_000)
}

fn is_nullable(field: &FieldDescriptor) -> bool {
    option_is_set(&field.options(), "whatsapp.gateway.v1.nullable")
}

fn oneof_is_nested(oneof: &OneofDescriptor) -> bool {
    option_is_set(&oneof.options(), "whatsapp.gateway.v1.nested")
}

fn option_is_set(options: &DynamicMessage, name: &str) -> bool {
    let pool = options.descriptor().parent_pool().clone();
    pool.get_extension_by_name(name).is_some_and(|option| matches!(*options.get_extension(&option), Value::Bool(true)))
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::proto::gateway::{
        Event, ListSessionsResponse, MessageStatus, MessageStatusPayload, Session, SessionStatus, event,
    };

    #[test]
    fn a_session_is_what_the_documentation_shows() {
        let session = Session {
            id: "01J9ZX8K2QHV0M3T6R7P4N5W8C".into(),
            status: SessionStatus::ScanQrCode.into(),
            rate_per_min: 20,
            created_at: Some(Timestamp { seconds: 1_719_662_400, nanos: 123_000_000 }),
            ..Session::default()
        };
        let list = ListSessionsResponse { data: vec![session], next_cursor: None };
        let json = json("ListSessionsResponse", &list).unwrap();
        assert_eq!(json["nextCursor"], Json::Null);
        assert!(json.as_object().unwrap().contains_key("nextCursor"));
        let session = &json["data"][0];
        assert_eq!(session["status"], "scan_qr_code");
        assert_eq!(session["ratePerMin"], 20);
        assert_eq!(session["createdAt"], 1_719_662_400_123_i64);
        assert_eq!(session["isAdminSession"], false);
        assert!(session.get("label").is_none() && session.get("phoneNumber").is_none());
    }

    #[test]
    fn an_event_has_its_payload_under_that_name() {
        let payload = MessageStatusPayload {
            message_ids: vec!["A".into()],
            status: MessageStatus::Delivered.into(),
            ..MessageStatusPayload::default()
        };
        let event = Event { sequence: 7, payload: Some(event::Payload::MessageStatus(payload)), ..Event::default() };
        let json = json("Event", &event).unwrap();
        assert_eq!(json["payload"]["status"], "delivered");
        assert_eq!(json["payload"]["messageIds"], json!(["A"]));
        assert_eq!(json["sequence"], 7);
        assert!(json.get("messageStatus").is_none());
    }

    #[test]
    fn moments_and_words_are_for_people() {
        assert_eq!(moment(Some(&Timestamp { seconds: 1_719_662_400, nanos: 5_000_000 })), "2024-06-29 12:00:00");
        assert_eq!(moment(None), "");
        assert_eq!(word("SessionStatus", SessionStatus::LoggedOut.into()), "logged_out");
        assert_eq!(word("SessionStatus", 99), "99");
    }
}
