//! The contract's validation rules, run by the codec, so that every door passes them.
//!
//! The rules stand on the fields in `proto/`; `build.rs` compiles them.

use std::marker::PhantomData;

use bytes::Buf as _;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

use crate::api::status::to_status;
use crate::error::{Code, Error, FieldViolation};

/// A message that knows the contract's rules for its fields.
pub trait Validate {
    /// Adds every violated rule to `out`, with paths in JSON names.
    fn validate(&self, _out: &mut Vec<FieldViolation>) {}
}

impl Validate for () {}

/// Checks a message against its rules.
pub fn check(message: &impl Validate) -> Result<(), Error> {
    let mut fields = Vec::new();
    message.validate(&mut fields);
    let Some(first) = fields.first() else { return Ok(()) };
    let text = format!("{}: {}", first.field, first.message);
    let mut error = Error::new(Code::Validation, text);
    error.fields = fields;
    Err(error)
}

/// prost's codec with [`check`] behind the decoder. Clients use it too: replies carry no rules, so it costs them nothing.
#[derive(Debug)]
pub struct ValidatingCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ValidatingCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ValidatingCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Validate + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ValidatingDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ValidatingDecoder(PhantomData)
    }
}

/// The decoding half of [`ValidatingCodec`].
#[derive(Debug)]
pub struct ValidatingDecoder<U>(PhantomData<U>);

impl<U: Message + Default + Validate> Decoder for ValidatingDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let length = frame.remaining();
        let message = U::decode(frame).map_err(|cause| {
            to_status(Error::new(Code::Validation, format!("the message of {length} bytes is not valid protobuf: {cause}")))
        })?;
        check(&message).map_err(to_status)?;
        Ok(Some(message))
    }
}

/// Adds a violation of the rule that `message` tells.
fn refuse_if(violated: bool, out: &mut Vec<FieldViolation>, field: &str, message: &str) {
    if violated {
        out.push(FieldViolation { field: field.to_owned(), message: message.to_owned() });
    }
}

/// How many characters a text has. Limits are in characters, not in bytes.
fn characters(text: &str) -> usize {
    text.chars().count()
}

/// Runs `inner` and rewrites the paths of what it found.
fn within(out: &mut Vec<FieldViolation>, path: impl Fn(&str) -> String, inner: impl FnOnce(&mut Vec<FieldViolation>)) {
    let before = out.len();
    inner(out);
    for found in &mut out[before..] {
        found.field = path(&found.field);
    }
}

include!(concat!(env!("OUT_DIR"), "/validate.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::gateway::{CreateApiKeyRequest, ListEventsRequest, SendMessageRequest, UpdateSessionRequest};

    fn fields(message: &impl Validate) -> Vec<String> {
        check(message).err().map(|e| e.fields.into_iter().map(|f| f.field).collect()).unwrap_or_default()
    }

    #[test]
    fn rules_hold_for_texts_numbers_lists_and_oneofs() {
        let bad = UpdateSessionRequest {
            session: String::new(),
            label: Some("ä".repeat(129)),
            rate_per_min: Some(0),
            ..Default::default()
        };
        assert_eq!(fields(&bad), ["session", "label", "ratePerMin"]);
        let good = UpdateSessionRequest { session: "s".into(), label: Some("ä".repeat(128)), ..Default::default() };
        assert!(fields(&good).is_empty());
        assert_eq!(fields(&ListEventsRequest { after: -1, limit: 1001, ..Default::default() }), ["after", "limit"]);
        assert_eq!(fields(&CreateApiKeyRequest { name: "n".into(), ..Default::default() }), ["capabilities"]);
        let send = SendMessageRequest { session: "s".into(), to: String::new(), ..Default::default() };
        assert_eq!(fields(&send), ["to"]);
    }

    #[test]
    fn nested_paths_are_rewritten() {
        let mut out = Vec::new();
        within(&mut out, |f| format!("options[2].{f}"), |out| refuse_if(true, out, "text", "must not be empty"));
        assert_eq!(out[0].field, "options[2].text");
    }
}
