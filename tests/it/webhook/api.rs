//! Webhooks as callers see them: the whole gateway over REST, with a receiver beside it.

use serde_json::{Value, json};

use super::{Receiver, Reply};
use crate::gateway::{Gateway, Home, KEY};
use crate::support::{ENGINES, Engine};

async fn refused(gateway: &Gateway, method: &str, path: &str, body: Value) -> (u16, Value) {
    let (status, value) = gateway.call_as(Some(KEY), method, path, Some(body)).await;
    assert!((400..500).contains(&status), "{method} {path}: {status} {value}");
    (status, value["error"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhooks_life() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    let made = gateway.post("/api/v1/webhooks", json!({"url": "https://example.com/hook"})).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/webhooks/{id}");
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"), "{made}");
    assert_eq!(made["events"], json!(["*"]));
    assert_eq!(made["retryPolicy"], json!({"policy": "exponential", "delaySeconds": 5, "attempts": 30}));
    assert_eq!((&made["active"], &made["ordered"], &made["concurrency"]), (&json!(true), &json!(false), &json!(4)));
    assert_eq!((&made["organizationId"], &made["customHeaders"]), (&json!("org_default"), &json!({})));
    assert!(made["createdAt"].as_i64().unwrap() > 1_700_000_000_000 && made["createdAt"] == made["updatedAt"]);

    // Shown once.
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("secret");
    shown["pending"] = json!(0);
    assert_eq!(gateway.get(&path).await, shown);
    assert_eq!(gateway.get("/api/v1/webhooks").await, json!({"data": [shown], "nextCursor": null}));

    let change = json!({
        "url": "https://example.org/other", "events": ["message.*", "session.status"], "active": false,
        "customHeaders": {"Authorization": "Bearer x", "X-A": "1"}, "secret": "of my own",
        "retryPolicy": {"policy": "linear", "delaySeconds": 2, "attempts": 15},
    });
    let (status, changed) = gateway.call_as(Some(KEY), "PATCH", &path, Some(change)).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!((&changed["url"], &changed["active"]), (&json!("https://example.org/other"), &json!(false)));
    assert_eq!((&changed["disabledReason"], &changed["secret"]), (&json!("by_caller"), &Value::Null));
    let (_, changed) =
        gateway.call_as(Some(KEY), "PATCH", &path, Some(json!({"customHeaders": {"x-a": ""}, "active": true}))).await;
    assert_eq!(changed["customHeaders"], json!({"Authorization": "Bearer x"}));
    assert_eq!((&changed["events"], &changed["active"]), (&json!(["message.*", "session.status"]), &json!(true)));
    assert_eq!(changed["retryPolicy"], json!({"policy": "linear", "delaySeconds": 2, "attempts": 15}));
    let rotated = gateway.post(&format!("{path}:rotateSecret"), json!({})).await;
    assert!(rotated["secret"].as_str().unwrap().starts_with("whsec_"));

    // Somebody else's is not there.
    let stranger = gateway.stranger().await;
    for (method, path) in
        [("GET", path.clone()), ("DELETE", path.clone()), ("POST", format!("{path}:test")), ("GET", format!("{path}/deliveries"))]
    {
        let (status, body) = gateway.call_as(Some(&stranger), method, &path, None).await;
        assert_eq!((status, &body["error"]["code"]), (404, &json!("not_found")), "{method} {path}");
    }
    let (status, body) = gateway.call_as(Some(&stranger), "PATCH", &path, Some(json!({"active": false}))).await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("not_found")));
    assert_eq!(gateway.call_as(Some(KEY), "DELETE", &path, None).await, (204, Value::Null));
    assert_eq!(gateway.call_as(Some(KEY), "DELETE", &path, None).await.0, 404);

    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_named() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    let url = "https://example.com/";
    let cases = [
        (json!({}), "url"),
        (json!({"url": "ftp://example.com/"}), "url"),
        (json!({"url": "http://10.0.0.1/"}), "url"),
        (json!({"url": "http://[::ffff:10.0.0.1]/"}), "url"),
        (json!({"url": "https://user:x@example.com/"}), "url"),
        (json!({"url": url, "events": ["*", "mess*"]}), "events[1]"),
        (json!({"url": url, "sessionId": "01UNKNOWN"}), "sessionId"),
        (json!({"url": url, "secret": "whsec_short"}), "secret"),
        (json!({"url": url, "customHeaders": {"X-Webhook-Hmac": "x"}}), "customHeaders[X-Webhook-Hmac]"),
        (json!({"url": url, "customHeaders": {"Host": "x"}}), "customHeaders[Host]"),
        (json!({"url": url, "customHeaders": {"x-a": "1\r\nx-b: 2"}}), "customHeaders[x-a]"),
        (json!({"url": url, "retryPolicy": {"policy": "never", "delaySeconds": 1, "attempts": 1}}), "retryPolicy.policy"),
        (json!({"url": url, "retryPolicy": {"delaySeconds": 1, "attempts": 1}}), "retryPolicy.policy"),
        (json!({"url": url, "retryPolicy": {"policy": "linear", "delaySeconds": -1, "attempts": 1}}), "retryPolicy.delaySeconds"),
        (json!({"url": url, "retryPolicy": {"policy": "linear", "delaySeconds": 1, "attempts": 0}}), "retryPolicy.attempts"),
        (json!({"url": url, "concurrency": 0}), "concurrency"),
        (json!({"url": url, "unknown": 1}), "unknown"),
    ];
    for (body, field) in cases {
        let (status, error) = refused(&gateway, "POST", "/api/v1/webhooks", body.clone()).await;
        assert_eq!((status, &error["details"]["fields"][0]["field"]), (400, &json!(field)), "{body}: {error}");
    }
    let made = gateway.post("/api/v1/webhooks", json!({"url": url})).await;
    let again = format!("/api/v1/webhooks/{}:redeliver", made["id"].as_str().unwrap());
    for body in [json!({}), json!({"dead": true, "since": 1}), json!({"until": 1}), json!({"since": 2, "until": 1})] {
        assert_eq!(refused(&gateway, "POST", &again, body).await.0, 400);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_the_event_as_the_log_shows_it() {
    for engine in ENGINES {
        let home = Home::new(engine).await;
        let gateway = home.start().await;
        let receiver = Receiver::start([Reply::Status(500)]).await;
        let policy = json!({"policy": "constant", "delaySeconds": 0, "attempts": 2});
        let body =
            json!({"url": receiver.url(), "events": ["session.status", "auth.qr"], "retryPolicy": policy, "ordered": true});
        let made = gateway.post("/api/v1/webhooks", body).await;
        let path = format!("/api/v1/webhooks/{}", made["id"].as_str().unwrap());
        let tested = gateway.post(&format!("{path}:test"), json!({})).await;
        assert_eq!((&tested["delivered"], &tested["status"]), (&json!(false), &json!(500)), "{tested}");
        let tested = gateway.post(&format!("{path}:test"), json!({})).await;
        assert_eq!((&tested["delivered"], &tested["status"]), (&json!(true), &json!(200)), "{tested}");
        let sent: Value = serde_json::from_slice(&receiver.hits()[1].body).unwrap();
        assert_eq!((&sent["event"], &sent["id"]), (&json!("webhook.test"), &tested["eventId"]));

        gateway.phone("491700000001").await;
        gateway.post("/api/v1/sessions", json!({"start": true})).await;
        gateway
            .until("/api/v1/events", "a QR code", |log| {
                log["data"].as_array().is_some_and(|all| all.iter().any(|event| event["event"] == "auth.qr"))
            })
            .await;
        gateway
            .until(&format!("{path}/deliveries?status=delivered"), "the QR code's delivery", |page| {
                page["data"].as_array().is_some_and(|all| all.iter().any(|one| one["event"] == "auth.qr"))
            })
            .await;
        let log = gateway.get("/api/v1/events").await;
        let delivered: Vec<Value> = receiver.hits()[2..].iter().map(|hit| serde_json::from_slice(&hit.body).unwrap()).collect();
        let told: Vec<Value> = log["data"].as_array().unwrap().iter().take(delivered.len()).cloned().collect();
        assert_eq!(delivered, told, "{engine:?}: the same JSON in the same order");

        let page = gateway.get(&format!("{path}/deliveries?limit=1")).await;
        assert_eq!(page["data"].as_array().unwrap().len(), 1);
        assert_eq!(page["nextCursor"], page["data"][0]["sequence"], "there is more");
        let event = delivered[0]["id"].clone();
        let before = receiver.count();
        let again = gateway.post(&format!("{path}:redeliver"), json!({"deliveries": [event]})).await;
        assert_eq!(again, json!({"count": 1}));
        let hits = receiver.until_hits(before + 1).await;
        let repeated = hits.iter().skip(before).find(|hit| json!(hit.header("webhook-id")) == event);
        assert!(repeated.is_some_and(|hit| hit.header("x-webhook-attempt") == "2"));
        gateway.stop().await;
    }
}
