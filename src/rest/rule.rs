//! What the descriptors say of a method: its HTTP binding and our own options.

use anyhow::{Context as _, bail, ensure};
use http::{Method, StatusCode};
use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, MethodDescriptor};

/// The `google.api.http` rule of a method, checked.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) method: Method,
    pub(super) template: String,
    /// Whether the request message comes from the body.
    pub(super) body: bool,
    /// Status of a success.
    pub(super) success: StatusCode,
    /// Name of the reply's field that may come as a QR code.
    pub(super) qr_field: Option<String>,
}

/// The options that rules are read from.
pub(super) struct Options {
    http: ExtensionDescriptor,
    success_code: ExtensionDescriptor,
    qr_field: ExtensionDescriptor,
}

impl Options {
    pub(super) fn new(pool: &DescriptorPool) -> anyhow::Result<Self> {
        let of = |name: &str| pool.get_extension_by_name(name).with_context(|| format!("the descriptors do not know `{name}`"));
        Ok(Self {
            http: of("google.api.http")?,
            success_code: of("whatsapp.gateway.v1.success_code")?,
            qr_field: of("whatsapp.gateway.v1.qr_field")?,
        })
    }

    /// The rule of a method; `None` for one without a binding.
    pub(super) fn rule(&self, method: &MethodDescriptor) -> anyhow::Result<Option<Rule>> {
        let options = method.options();
        if !options.has_extension(&self.http) {
            return Ok(None);
        }
        let name = method.full_name();
        let value = options.get_extension(&self.http);
        let rule = value.as_message().with_context(|| format!("{name}: the HTTP rule is no message"))?;
        let text = |field: &str| text(rule, field);
        let patterns = [
            (Method::GET, text("get")),
            (Method::POST, text("post")),
            (Method::PUT, text("put")),
            (Method::PATCH, text("patch")),
            (Method::DELETE, text("delete")),
        ];
        let Some((verb, template)) = patterns.into_iter().find(|(_, t)| !t.is_empty()) else {
            bail!("{name}: the HTTP rule has no pattern that is supported");
        };
        let more = rule.get_field_by_name("additional_bindings");
        ensure!(more.is_none_or(|v| v.as_list().is_none_or(<[_]>::is_empty)), "{name}: only one HTTP binding is supported");
        ensure!(text("response_body").is_empty(), "{name}: `response_body` is not supported");
        let body = match text("body").as_str() {
            "" => false,
            "*" => true,
            other => bail!("{name}: body {other:?} is not supported, only \"*\" or none"),
        };
        ensure!(!(body && verb == Method::GET), "{name}: {verb} with a body is not supported");
        let declared = options.get_extension(&self.success_code).as_u32().unwrap_or(0);
        let success = match u16::try_from(declared)? {
            0 if method.output().full_name() == "google.protobuf.Empty" => StatusCode::NO_CONTENT,
            0 => StatusCode::OK,
            code => StatusCode::from_u16(code)
                .ok()
                .filter(StatusCode::is_success)
                .with_context(|| format!("{name}: success code {code}"))?,
        };
        let qr_field = options.get_extension(&self.qr_field).as_str().filter(|s| !s.is_empty()).map(str::to_owned);
        Ok(Some(Rule { method: verb, template, body, success, qr_field }))
    }
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
