//! Server streams over HTTP.

use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{Server, refused};

/// The whole body of a stream that ends, with its content type.
async fn all(request: RequestBuilder) -> (String, String) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let text = tokio::time::timeout(Duration::from_secs(20), response.text()).await.expect("an end in time").unwrap();
    (kind, text)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn events_are_server_sent_and_resume() {
    let server = Server::start().await;
    let events = |path: &str| server.get(path).header("accept", "text/event-stream");
    let (kind, text) = all(events("/api/v1/events?after=7")).await;
    let frames: Vec<_> = text.split("\n\n").collect();
    assert_eq!(kind, "text/event-stream");
    assert_eq!(frames[0], "event: position\ndata: {\"sequence\":7,\"oldest\":1}");
    let data = frames[1].strip_prefix("id: 8\ndata: ").expect(frames[1]);
    assert_eq!(serde_json::from_str::<Value>(data).unwrap()["sequence"], 8);
    assert_eq!(frames[2], "event: heartbeat\ndata: {\"sequence\":8}");
    // What the browser remembers wins over what the page asked for.
    let (_, text) = all(events("/api/v1/events?after=7").header("last-event-id", "41")).await;
    assert!(text.contains("\n\nid: 42\ndata: "), "{text}");
    refused(events("/api/v1/events").header("last-event-id", "x"), 400, "validation_error").await;
}

#[tokio::test]
async fn lines_carry_whole_messages() {
    let server = Server::start().await;
    let (kind, text) = all(server.get("/api/v1/events").header("accept", "application/x-ndjson")).await;
    assert_eq!((kind.as_str(), &lines(&text)[0]), ("application/x-ndjson", &json!({"position": {"sequence": 100, "oldest": 1}})));
    // A stream that shares its path with nothing comes as lines by default.
    let (kind, text) = all(server.get("/api/v1/sessions/a/pairing")).await;
    assert_eq!(kind, "application/x-ndjson");
    assert_eq!(lines(&text), [json!({"status": "scan_qr_code"}), json!({"qr": {"code": "2@abc"}})]);
    let (_, text) = all(server.get("/api/v1/sessions/a/pairing").header("accept", "text/event-stream")).await;
    assert_eq!(text, "event: status\ndata: \"scan_qr_code\"\n\nevent: qr\ndata: {\"code\":\"2@abc\"}\n\n");
}

#[tokio::test]
async fn a_stream_that_fails_says_why() {
    let server = Server::start().await;
    for (what, code) in [("fail", "unauthorized"), ("panic", "internal")] {
        let path = format!("/api/v1/events?events={what}");
        let (_, text) = all(server.get(&path).header("accept", "application/x-ndjson")).await;
        let last = lines(&text).pop().unwrap();
        assert_eq!(last["error"]["code"], code, "{last}");
        assert!(last["error"]["details"]["requestId"].is_string() && !text.contains("a bug"), "{last}");
        let (_, text) = all(server.get(&path).header("accept", "text/event-stream")).await;
        // What was not sent yet when a stream panics is lost with it; the client resumes.
        assert!(text.contains(&format!("event: error\ndata: {{\"error\":{{\"code\":\"{code}\"")), "{text}");
    }
}

#[tokio::test]
async fn a_stopping_gateway_ends_its_streams_and_then_itself() {
    let mut server = Server::start().await;
    let request = server.get("/api/v1/events?events=hang").header("accept", "application/x-ndjson");
    let mut response = request.send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    server.shutdown.cancel();
    let text = tokio::time::timeout(Duration::from_secs(20), response.text()).await.expect("an end in time").unwrap();
    let last = lines(&text).pop().unwrap();
    assert_eq!(
        (&last["error"]["code"], &last["error"]["details"]["reason"]),
        (&json!("gateway_unavailable"), &json!("shutting_down"))
    );
    tokio::time::timeout(Duration::from_secs(20), &mut server.task).await.expect("the end of the port").unwrap().unwrap();
    assert!(server.get("/healthz").send().await.is_err());
}
