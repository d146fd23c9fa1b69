//! OpenAPI 3.1 of the HTTP edge, from the same descriptors and by the same rules as the calls themselves (see [`crate::rest`]).
//!
//! The comments of the contract are its text: the first sentence is the summary; gRPC's names of errors become ours. An operation
//! says what it requires in `x-required-capability` too, and one that streams has `x-stream`. A unary method and a streaming one
//! that share a path are one operation with several media types.

mod errors;
mod file;
mod schema;
mod text;
mod yaml;

use std::fmt::Write as _;

use anyhow::Context as _;
use prost_reflect::{DescriptorPool, ExtensionDescriptor, MethodDescriptor};
use serde_json::{Map, Value, json};

use crate::api::status::{Row, TABLE};
use crate::error::Code;
use crate::proto::gateway::Capability;
use crate::rest::openapi::schema::Schemas;
use crate::rest::openapi::text::{Texts, first_sentence};
use crate::rest::plan::Planner;
use crate::rest::request::Place;
use crate::rest::rule::{Options, Rule};
use crate::rest::template::Template;

pub use self::yaml::to_yaml;

/// One method with its HTTP binding.
struct Bound {
    method: MethodDescriptor,
    rule: Rule,
    template: Template,
}

/// The document for the contract `descriptors`, an encoded `FileDescriptorSet`.
///
/// # Errors
/// A contract that cannot be served, see [`crate::rest::Rest::new`].
pub fn document(descriptors: &[u8]) -> anyhow::Result<Value> {
    let pool = DescriptorPool::decode(descriptors).context("the descriptors cannot be read")?;
    let options = Options::new(&pool)?;
    let requires = pool.get_extension_by_name("whatsapp.gateway.v1.requires").context("the option `requires` is unknown")?;
    let mut writer = Writer { texts: Texts::new(&pool), requires, schemas: Schemas::new(Planner::new(&pool)?, &pool)? };
    let (mut paths, mut tags) = (Map::new(), Vec::new());
    // In the order of the contract; those that share a path and a verb stand together.
    let mut operations: Vec<Vec<Bound>> = Vec::new();
    for service in pool.services() {
        let before = operations.len();
        for method in service.methods() {
            let Some(rule) = options.rule(&method)? else { continue };
            let template = Template::parse(&rule.template)?;
            let same = |b: &Bound| b.template.text == template.text && b.rule.method == rule.method;
            let found = operations.iter().position(|group| group.iter().any(same));
            let bound = Bound { method, rule, template };
            match found {
                Some(at) => operations[at].push(bound),
                None => operations.push(vec![bound]),
            }
        }
        if operations.len() > before {
            tags.push(json!({"name": service.name(), "description": writer.texts.of(&service.parent_file(), service.path())}));
        }
    }
    for group in &mut operations {
        // The unary method leads.
        group.sort_by_key(|b| b.method.is_server_streaming());
    }
    let ids = operation_ids(&operations);
    for (group, id) in operations.iter().zip(ids) {
        let Some(main) = group.first() else { continue };
        let (path, verb) = (main.template.text.clone(), main.rule.method.as_str().to_lowercase());
        let operation = writer.operation(group, &id).with_context(|| main.method.full_name().to_owned())?;
        let place = paths.entry(path).or_insert_with(|| json!({}));
        place[verb] = operation;
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "WhatsApp Gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Holds many WhatsApp numbers for many organizations.",
            "description": introduction(),
            "license": {"name": "MIT OR Apache-2.0", "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "servers": [{"url": "/", "description": "The gateway that serves this document"}],
        "security": [{"bearer": []}, {"apiKey": []}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": writer.schemas.finish(),
            "responses": errors::responses(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An api-key `wa_…` or a login token.",
                },
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "An api-key `wa_…`."},
            },
        },
    }))
}

struct Writer {
    texts: Texts,
    requires: ExtensionDescriptor,
    schemas: Schemas,
}

impl Writer {
    fn operation(&mut self, group: &[Bound], id: &str) -> anyhow::Result<Value> {
        let Some(main) = group.first() else { return Ok(Value::Null) };
        let text = self.texts.of(&main.method.parent_file(), main.method.path());
        let mut description = text.clone();
        for streaming in &group[1..] {
            let text = self.texts.of(&streaming.method.parent_file(), streaming.method.path());
            let _ = write!(description, "\n\n**As a stream**, by `Accept`: {text}");
        }
        let (capability, sentence) = self.required(main)?;
        let _ = write!(description, "\n\n{sentence}");
        let mut operation = json!({
            "operationId": id,
            "tags": [main.method.parent_service().name()],
            "summary": first_sentence(&text),
            "description": description,
            "responses": self.responses(group, capability)?,
        });
        let parameters = self.parameters(group)?;
        if parameters.iter().any(|parameter| parameter["in"] == "query") {
            for status in ["414", "431"] {
                operation["responses"][status] = json!({"description": errors::TOO_LONG});
            }
        }
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if main.rule.body {
            let left_out = |field: &str| main.template.variables.iter().any(|v| v == field);
            let (schema, required) = self.schemas.body(&main.method.input(), &self.texts, left_out)?;
            operation["requestBody"] = match main.method.is_client_streaming() {
                false => json!({"required": required, "content": {"application/json": {"schema": schema}}}),
                true if main.method.input().get_field_by_name("chunk").is_some() => file::request(),
                true => json!({"required": true, "content": {"multipart/form-data": {"schema": schema}}}),
            };
        }
        if let Some(word) = word(capability) {
            operation["x-required-capability"] = word.into();
        }
        match capability {
            Capability::Public => operation["security"] = json!([]),
            Capability::SuperAdmin => operation["security"] = json!([{"bearer": []}]),
            _ => {}
        }
        if group.iter().any(|b| b.method.is_server_streaming() && b.method.output().name() != "FilePiece") {
            operation["x-stream"] = true.into();
        }
        Ok(operation)
    }

    /// What the caller needs, as it was declared and in words.
    fn required(&self, bound: &Bound) -> anyhow::Result<(Capability, String)> {
        let number = bound.method.options().get_extension(&self.requires).as_enum_number().unwrap_or_default();
        let capability = Capability::try_from(number)?;
        let sentence = match (capability, word(capability)) {
            (Capability::Public, _) => "Needs no credential.".to_owned(),
            (Capability::SuperAdmin, _) => "Requires the platform role `super_admin`, which only a login token has.".to_owned(),
            (_, Some(word)) => format!("Requires the `{word}` capability."),
            _ => "Requires a valid credential.".to_owned(),
        };
        Ok((capability, sentence))
    }

    /// Parameters of path, query and headers. One that only the stream or only the single answer takes says so.
    fn parameters(&mut self, group: &[Bound]) -> anyhow::Result<Vec<Value>> {
        let mut all: Vec<(Value, Vec<bool>)> = Vec::new();
        for bound in group {
            let streaming = bound.method.is_server_streaming();
            let variable = |field: &str| bound.template.variables.iter().any(|v| v == field);
            for (place, mut parameter) in
                self.schemas.parameters(&bound.method.input(), &self.texts, variable, bound.rule.body)?
            {
                parameter["in"] = match place {
                    Place::Path => "path".into(),
                    Place::Header => "header".into(),
                    _ => "query".into(),
                };
                let same = |(p, _): &&mut (Value, Vec<bool>)| p["name"] == parameter["name"] && p["in"] == parameter["in"];
                match all.iter_mut().find(same) {
                    Some((_, kinds)) => kinds.push(streaming),
                    None => all.push((parameter, vec![streaming])),
                }
            }
        }
        for (parameter, kinds) in all.iter_mut().filter(|(_, kinds)| kinds.len() < group.len()) {
            let note = if kinds == &[true] { "Only for a stream." } else { "Not for a stream." };
            let text = parameter["description"].as_str().unwrap_or_default();
            parameter["description"] = format!("{text} {note}").trim().into();
        }
        Ok(all.into_iter().map(|(parameter, _)| parameter).collect())
    }

    fn responses(&mut self, group: &[Bound], capability: Capability) -> anyhow::Result<Map<String, Value>> {
        let mut responses = Map::new();
        for bound in group {
            let status = bound.rule.success.as_str();
            let output = bound.method.output();
            if output.full_name() == "google.protobuf.Empty" {
                responses.insert(status.to_owned(), json!({"description": "Done."}));
                continue;
            }
            let text = self.texts.of(&output.parent_file(), output.path());
            if output.name() == "FilePiece" {
                responses.extend(file::responses());
                continue;
            }
            let schema = self.schemas.reply(&output, &self.texts)?;
            let content = match (bound.method.is_server_streaming(), &bound.rule.qr_field) {
                (true, _) => json!({
                    "application/x-ndjson": {"schema": schema},
                    "text/event-stream": {"schema": {
                        "type": "string",
                        "description": "Server-Sent Events with the same JSON in `data`; an error at the end is `event: error`.",
                    }},
                }),
                (false, None) => json!({"application/json": {"schema": schema}}),
                (false, Some(_)) => json!({
                    "application/json": {"schema": schema},
                    "image/png": {"schema": {}},
                    "image/svg+xml": {"schema": {"type": "string"}},
                    "text/plain": {"schema": {"type": "string"}},
                }),
            };
            if bound.method.is_server_streaming() {
                responses.insert("101".to_owned(), json!({"description": SOCKET}));
            }
            let response = responses.entry(status).or_insert_with(|| json!({"description": text, "content": {}}));
            if let (Some(all), Value::Object(more)) = (response["content"].as_object_mut(), content) {
                all.extend(more);
            }
        }
        let with_credential = capability != Capability::Public;
        let in_path = group.iter().any(|b| !b.template.variables.is_empty());
        for row in TABLE.iter().filter(|row| errors::NAMED.contains(&row.code)) {
            let fits = match row.code {
                Code::Unauthorized | Code::Forbidden => with_credential,
                Code::NotFound => in_path,
                _ => true,
            };
            if fits {
                responses.insert(row.http.as_str().to_owned(), json!({"$ref": format!("#/components/responses/{}", row.word)}));
            }
        }
        responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/error"}));
        Ok(responses)
    }
}

/// `ListSessions` → `listSessions`. Of several methods with one name the one with the shortest path keeps it; the others get the noun
/// of their service before it, as in `adminListSessions`.
fn operation_ids(operations: &[Vec<Bound>]) -> Vec<String> {
    let mains: Vec<&Bound> = operations.iter().filter_map(|group| group.first()).collect();
    let id = |bound: &&Bound| {
        let name = bound.method.name();
        let length = bound.template.text.len();
        let keeps = !mains.iter().any(|other| other.method.name() == name && other.template.text.len() < length);
        let service = bound.method.parent_service();
        match keeps {
            true => lower_first(name),
            false => lower_first(service.name().trim_end_matches("Service")) + name,
        }
    };
    mains.iter().map(id).collect()
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// The word for a capability that somebody can have.
fn word(capability: Capability) -> Option<&'static str> {
    match capability {
        Capability::Unspecified | Capability::Public | Capability::Authenticated => None,
        Capability::Read => Some("read"),
        Capability::Send => Some("send"),
        Capability::Manage => Some("manage"),
        Capability::Events => Some("events"),
        Capability::SuperAdmin => Some("super_admin"),
    }
}

/// What a streaming operation does for those that ask to upgrade.
const SOCKET: &str = "With `Upgrade: websocket`: a WebSocket whose text frames are the lines of the `application/x-ndjson` answer, one each. \
                      An error, also one before the first item, is the last frame; then the socket is closed with 1008 (the request or the \
                      credential), 1001 (the program ends) or 1011, and the error's code as the reason.";

fn introduction() -> String {
    let mut text = String::from(
        "Sessions hold WhatsApp numbers; messages, events and settings belong to them. The same calls are there over gRPC and \
         gRPC-Web on the same port.\n\nTimes are epoch milliseconds. 64-bit integers are numbers. Unknown fields and unknown query \
         parameters are refused. Every answer has the header `x-request-id`.\n\nErrors are \
         `{\"error\":{\"code\",\"message\",\"details\"}}`:\n\n| code | status | meaning |\n|---|---|---|\n",
    );
    for Row { code, word, http, .. } in TABLE {
        let _ = writeln!(text, "| `{word}` | {} | {} |", http.as_str(), errors::meaning(code));
    }
    text
}
