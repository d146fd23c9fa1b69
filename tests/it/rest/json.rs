//! The JSON of REST: what comes out, and a clear error for everything that must not come in.

use reqwest::Method;
use serde_json::json;

use super::{Server, answer, refused};

#[tokio::test]
async fn replies_are_the_contracts_json() {
    let server = Server::start().await;
    let session = json!({
        "id": "a", "organizationId": "", "gatewayId": "", "status": "scan_qr_code", "isAdminSession": false, "autoRead": false,
        "ignoreStatus": false, "ignoreGroups": false, "ignoreChannels": false, "ignoreBroadcast": false, "metadata": {},
        "presenceTyping": false, "ratePerMin": 20, "ratePerHour": 0, "newContactsPerDay": 0, "warmUpDays": 0, "autoDownload": false, "autoRejectCalls": false, "createdAt": 1_700_000_000_123_i64, "updatedAt": 1_700_000_000_123_i64,
    });
    let (status, list) = answer(server.get("/api/v1/sessions")).await;
    assert_eq!((status, &list["data"][0], &list["nextCursor"]), (200, &session, &json!(null)), "{list}");
    let (status, made) = answer(server.post("/api/v1/sessions", r#"{"label":"Büro","start":true}"#)).await;
    assert_eq!((status, &made["label"], &made["organizationId"]), (201, &json!("Büro"), &json!("org_1")));
    assert_eq!(answer(server.post("/api/v1/sessions", "")).await.0, 201);
    assert_eq!(answer(server.call(Method::DELETE, "/api/v1/sessions/a")).await, (204, json!(null)));
    assert_eq!(answer(server.post("/api/v1/sessions/a:start", "{}")).await.1["id"], "a");
    assert_eq!(answer(server.call(Method::POST, "/api/v1/sessions/a:start")).await.1["id"], "a");
    assert_eq!(answer(server.get("/api/v1/sessions/x%2Fy%3Astart")).await.1["id"], "x/y:start");
    assert_eq!(answer(server.get("/api/v1/events?after=4")).await, (200, json!({"data": [], "nextCursor": 5})));
    let send =
        server.post("/api/v1/sessions/a/messages", r#"{"type":"text","to":"1","text":"x"}"#).header("idempotency-key", "k-1");
    assert_eq!(answer(send).await.1, json!({"mode": "MESSAGE_TYPE_TEXT", "outboxId": "k-1", "chatJid": "1"}));
}

#[tokio::test]
async fn bad_input_is_named() {
    let server = Server::start().await;
    let long = format!(r#"{{"label":"{}"}}"#, "x".repeat(10_000));
    for (body, field) in [
        (r#"{"labl":"x"}"#, "labl"),
        (r#"{"label":5}"#, "label"),
        (r#"{"label":"a","label":"b"}"#, "label"),
        (r#"{"session":"b"}"#, "session"),
        (r#"{"ratePerMin":"5"}"#, "ratePerMin"),
        (r#"{"ratePerMin":0}"#, "ratePerMin"),
        (r#"{"ratePerMin":4294967297}"#, "ratePerMin"),
        (long.as_str(), "label"),
    ] {
        let request =
            server.call(Method::PATCH, "/api/v1/sessions/a").header("content-type", "application/json").body(body.to_owned());
        let error = refused(request, 400, "validation_error").await;
        assert_eq!(error["details"]["fields"][0]["field"], field, "{error}");
    }
    for body in ["{", "[]", "\"x\"", "{\"label\":\"x\"}}", "nul", "{'label':1}"] {
        refused(server.post("/api/v1/sessions", body), 400, "validation_error").await;
    }
    let bytes = server.post("/api/v1/sessions", "").body(b"{\"label\":\"\xff\"}".to_vec());
    refused(bytes, 400, "validation_error").await;
    let error = refused(server.post("/api/v1/sessions/a/messages", r#"{"type":"fax","to":"1"}"#), 400, "validation_error").await;
    assert_eq!(error["details"]["fields"][0], json!({"field": "type", "message": error["details"]["fields"][0]["message"]}));
    refused(server.post("/api/v1/sessions/a:start", r#"{"session":"b"}"#), 400, "validation_error").await;
    refused(server.get("/api/v1/sessions?page=2"), 400, "validation_error").await;
    refused(server.get("/api/v1/sessions/%ff"), 400, "validation_error").await;
    let typed = server.call(Method::POST, "/api/v1/sessions").header("content-type", "text/plain").body("{}");
    refused(typed, 415, "validation_error").await;
    refused(server.post("/api/v1/sessions", &" ".repeat(10 << 20)), 413, "validation_error").await;
}

#[tokio::test]
async fn failures_have_one_shape() {
    let server = Server::start().await;
    let get = |id: &str| server.get(&format!("/api/v1/sessions/{id}"));
    assert_eq!(refused(get("missing"), 404, "not_found").await["message"], "session not found");
    let taken = refused(get("taken"), 409, "conflict").await;
    assert_eq!((&taken["details"]["reason"], &taken["details"]["oldest"]), (&json!("lease_lost"), &json!(17)));
    refused(get("offline"), 409, "session_not_connected").await;
    assert_eq!(refused(get("limited"), 429, "rate_limited").await["details"]["retryAfterSeconds"], 3);
    assert_eq!(get("limited").send().await.unwrap().headers()["retry-after"], "3");
    for id in ["broken", "panic"] {
        let error = refused(get(id), 500, "internal").await;
        assert!(error["message"] == "internal error" && !error.to_string().contains("secret"), "{error}");
    }
    refused(server.get("/api/v1/nothing"), 404, "not_found").await;
    refused(server.get("/api/v1/sessions/"), 404, "not_found").await;
    // Not served by this edge: the method is in the contract, its service is not there.
    refused(server.get("/api/v1/api-keys"), 501, "not_implemented").await;
}

#[tokio::test]
async fn methods_are_those_of_the_path() {
    let server = Server::start().await;
    let put = server.call(Method::PUT, "/api/v1/sessions/a").send().await.unwrap();
    assert_eq!(put.status(), 405);
    let mut allowed: Vec<_> = put.headers()["allow"].to_str().unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "PATCH"]);
    refused(server.get("/api/v1/sessions/a:start"), 405, "validation_error").await;
    let (get, head) = (server.get("/api/v1/sessions/a"), server.call(Method::HEAD, "/api/v1/sessions/a"));
    let (get, head) = (get.send().await.unwrap(), head.send().await.unwrap());
    assert_eq!((head.status(), &head.headers()["content-length"]), (get.status(), &get.headers()["content-length"]));
    assert!(head.text().await.unwrap().is_empty());
    assert_eq!(server.call(Method::HEAD, "/api/v1/sessions/missing").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_qr_code_comes_in_four_forms() {
    let server = Server::start().await;
    let get = async |accept: &str| {
        let response = server.get("/api/v1/sessions/a/qr").header("accept", accept).send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        (kind, response.bytes().await.unwrap())
    };
    let (kind, body) = get("*/*").await;
    assert_eq!((kind.as_str(), body.as_ref()), ("application/json", br#"{"code":"2@abc,def,ghi"}"#.as_slice()));
    let (kind, body) = get("image/png").await;
    let mut picture = png::Decoder::new(std::io::Cursor::new(&body)).read_info().unwrap();
    let mut pixels = vec![0; picture.output_buffer_size().unwrap()];
    let info = picture.next_frame(&mut pixels).unwrap();
    // Version 1 has 21 modules; with the margin of 4 and 8 pixels each that is 232. The finder pattern begins behind the margin.
    assert_eq!(
        (kind.as_str(), info.width, info.height, pixels[32 * 29 + 3], pixels[32 * 29 + 4]),
        ("image/png", 232, 232, 0xff, 0)
    );
    let (kind, body) = get("image/svg+xml").await;
    assert!(kind == "image/svg+xml" && body.starts_with(b"<?xml"));
    let (kind, body) = get("text/plain").await;
    assert!(kind.starts_with("text/plain") && String::from_utf8_lossy(&body).contains('█'));
    let failed = server.get("/api/v1/sessions//qr").header("accept", "image/png");
    refused(failed, 404, "not_found").await;
}
