//! Messages' bytes as the contract's JSON. The rules are in the room's documentation.
//!
//! Encoders write a message's fields in the order of their numbers, and the contract declares them so: then one walk over plan and bytes
//! side by side writes the JSON. Bytes in another order are as good; for them, what stands where is looked up first.
//!
//! Whatever is inside of braces or brackets begins with a comma; the bracket is put in the place of the first one.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::rest::plan::{Count, Field, Kind, Message, Plans, Unset};
use crate::rest::wire::{Raw, Reader, Shape};

/// Writes the message `bytes` as JSON. `None` for bytes that are no such message.
pub(super) fn write(plans: &Plans, message: usize, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let plan = &plans.messages[message];
    let start = out.len();
    if !(plan.ordered && in_order(plans, plan, bytes, out)?) {
        out.truncate(start);
        in_any_order(plans, plan, bytes, out)?;
    }
    close(out, start, b'{', b'}');
    Some(())
}

/// Puts the brackets around what was written since `start`.
fn close(out: &mut Vec<u8>, start: usize, open: u8, close: u8) {
    match out.get_mut(start) {
        Some(comma) => *comma = open,
        None => out.push(open),
    }
    out.push(close);
}

/// Writes a message whose fields come in the order of its plan, each once, lists in one piece. `false` when they do not.
fn in_order(plans: &Plans, plan: &Message, bytes: &[u8], out: &mut Vec<u8>) -> Option<bool> {
    let mut reader = Reader::new(bytes);
    let (mut at, mut last) = (0, 0);
    while !reader.is_empty() {
        let from = reader.rest();
        let (number, raw) = reader.field()?;
        if number <= last {
            return Some(false);
        }
        last = number;
        while let Some(before) = plan.fields.get(at).filter(|field| field.number < number) {
            out.extend_from_slice(&before.blank);
            at += 1;
        }
        // Fields that the plan does not know are from a newer contract.
        let Some(field) = plan.fields.get(at).filter(|field| field.number == number) else { continue };
        at += 1;
        out.extend_from_slice(&field.head);
        if field.count == Count::One {
            value(plans, field.kind, raw, out)?;
        } else {
            reader = list(plans, field, from, true, out)?;
        }
    }
    for rest in plan.fields.get(at..).unwrap_or_default() {
        out.extend_from_slice(&rest.blank);
    }
    Some(true)
}

/// Writes a message whatever the order of its fields: the last value of a single one counts, and a list is all of its occurrences.
fn in_any_order(plans: &Plans, plan: &Message, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // Where each field stands: the last value of a single one, the bytes from the first occurrence of a list.
    let mut slots: Vec<Option<(&[u8], Raw<'_>)>> = vec![None; plan.fields.len()];
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let from = reader.rest();
        let (number, value) = reader.field()?;
        let Some(at) = plan.by_number(number) else { continue };
        if plan.fields[at].count == Count::One || slots[at].is_none() {
            slots[at] = Some((from, value));
        }
    }
    for (field, slot) in plan.fields.iter().zip(&slots) {
        let Some((from, raw)) = slot else {
            out.extend_from_slice(&field.blank);
            continue;
        };
        let nested = field.oneof.and_then(|o| plan.oneofs[o].nested.as_deref());
        out.extend_from_slice(nested.unwrap_or(&field.head));
        match field.count {
            Count::One => value(plans, field.kind, *raw, out)?,
            _ => _ = list(plans, field, from, false, out)?,
        }
    }
    for (at, oneof) in plan.oneofs.iter().enumerate() {
        let set = plan.fields.iter().zip(&slots).any(|(f, s)| f.oneof == Some(at) && s.is_some());
        if let (Some(head), false) = (&oneof.nested, set) {
            out.extend_from_slice(head);
            out.extend_from_slice(b"{}");
        }
    }
    Some(())
}

/// What the JSON has for an unset field, its key included.
///
/// # Errors
/// A message that always holds itself has no end.
pub(super) fn blank(plans: &Plans, field: &Field, depth: usize) -> anyhow::Result<Vec<u8>> {
    anyhow::ensure!(depth < 32, "{:?}: a message that holds itself has to be optional", field.name);
    let mut out = Vec::new();
    match (field.unset, field.count, field.kind) {
        (Unset::Nothing, ..) => return Ok(out),
        (Unset::Null, ..) => out.extend_from_slice(b"null"),
        (Unset::Zero, Count::List, _) => out.extend_from_slice(b"[]"),
        (Unset::Zero, Count::Map, _) => out.extend_from_slice(b"{}"),
        (Unset::Zero, Count::One, Kind::Message(id)) => {
            let plan = &plans.messages[id];
            for field in &plan.fields {
                out.extend(blank(plans, field, depth + 1)?);
            }
            for head in plan.oneofs.iter().filter_map(|oneof| oneof.nested.as_ref()) {
                out.extend_from_slice(head);
                out.extend_from_slice(b"{}");
            }
            close(&mut out, 0, b'{', b'}');
        }
        (Unset::Zero, Count::One, kind) => {
            value(plans, kind, zero(kind), &mut out).ok_or_else(|| anyhow::anyhow!("{:?}: has no zero", field.name))?;
        }
    }
    Ok([&field.head[..], &out].concat())
}

fn zero(kind: Kind) -> Raw<'static> {
    if kind.shape() == Shape::Length { Raw::Bytes(&[]) } else { Raw::Number(0) }
}

/// Writes the occurrences of a list or a map, `from` its first one on: those that follow one another, or all. What was not read is given
/// back.
fn list<'a>(plans: &Plans, field: &Field, from: &'a [u8], in_one_piece: bool, out: &mut Vec<u8>) -> Option<Reader<'a>> {
    let start = out.len();
    let mut reader = Reader::new(from);
    while !reader.is_empty() {
        let before = reader.rest();
        let (number, raw) = reader.field()?;
        match raw {
            _ if number != field.number && in_one_piece => {
                reader = Reader::new(before);
                break;
            }
            _ if number != field.number => {}
            Raw::Bytes(entry) if field.count == Count::Map => {
                out.push(b',');
                map_entry(plans, field.kind, entry, out)?;
            }
            Raw::Bytes(packed) if field.kind.shape() != Shape::Length => {
                let mut packed = Reader::new(packed);
                while !packed.is_empty() {
                    out.push(b',');
                    value(plans, field.kind, Raw::Number(packed.number(field.kind.shape())?), out)?;
                }
            }
            raw => {
                out.push(b',');
                value(plans, field.kind, raw, out)?;
            }
        }
    }
    match field.count {
        Count::Map => close(out, start, b'{', b'}'),
        _ => close(out, start, b'[', b']'),
    }
    Some(reader)
}

fn map_entry(plans: &Plans, entry: Kind, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let Kind::Message(id) = entry else { return None };
    let [key_field, value_field] = plans.messages[id].fields.as_slice() else { return None };
    let (mut key, mut found) = (zero(key_field.kind), zero(value_field.kind));
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        match reader.field()? {
            (1, raw) => key = raw,
            (2, raw) => found = raw,
            _ => {}
        }
    }
    if key_field.kind == Kind::Text {
        value(plans, key_field.kind, key, out)?;
    } else {
        out.push(b'"');
        value(plans, key_field.kind, key, out)?;
        out.push(b'"');
    }
    out.push(b':');
    value(plans, value_field.kind, found, out)
}

/// Writes one value.
pub(super) fn value(plans: &Plans, kind: Kind, raw: Raw<'_>, out: &mut Vec<u8>) -> Option<()> {
    match (kind, raw) {
        (Kind::Text, Raw::Bytes(bytes)) => text(bytes, out)?,
        (Kind::Bytes, Raw::Bytes(bytes)) => text(BASE64_STANDARD.encode(bytes).as_bytes(), out)?,
        (Kind::Message(id), Raw::Bytes(bytes)) => write(plans, id, bytes, out)?,
        (Kind::Time, Raw::Bytes(bytes)) => integer(millis(bytes)?, out),
        (Kind::Bool, Raw::Number(n)) => out.extend_from_slice(if n == 0 { b"false" } else { b"true" }),
        (Kind::Enum(id), Raw::Number(n)) => {
            out.push(b'"');
            out.extend_from_slice(plans.enums[id].name(low(n).cast_signed()).unwrap_or("unknown").as_bytes());
            out.push(b'"');
        }
        (Kind::Int64 | Kind::Sfixed64, Raw::Number(n)) => integer(n.cast_signed(), out),
        (Kind::Int32 | Kind::Sfixed32, Raw::Number(n)) => integer(low(n).cast_signed(), out),
        (Kind::Uint32 | Kind::Fixed32, Raw::Number(n)) => integer(low(n), out),
        (Kind::Uint64 | Kind::Fixed64, Raw::Number(n)) => integer(n, out),
        (Kind::Sint32 | Kind::Sint64, Raw::Number(n)) => integer((n >> 1).cast_signed() ^ -(n & 1).cast_signed(), out),
        (Kind::Double, Raw::Number(n)) => serde_json::to_writer(out, &f64::from_bits(n)).ok()?,
        (Kind::Float, Raw::Number(n)) => serde_json::to_writer(out, &f32::from_bits(low(n))).ok()?,
        _ => return None,
    }
    Some(())
}

/// A timestamp's epoch milliseconds.
fn millis(bytes: &[u8]) -> Option<i64> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        match reader.field()? {
            (1, Raw::Number(n)) => seconds = n.cast_signed(),
            (2, Raw::Number(n)) => nanos = n.cast_signed(),
            _ => {}
        }
    }
    seconds.checked_mul(1000)?.checked_add(nanos / 1_000_000)
}

/// The low half, as protobuf reads a varint into a 32-bit field.
#[expect(clippy::cast_possible_truncation, reason = "that is what the format asks for")]
fn low(n: u64) -> u32 {
    n as u32
}

fn integer(n: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Writes a text; `None` for bytes that are no UTF-8.
fn text(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // Without a branch per byte, so that many are looked at at once. Most texts are like this.
    let plain = bytes.iter().fold(true, |plain, c| plain & (0x20..0x80).contains(c) & (*c != b'"') & (*c != b'\\'));
    if !plain {
        return serde_json::to_writer(out, std::str::from_utf8(bytes).ok()?).ok();
    }
    out.push(b'"');
    out.extend_from_slice(bytes);
    out.push(b'"');
    Some(())
}
