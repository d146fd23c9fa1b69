//! Who may do what: login tokens, api-keys, every method with every kind of credential, and what is recorded of it.

mod audit;
pub(crate) mod issuer;
mod keys;
mod login;
mod matrix;
mod methods;
mod platform;
mod proxies;

use std::time::Duration;

use serde_json::{Value, json};
use whatsapp_gateway::domain::clock::{Ambient, Time};

use self::issuer::{Signer, claims};
use crate::gateway::{Gateway, Home};
use crate::support::Engine;

const NOW: Time = Time(1_790_000_000_000);

/// A gateway that takes the login tokens of `signer`.
pub(crate) struct Trusting {
    pub(crate) gateway: Gateway,
    clock: Ambient,
    signer: Signer,
    _home: Home,
}

impl Trusting {
    /// By a clock that stands still until it is moved.
    async fn held() -> Self {
        Self::start(Ambient::held(NOW)).await
    }

    pub(crate) async fn start(clock: Ambient) -> Self {
        Self::with(clock, &[]).await
    }

    /// With more settings.
    pub(crate) async fn with(clock: Ambient, more: &[(&str, String)]) -> Self {
        let (home, signer) = (Home::new(Engine::Sqlite).await, Signer::ed25519("k1"));
        let file = home.path().join("jwks.json");
        std::fs::write(&file, issuer::key_set(&[&signer])).unwrap();
        let settings = [
            ("WAGW_AUTH_JWKS_FILE", file.display().to_string()),
            ("WAGW_AUTH_ISSUER", issuer::ISSUER.to_owned()),
            ("WAGW_AUTH_AUDIENCE", issuer::AUDIENCE.to_owned()),
        ];
        let settings: Vec<_> = settings.iter().chain(more).cloned().collect();
        let gateway = home.start_with(&settings, clock.clone()).await;
        Self { gateway, clock, signer, _home: home }
    }

    /// A login token for a role in an organization.
    fn login(&self, organization: &str, role: &str) -> String {
        let mut all = claims(self.clock.now());
        all["activeOrganizationId"] = json!(organization);
        all["orgRole"] = json!(role);
        self.signer.token(&all)
    }

    /// A login token of the platform's own.
    pub(crate) fn super_admin(&self) -> String {
        let mut all = claims(self.clock.now());
        all["role"] = json!("super_admin");
        (all["activeOrganizationId"], all["orgRole"]) = (Value::Null, Value::Null);
        self.signer.token(&all)
    }

    /// A new key, made by an owner of the organization: its id and its secret.
    async fn key(&self, organization: &str, body: Value) -> (String, String) {
        let owner = self.login(organization, "owner");
        let (status, made) = self.gateway.call_as(Some(&owner), "POST", "/api/v1/api-keys", Some(body)).await;
        assert_eq!(status, 201, "{made}");
        (made["apiKey"]["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
    }

    /// A new session of the organization.
    async fn session(&self, organization: &str) -> String {
        let owner = self.login(organization, "owner");
        let (status, made) = self.gateway.call_as(Some(&owner), "POST", "/api/v1/sessions", Some(json!({}))).await;
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    async fn get_as(&self, credential: &str, path: &str) -> (u16, Value) {
        self.gateway.call_as(Some(credential), "GET", path, None).await
    }

    pub(crate) async fn stop(self) {
        self.gateway.stop().await;
    }
}

/// Waits until `fits` holds.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::gateway::PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain until {what}"))
}
