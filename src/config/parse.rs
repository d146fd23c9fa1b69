//! From a setting's text to its value. Every error says what to write instead; none repeats a secret.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use http::Uri;
use secrecy::{SecretBox, SecretString};

use super::source::Given;
use super::table::SETTINGS;
use super::{Key, LogFormat, MetricsAt, Problem};
use crate::domain::jid::phone_digits;
use crate::domain::network::Own;

/// Reads values and gathers what is wrong with them, so that one run names everything.
pub(super) struct Reader<'a> {
    values: &'a BTreeMap<&'static str, Given>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a BTreeMap<&'static str, Given>) -> Self {
        Self { values, problems: Vec::new() }
    }

    /// The text of `name`, trimmed; empty when nobody set it.
    pub(super) fn text(&self, name: &'static str) -> &'a str {
        self.values.get(name).map_or("", |given| given.text.trim())
    }

    /// Notes that `name` is wrong.
    pub(super) fn problem(&mut self, name: &'static str, message: impl Into<String>) {
        let source = self.values.get(name).map_or_else(String::new, |given| given.source.to_string());
        self.problems.push(Problem { setting: name.to_owned(), source, message: message.into() });
    }

    /// Reads `name` by `parse`. A wrong value is noted and stands in as the default, which is never used then.
    pub(super) fn read<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.text(name)) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(name, message);
                // The default stands in, so that the remaining settings are checked too.
                SETTINGS.iter().find(|setting| setting.name == name).and_then(|setting| parse(setting.default).ok())
            }
        }
    }

    /// Reads `name` by `parse` unless it is empty.
    pub(super) fn optional<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        if self.text(name).is_empty() { None } else { self.read(name, parse) }
    }

    /// Reads each item of the list `name` by `parse`.
    pub(super) fn list<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let items = self.text(name).split(',').map(str::trim).filter(|item| !item.is_empty());
        let (good, bad): (Vec<_>, Vec<_>) = items.map(parse).partition(Result::is_ok);
        for message in bad.into_iter().filter_map(Result::err) {
            self.problem(name, message);
        }
        good.into_iter().filter_map(Result::ok).collect()
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is no address with a port; write one such as 127.0.0.1:8080 or [::1]:8080"))
}

pub(super) fn host_and_port(text: &str) -> Result<String, String> {
    let fits = text
        .parse::<http::uri::Authority>()
        .is_ok_and(|authority| authority.port_u16().is_some() && !authority.host().is_empty() && !text.contains('@'));
    if fits { Ok(text.to_owned()) } else { Err(format!("`{text}` is no `host:port`; write one such as gateway-1.internal:8080")) }
}

/// A whole number within `least` and `most`.
pub(super) fn number(least: u32, most: u32) -> impl Fn(&str) -> Result<u32, String> {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("`{text}` does not fit; write a whole number from {least} to {most}")),
    }
}

/// A number of bytes, at most `most`.
pub(super) fn bytes(most: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("`{text}` does not fit; write a whole number of bytes from 1 to {most}")),
    }
}

/// Where files' bytes lie. What is behind it is found out at the start.
pub(super) fn media_url(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some(("s3" | "file", rest)) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("the scheme is unknown; write s3://BUCKET/PREFIX or file:///FOLDER".into()),
    }
}

pub(super) fn secret(text: &str) -> Result<SecretString, String> {
    Ok(text.into())
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    number(0, 3600)(text).map(|seconds| Duration::from_secs(seconds.into()))
}

pub(super) fn head_timeout(text: &str) -> Result<Duration, String> {
    number(1, 3600)(text).map(|seconds| Duration::from_secs(seconds.into()))
}

pub(super) fn days(text: &str) -> Result<Duration, String> {
    number(1, 3650)(text).map(|days| Duration::from_secs(u64::from(days) * 86_400))
}

pub(super) fn own_network(text: &str) -> Result<Own, String> {
    Own::parse(text)
        .ok_or_else(|| format!("`{text}` is neither a network such as 10.0.0.0/8 nor a host name such as hooks.internal"))
}

/// A network of proxies. A name would have to be resolved, and who answers for it would be believed.
pub(super) fn proxies(text: &str) -> Result<Own, String> {
    Own::parse(text)
        .filter(|own| matches!(own, Own::Network { .. }))
        .ok_or_else(|| format!("`{text}` is no network; write one such as 10.0.0.0/8 or an address"))
}

pub(super) fn phone(text: &str) -> Result<String, String> {
    phone_digits("admin_phone", text).map_err(|_| format!("`{text}` is no phone number; write it with its country code"))
}

pub(super) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "must be a whole number from 0 to 18446744073709551615".to_owned())
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

pub(super) fn database_url(text: &str) -> Result<SecretString, String> {
    let schemes = ["sqlite://", "postgres://", "postgresql://"];
    match schemes.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some(rest) if !rest.is_empty() => Ok(text.into()),
        Some(_) => Err("nothing follows the scheme; write sqlite://data/gateway.db or postgres://user@host/name".into()),
        None => Err("the scheme is unknown; begin with sqlite:// or postgres://".into()),
    }
}

pub(super) fn gateway_id(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if (1..=64).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` does not fit; write 1 to 64 letters, digits, dots, dashes or underscores"))
}

/// 32 bytes as base64, in either alphabet and with or without padding, or as 64 hexadecimal digits.
pub(super) fn key_bytes(text: &str) -> Result<[u8; 32], String> {
    let bytes = if text.len() == 64 && text.is_ascii() {
        (0..32).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()).collect::<Option<Vec<_>>>()
    } else {
        [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|engine| engine.decode(text).ok())
    };
    bytes
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or_else(|| "this is not 32 bytes as base64 or hex; make a key by `openssl rand -base64 32`".to_owned())
}

pub(super) fn secret_key(text: &str) -> Result<Key, String> {
    let bytes = key_bytes(text)?;
    if bytes.iter().all(|byte| *byte == bytes[0]) {
        return Err("a key of equal bytes protects nothing; make one by `openssl rand -base64 32`".into());
    }
    Ok(SecretBox::new(Box::new(bytes)))
}

pub(super) fn api_key(text: &str) -> Result<SecretString, String> {
    match text.strip_prefix("wa_") {
        Some(rest) if rest.len() >= 24 && rest.len() <= 256 && rest.chars().all(|c| c.is_ascii_alphanumeric()) => Ok(text.into()),
        _ => Err("this is no api-key; write `wa_` and 24 to 256 random letters or digits".into()),
    }
}

pub(super) fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let uri: Option<Uri> = text.parse().ok();
    let fits = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.path() == "/"
            && !text.ends_with('/')
            && !text.contains(['?', '@'])
    });
    if fits {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("`{text}` is no origin; write one such as https://app.example.com"))
    }
}

pub(super) fn public_url(text: &str) -> Result<String, String> {
    let uri: Option<Uri> = text.parse().ok();
    if uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
        && !text.contains(['?', '#', '@'])
    {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err(format!("`{text}` is no web address; write one such as https://wa.example.com"))
}

/// An address that login keys may come from: nobody on the way may change them.
pub(super) fn jwks_url(text: &str) -> Result<String, String> {
    let uri: Option<Uri> = text.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.as_ref().and_then(Uri::scheme_str) {
        _ if host.is_empty() || text.contains('@') => {}
        Some("https") => return Ok(text.to_owned()),
        Some("http") if loopback => return Ok(text.to_owned()),
        Some("http") => {
            return Err(format!("`{text}` is not encrypted, and whoever changes the keys lets anybody in; use https"));
        }
        _ => {}
    }
    Err(format!("`{text}` is no address; write one such as https://login.example.com/.well-known/jwks.json"))
}

pub(super) fn websocket_url(text: &str) -> Result<String, String> {
    let uri: Option<Uri> = text.parse().ok();
    if uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("ws" | "wss")) && uri.host().is_some()) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no websocket address; write one such as ws://127.0.0.1:8088/ws/chat"))
}

pub(super) fn version(text: &str) -> Result<(u32, u32, u32), String> {
    let parts: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([x, y, z]) => Ok((*x, *y, *z)),
        _ => Err(format!("`{text}` is no version; write three numbers such as 2.3000.1023868176")),
    }
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::filter::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{error}; write a level (error, warn, info, debug, trace) or directives such as warn,whatsapp_gateway=debug"
        )),
    }
}

pub(super) fn metrics(text: &str) -> Result<MetricsAt, String> {
    match text {
        "off" => Ok(MetricsAt::Off),
        "listen" => Ok(MetricsAt::Listen),
        _ => address(text)
            .map(MetricsAt::Own)
            .map_err(|_| format!("`{text}` is neither off, listen, nor an address such as 127.0.0.1:9090")),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is neither text nor json")),
    }
}
