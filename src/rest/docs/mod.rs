//! The API's description, and a page that shows it: Swagger UI, embedded, without a call to any other host.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use tonic::body::Body;

use crate::rest::openapi;
use crate::rest::response::{content, without_body};

/// The page may run its own scripts and call its own gateway, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("index.html");
const START: &str = include_str!("start.js");
/// Taken by `build.rs` from the package that carries Swagger UI.
const BUNDLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz"));
const STYLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz"));

/// The description in both of its forms. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Docs {
    json: Bytes,
    yaml: Bytes,
}

impl Docs {
    /// Describes the contract `descriptors`.
    pub(super) fn new(descriptors: &[u8]) -> anyhow::Result<Self> {
        let document = openapi::document(descriptors)?;
        Ok(Self { json: document.to_string().into(), yaml: openapi::to_yaml(&document).into() })
    }

    /// Answers requests for the description and the page; `None` for all others.
    pub(super) fn answer(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let head = request.method() == Method::HEAD;
        if !head && request.method() != Method::GET {
            return None;
        }
        let ok = |kind, body: Bytes| content(StatusCode::OK, kind, body);
        let mut response = match request.uri().path() {
            "/api/v1/openapi.json" => ok("application/json", self.json.clone()),
            "/api/v1/openapi.yaml" => ok("application/yaml", self.yaml.clone()),
            // Where somebody with a browser begins.
            "/" | "/docs/" => to_the_page(),
            "/docs" => ok("text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes())),
            "/docs/start.js" => ok("text/javascript; charset=utf-8", Bytes::from_static(START.as_bytes())),
            "/docs/swagger-ui-bundle.js" => packed("text/javascript; charset=utf-8", BUNDLE, request.headers()),
            "/docs/swagger-ui.css" => packed("text/css; charset=utf-8", STYLE, request.headers()),
            _ => return None,
        };
        let headers = [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ];
        for (name, value) in headers {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Some(if head { without_body(response) } else { response })
    }
}

fn to_the_page() -> Response<Body> {
    let mut response = content(StatusCode::TEMPORARY_REDIRECT, "text/plain; charset=utf-8", "The API's page is at /docs.\n");
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/docs"));
    response
}

/// A file that lies here compressed, as the caller can read it.
fn packed(kind: &'static str, gzip: &'static [u8], headers: &HeaderMap) -> Response<Body> {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    let takes_gzip = accepted.flat_map(|v| v.split(',')).any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    });
    let mut plain = Vec::new();
    let mut response = match takes_gzip || GzDecoder::new(gzip).read_to_end(&mut plain).is_err() {
        true => content(StatusCode::OK, kind, Bytes::from_static(gzip)),
        false => content(StatusCode::OK, kind, plain),
    };
    if takes_gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_files_are_whole() {
        for (file, beginning) in [(BUNDLE, "/*! For license information"), (STYLE, ".swagger-ui")] {
            let mut text = String::new();
            // Fails if length or checksum are wrong.
            GzDecoder::new(file).read_to_string(&mut text).unwrap();
            assert!(text.starts_with(beginning), "{}", &text[..80]);
        }
    }
}
