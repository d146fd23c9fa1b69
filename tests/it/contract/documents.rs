//! The gateway's description of itself: fresh in the repository, served, and shown by a page that asks nobody else.

use std::path::Path;
use std::{env, fs};

use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use serde_json::Value;
use whatsapp_gateway::app;
use whatsapp_gateway::domain::clock::Ambient;

use crate::gateway::Home;
use crate::support::Engine;

/// `WAGW_UPDATE_SNAPSHOTS=1 cargo test --test it contract` writes it anew.
#[test]
fn the_snapshot_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let now = app::openapi(false).unwrap();
    if env::var_os("WAGW_UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &now).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(now.lines()).find(|(kept, now)| kept != now);
    assert!(kept == now, "docs/openapi.json is not fresh (run with WAGW_UPDATE_SNAPSHOTS=1): {differs:?}");
}

/// Every reference leads somewhere, every operation has its own id, texts and what it requires.
#[test]
fn the_description_is_whole() {
    let document: Value = serde_json::from_str(&app::openapi(false).unwrap()).unwrap();
    let mut todo = vec![&document];
    while let Some(value) = todo.pop() {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(&target[1..]).is_some_and(Value::is_object), "{target} leads nowhere");
        }
        todo.extend(value.as_object().into_iter().flat_map(|o| o.values()).chain(value.as_array().into_iter().flatten()));
    }
    let mut ids = Vec::new();
    for (path, verbs) in document["paths"].as_object().unwrap() {
        for (method, operation) in verbs.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(!ids.contains(&id), "{id} is there twice");
            ids.push(id);
            assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty() && !s.ends_with('.')), "{method} {path}");
            assert!(operation["description"].as_str().is_some_and(|s| s.contains("Requires") || s.contains("Needs")), "{id}");
        }
    }
    let list = &document["paths"]["/api/v1/sessions"]["get"];
    assert_eq!((&list["operationId"], &list["x-required-capability"]), (&"listSessions".into(), &"manage".into()));
    let session = &document["components"]["schemas"]["Session"];
    assert_eq!(session["properties"]["status"]["enum"].as_array().map(Vec::len), Some(6), "the zero value is never sent");
    assert!(session["required"].as_array().unwrap().contains(&"ratePerMin".into()));
    assert!(!session["required"].as_array().unwrap().contains(&"label".into()), "what is optional may be missing");
    let page = &document["components"]["schemas"]["ListSessionsResponse"];
    assert_eq!(page["properties"]["nextCursor"]["type"], serde_json::json!(["string", "null"]));
    let body = &document["components"]["schemas"]["CreateSessionRequest"]["properties"]["label"];
    assert_eq!(body["maxLength"], 128);
    let body = &document["components"]["schemas"]["CreateSessionRequest"]["properties"]["autoRead"]["description"];
    assert_eq!(body, &session["properties"]["autoRead"]["description"], "what one field leaves to another is said here too");
    let events = &document["paths"]["/api/v1/events"]["get"];
    assert_eq!(events["x-stream"], true);
    let kinds: Vec<_> = events["responses"]["200"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(kinds, ["application/json", "application/x-ndjson", "text/event-stream"]);
    assert!(events["parameters"].as_array().unwrap().iter().any(|p| p["in"] == "header" && p["name"] == "Last-Event-Id"));
    let qr = &document["paths"]["/api/v1/sessions/{session}/qr"]["get"]["responses"]["200"]["content"];
    assert!(qr.get("image/png").is_some() && qr.get("image/svg+xml").is_some() && qr.get("text/plain").is_some());
    let text = list["description"].as_str().unwrap().to_owned() + &document["components"].to_string();
    assert!(!text.contains("NOT_FOUND") && !text.contains("INVALID_ARGUMENT"), "errors have their HTTP names");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_the_description_are_served() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    let http = reqwest::Client::new();
    let get = |path: &str| http.get(format!("{}{path}", gateway.base)).send();

    // No credential is needed, and what is served is what the command prints.
    let json: Value = serde_json::from_str(&get("/api/v1/openapi.json").await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(json, serde_json::from_str::<Value>(&app::openapi(false).unwrap()).unwrap());
    assert_eq!(get("/api/v1/openapi.yaml").await.unwrap().text().await.unwrap(), app::openapi(true).unwrap());

    // A browser that is given the bare address ends at the page.
    let start = get("/").await.unwrap();
    assert_eq!((start.status().as_u16(), start.url().path()), (200, "/docs"));
    let page = get("/docs").await.unwrap();
    let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
    let page = page.text().await.unwrap();
    assert!(!page.contains("<script>") && !page.contains("http"), "no scripts in the page, no other hosts");
    let files: Vec<_> = page.split('"').filter(|part| part.starts_with("docs/")).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        let plain = get(&format!("/{file}")).await.unwrap();
        assert_eq!((plain.status().as_u16(), plain.headers().get(CONTENT_ENCODING)), (200, None), "{file}");
        let kind = plain.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        assert!(kind.starts_with(if file.ends_with(".js") { "text/javascript" } else { "text/css" }), "{file}: {kind}");
        let plain = plain.bytes().await.unwrap();
        let call = http.get(format!("{}/{file}", gateway.base)).header(ACCEPT_ENCODING, "br, gzip;q=0.8");
        let packed = call.send().await.unwrap();
        if file != "docs/start.js" {
            assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip", "{file}");
            assert!(packed.bytes().await.unwrap().len() * 3 < plain.len(), "{file} is sent compressed");
        }
    }
    let head = http.head(format!("{}/docs", gateway.base)).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0));
    assert_eq!(http.post(format!("{}/docs", gateway.base)).send().await.unwrap().status(), 404);
    gateway.stop().await;

    let gateway = home.start_with(&[("WAGW_DOCS", "false".to_owned())], Ambient::system()).await;
    for path in ["/docs", "/docs/start.js", "/api/v1/openapi.json", "/api/v1/openapi.yaml"] {
        assert_eq!(http.get(format!("{}{path}", gateway.base)).send().await.unwrap().status(), 404, "{path} is switched off");
    }
    gateway.stop().await;
}
