//! Requests: path, query, headers and JSON body → the request message's protobuf bytes. The rules are in the room's documentation.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::error::{Code, Error, Result};
use crate::rest::json::Json;
use crate::rest::plan::{Count, Field, Kind, Message, Plans};
use crate::rest::wire::{Shape, put_bytes, put_tag, put_varint};

/// How deep objects may be nested in a body.
const DEPTH: usize = 32;

/// What there is of an HTTP request, and what its route says about it.
pub(super) struct Given<'a> {
    pub(super) plans: &'a Plans,
    /// The request message.
    pub(super) message: usize,
    /// The fields that the path names, with their captures, still percent-encoded.
    pub(super) captures: Vec<(usize, &'a str)>,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    /// Whether the route takes a body.
    pub(super) takes_body: bool,
    /// The body; empty when there is none.
    pub(super) body: &'a [u8],
}

/// Where a field of the request may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Header,
    Query,
    Body,
}

/// The one place a field is taken from; a header comes on top for fields with `(query)`.
pub(super) fn place(field: &Field, in_path: bool, takes_body: bool) -> Place {
    if in_path {
        Place::Path
    } else if field.query {
        Place::Query
    } else if field.header.is_some() {
        Place::Header
    } else if takes_body {
        Place::Body
    } else {
        Place::Query
    }
}

impl Given<'_> {
    /// The request message's bytes.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let plan = &self.plans.messages[self.message];
        let mut out = Vec::with_capacity(self.body.len() + 64);
        self.put_body(plan, &mut out)?;
        let by_header = self.put_headers(plan, &mut out)?;
        self.put_query(plan, &by_header, &mut out)?;
        for (at, raw) in &self.captures {
            let field = &plan.fields[*at];
            let value = decode(raw).map_err(|what| Error::field(&field.name, format!("{what} in the path")))?;
            put_text(self.plans, field, &value, &field.name, &mut out)?;
        }
        Ok(out)
    }

    fn place(&self, at: usize, field: &Field) -> Place {
        place(field, self.captures.iter().any(|(taken, _)| *taken == at), self.takes_body)
    }

    fn put_body(&self, plan: &Message, out: &mut Vec<u8>) -> Result<()> {
        if self.body.is_empty() {
            return Ok(());
        }
        let json = serde_json::from_slice(self.body).map_err(|cause| {
            Error::new(Code::Validation, format!("the body is not valid JSON: {cause}")).reason("malformed_json")
        })?;
        let Json::Object(members) = &json else {
            return Err(Error::new(Code::Validation, format!("the body must be an object, not {}", json.kind())));
        };
        if !self.takes_body && !members.is_empty() {
            return Err(Error::new(Code::Validation, "this call takes no body"));
        }
        for (name, _) in members {
            let Some(at) = plan.by_name(name) else { continue };
            let field = &plan.fields[at];
            let wrong = match self.place(at, field) {
                Place::Body => continue,
                Place::Path => "is given by the path and must not be in the body".to_owned(),
                Place::Query => "belongs in the query, not in the body".to_owned(),
                Place::Header => {
                    format!("belongs in the `{}` header, not in the body", field.header.as_ref().map_or("", |h| h.as_str()))
                }
            };
            return Err(Error::field(name, wrong));
        }
        put_object(self.plans, self.message, members, "", 0, out)
    }

    /// Takes fields from headers; answers which ones were there.
    fn put_headers(&self, plan: &Message, out: &mut Vec<u8>) -> Result<HashSet<usize>> {
        let mut taken = HashSet::new();
        for (at, field) in plan.fields.iter().enumerate() {
            let Some(value) = field.header.as_ref().and_then(|h| self.headers.get(h)).filter(|v| !v.is_empty()) else { continue };
            let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Error::field(&field.name, "the header is not UTF-8"))?;
            put_text(self.plans, field, text, &field.name, out)?;
            taken.insert(at);
        }
        Ok(taken)
    }

    fn put_query(&self, plan: &Message, by_header: &HashSet<usize>, out: &mut Vec<u8>) -> Result<()> {
        let mut seen = HashSet::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |text: &str| decode(&text.replace('+', "%20")).map(Cow::into_owned);
            let name = plain(name).map_err(|what| Error::field(name, format!("{what} in the query")))?;
            let value = plain(value).map_err(|what| Error::field(&name, format!("{what} in the query")))?;
            let known = plan.by_name(&name).map(|at| (at, &plan.fields[at]));
            let fits = |(at, field): &(usize, &Field)| {
                self.place(*at, field) == Place::Query && field.count != Count::Map && !matches!(field.kind, Kind::Message(_))
            };
            let Some((at, field)) = known.filter(fits) else {
                return Err(Error::field(name, "unknown query parameter"));
            };
            if field.count == Count::One && !seen.insert(at) {
                return Err(Error::field(name, "is given more than once"));
            }
            if !by_header.contains(&at) {
                put_text(self.plans, field, &value, &field.name, out)?;
            }
        }
        Ok(())
    }
}

/// The value of one query parameter, if it is there and can be read; whether it is there twice is found out later.
pub(super) fn in_query(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    decode(&value.replace('+', "%20")).ok().map(Cow::into_owned)
}

fn decode(text: &str) -> std::result::Result<Cow<'_, str>, &'static str> {
    percent_decode_str(text).decode_utf8().map_err(|_| "is not UTF-8")
}

/// Writes the members of a JSON object as the fields of a message.
fn put_object(plans: &Plans, id: usize, members: &[(String, Json)], path: &str, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    if depth > DEPTH {
        return Err(Error::field(path, format!("objects may be nested {DEPTH} deep")));
    }
    let plan = &plans.messages[id];
    let (mut names, mut oneofs) = (HashSet::new(), vec![None; plan.oneofs.len()]);
    for (name, json) in members {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if !names.insert(name.as_str()) {
            return Err(Error::field(path, "is given more than once"));
        }
        let Some(field) = plan.by_name(name).map(|at| &plan.fields[at]) else {
            return Err(Error::field(path, "unknown field"));
        };
        if *json == Json::Null {
            continue;
        }
        if let Some(oneof) = field.oneof
            && let Some(other) = oneofs[oneof].replace(name)
        {
            return Err(Error::field(path, format!("cannot be given together with {other}")));
        }
        match (field.count, json) {
            (Count::One, json) => put_json(plans, field.kind, field.number, json, &path, depth, out)?,
            (Count::List, Json::List(items)) => {
                for (i, item) in items.iter().enumerate() {
                    put_json(plans, field.kind, field.number, item, &format!("{path}[{i}]"), depth, out)?;
                }
            }
            (Count::List, other) => return Err(wrong(&path, "a list", other)),
            (Count::Map, Json::Object(entries)) => put_map(plans, field, entries, &path, depth, out)?,
            (Count::Map, other) => return Err(wrong(&path, "an object", other)),
        }
    }
    Ok(())
}

fn put_map(plans: &Plans, field: &Field, entries: &[(String, Json)], path: &str, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    let Kind::Message(entry) = field.kind else { return Ok(()) };
    let [key_field, value_field] = plans.messages[entry].fields.as_slice() else { return Ok(()) };
    let mut keys = HashSet::new();
    for (key, json) in entries {
        let path = format!("{path}[{key}]");
        if !keys.insert(key) {
            return Err(Error::field(path, "is given more than once"));
        }
        let mut bytes = Vec::new();
        put_text(plans, key_field, key, &path, &mut bytes)?;
        put_json(plans, value_field.kind, value_field.number, json, &path, depth, &mut bytes)?;
        put_bytes(out, field.number, &bytes);
    }
    Ok(())
}

fn wrong(path: &str, expected: &str, found: &Json) -> Error {
    Error::field(path, format!("must be {expected}, not {}", found.kind()))
}

/// Writes one JSON value as one field.
fn put_json(plans: &Plans, kind: Kind, number: u32, json: &Json, path: &str, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    match (kind, json) {
        (Kind::Text, Json::Text(text)) => put_bytes(out, number, text.as_bytes()),
        (Kind::Bytes, Json::Text(text)) => put_bytes(out, number, &base64(text, path)?),
        (Kind::Enum(id), Json::Text(name)) => put_enum(plans, id, number, name, path, out)?,
        (Kind::Bool, Json::Bool(b)) => put_number(out, number, kind, u64::from(*b)),
        (Kind::Message(id), Json::Object(members)) => {
            let mut bytes = Vec::new();
            put_object(plans, id, members, path, depth + 1, &mut bytes)?;
            put_bytes(out, number, &bytes);
        }
        (Kind::Float | Kind::Double, Json::Float(n)) => put_float(out, number, kind, *n),
        #[expect(clippy::cast_precision_loss, reason = "a float field was given an integer")]
        (Kind::Float | Kind::Double, Json::Integer(n)) => put_float(out, number, kind, *n as f64),
        (Kind::Text | Kind::Bytes | Kind::Enum(_), other) => return Err(wrong(path, "a text", other)),
        (Kind::Bool, other) => return Err(wrong(path, "a boolean", other)),
        (Kind::Message(_), other) => return Err(wrong(path, "an object", other)),
        (Kind::Float | Kind::Double, other) => return Err(wrong(path, "a number", other)),
        (_, Json::Integer(n)) => put_integer(out, number, kind, *n, path)?,
        (_, other) => return Err(wrong(path, "an integer", other)),
    }
    Ok(())
}

/// Writes one text from a path, a query, a header or a map's key as one field.
fn put_text(plans: &Plans, field: &Field, text: &str, path: &str, out: &mut Vec<u8>) -> Result<()> {
    let number = field.number;
    match field.kind {
        Kind::Text => put_bytes(out, number, text.as_bytes()),
        Kind::Bytes => put_bytes(out, number, &base64(text, path)?),
        Kind::Enum(id) => put_enum(plans, id, number, text, path, out)?,
        Kind::Bool => match text {
            "true" => put_number(out, number, field.kind, 1),
            "false" => put_number(out, number, field.kind, 0),
            _ => return Err(Error::field(path, "must be true or false")),
        },
        Kind::Float | Kind::Double => {
            let n = text.parse().map_err(|_| Error::field(path, "must be a number"))?;
            put_float(out, number, field.kind, n);
        }
        Kind::Message(_) => return Err(Error::field(path, "cannot be given as text")),
        kind => {
            let n = text.parse().map_err(|_| Error::field(path, "must be an integer"))?;
            put_integer(out, number, kind, n, path)?;
        }
    }
    Ok(())
}

fn base64(text: &str, path: &str) -> Result<Vec<u8>> {
    BASE64_STANDARD.decode(text).map_err(|_| Error::field(path, "must be base64"))
}

fn put_enum(plans: &Plans, id: usize, number: u32, name: &str, path: &str, out: &mut Vec<u8>) -> Result<()> {
    let of = &plans.enums[id];
    let value = of.number(name).ok_or_else(|| Error::field(path, format!("must be one of: {}", of.allowed())))?;
    put_number(out, number, Kind::Enum(id), i64::from(value).cast_unsigned());
    Ok(())
}

fn put_integer(out: &mut Vec<u8>, number: u32, kind: Kind, n: i128, path: &str) -> Result<()> {
    let (least, most): (i128, i128) = match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => (i32::MIN.into(), i32::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => (0, u32::MAX.into()),
        Kind::Uint64 | Kind::Fixed64 => (0, u64::MAX.into()),
        // The years 1 to 9999, as protobuf has them.
        Kind::Time => (-62_135_596_800_000, 253_402_300_799_999),
        _ => (i64::MIN.into(), i64::MAX.into()),
    };
    if n < least || n > most {
        return Err(Error::field(path, format!("must be between {least} and {most}")));
    }
    // Now it fits, signed or unsigned.
    let bits = i64::try_from(n).map(i64::cast_unsigned).or_else(|_| u64::try_from(n)).unwrap_or_default();
    match kind {
        Kind::Time => {
            let millis = bits.cast_signed();
            let mut time = Vec::new();
            put_number(&mut time, 1, Kind::Int64, millis.div_euclid(1000).cast_unsigned());
            put_number(&mut time, 2, Kind::Int32, (millis.rem_euclid(1000) * 1_000_000).cast_unsigned());
            put_bytes(out, number, &time);
        }
        Kind::Sint32 | Kind::Sint64 => {
            let n = bits.cast_signed();
            put_number(out, number, kind, ((n << 1) ^ (n >> 63)).cast_unsigned());
        }
        _ => put_number(out, number, kind, bits),
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "a float field holds what a float can")]
fn put_float(out: &mut Vec<u8>, number: u32, kind: Kind, n: f64) {
    put_number(out, number, kind, if kind == Kind::Float { u64::from((n as f32).to_bits()) } else { n.to_bits() });
}

fn put_number(out: &mut Vec<u8>, number: u32, kind: Kind, bits: u64) {
    let shape = kind.shape();
    put_tag(out, number, shape);
    match shape {
        Shape::Four => out.extend_from_slice(&bits.to_le_bytes()[..4]),
        Shape::Eight => out.extend_from_slice(&bits.to_le_bytes()),
        Shape::Varint | Shape::Length => put_varint(out, bits),
    }
}
