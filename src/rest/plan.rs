//! Field plans: how each message of the contract is written and read as JSON, worked out once from the descriptors.

use std::collections::HashMap;

use anyhow::{Context as _, bail, ensure};
use http::HeaderName;
use prost_reflect::{DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind as Declared, MessageDescriptor};

use crate::rest::wire::Shape;
use crate::rest::writer::blank;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    Text,
    Bytes,
    /// `google.protobuf.Timestamp`.
    Time,
    /// Index into [`Plans::enums`].
    Enum(usize),
    /// Index into [`Plans::messages`].
    Message(usize),
}

impl Kind {
    /// How the value stands on the wire.
    pub(super) fn shape(self) -> Shape {
        match self {
            Self::Fixed32 | Self::Sfixed32 | Self::Float => Shape::Four,
            Self::Fixed64 | Self::Sfixed64 | Self::Double => Shape::Eight,
            Self::Text | Self::Bytes | Self::Time | Self::Message(_) => Shape::Length,
            _ => Shape::Varint,
        }
    }
}

/// How often a field occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    One,
    List,
    /// Key and value are fields 1 and 2 of the entry message.
    Map,
}

/// What the JSON has for an unset field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unset {
    /// The type's zero value: `0`, `""`, `[]`, `{}`.
    Zero,
    Null,
    Nothing,
}

/// One field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// Its JSON name.
    pub(super) name: String,
    /// Its JSON key as it is written, with comma, quotes and colon.
    pub(super) head: Vec<u8>,
    /// What is written when it is unset, the key included.
    pub(super) blank: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) count: Count,
    pub(super) unset: Unset,
    /// Index into the message's oneofs.
    pub(super) oneof: Option<usize>,
    /// Taken from the query although there is a body.
    pub(super) query: bool,
    /// Taken from this header when it is present.
    pub(super) header: Option<HeaderName>,
    /// The `id` of a Server-Sent Event.
    pub(super) stream_id: bool,
    /// May stand in the query as the caller's credential.
    pub(super) credential: bool,
}

/// A oneof that was declared as such.
#[derive(Debug)]
pub(super) struct Oneof {
    /// With `(nested)`: the key under which the set member's value is written, with comma, quotes and colon.
    pub(super) nested: Option<Vec<u8>>,
    members: usize,
}

/// One message.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) fields: Vec<Field>,
    pub(super) oneofs: Vec<Oneof>,
    /// Whether the JSON has the fields in the order of their numbers.
    pub(super) ordered: bool,
    by_number: Vec<(u32, usize)>,
    by_name: HashMap<String, usize>,
}

impl Message {
    pub(super) fn by_number(&self, number: u32) -> Option<usize> {
        // Numbers mostly count up from 1.
        let guess = self.by_number.get(number.wrapping_sub(1) as usize).filter(|(n, _)| *n == number);
        let found =
            guess.or_else(|| self.by_number.binary_search_by_key(&number, |(n, _)| *n).ok().map(|at| &self.by_number[at]));
        found.map(|(_, at)| *at)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Whether the message is exactly one oneof, so that a stream of it is a stream of its members.
    pub(super) fn is_one_oneof(&self) -> bool {
        matches!(self.oneofs.as_slice(), [one] if one.members == self.fields.len() && one.nested.is_none())
    }
}

/// One enumeration: its values' JSON names, lower-case and without prefix.
#[derive(Debug)]
pub(super) struct Enumeration {
    names: Vec<(i32, String)>,
}

impl Enumeration {
    pub(super) fn name(&self, number: i32) -> Option<&str> {
        // Numbers mostly count up from 0.
        let guess = usize::try_from(number).ok().and_then(|at| self.names.get(at)).filter(|(n, _)| *n == number);
        let found = guess.or_else(|| self.names.iter().find(|(n, _)| *n == number));
        found.map(|(_, name)| name.as_str())
    }

    /// The number of a name; the zero value is never accepted.
    pub(super) fn number(&self, name: &str) -> Option<i32> {
        self.names.iter().find(|(n, known)| *n != 0 && known == name).map(|(n, _)| *n)
    }

    /// The names that are accepted: all but that of the zero value.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter(|(n, _)| *n != 0).map(|(_, name)| name.as_str())
    }

    /// The names that are accepted, for people.
    pub(super) fn allowed(&self) -> String {
        self.names().collect::<Vec<_>>().join(", ")
    }
}

/// All plans.
#[derive(Debug)]
pub(super) struct Plans {
    pub(super) messages: Vec<Message>,
    pub(super) enums: Vec<Enumeration>,
}

/// Makes the plans, message by message, as routes ask for them.
pub(super) struct Planner {
    plans: Plans,
    messages: HashMap<String, usize>,
    enums: HashMap<String, usize>,
    query: ExtensionDescriptor,
    header: ExtensionDescriptor,
    nullable: ExtensionDescriptor,
    stream_id: ExtensionDescriptor,
    credential: ExtensionDescriptor,
    nested: ExtensionDescriptor,
}

impl Planner {
    pub(super) fn new(pool: &DescriptorPool) -> anyhow::Result<Self> {
        let of = |name: &str| {
            let name = format!("whatsapp.gateway.v1.{name}");
            pool.get_extension_by_name(&name).with_context(|| format!("the descriptors do not know `{name}`"))
        };
        Ok(Self {
            plans: Plans { messages: Vec::new(), enums: Vec::new() },
            messages: HashMap::new(),
            enums: HashMap::new(),
            query: of("query")?,
            header: of("header")?,
            nullable: of("nullable")?,
            stream_id: of("stream_id")?,
            credential: of("credential")?,
            nested: of("nested")?,
        })
    }

    /// All plans, complete.
    ///
    /// # Errors
    /// A message that holds itself and is not optional.
    pub(super) fn finish(mut self) -> anyhow::Result<Plans> {
        for message in 0..self.plans.messages.len() {
            for field in 0..self.plans.messages[message].fields.len() {
                let blank = blank(&self.plans, &self.plans.messages[message].fields[field], 0)?;
                self.plans.messages[message].fields[field].blank = blank;
            }
        }
        Ok(self.plans)
    }

    pub(super) fn plans(&self) -> &Plans {
        &self.plans
    }

    /// The plan of a message that is sent as a request; such messages have no nested oneofs anywhere, because the JSON does not
    /// tell which member is meant.
    pub(super) fn request(&mut self, message: &MessageDescriptor) -> anyhow::Result<usize> {
        let top = self.message(message)?;
        let (mut seen, mut todo) = (vec![false; self.plans.messages.len()], vec![top]);
        while let Some(id) = todo.pop() {
            if std::mem::replace(&mut seen[id], true) {
                continue;
            }
            let plan = &self.plans.messages[id];
            ensure!(plan.oneofs.iter().all(|o| o.nested.is_none()), "{}: a request with a nested oneof", message.full_name());
            todo.extend(plan.fields.iter().filter_map(|f| if let Kind::Message(id) = f.kind { Some(id) } else { None }));
        }
        Ok(top)
    }

    pub(super) fn message(&mut self, message: &MessageDescriptor) -> anyhow::Result<usize> {
        if let Some(id) = self.messages.get(message.full_name()) {
            return Ok(*id);
        }
        let full_name = message.full_name();
        ensure!(
            !full_name.starts_with("google.protobuf.") || full_name == "google.protobuf.Empty",
            "{full_name}: there is no JSON rule for this type"
        );
        // Entered before its fields, for messages that hold themselves.
        let id = self.plans.messages.len();
        self.messages.insert(full_name.to_owned(), id);
        self.plans.messages.push(Message::default());

        let mut plan = Message::default();
        let mut oneofs = HashMap::new();
        for oneof in message.oneofs().filter(|o| !o.is_synthetic()) {
            let nested = oneof.options().get_extension(&self.nested).as_bool().unwrap_or(false);
            let only_messages = oneof.fields().all(|f| matches!(f.kind(), Declared::Message(_)));
            ensure!(!nested || only_messages, "{}: nested oneofs hold messages only", oneof.full_name());
            oneofs.insert(oneof.name().to_owned(), plan.oneofs.len());
            let nested = nested.then(|| head(&camel(oneof.name()))).transpose()?;
            plan.oneofs.push(Oneof { nested, members: oneof.fields().len() });
        }
        for field in message.fields() {
            let oneof = field.containing_oneof().and_then(|o| oneofs.get(o.name()).copied());
            plan.fields.push(self.field(&field, oneof)?);
        }
        plan.ordered = plan.fields.is_sorted_by_key(|f| f.number) && plan.oneofs.iter().all(|o| o.nested.is_none());
        plan.by_number = plan.fields.iter().enumerate().map(|(at, f)| (f.number, at)).collect();
        plan.by_number.sort_unstable();
        plan.by_name = plan.fields.iter().enumerate().map(|(at, f)| (f.name.clone(), at)).collect();
        self.plans.messages[id] = plan;
        Ok(id)
    }

    fn field(&mut self, field: &FieldDescriptor, oneof: Option<usize>) -> anyhow::Result<Field> {
        let options = field.options();
        let flag = |of: &ExtensionDescriptor| options.get_extension(of).as_bool().unwrap_or(false);
        let count = match (field.is_map(), field.is_list()) {
            (true, _) => Count::Map,
            (_, true) => Count::List,
            _ => Count::One,
        };
        let unset = if flag(&self.nullable) {
            ensure!(count == Count::One && oneof.is_none(), "{}: cannot be nullable", field.full_name());
            Unset::Null
        } else if oneof.is_some() || field.field_descriptor_proto().proto3_optional() {
            Unset::Nothing
        } else {
            Unset::Zero
        };
        let header = options.get_extension(&self.header);
        let header = header.as_str().filter(|h| !h.is_empty());
        let header = header.map(|h| h.parse().with_context(|| format!("{}: header {h:?}", field.full_name()))).transpose()?;
        let (query, stream_id, credential) = (flag(&self.query), flag(&self.stream_id), flag(&self.credential));
        let kind = self.kind(field)?;
        let plain = count == Count::One && !matches!(kind, Kind::Message(_));
        ensure!(plain || header.is_none() && !stream_id, "{}: only a single plain value can be this", field.full_name());
        let text_in_query = query && kind == Kind::Text && count == Count::One;
        ensure!(!credential || text_in_query, "{}: only a text in the query can be a credential", field.full_name());
        Ok(Field {
            number: field.number(),
            name: field.json_name().to_owned(),
            head: head(field.json_name())?,
            blank: Vec::new(),
            kind,
            count,
            unset,
            oneof,
            query,
            header,
            stream_id,
            credential,
        })
    }

    fn kind(&mut self, field: &FieldDescriptor) -> anyhow::Result<Kind> {
        Ok(match field.kind() {
            Declared::Bool => Kind::Bool,
            Declared::Int32 => Kind::Int32,
            Declared::Int64 => Kind::Int64,
            Declared::Uint32 => Kind::Uint32,
            Declared::Uint64 => Kind::Uint64,
            Declared::Sint32 => Kind::Sint32,
            Declared::Sint64 => Kind::Sint64,
            Declared::Fixed32 => Kind::Fixed32,
            Declared::Fixed64 => Kind::Fixed64,
            Declared::Sfixed32 => Kind::Sfixed32,
            Declared::Sfixed64 => Kind::Sfixed64,
            Declared::Float => Kind::Float,
            Declared::Double => Kind::Double,
            Declared::String => Kind::Text,
            Declared::Bytes => Kind::Bytes,
            Declared::Enum(of) => Kind::Enum(self.enumeration(&of)?),
            Declared::Message(of) if of.full_name() == "google.protobuf.Timestamp" => Kind::Time,
            Declared::Message(of) => Kind::Message(self.message(&of)?),
        })
    }

    fn enumeration(&mut self, of: &EnumDescriptor) -> anyhow::Result<usize> {
        if let Some(id) = self.enums.get(of.full_name()) {
            return Ok(*id);
        }
        let prefix = screaming(of.name());
        let mut names = Vec::new();
        for value in of.values() {
            let Some(name) = value.name().strip_prefix(&prefix) else {
                bail!("{}: does not begin with {prefix}", value.full_name());
            };
            names.push((value.number(), name.to_lowercase()));
        }
        let id = self.plans.enums.len();
        self.plans.enums.push(Enumeration { names });
        self.enums.insert(of.full_name().to_owned(), id);
        Ok(id)
    }
}

fn head(name: &str) -> anyhow::Result<Vec<u8>> {
    Ok([b",", &serde_json::to_vec(name)?[..], b":"].concat())
}

/// `SessionStatus` → `SESSION_STATUS_`.
pub(super) fn screaming(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_uppercase());
    }
    out + "_"
}

/// `next_cursor` → `nextCursor`.
pub(super) fn camel(name: &str) -> String {
    let mut out = String::new();
    for part in name.split('_') {
        let mut chars = part.chars();
        match chars.next() {
            Some(first) if !out.is_empty() => out.extend(first.to_uppercase().chain(chars)),
            _ => out.push_str(part),
        }
    }
    out
}
