//! The whole gateway in process, on real ports, against its own sandbox, on both engines.

mod api;
mod bans;
mod guide;
mod healing;
mod inbox;
mod pairing;
mod people;
mod story;

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::transport::Channel;
use whatsapp_gateway::app::{self, Running};
use whatsapp_gateway::config::{self, Flags};
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::lifecycle::Lifecycle;
use whatsapp_gateway::session::Timing;

use crate::support::Engine;

/// The key of the organization that every test starts with.
pub(crate) const KEY: &str = "wa_0123456789abcdefghijklmnopqrstuv";

/// How long a condition may take to become true; tests wait for conditions, never for time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) base: String,
    pub(crate) running: Running,
    lifecycle: Lifecycle,
    http: reqwest::Client,
}

/// What outlives a restart: the database and the data folder.
pub(crate) struct Home {
    folder: TempDir,
    database_url: String,
    _database: Option<TempDir>,
}

impl Home {
    pub(crate) async fn new(engine: Engine) -> Self {
        let (database, database_url) = engine.url().await;
        Self { folder: tempfile::tempdir().unwrap(), database_url, _database: database }
    }

    /// Where the gateway keeps files; other files of a test may lie there too.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// With a database elsewhere, whose life is the caller's.
    pub(crate) fn at(database_url: String) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database_url, _database: None }
    }

    /// The address of its database.
    pub(crate) fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Starts a gateway here.
    pub(crate) async fn start(&self) -> Gateway {
        self.start_with(&[], Ambient::system()).await
    }

    /// Starts a gateway with other limits and waits.
    pub(crate) async fn start_timed(&self, timing: Timing) -> Gateway {
        self.start_as(&[], Ambient::system(), timing).await
    }

    /// Starts a gateway here with more settings, by the given clock.
    pub(crate) async fn start_with(&self, more: &[(&str, String)], ambient: Ambient) -> Gateway {
        self.start_as(more, ambient, Timing::default()).await
    }

    async fn start_as(&self, more: &[(&str, String)], ambient: Ambient, timing: Timing) -> Gateway {
        let settings = [
            ("WAGW_LISTEN", "127.0.0.1:0".to_owned()),
            ("WAGW_SANDBOX", "true".to_owned()),
            ("WAGW_SANDBOX_LISTEN", "127.0.0.1:0".to_owned()),
            ("WAGW_DATA_DIR", self.folder.path().display().to_string()),
            ("WAGW_DATABASE_URL", self.database_url.clone()),
            ("WAGW_GATEWAY_ID", "gw-test-1".to_owned()),
            ("WAGW_BOOTSTRAP_API_KEY", KEY.to_owned()),
            ("WAGW_ENCRYPTION_KEY", "0123456789abcdef".repeat(4)),
            ("WAGW_EGRESS_ALLOW", "127.0.0.0/8".to_owned()),
            ("WAGW_CORS_ORIGINS", "https://console.example.org".to_owned()),
        ];
        let settings = settings.iter().chain(more);
        let env = settings.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let config = config::load(&Flags::default(), &env).unwrap().config;
        let lifecycle = Lifecycle::new(Duration::from_secs(10));
        let running = app::start_with(config, ambient, &lifecycle, timing).await.unwrap();
        Gateway { base: format!("http://{}", running.address), running, lifecycle, http: reqwest::Client::new() }
    }
}

impl Gateway {
    /// Ends in good order.
    pub(crate) async fn stop(self) {
        self.lifecycle.shut_down();
        self.lifecycle.wait().await.unwrap();
        self.running.close().await;
    }

    /// A call by HTTP with the given key; the body is sent when there is one.
    pub(crate) async fn call_as(&self, key: Option<&str>, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut call = self.http.request(method.parse().unwrap(), format!("{}{path}", self.base));
        if let Some(key) = key {
            call = call.bearer_auth(key);
        }
        if let Some(body) = body {
            call = call.header("content-type", "application/json").body(body.to_string());
        }
        let answer = call.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        let value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        (status, value)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, value) = self.call_as(Some(KEY), "GET", path, None).await;
        assert_eq!(status, 200, "GET {path}: {value}");
        value
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, value) = self.call_as(Some(KEY), "POST", path, Some(body)).await;
        assert!(matches!(status, 200 | 201), "POST {path}: {status} {value}");
        value
    }

    /// A key of another organization, made behind the doors: organizations come with logins, not with calls.
    pub(crate) async fn stranger(&self) -> String {
        use whatsapp_gateway::domain::ids::OrganizationId;
        use whatsapp_gateway::domain::principal::{Capabilities, Principal};
        use whatsapp_gateway::service::api_key::NewApiKey;
        let caller = Principal::local(OrganizationId::new("org_other"));
        let new = NewApiKey { name: "stranger".into(), capabilities: Capabilities::ALL, sessions: None, expires_at: None };
        self.running.service.create_api_key(&caller, new).await.unwrap().1
    }

    /// A gRPC channel; calls carry the test's key.
    pub(crate) async fn channel(&self) -> tonic::service::interceptor::InterceptedService<Channel, WithKey> {
        let channel = Channel::from_shared(self.base.clone()).unwrap().connect().await.unwrap();
        tonic::service::interceptor::InterceptedService::new(channel, WithKey)
    }

    /// Waits until `path` shows what `fits` wants.
    pub(crate) async fn until(&self, path: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let wait = async {
            loop {
                last = self.get(path).await;
                if fits(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, wait).await;
        assert!(done.is_ok(), "waited in vain until {path} shows {what}; it shows {last}");
        last
    }

    /// Adds a simulated phone.
    pub(crate) async fn phone(&self, number: &str) {
        self.post("/sandbox/v1/phones", json!({"phoneNumber": number, "pushName": format!("Phone {number}")})).await;
    }

    /// Creates a session and pairs it with `number`; gives its id.
    pub(crate) async fn paired(&self, number: &str) -> String {
        // Its own phone leaves the reading to the session.
        self.post("/sandbox/v1/phones", json!({"phoneNumber": number, "pushName": "Shop", "autoRead": false})).await;
        let session = self.post("/api/v1/sessions", json!({"start": true, "presenceTyping": false})).await;
        let id = session["id"].as_str().unwrap().to_owned();
        let qr = self.get(&format!("/api/v1/sessions/{id}/qr?wait=30")).await;
        self.post(&format!("/sandbox/v1/phones/{number}:scan"), json!({"code": qr["code"]})).await;
        self.until(&format!("/api/v1/sessions/{id}"), "working", |s| s["status"] == "working").await;
        id
    }

    /// Every event of the log so far.
    pub(crate) async fn events(&self, name: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/v1/events?limit=1000&events={name}")).await;
        page["data"].as_array().unwrap().clone()
    }
}

/// Puts the test's key on gRPC calls.
#[derive(Clone)]
pub(crate) struct WithKey;

impl Interceptor for WithKey {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        request.metadata_mut().insert("x-api-key", AsciiMetadataValue::from_static(KEY));
        Ok(request)
    }
}

/// Makes of each `async fn(Home)` one test an engine.
macro_rules! on_both_engines {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::gateway::Home::new(crate::support::Engine::Sqlite).await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::gateway::Home::new(crate::support::Engine::Postgres).await).await;
            })+
        }
    };
}
pub(crate) use on_both_engines;
