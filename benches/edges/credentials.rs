//! What a credential costs: the time from its text to whose it is.

use std::path::Path;
use std::time::Instant;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use whatsapp_gateway::api::login::{Logins, lookup};
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::domain::login::{KeySource, LoginIssuer};
use whatsapp_gateway::domain::principal::{Capabilities, Principal};
use whatsapp_gateway::service::Service;
use whatsapp_gateway::service::api_key::NewApiKey;

const CACHED: usize = 50_000;
const UNCACHED: usize = 500;
const JWT: usize = 5000;
/// An Ed25519 key in PKCS #8: the head, and 32 bytes that nobody has to keep secret here.
const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Microseconds for each kind of credential, one after the other on one task.
pub(crate) async fn measure(service: &Service, caller: &Principal, key: &str, folder: &Path) -> Vec<(String, f64)> {
    let signer = EncodingKey::from_ed_der(&[&HEAD[..], &[7; 32]].concat());
    let mut jwk = Jwk::from_encoding_key(&signer, Algorithm::EdDSA).unwrap();
    jwk.common.key_id = Some("k".to_owned());
    let file = folder.join("jwks.json");
    std::fs::write(&file, json!({"keys": [jwk]}).to_string()).unwrap();
    let now = Ambient::system().now().0 / 1000;
    let claims = json!({
        "iss": "https://login.example", "aud": "gateway", "sub": "user_1", "iat": now, "exp": now + 3600,
        "activeOrganizationId": "org_default", "orgRole": "owner",
    });
    let header = Header { kid: Some("k".to_owned()), ..Header::new(Algorithm::EdDSA) };
    let token = jsonwebtoken::encode(&header, &claims, &signer).unwrap();
    let issuer =
        LoginIssuer { keys: KeySource::File(file), issuer: "https://login.example".to_owned(), audience: "gateway".to_owned() };
    let look = lookup(service.clone(), Some(Logins::new(issuer, Ambient::system()).unwrap()));

    let mut fresh = Vec::new();
    for n in 0..UNCACHED {
        let new = NewApiKey { name: format!("key {n}"), capabilities: Capabilities::ALL, expires_at: None, sessions: None };
        fresh.push(service.create_api_key(caller, new).await.unwrap().1);
    }
    let mut rows = Vec::new();
    for (name, tokens) in
        [("a cached key", vec![key.to_owned(); CACHED]), ("an uncached key", fresh), ("a JWT (EdDSA)", vec![token; JWT])]
    {
        // The first one of its kind warms up.
        assert!(look(tokens[0].clone()).await.unwrap().is_some(), "{name}");
        let (begun, count) = (Instant::now(), tokens.len() - 1);
        for token in tokens.into_iter().skip(1) {
            look(token).await.unwrap();
        }
        rows.push((name.to_owned(), begun.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(count).unwrap())));
    }
    rows
}
