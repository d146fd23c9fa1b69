//! The headers of a delivery.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sha2::{Sha256, Sha512};

use crate::domain::clock::Time;
use crate::domain::webhook::Secrets;
use crate::error::{Error, Result};

/// What a secret of the Standard Webhooks form begins with.
const PREFIX: &str = "whsec_";
/// Custom headers that a webhook may have, and the bytes of one value.
const MOST_HEADERS: usize = 32;
const LONGEST_VALUE: usize = 4096;

/// Headers that belong to HTTP itself, to the connection, or to us; so does everything that begins with one of [`OUR_BEGINNINGS`].
const RESERVED: [&str; 15] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
const OUR_BEGINNINGS: [&str; 3] = ["webhook-", "x-webhook-", "proxy-"];

/// Checks a secret that a caller gives: behind `whsec_` stand 24 to 64 bytes in base64; any other text is taken as it is.
pub fn check_secret(secret: &str) -> Result<()> {
    let Some(encoded) = secret.strip_prefix(PREFIX) else { return Ok(()) };
    let fits = BASE64_STANDARD.decode(encoded).is_ok_and(|key| (24..=64).contains(&key.len()));
    if fits { Ok(()) } else { Err(Error::field("secret", "behind `whsec_` must stand 24 to 64 bytes in base64")) }
}

/// Reads the headers that a caller wants each delivery to carry.
///
/// # Errors
/// `Validation` for names and values that HTTP does not know, and for headers that are not the caller's to set.
pub fn custom_headers(given: &BTreeMap<String, String>) -> Result<HeaderMap> {
    if given.len() > MOST_HEADERS {
        return Err(Error::field("customHeaders", format!("at most {MOST_HEADERS}")));
    }
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let wrong = |what: &str| Error::field(format!("customHeaders[{name}]"), what);
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("is not a header's name"))?;
        let ours = OUR_BEGINNINGS.iter().any(|beginning| parsed.as_str().starts_with(beginning));
        if ours || RESERVED.contains(&parsed.as_str()) {
            return Err(wrong("cannot be set"));
        }
        let value = HeaderValue::from_str(value).ok().filter(|value| value.len() <= LONGEST_VALUE);
        let mut value = value.ok_or_else(|| wrong("is not a header's value of at most 4096 bytes"))?;
        value.set_sensitive(true);
        if headers.insert(parsed, value).is_some() {
            return Err(wrong("is given more than once"));
        }
    }
    Ok(headers)
}

/// Our own headers: what is sent, when, which try it is, and proof of all but the last.
pub fn headers(secrets: &Secrets, id: &str, now: Time, attempt: i64, body: &[u8]) -> Result<HeaderMap> {
    let seconds = now.0.div_euclid(1000).to_string();
    let signed = [id.as_bytes(), b".", seconds.as_bytes(), b".", body].concat();
    let mut signatures = Vec::new();
    for secret in secrets.active(now) {
        signatures.push(format!("v1,{}", BASE64_STANDARD.encode(mac::<Hmac<Sha256>>(&standard_key(secret)?, &signed)?)));
    }
    let hmac = hex(&mac::<Hmac<Sha512>>(secrets.current.as_bytes(), body)?);
    let mut headers = HeaderMap::new();
    let all = [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds),
        ("webhook-signature", signatures.join(" ")),
        ("x-webhook-request-id", id.to_owned()),
        ("x-webhook-timestamp", now.0.to_string()),
        ("x-webhook-hmac", hmac),
        ("x-webhook-hmac-algorithm", "sha512".to_owned()),
        ("x-webhook-attempt", attempt.to_string()),
    ];
    for (name, value) in all {
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).map_err(Error::internal)?);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(headers)
}

/// The key that Standard Webhooks signs with: the bytes behind `whsec_`, or the text of any other secret.
fn standard_key(secret: &str) -> Result<Vec<u8>> {
    match secret.strip_prefix(PREFIX) {
        Some(encoded) => BASE64_STANDARD.decode(encoded).map_err(Error::internal),
        None => Ok(secret.as_bytes().to_vec()),
    }
}

fn mac<M: hmac::Mac + KeyInit>(key: &[u8], content: &[u8]) -> Result<Vec<u8>> {
    let mut mac = <M as KeyInit>::new_from_slice(key).map_err(|_| Error::internal(anyhow::anyhow!("a key of no length")))?;
    mac.update(content);
    Ok(mac.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
        headers[name].to_str().unwrap()
    }

    /// The example of the Standard Webhooks specification's own libraries.
    #[test]
    fn the_published_example_is_signed_alike() {
        let secrets = Secrets { current: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(), former: None };
        let now = Time::from_secs(1_614_265_330);
        let headers = headers(&secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", now, 3, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(header(&headers, "webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(header(&headers, "webhook-timestamp"), "1614265330");
        assert_eq!(header(&headers, "x-webhook-timestamp"), "1614265330000");
        assert_eq!(header(&headers, "x-webhook-attempt"), "3");
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_hmac_is_sha512_of_the_body_in_hexadecimal() {
        let secrets = Secrets { current: "Jefe".into(), former: None };
        let headers = headers(&secrets, "evt_1", Time(0), 1, b"what do ya want for nothing?").unwrap();
        let expected = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737";
        assert_eq!(header(&headers, "x-webhook-hmac"), expected);
        assert_eq!(header(&headers, "x-webhook-hmac-algorithm"), "sha512");
    }

    #[test]
    fn two_secrets_make_two_signatures_until_the_former_ends() {
        let secrets = Secrets { current: "new".into(), former: Some(("old".into(), Time(5_000))) };
        let both = headers(&secrets, "evt_1", Time(4_999), 1, b"{}").unwrap();
        assert_eq!(header(&both, "webhook-signature").split(' ').count(), 2);
        let one = headers(&secrets, "evt_1", Time(5_000), 1, b"{}").unwrap();
        assert_eq!(header(&one, "webhook-signature").split(' ').count(), 1);
    }

    #[test]
    fn custom_headers_cannot_be_ours_nor_the_connections() {
        let one = |name: &str, value: &str| custom_headers(&[(name.to_owned(), value.to_owned())].into());
        assert_eq!(one("Authorization", "Bearer x").unwrap()["authorization"], "Bearer x");
        for name in
            ["X-Webhook-Hmac", "webhook-id", "Host", "Content-Length", "Transfer-Encoding", "connection", "Proxy-Authorization"]
        {
            assert!(one(name, "x").is_err(), "{name}");
        }
        assert!(one("a b", "x").is_err() && one("x-a", "a\r\nx-b: c").is_err() && one("", "x").is_err());
    }

    #[test]
    fn secrets_of_the_standard_form_must_be_whole() {
        assert!(check_secret("anything goes").is_ok());
        assert!(check_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_ok());
        assert!(check_secret("whsec_").is_err() && check_secret("whsec_c2hvcnQ=").is_err() && check_secret("whsec_!!!").is_err());
    }
}
