//! Schemas of messages: what requests may hold and what replies hold.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use prost_reflect::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, Kind as Declared, MessageDescriptor, Value as Proto};
use serde_json::{Map, Value, json};

use crate::rest::openapi::errors;
use crate::rest::openapi::text::Texts;
use crate::rest::plan::{Count, Field, Kind, Planner, Unset, camel};
use crate::rest::request::{Place, place};

/// Which way a message goes. The same message may look different: a request leaves fields out and takes no unknown ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    In,
    Out,
}

/// The schemas that operations ask for, and what they ask for in turn.
pub(super) struct Schemas {
    planner: Planner,
    rules: ExtensionDescriptor,
    nested: ExtensionDescriptor,
    done: Map<String, Value>,
    /// The message and the way behind each name that is taken.
    names: HashMap<String, (String, Way)>,
}

impl Schemas {
    pub(super) fn new(planner: Planner, pool: &DescriptorPool) -> anyhow::Result<Self> {
        let of = |name: &str| pool.get_extension_by_name(name).with_context(|| format!("the descriptors do not know `{name}`"));
        let (rules, nested) = (of("buf.validate.field")?, of("whatsapp.gateway.v1.nested")?);
        Ok(Self { planner, rules, nested, done: errors::schemas(), names: HashMap::new() })
    }

    pub(super) fn finish(self) -> Map<String, Value> {
        self.done
    }

    /// A reference to the schema of a reply.
    pub(super) fn reply(&mut self, message: &MessageDescriptor, texts: &Texts) -> anyhow::Result<Value> {
        self.reference(message, Way::Out, texts)
    }

    /// A reference to the schema of a body and whether there must be one. `elsewhere` tells which fields the path has.
    pub(super) fn body(
        &mut self,
        message: &MessageDescriptor,
        texts: &Texts,
        elsewhere: impl Fn(&str) -> bool,
    ) -> anyhow::Result<(Value, bool)> {
        let plan = self.planner.message(message)?;
        let fits = |planner: &Planner, at: usize, f: &FieldDescriptor| {
            place(&planner.plans().messages[plan].fields[at], elsewhere(f.name()), true) == Place::Body
        };
        let kept: Vec<bool> = message.fields().enumerate().map(|(at, f)| fits(&self.planner, at, &f)).collect();
        let schema = self.object(message, Way::In, texts, |at| kept[at])?;
        let required = schema.get("required").is_some();
        let name = self.name(message, Way::In)?;
        self.done.insert(name.clone(), schema);
        Ok((pointer(&name), required))
    }

    /// The parameters of a request, each with its place. `variable` tells which fields the path has.
    pub(super) fn parameters(
        &mut self,
        message: &MessageDescriptor,
        texts: &Texts,
        variable: impl Fn(&str) -> bool,
        takes_body: bool,
    ) -> anyhow::Result<Vec<(Place, Value)>> {
        let plan = self.planner.message(message)?;
        let mut all = Vec::new();
        for (at, field) in message.fields().enumerate() {
            let planned = &self.planner.plans().messages[plan].fields[at];
            let (kind, count, header) = (planned.kind, planned.count, planned.header.clone());
            let found = place(planned, variable(field.name()), takes_body);
            // Values that cannot be written as text cannot be given.
            if count == Count::Map || matches!(kind, Kind::Message(_)) {
                continue;
            }
            let (schema, required) = self.field(&field, kind, count, Way::In, texts)?;
            let text = texts.of(&field.parent_file(), field.path());
            let parameter =
                |name: &str, required: bool| json!({"name": name, "description": text, "required": required, "schema": schema});
            match found {
                Place::Path => all.push((Place::Path, parameter(field.name(), true))),
                Place::Query => all.push((Place::Query, parameter(field.json_name(), required && header.is_none()))),
                Place::Header | Place::Body => {}
            }
            if let (Some(header), Place::Query | Place::Header) = (header, found) {
                all.push((Place::Header, parameter(&header_case(header.as_str()), required && found == Place::Header)));
            }
        }
        Ok(all)
    }

    fn reference(&mut self, message: &MessageDescriptor, way: Way, texts: &Texts) -> anyhow::Result<Value> {
        let name = self.name(message, way)?;
        if !self.done.contains_key(&name) {
            // Entered before its fields, for messages that hold themselves.
            self.done.insert(name.clone(), Value::Null);
            let schema = self.object(message, way, texts, |_| true)?;
            self.done.insert(name.clone(), schema);
        }
        Ok(pointer(&name))
    }

    /// The schema's name: the message's own, with `Input` behind the name of a part of requests.
    fn name(&mut self, message: &MessageDescriptor, way: Way) -> anyhow::Result<String> {
        let own = message.full_name().strip_prefix(message.package_name()).unwrap_or_default().replace('.', "");
        let name = if way == Way::In && !own.ends_with("Request") { own + "Input" } else { own };
        let taken = self.names.entry(name.clone()).or_insert_with(|| (message.full_name().to_owned(), way));
        ensure!(taken.0 == message.full_name() && taken.1 == way, "{} and {} have the same name", taken.0, message.full_name());
        Ok(name)
    }

    fn object(
        &mut self,
        message: &MessageDescriptor,
        way: Way,
        texts: &Texts,
        kept: impl Fn(usize) -> bool,
    ) -> anyhow::Result<Value> {
        let plan = self.planner.message(message)?;
        let (mut properties, mut required) = (Map::new(), Vec::new());
        let is_one_oneof = self.planner.plans().messages[plan].is_one_oneof();
        for (at, field) in message.fields().enumerate().filter(|(at, _)| kept(*at)) {
            let Field { kind, count, unset, oneof, .. } = self.planner.plans().messages[plan].fields[at];
            let (mut schema, needed) = self.field(&field, kind, count, way, texts)?;
            describe(&mut schema, &texts.of(&field.parent_file(), field.path()));
            let oneof = field.containing_oneof().filter(|_| oneof.is_some());
            if let Some(oneof) = oneof.filter(|o| o.options().get_extension(&self.nested).as_bool() == Some(true)) {
                let name = camel(oneof.name());
                let text = texts.of(&oneof.parent_file(), oneof.path());
                let all = properties.entry(&name).or_insert_with(|| json!({"description": text, "anyOf": []}));
                if let Some(members) = all["anyOf"].as_array_mut() {
                    members.push(schema);
                }
                if !required.contains(&name) {
                    required.push(name);
                }
                continue;
            }
            // What a request may leave out may also be `null`.
            let (null, must_be) = match way {
                Way::In => (!needed, needed),
                Way::Out => (unset == Unset::Null, unset != Unset::Nothing),
            };
            if null {
                allow_null(&mut schema);
            }
            if must_be {
                required.push(field.json_name().to_owned());
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if way == Way::In {
            schema["additionalProperties"] = false.into();
        }
        if is_one_oneof && way == Way::Out {
            schema["minProperties"] = 1.into();
            schema["maxProperties"] = 1.into();
        }
        describe(&mut schema, &texts.of(&message.parent_file(), message.path()));
        Ok(schema)
    }

    /// The schema of a field's value, and whether a request must have it: because its zero value is refused.
    fn field(
        &mut self,
        field: &FieldDescriptor,
        kind: Kind,
        count: Count,
        way: Way,
        texts: &Texts,
    ) -> anyhow::Result<(Value, bool)> {
        if let (Count::Map, Declared::Message(entry)) = (count, field.kind()) {
            let value = entry.map_entry_value_field();
            let plan = self.planner.message(&entry)?;
            let kind =
                self.planner.plans().messages[plan].by_number(2).map(|at| self.planner.plans().messages[plan].fields[at].kind);
            let kind = kind.context("a map's entry without a value")?;
            let values = self.field(&value, kind, Count::One, way, texts)?.0;
            return Ok((json!({"type": "object", "additionalProperties": values}), false));
        }
        let mut schema = self.value(field, kind, way, texts)?;
        let limits = self.limits(field);
        let is_of_list = |key: &str| matches!(key, "minItems" | "maxItems");
        if count == Count::List {
            schema = json!({"type": "array", "items": schema});
        }
        if let Some(members) = schema.as_object_mut() {
            members.extend(
                limits.iter().filter(|(key, _)| is_of_list(key) == (count == Count::List)).map(|(k, v)| (k.clone(), v.clone())),
            );
        }
        let at_least = |key: &str, least: i64| limits.get(key).and_then(Value::as_i64).is_some_and(|n| n >= least);
        let refuses_zero =
            at_least("minLength", 1) || at_least("minItems", 1) || at_least("minimum", 1) || at_least("exclusiveMinimum", 0);
        Ok((schema, refuses_zero && !field.supports_presence()))
    }

    fn value(&mut self, field: &FieldDescriptor, kind: Kind, way: Way, texts: &Texts) -> anyhow::Result<Value> {
        Ok(match kind {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Text => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({"type": "integer", "format": "int64"}),
            Kind::Uint32 | Kind::Fixed32 | Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "integer", "format": "int64", "minimum": 0})
            }
            Kind::Time => json!({"type": "integer", "format": "int64"}),
            Kind::Enum(id) => json!({"type": "string", "enum": self.planner.plans().enums[id].names().collect::<Vec<_>>()}),
            Kind::Message(_) => match field.kind() {
                Declared::Message(message) => self.reference(&message, way, texts)?,
                _ => Value::Null,
            },
        })
    }

    /// The rules on a field in the words of JSON schema. `build.rs` knows the same rules and refuses others.
    fn limits(&self, field: &FieldDescriptor) -> Map<String, Value> {
        let options = field.options();
        let rules = options.get_extension(&self.rules);
        let of_kinds = rules.as_message().map(|m| m.fields().filter_map(|(_, value)| value.as_message()).collect::<Vec<_>>());
        let mut limits = Map::new();
        for (rule, value) in of_kinds.iter().flatten().flat_map(|of_kind| of_kind.fields()) {
            let key = match rule.name() {
                "min_len" => "minLength",
                "max_len" => "maxLength",
                "gte" => "minimum",
                "gt" => "exclusiveMinimum",
                "lte" => "maximum",
                "lt" => "exclusiveMaximum",
                "min_items" => "minItems",
                "max_items" => "maxItems",
                _ => continue,
            };
            let number = match value {
                Proto::I32(n) => json!(n),
                Proto::I64(n) => json!(n),
                Proto::U32(n) => json!(n),
                Proto::U64(n) => json!(n),
                _ => continue,
            };
            limits.insert(key.to_owned(), number);
        }
        limits
    }
}

fn pointer(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Adds a description, also beside a reference.
fn describe(schema: &mut Value, text: &str) {
    if !text.is_empty() {
        schema["description"] = text.into();
    }
}

/// Lets a value be `null` too.
fn allow_null(schema: &mut Value) {
    if let Some(kind) = schema.get("type").cloned() {
        schema["type"] = json!([kind, "null"]);
        if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            words.push(Value::Null);
        }
    } else if let Some(target) = schema.as_object_mut().and_then(|s| s.remove("$ref")) {
        schema["anyOf"] = json!([{"$ref": target}, {"type": "null"}]);
    }
}

/// `idempotency-key` → `Idempotency-Key`.
fn header_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut chars = word.chars();
        chars.next().map(|c| c.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
    });
    words.collect::<Vec<_>>().join("-")
}
