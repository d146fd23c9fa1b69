//! The lives of api-keys, seen from outside and from another gateway.

use std::time::Duration;

use serde_json::{Value, json};
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::proto::gateway::SubscribeRequest;
use whatsapp_gateway::proto::gateway::event_service_client::EventServiceClient;

use super::{NOW, Trusting, until};
use crate::gateway::{Home, KEY, PATIENCE};
use crate::support::{ENGINES, Engine};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slip_is_told_from_a_wrong_key_and_guessing_is_slowed_but_locks_nobody_out() {
    let it = Trusting::held().await;
    let (_, secret) = it.key("org_1", json!({"name": "key", "capabilities": ["manage"]})).await;
    assert_eq!(secret.len(), 52, "wa_, 43 digits and the checksum");
    let last = if secret.ends_with('x') { "y" } else { "x" };
    let (status, slip) = it.get_as(&format!("{}{last}", &secret[..51]), "/api/v1/sessions").await;
    assert_eq!(status, 401);
    assert!(slip["error"]["message"].as_str().unwrap().contains("mistyped"), "{slip}");
    let (status, wrong) = it.get_as(&format!("wa_{}", "x".repeat(30)), "/api/v1/sessions").await;
    assert_eq!(status, 401);
    assert!(!wrong["error"]["message"].as_str().unwrap().contains("mistyped"), "{wrong}");

    let statuses: Vec<u16> = futures_util::future::join_all(
        (0..60).map(async |n| it.get_as(&format!("wa_{}{n:02}", "x".repeat(30)), "/api/v1/sessions").await.0),
    )
    .await;
    assert_eq!(
        (statuses.iter().filter(|status| **status == 401).count(), statuses.iter().filter(|s| **s == 429).count()),
        (28, 32)
    );
    let (status, told) = it.get_as("wa_nobody", "/api/v1/sessions").await;
    assert_eq!((status, &told["error"]["code"]), (429, &json!("rate_limited")), "{told}");
    assert!(told["error"]["details"]["retryAfterSeconds"].as_i64().is_some_and(|wait| (1..=60).contains(&wait)), "{told}");
    // From the very same address, whoever has a credential is served, known a moment ago or not.
    assert_eq!(it.get_as(&secret, "/api/v1/sessions").await.0, 200);
    assert_eq!(it.get_as(KEY, "/api/v1/sessions").await.0, 200);
    assert_eq!(it.get_as(&it.login("org_1", "owner"), "/api/v1/sessions").await.0, 200);
    // A missing credential is no guess.
    assert_eq!(it.gateway.call_as(None, "GET", "/api/v1/sessions", None).await.0, 401);
    it.clock.advance(Duration::from_secs(60));
    assert_eq!(it.get_as("wa_nobody", "/api/v1/sessions").await.0, 401);
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_refused_at_once_and_its_streams_end() {
    let it = Trusting::held().await;
    let (id, secret) = it.key("org_1", json!({"name": "key", "capabilities": ["manage", "events"]})).await;
    assert_eq!(it.get_as(&secret, "/api/v1/sessions").await.0, 200);
    let client = reqwest::Client::new();
    let stream =
        client.get(format!("{}/api/v1/events", it.gateway.base)).bearer_auth(&secret).header("accept", "text/event-stream");
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    // Calls under way while it is revoked must not bring it back.
    let hammer = async {
        for _ in 0..20 {
            it.get_as(&secret, "/api/v1/sessions").await;
        }
    };
    let revoke = async {
        let path = format!("/api/v1/api-keys/{id}");
        it.gateway.call_as(Some(&it.login("org_1", "owner")), "DELETE", &path, None).await.0
    };
    let (revoked, first_after) = tokio::join!(
        async {
            let status = revoke.await;
            (status, it.get_as(&secret, "/api/v1/sessions").await.0)
        },
        hammer
    )
    .0;
    assert_eq!((revoked, first_after), (204, 401));
    let rest = tokio::time::timeout(Duration::from_secs(20), stream.text()).await.expect("the stream ends").unwrap();
    assert!(rest.contains("event: error") && rest.contains("unauthorized"), "{rest}");
    // And it stays so, whatever was under way.
    it.clock.advance(Duration::from_secs(60));
    assert_eq!(it.get_as(&secret, "/api/v1/sessions").await.0, 401);
    it.stop().await;
}

/// Two gateways over one database: what one revokes the other refuses once two seconds have passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_elsewhere_is_refused_within_two_seconds() {
    for engine in ENGINES {
        let test = engine.open().await;
        let clock = Ambient::held(NOW);
        let home = Home::new(Engine::Sqlite).await;
        let more = [("WAGW_DATABASE_URL", test.url.clone())];
        let gateway = home.start_with(&more, clock.clone()).await;
        let key = gateway.post("/api/v1/api-keys", json!({"name": "k", "capabilities": ["manage"]})).await;
        let (id, secret) = (key["apiKey"]["id"].as_str().unwrap(), key["secret"].as_str().unwrap());
        let ask = async || gateway.call_as(Some(secret), "GET", "/api/v1/sessions", None).await.0;
        assert_eq!(ask().await, 200);
        // Another gateway's revocation is a change of the row that nobody tells this one about.
        let (organization, id) = (key["apiKey"]["organizationId"].as_str().unwrap(), id.to_owned());
        let organization = whatsapp_gateway::domain::ids::OrganizationId::new(organization);
        let id = whatsapp_gateway::domain::ids::ApiKeyId::new(id);
        assert!(test.db.revoke_api_key(&organization, &id, NOW).await.unwrap());
        clock.advance(Duration::from_millis(1999));
        assert_eq!(ask().await, 200, "the cache holds: a request costs no SQL");
        clock.advance(Duration::from_millis(1));
        assert_eq!(ask().await, 401);
        gateway.stop().await;
        test.db.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_use_is_noted_and_an_end_in_time_holds() {
    let it = Trusting::held().await;
    let end = NOW.plus(Duration::from_secs(600)).0;
    let (id, secret) = it.key("org_1", json!({"name": "brief", "capabilities": ["manage"], "expiresAt": end})).await;
    let row = async || -> Value {
        let all = it.get_as(&it.login("org_1", "owner"), "/api/v1/api-keys").await.1;
        all["data"].as_array().unwrap().iter().find(|key| key["id"] == id.as_str()).unwrap().clone()
    };
    assert!(row().await.get("lastUsedAt").is_none());
    assert_eq!(it.get_as(&secret, "/api/v1/sessions").await.0, 200);
    until("the use is noted", async || (row().await["lastUsedAt"] == NOW.0).then_some(())).await;
    it.clock.advance(Duration::from_secs(599));
    assert_eq!(it.get_as(&secret, "/api/v1/sessions").await.0, 200);
    it.clock.advance(Duration::from_secs(1));
    assert_eq!(it.get_as(&secret, "/api/v1/sessions").await.0, 401);
    it.stop().await;
}

/// Nobody has to be asked for a credential to end by itself: its streams end all the same, over both doors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_when_their_credential_expires() {
    let it = Trusting::held().await;
    let end = NOW.plus(Duration::from_secs(36_000)).0;
    let (_, secret) = it.key("org_1", json!({"name": "brief", "capabilities": ["events"], "expiresAt": end})).await;
    let credentials = [secret, it.login("org_1", "owner")];
    let http = reqwest::Client::new();
    let mut streams = Vec::new();
    for credential in &credentials {
        let stream = http.get(format!("{}/api/v1/events", it.gateway.base)).bearer_auth(credential);
        let stream = stream.header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(stream.status(), 200);
        let mut request = tonic::Request::new(SubscribeRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {credential}").parse().unwrap());
        let channel = tonic::transport::Channel::from_shared(it.gateway.base.clone()).unwrap().connect().await.unwrap();
        streams.push((stream, EventServiceClient::new(channel).subscribe(request).await.unwrap().into_inner()));
    }
    // A login's leeway is a minute.
    it.clock.advance(Duration::from_secs(36_061));
    for (by_http, mut by_grpc) in streams {
        let text = tokio::time::timeout(PATIENCE, by_http.text()).await.expect("the stream ends").unwrap();
        assert!(text.contains("event: error") && text.contains("unauthorized"), "{text}");
        let last = async {
            loop {
                match by_grpc.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(status) => return Some(status.code()),
                }
            }
        };
        assert_eq!(tokio::time::timeout(PATIENCE, last).await.expect("it ends"), Some(tonic::Code::Unauthenticated));
    }
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_makes_a_key_once_for_this_user_s_eyes() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new(Engine::Sqlite).await;
    let unset = [("WAGW_BOOTSTRAP_API_KEY", String::new())];
    let file = home.path().join("admin.key");
    let gateway = home.start_with(&unset, Ambient::system()).await;
    let key = std::fs::read_to_string(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(gateway.call_as(Some(key.trim()), "GET", "/api/v1/sessions", None).await.0, 200);
    gateway.stop().await;
    std::fs::remove_file(&file).unwrap();
    let gateway = home.start_with(&unset, Ambient::system()).await;
    assert!(!file.exists(), "there is a key already");
    assert_eq!(gateway.call_as(Some(key.trim()), "GET", "/api/v1/sessions", None).await.0, 200);
    assert_eq!(gateway.call_as(Some(KEY), "GET", "/api/v1/sessions", None).await.0, 401);
    gateway.stop().await;
}
