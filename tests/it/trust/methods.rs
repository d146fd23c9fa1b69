//! Every method of the contract, read from its descriptors, and the way to call any of them by gRPC and by HTTP.

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, Value as Dynamic};
use serde_json::{Map, Value, json};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use whatsapp_gateway::proto::DESCRIPTORS;

/// One method with its options.
pub(super) struct Method {
    pub(super) descriptor: MethodDescriptor,
    /// What it asks of its caller, such as `CAPABILITY_MANAGE`.
    pub(super) requires: String,
    pub(super) verb: &'static str,
    pub(super) template: String,
    has_body: bool,
}

/// Every method with an HTTP binding.
pub(super) fn all() -> Vec<Method> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let requires = pool.get_extension_by_name("whatsapp.gateway.v1.requires").unwrap();
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let all: Vec<Method> = methods
        .map(|descriptor| {
            let options = descriptor.options();
            let number = options.get_extension(&requires).as_enum_number().unwrap();
            let Kind::Enum(words) = requires.kind() else { panic!("`requires` is an enumeration") };
            let requires = words.get_value(number).unwrap().name().to_owned();
            let rule = options.get_extension(&http).into_owned();
            let rule = rule.as_message().unwrap();
            let text =
                |name: &str| rule.get_field_by_name(name).and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default();
            let verbs = [("get", "GET"), ("post", "POST"), ("put", "PUT"), ("patch", "PATCH"), ("delete", "DELETE")];
            let (field, verb) =
                *verbs.iter().find(|(field, _)| !text(field).is_empty()).expect("every method has an HTTP binding");
            let (template, has_body) = (text(field), text("body") == "*");
            Method { descriptor, requires, verb, template, has_body }
        })
        .collect();
    assert!(all.len() > 20, "the methods were not found");
    all
}

/// A value that passes the rules of a field with this name. A new field that needs another one gets a line here.
fn plausible(field: &FieldDescriptor) -> Option<Value> {
    match field.name() {
        "to" | "phone" => Some(json!("6281234567890")),
        "text" | "name" => Some(json!("x")),
        "type" => Some(json!("text")),
        "assertion" => Some(json!("{}")),
        "dead" => Some(json!(true)),
        "capabilities" => Some(json!(["read"])),
        "url" => Some(json!("https://hook.example.org/x")),
        "state" => first_word(field),
        "events" if field.is_list() => Some(json!(["message"])),
        _ => None,
    }
}

/// The first word of an enumeration behind `…_UNSPECIFIED`, as JSON has it.
fn first_word(field: &FieldDescriptor) -> Option<Value> {
    let Kind::Enum(words) = field.kind() else { return None };
    let (none, first) = (words.get_value(0)?, words.get_value(1)?);
    let prefix = none.name().strip_suffix("UNSPECIFIED")?.to_owned();
    Some(json!(first.name().strip_prefix(&prefix)?.to_lowercase()))
}

impl Method {
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.descriptor.parent_service().full_name(), self.descriptor.name())
    }

    pub(super) fn is_ours(&self) -> bool {
        self.name().starts_with("whatsapp.gateway.")
    }

    /// The names in the path, each with the segment before it, such as `("sessions", "session")`.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let (mut noun, mut found) = (String::new(), Vec::new());
        for segment in self.template.split('/') {
            match segment.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                Some((name, _)) => found.push((noun.clone(), name.to_owned())),
                None => noun = segment.to_owned(),
            }
        }
        found
    }

    /// Whether it takes a form rather than JSON.
    pub(super) fn takes_form(&self) -> bool {
        self.descriptor.is_client_streaming() && self.descriptor.input().get_field_by_name("chunk").is_none()
    }

    /// Whether a variable of the path is a number.
    fn is_number(&self, variable: &str) -> bool {
        let field = self.descriptor.input().get_field_by_name(variable);
        field.is_some_and(|field| matches!(field.kind(), Kind::Int64))
    }

    /// The path with its variables filled by `value`, which gets the segment before each; numbers are 1.
    pub(super) fn path(&self, value: impl Fn(&str) -> String) -> String {
        self.variables().iter().fold(self.template.clone(), |path, (noun, name)| {
            let value = if self.is_number(name) { "1".to_owned() } else { value(noun) };
            path.replace(&format!("{{{name}}}"), &value)
        })
    }

    /// The question behind the path, for methods that must have one and take no body.
    pub(super) fn query(&self) -> &'static str {
        let asks = !self.has_body && self.descriptor.input().get_field_by_name("q").is_some();
        if asks { "?q=x" } else { "" }
    }

    /// A body that passes the rules, for methods that take one.
    pub(super) fn body(&self) -> Option<Value> {
        if !self.has_body {
            return None;
        }
        let variables = self.variables();
        let input = self.descriptor.input();
        let fields = input.fields().filter(|field| variables.iter().all(|(_, name)| name != field.name()));
        let all: Map<String, Value> =
            fields.filter_map(|field| Some((field.json_name().to_owned(), plausible(&field)?))).collect();
        Some(Value::Object(all))
    }

    /// Calls it by HTTP, with `nothing` for every variable of the path: the status and the reason in the error.
    pub(super) async fn by_http(&self, http: &reqwest::Client, base: &str, credential: Option<&str>) -> (u16, String) {
        let url = format!("{base}{}", self.path(|_| "nothing".into()));
        let mut call = http.request(self.verb.parse().unwrap(), url);
        if let Some(credential) = credential {
            call = call.bearer_auth(credential);
        }
        if self.has_body {
            call = call.header("content-type", "application/json").body("{}");
        }
        if self.descriptor.is_server_streaming() {
            call = call.header("accept", "text/event-stream");
        }
        let answer = call.send().await.unwrap();
        let status = answer.status().as_u16();
        // A stream that began does not end; only errors are read.
        let body: Value = if status < 400 { Value::Null } else { answer.json().await.unwrap() };
        (status, body["error"]["details"]["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// Calls it by gRPC with an empty message but for the path's variables: the status.
    pub(super) async fn by_grpc(&self, channel: &Channel, credential: Option<&str>) -> Result<(), Status> {
        let mut message = DynamicMessage::new(self.descriptor.input());
        for (_, name) in self.variables() {
            let value = if self.is_number(&name) { Dynamic::I64(1) } else { Dynamic::String("nothing".into()) };
            message.set_field_by_name(&name, value);
        }
        let mut call = Request::new(Bytes::from(prost::Message::encode_to_vec(&message)));
        if let Some(credential) = credential {
            call.metadata_mut().insert("authorization", format!("Bearer {credential}").parse().unwrap());
        }
        let path: PathAndQuery = format!("/{}", self.name()).parse().unwrap();
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        match self.descriptor.is_server_streaming() {
            true => client.server_streaming(call, path, Raw).await.map(drop),
            false => client.unary(call, path, Raw).await.map(drop),
        }
    }
}

/// What a status says to HTTP.
pub(super) fn http_status(result: &Result<(), Status>) -> u16 {
    match result.as_ref().map_or_else(Status::code, |()| Code::Ok) {
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::ResourceExhausted => 429,
        Code::Internal | Code::Unknown | Code::DataLoss => 500,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::NotFound => 404,
        Code::Ok => 200,
        _ => 400,
    }
}

/// Bytes in, bytes out.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(frame.copy_to_bytes(frame.remaining())))
    }
}
