//! A link's life, and its page.

use std::time::Duration;

use serde_json::{Value, json};
use whatsapp_gateway::domain::clock::Ambient;

use super::{Page, link, path};
use crate::gateway::{Gateway, Home, KEY, on_both_engines};

on_both_engines!(
    scanning_ends_the_link,
    the_way_by_code,
    revoked_while_open,
    expired,
    a_token_does_nothing_else,
    tries_are_limited,
    the_page_loads_nothing_from_elsewhere,
);

const SHOP: &str = "6281200000001";

async fn list(gateway: &Gateway, id: &str) -> Value {
    gateway.get(&format!("/api/v1/sessions/{id}/pairing-links")).await["data"].clone()
}

async fn post(gateway: &Gateway, path: &str, body: Value) -> (u16, Value) {
    gateway.call_as(None, "POST", path, Some(body)).await
}

async fn scanning_ends_the_link(home: Home) {
    let gateway = home.start().await;
    gateway.phone(SHOP).await;
    let (id, made) = link(&gateway, json!({})).await;
    assert!(made["url"].as_str().unwrap().starts_with(&format!("{}/pair/", gateway.base)), "{made}");
    assert_eq!(made["expiresAt"].as_i64().unwrap() - made["createdAt"].as_i64().unwrap(), 900_000);
    let listed = list(&gateway, &id).await;
    assert_eq!((&listed[0]["id"], &listed[0]["status"], listed[0].get("url")), (&made["id"], &json!("active"), None));
    let path = path(&made);
    assert_eq!(gateway.call_as(None, "GET", &path, None).await.0, 200);
    let session = gateway.get(&format!("/api/v1/sessions/{id}")).await;
    assert_eq!(session["status"], "stopped", "looking at the page's text begins nothing");

    let mut page = Page::open(&gateway, &path).await;
    let view = page.until("a QR code", |view| view["qr"].is_string()).await;
    assert_eq!(view["face"], "scan");
    assert!(view["qr"].as_str().unwrap().starts_with("data:image/svg+xml;base64,"));
    let qr = gateway.get(&format!("/api/v1/sessions/{id}/qr")).await;
    gateway.post(&format!("/sandbox/v1/phones/{SHOP}:scan"), json!({"code": qr["code"]})).await;
    page.until("the end", |view| view["face"] == "paired").await;
    assert_eq!(page.next().await, None, "nothing comes behind it");
    gateway.until(&format!("/api/v1/sessions/{id}"), "working", |s| s["status"] == "working").await;
    assert_eq!(list(&gateway, &id).await[0]["status"], "paired");
    assert_eq!(gateway.call_as(None, "GET", &path, None).await.0, 404, "the link has done its work");
    let again = gateway.call_as(Some(KEY), "POST", &format!("/api/v1/sessions/{id}/pairing-links"), Some(json!({}))).await;
    assert_eq!((again.0, &again.1["error"]["details"]["reason"]), (400, &json!("already_paired")));
    // It stays so when the number is unlinked again.
    gateway.post(&format!("/api/v1/sessions/{id}:logout"), json!({})).await;
    assert_eq!(gateway.call_as(None, "GET", &path, None).await.0, 404);
    gateway.stop().await;
}

async fn the_way_by_code(home: Home) {
    let gateway = home.start().await;
    gateway.phone(SHOP).await;
    let (_, made) = link(&gateway, json!({})).await;
    let path = path(&made);
    let mut page = Page::open(&gateway, &path).await;
    page.until("a QR code", |view| view["qr"].is_string()).await;
    let (status, wrong) = post(&gateway, &format!("{path}/code"), json!({"phone": "abc"})).await;
    assert_eq!((status, wrong["message"].is_string()), (400, true), "{wrong}");
    let (status, answer) = post(&gateway, &format!("{path}/code"), json!({"phone": "+62 812-0000-0001"})).await;
    assert_eq!(status, 204, "{answer}");
    let view = page.until("the code", |view| view["code"].is_string()).await;
    assert_eq!((&view["face"], view["codeUntil"].is_i64()), (&json!("scan"), true), "{view}");
    gateway.post(&format!("/sandbox/v1/phones/{SHOP}:enter-code"), json!({"code": view["code"]})).await;
    page.until("the end", |view| view["face"] == "paired").await;
    gateway.stop().await;
}

async fn revoked_while_open(home: Home) {
    let gateway = home.start().await;
    let (id, made) = link(&gateway, json!({})).await;
    let path = path(&made);
    let mut page = Page::open(&gateway, &path).await;
    page.until("a QR code", |view| view["qr"].is_string()).await;
    let one = format!("/api/v1/sessions/{id}/pairing-links/{}", made["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(gateway.call_as(Some(KEY), "DELETE", &one, None).await.0, 204);
    }
    let last = page.until("the link's end", |view| view["face"] == "over").await;
    assert_eq!(last.get("qr"), None);
    assert_eq!(page.next().await, None);
    assert_eq!(gateway.call_as(None, "GET", &path, None).await.0, 404);
    assert_eq!(list(&gateway, &id).await[0]["status"], "revoked");
    assert_eq!(gateway.call_as(Some(KEY), "DELETE", &format!("{one}x"), None).await.0, 404);
    gateway.stop().await;
}

async fn expired(home: Home) {
    let clock = Ambient::held(Ambient::system().now());
    let gateway = home.start_with(&[("WAGW_PUBLIC_URL", "https://wa.example.org/gw/".into())], clock.clone()).await;
    let (id, made) = link(&gateway, json!({"expiresIn": 60})).await;
    assert!(made["url"].as_str().unwrap().starts_with("https://wa.example.org/gw/pair/"), "{made}");
    let path = path(&made);
    let mut page = Page::open(&gateway, &path).await;
    clock.advance(Duration::from_secs(59));
    assert_eq!(gateway.call_as(None, "GET", &path, None).await.0, 200);
    clock.advance(Duration::from_secs(1));
    assert_eq!(gateway.call_as(None, "GET", &path, None).await.0, 404);
    assert_eq!(list(&gateway, &id).await[0]["status"], "expired");
    page.until("the link's end", |view| view["face"] == "over").await;
    for wrong in [59, 86_401] {
        let body = Some(json!({"expiresIn": wrong}));
        assert_eq!(gateway.call_as(Some(KEY), "POST", &format!("/api/v1/sessions/{id}/pairing-links"), body).await.0, 400);
    }
    gateway.stop().await;
}

async fn a_token_does_nothing_else(home: Home) {
    let gateway = home.start().await;
    let (other, _) = link(&gateway, json!({})).await;
    let (id, made) = link(&gateway, json!({})).await;
    let path = path(&made);
    let token = path.rsplit('/').next().unwrap();
    assert_eq!(token.len(), 43);
    let mut page = Page::open(&gateway, &path).await;
    page.until("a QR code", |view| view["qr"].is_string()).await;
    // Only its own session has begun.
    assert_eq!(gateway.get(&format!("/api/v1/sessions/{id}")).await["status"], "scan_qr_code");
    assert_eq!(gateway.get(&format!("/api/v1/sessions/{other}")).await["status"], "stopped");
    // The token is no credential of the API.
    for api in ["/api/v1/sessions".to_owned(), format!("/api/v1/sessions/{id}/qr"), "/api/v1/events".to_owned()] {
        assert_eq!(gateway.call_as(Some(token), "GET", &api, None).await.0, 401, "{api}");
    }
    // Answers that nobody asked for are refused.
    let assertion = json!({"rawId": "AQID", "response": {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA"}});
    let answers = [("passkey", json!({"assertion": assertion.to_string()})), ("confirm", json!({}))];
    for (call, body) in answers {
        let (status, answer) = post(&gateway, &format!("{path}/{call}"), body).await;
        assert_eq!((status, &answer["reason"]), (409, &json!("not_asked_for")), "{answer}");
    }
    assert_eq!(post(&gateway, &format!("{path}/passkey"), json!({"assertion": "{}"})).await.0, 400);
    // Any other token is told the same, whatever it asks for.
    let (_, gone) = gateway.call_as(None, "GET", "/pair/0", None).await;
    let wrong = format!("/pair/{}", token.chars().rev().collect::<String>());
    for beginning in ["/pair/0", &wrong, "/pair/..%2F..", &format!("/pair/{}", "x".repeat(5000))] {
        let (status, page) = gateway.call_as(None, "GET", beginning, None).await;
        assert_eq!((status, page), (404, gone.clone()), "{beginning}");
        assert_eq!(gateway.call_as(None, "GET", &format!("{beginning}/state"), None).await.0, 404);
        for call in ["code", "passkey", "confirm"] {
            let (status, body) = post(&gateway, &format!("{beginning}/{call}"), json!({"phone": SHOP, "assertion": "{}"})).await;
            assert_eq!(status, 404, "{beginning}/{call}: {body}");
        }
    }
    for call in ["restart", "state/more", ""] {
        assert_eq!(gateway.call_as(None, "GET", &format!("{path}/{call}"), None).await.0, 404, "{call}");
    }
    gateway.stop().await;
}

async fn tries_are_limited(home: Home) {
    let gateway = home.start().await;
    let (_, made) = link(&gateway, json!({})).await;
    let code = format!("{}/code", path(&made));
    for _ in 0..5 {
        assert_eq!(post(&gateway, &code, json!({"phone": "x"})).await.0, 400);
    }
    let (status, refused) = post(&gateway, &code, json!({"phone": "x"})).await;
    assert_eq!((status, refused["retryAfterSeconds"].is_i64()), (429, true), "{refused}");
    let (_, other) = link(&gateway, json!({})).await;
    assert_eq!(
        post(&gateway, &format!("{}/code", path(&other)), json!({"phone": "x"})).await.0,
        400,
        "another link is another's"
    );
    let form =
        reqwest::Client::new().post(format!("{}{}/code", gateway.base, path(&other))).body("phone=1").send().await.unwrap();
    assert_eq!(form.status().as_u16(), 400, "forms of other sites are not taken");
    gateway.stop().await;
}

async fn the_page_loads_nothing_from_elsewhere(home: Home) {
    let gateway = home.start().await;
    let (_, made) = link(&gateway, json!({})).await;
    for (path, kind) in [
        (path(&made), "text/html; charset=utf-8"),
        ("/pair/unknown".to_owned(), "text/html; charset=utf-8"),
        ("/pair/assets/pair.js".to_owned(), "text/javascript; charset=utf-8"),
        ("/pair/assets/pair.css".to_owned(), "text/css; charset=utf-8"),
    ] {
        let answer = reqwest::get(format!("{}{path}", gateway.base)).await.unwrap();
        let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        assert_eq!(header("content-type"), kind, "{path}");
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!((header("referrer-policy"), header("cache-control")), ("no-referrer".into(), "no-store".into()));
        let text = answer.text().await.unwrap();
        for elsewhere in ["http://", "https://", "src=\"//", "href=\"//", "@import", "url("] {
            assert!(!text.contains(elsewhere), "{path} has {elsewhere}");
        }
        if kind.starts_with("text/html") {
            for inline in ["<script>", "<style", " style=", " onclick", " onload", "javascript:"] {
                assert!(!text.contains(inline), "{path} has {inline}");
            }
        }
    }
    gateway.stop().await;
}
