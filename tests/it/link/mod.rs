//! Pairing links with their page, and what callers can set on a session.

mod page;
mod passkey;
mod settings;

use serde_json::{Value, json};
use tokio_stream::StreamExt as _;

use crate::gateway::{Gateway, KEY, PATIENCE};

/// Makes a session and a link for it; gives the session's id and the link as it is told.
pub(crate) async fn link(gateway: &Gateway, body: Value) -> (String, Value) {
    let session = gateway.post("/api/v1/sessions", json!({"presenceTyping": false})).await;
    let id = session["id"].as_str().unwrap().to_owned();
    let (status, link) = gateway.call_as(Some(KEY), "POST", &format!("/api/v1/sessions/{id}/pairing-links"), Some(body)).await;
    assert_eq!(status, 201, "{link}");
    (id, link)
}

/// The path of a link's page.
pub(crate) fn path(link: &Value) -> String {
    let url = link["url"].as_str().unwrap();
    url[url.find("/pair/").unwrap()..].to_owned()
}

/// The followed state of a link's page.
pub(crate) struct Page {
    body: std::pin::Pin<Box<dyn futures_util::Stream<Item = Vec<u8>> + Send>>,
    rest: String,
}

impl Page {
    pub(crate) async fn open(gateway: &Gateway, path: &str) -> Self {
        let answer = reqwest::get(format!("{}{path}/state", gateway.base)).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()), (200, "text/event-stream"));
        let body = answer.bytes_stream().map_while(Result::ok).map(|bytes| bytes.to_vec());
        Self { body: Box::pin(body), rest: String::new() }
    }

    /// The next view; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.rest = rest;
                if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data:")) {
                    return Some(serde_json::from_str(data).unwrap());
                }
                continue;
            }
            self.rest.push_str(std::str::from_utf8(&self.body.next().await?).unwrap());
        }
    }

    /// Reads on until a view fits.
    pub(crate) async fn until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Vec::new();
        let wait = async {
            while let Some(view) = self.next().await {
                if fits(&view) {
                    return Some(view);
                }
                seen.push(view["face"].clone());
            }
            None
        };
        let found = tokio::time::timeout(PATIENCE, wait).await;
        found.ok().flatten().unwrap_or_else(|| panic!("waited in vain for {what}; saw {seen:?}"))
    }
}
