//! `/metrics`, `/healthz` and `/readyz`.

use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};
use whatsapp_gateway::domain::clock::Ambient;

use super::{key, patiently, ticket};
use crate::gateway::{Gateway, Home, KEY};
use crate::support::Engine;

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";

/// The sum of the samples with this beginning.
fn sum(text: &str, beginning: &str) -> f64 {
    let fits = text.lines().filter(|line| line.starts_with(beginning));
    fits.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

async fn read(base: &str) -> String {
    let answer = reqwest::get(format!("{base}/metrics")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    answer.text().await.unwrap()
}

/// Waits until the sum is at least that.
async fn until(gateway: &Gateway, beginning: &str, least: f64) -> String {
    patiently(beginning, async {
        loop {
            let text = read(&gateway.base).await;
            if sum(&text, beginning) >= least {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_counted_and_nobody_is_named() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start_with(&[("WAGW_METRICS", "listen".to_owned())], Ambient::system()).await;
    gateway.phone(BUDI).await;
    let session = gateway.paired(SHOP).await;
    let before = read(&gateway.base).await;
    let hook = json!({"url": "http://127.0.0.1:9/hook", "events": ["message"]});
    gateway.post("/api/v1/webhooks", hook).await;
    gateway.post(&format!("/api/v1/sessions/{session}/messages"), json!({"type": "text", "to": BUDI, "text": "Hi."})).await;
    gateway.post(&format!("/sandbox/v1/phones/{BUDI}/messages"), json!({"to": SHOP, "text": "Hello."})).await;
    until(&gateway, "wagw_messages_received_total", sum(&before, "wagw_messages_received_total") + 1.0).await;
    // What other tests' messages came to is counted too.
    let sent = "wagw_messages_sent_total{outcome=\"sent\"}";
    until(&gateway, sent, sum(&before, sent) + 1.0).await;
    until(&gateway, "wagw_webhook_attempts_total{result=\"no_answer\"}", 1.0).await;
    let ticket = ticket(&gateway, KEY).await;
    let mut socket = super::Socket::open(&gateway, &format!("/api/v1/realtime?ticket={ticket}")).await;
    socket.item().await;
    until(&gateway, "wagw_followers", 1.0).await;
    until(&gateway, "wagw_webhook_deliveries_pending", 1.0).await;
    let (_, reader) = key(&gateway, json!({"name": "reader", "capabilities": ["read"]})).await;
    gateway.call_as(Some(&reader), "POST", "/api/v1/sessions", Some(json!({}))).await;
    gateway.call_as(Some(KEY), "GET", "/api/v1/sessions/none-of-this-name", None).await;
    let text = until(&gateway, "wagw_sessions{status=\"working\"}", 1.0).await;
    for (beginning, least) in [
        ("wagw_calls_total{method=\"whatsapp.gateway.v1.MessageService/SendMessage\",code=\"ok\"}", 1.0),
        ("wagw_calls_total{method=\"whatsapp.gateway.v1.SessionService/GetSession\",code=\"not_found\"}", 1.0),
        ("wagw_http_requests_total{door=\"rest\",status=\"403\"}", 1.0),
        ("wagw_call_seconds_bucket{method=\"whatsapp.gateway.v1.MessageService/SendMessage\"", 1.0),
        ("wagw_streams{method=\"whatsapp.gateway.v1.RealtimeService/OpenRealtime\"}", 1.0),
        ("wagw_events_recorded_total{event=\"session.status\"}", 1.0),
        ("wagw_events_stored", 4.0),
        ("wagw_database_connections", 1.0),
        ("wagw_webhooks{state=", 1.0),
        ("wagw_sandbox_phones", 2.0),
        ("wagw_sandbox_devices", 1.0),
        // The WhatsApp library's own.
        ("wa_send_total", 1.0),
    ] {
        assert!(sum(&text, beginning) >= least, "{beginning}: {}\n{text}", sum(&text, beginning));
    }
    for secret in [session.as_str(), SHOP, BUDI, "org_default", "none-of-this-name"] {
        assert!(!text.contains(secret), "{secret} is in the metrics");
    }
    drop(socket);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_where_the_configuration_says() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    assert_eq!(gateway.call_as(Some(KEY), "GET", "/metrics", None).await.0, 404, "off, unless somebody wants them");
    gateway.stop().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = home.start_with(&[("WAGW_METRICS", free.to_string())], Ambient::system()).await;
    assert_eq!(gateway.call_as(Some(KEY), "GET", "/metrics", None).await.0, 404);
    assert!(read(&format!("http://{free}")).await.contains("wagw_events_stored"));
    assert_eq!(reqwest::get(format!("http://{free}/api/v1/sessions")).await.unwrap().status(), 404);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_means_that_the_database_is_what_the_program_expects() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(gateway.call_as(None, "GET", path, None).await.0, 200, "{path}");
    }
    let mut other = SqliteConnection::connect(home.database_url()).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'newer', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut other).await.unwrap();
    let (status, answer) = gateway.call_as(None, "GET", "/readyz", None).await;
    assert_eq!((status, &answer["status"]), (503, &json!("not_ready")));
    assert_eq!(gateway.call_as(None, "GET", "/healthz", None).await.0, 200, "it lives all the same");
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 9999").execute(&mut other).await.unwrap();
    assert_eq!(gateway.call_as(None, "GET", "/readyz", None).await.0, 200);
    other.close().await.unwrap();
    gateway.stop().await;
}
