//! Login tokens: which are taken, and where their keys come from in good and bad times.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use whatsapp_gateway::api::login::Logins;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::domain::login::{KeySource, LoginIssuer};
use whatsapp_gateway::domain::principal::{Capabilities, Capability, Principal};
use whatsapp_gateway::error::{Code, Error};

use super::issuer::{AUDIENCE, ISSUER, KeyServer, Mood, Signer, claims, key_set, unsigned};
use super::{NOW, until};

fn logins(keys: KeySource) -> (Logins, Ambient) {
    let clock = Ambient::held(NOW);
    let issuer = LoginIssuer { keys, issuer: ISSUER.into(), audience: AUDIENCE.into() };
    (Logins::new(issuer, clock.clone()).unwrap(), clock)
}

/// Logins with these keys, from a file that stays while the folder does.
fn with_keys(keys: &[&Signer]) -> (Logins, Ambient, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, key_set(keys)).unwrap();
    let (logins, clock) = logins(KeySource::File(file));
    (logins, clock, folder)
}

fn changed(name: &str, value: Value) -> Value {
    let mut all = claims(NOW);
    all[name] = value;
    all
}

async fn refused(logins: &Logins, token: &str) -> String {
    let error = logins.authenticate(token).await.expect_err(token);
    assert_eq!(error.code, Code::Unauthorized, "{token}: {error}");
    error.message
}

#[tokio::test]
async fn tokens_of_all_three_kinds_are_taken_and_say_who_it_is() {
    let signers = [Signer::ed25519("ed"), Signer::p256("ec"), Signer::rsa("rsa")];
    let (logins, _clock, _folder) = with_keys(&signers.iter().collect::<Vec<_>>());
    for signer in &signers {
        let found = logins.authenticate(&signer.token(&claims(NOW))).await.unwrap();
        assert_eq!((found.organization.as_str(), found.user_id()), ("org_1", Some("user_1")));
        assert_eq!((found.capabilities, found.super_admin, found.sessions), (Capabilities::ALL, false, None));
        assert_eq!(found.expires_at, Some(NOW.plus(Duration::from_secs(36_060))), "with the leeway");
        // Without a key id, the only key for the algorithm is meant.
        let anonymous = signer.token_with(&json!({"alg": signer.algorithm()}), &claims(NOW));
        assert_eq!(logins.authenticate(&anonymous).await.unwrap().organization.as_str(), "org_1");
    }
    let ed = &signers[0];
    let as_role = async |role: Value| logins.authenticate(&ed.token(&changed("orgRole", role))).await.unwrap();
    assert_eq!(as_role(json!("admin")).await.capabilities, Capabilities::ALL);
    assert_eq!(as_role(json!("member")).await.capabilities, Capabilities::from_iter([Capability::Read, Capability::Send]));
    assert_eq!(as_role(json!("super_admin")).await.capabilities, Capabilities::NONE, "no role of an organization");
    assert_eq!(as_role(Value::Null).await.capabilities, Capabilities::NONE);
    assert!(!as_role(json!("super_admin")).await.super_admin);

    let mut platform = claims(NOW);
    platform["role"] = json!("super_admin");
    platform["activeOrganizationId"] = Value::Null;
    let found: Principal = logins.authenticate(&ed.token(&platform)).await.unwrap();
    assert_eq!((found.super_admin, found.organization.as_str()), (true, ""));
    platform["role"] = json!("user");
    assert_eq!(logins.authenticate(&ed.token(&platform)).await.unwrap().capabilities, Capabilities::NONE);
}

#[tokio::test]
async fn tokens_that_lie_are_refused() {
    let (ed, rsa, stranger) = (Signer::ed25519("ed"), Signer::rsa("rsa"), Signer::ed25519("ed"));
    let (logins, _clock, _folder) = with_keys(&[&ed, &rsa]);
    let good = ed.token(&claims(NOW));
    logins.authenticate(&good).await.unwrap();

    for algorithm in ["none", "None", "NONE"] {
        let header = json!({"alg": algorithm, "kid": "ed"});
        refused(&logins, &format!("{}.", unsigned(&header, &claims(NOW)))).await;
        refused(&logins, &ed.token_with(&header, &claims(NOW))).await;
    }
    // The classic: the public key, which everybody has, as the secret of a MAC.
    for public in [ed.public(), rsa.public(), rsa.jwk()["n"].as_str().unwrap().as_bytes().to_vec()] {
        for kid in ["ed", "rsa"] {
            let message = unsigned(&json!({"alg": "HS256", "kid": kid}), &claims(NOW));
            let mut mac = Hmac::<Sha256>::new_from_slice(&public).unwrap();
            mac.update(message.as_bytes());
            let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
            assert!(refused(&logins, &token).await.contains("not taken"));
        }
    }
    // A key counts for its own algorithm only, whatever the token says.
    for (signer, algorithm) in [(&ed, "RS256"), (&ed, "ES256"), (&rsa, "EdDSA"), (&rsa, "RS512"), (&rsa, "PS256")] {
        refused(&logins, &signer.token_with(&json!({"alg": algorithm, "kid": signer.kid}), &claims(NOW))).await;
    }
    assert!(refused(&logins, &stranger.token(&claims(NOW))).await.contains("signature"));
    let critical = json!({"alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": false});
    refused(&logins, &ed.token_with(&critical, &claims(NOW))).await;
    let parts: Vec<&str> = good.split('.').collect();
    let other = URL_SAFE_NO_PAD.encode(changed("activeOrganizationId", json!("org_2")).to_string());
    refused(&logins, &format!("{}.{other}.{}", parts[0], parts[2])).await;
    for broken in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", &good[..good.len() - 2], &format!("{good}x"), &format!(" {good}")] {
        refused(&logins, broken).await;
    }
    let long = ed.token(&changed("padding", json!("x".repeat(8 << 10))));
    assert!(refused(&logins, &long).await.contains("longer"));
}

#[tokio::test]
async fn claims_must_be_there_and_right() {
    let ed = Signer::ed25519("ed");
    let (logins, clock, _folder) = with_keys(&[&ed]);
    let now = NOW.0 / 1000;
    for (name, value) in [
        ("iss", json!("https://evil.example")),
        ("iss", json!(null)),
        ("aud", json!("another-service")),
        ("aud", json!(["a", "b"])),
        ("aud", json!(null)),
        ("exp", json!(now - 60)),
        ("exp", json!("never")),
        ("exp", json!(null)),
        ("nbf", json!(now + 61)),
        ("sub", json!(null)),
        ("sub", json!("")),
        ("sub", json!("x".repeat(257))),
    ] {
        refused(&logins, &ed.token(&changed(name, value.clone()))).await;
        if value.is_null() {
            let mut all = claims(NOW);
            all.as_object_mut().unwrap().remove(name);
            refused(&logins, &ed.token(&all)).await;
        }
    }
    for (name, value) in [("aud", json!(["x", AUDIENCE])), ("exp", json!(now - 59)), ("nbf", json!(now + 60))] {
        logins.authenticate(&ed.token(&changed(name, value))).await.unwrap();
    }
    let token = ed.token(&claims(NOW));
    clock.advance(Duration::from_secs(36_059));
    logins.authenticate(&token).await.unwrap();
    clock.advance(Duration::from_secs(1));
    assert!(refused(&logins, &token).await.contains("expired"));
}

#[tokio::test]
async fn keys_rotate_without_a_restart_and_unknown_keys_ask_once_a_minute() {
    let (old, new) = (Signer::ed25519("old"), Signer::p256("new"));
    let server = KeyServer::start(Mood::Answers(key_set(&[&old]))).await;
    let (logins, clock) = logins(KeySource::Url(server.url.clone()));
    logins.authenticate(&old.token(&claims(NOW))).await.unwrap();
    assert_eq!(server.asked(), 1);

    server.set(Mood::Answers(key_set(&[&old, &new])));
    let token = new.token(&claims(NOW));
    clock.advance(Duration::from_secs(59));
    for _ in 0..5 {
        refused(&logins, &token).await;
    }
    assert_eq!(server.asked(), 1, "within the minute nobody is asked again");
    clock.advance(Duration::from_secs(1));
    // Many at once: one fetch for all of them.
    let all = futures_util::future::join_all((0..20).map(|_| logins.authenticate(&token))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(server.asked(), 2);

    // A key that was withdrawn is out of use ten minutes later, without anybody showing an unknown one.
    server.set(Mood::Answers(key_set(&[&new])));
    clock.advance(Duration::from_secs(600));
    let withdrawn = old.token(&claims(NOW));
    until("the withdrawn key is forgotten", async || logins.authenticate(&withdrawn).await.is_err().then_some(())).await;
    assert_eq!(server.asked(), 3);
    logins.authenticate(&token).await.unwrap();
}

#[tokio::test]
async fn old_keys_are_kept_while_their_server_is_out_of_order() {
    let key = Signer::ed25519("k");
    let server = KeyServer::start(Mood::Answers(key_set(&[&key]))).await;
    let (logins, clock) = logins(KeySource::Url(server.url.clone()));
    let (token, unknown) = (key.token(&claims(NOW)), Signer::ed25519("unknown").token(&claims(NOW)));
    logins.authenticate(&token).await.unwrap();
    let lies = [
        Mood::Says("500 Internal Server Error", key_set(&[])),
        Mood::Says("302 Found\r\nlocation: https://evil.example/jwks.json", key_set(&[])),
        Mood::Answers("<html>".into()),
        Mood::Answers(r#"{"keys":[]}"#.into()),
        Mood::Answers(r#"{"keys":[{"kty":"oct","kid":"k","k":"AAAA"}]}"#.into()),
        Mood::Answers("[".repeat(200_000)),
        Mood::Floods(64 << 20),
    ];
    for (count, mood) in lies.into_iter().enumerate() {
        server.set(mood);
        clock.advance(Duration::from_secs(60));
        refused(&logins, &unknown).await;
        assert_eq!(server.asked(), count + 2);
        logins.authenticate(&token).await.unwrap();
    }
    assert!(server.sent() < 32 << 20, "the flood was cut: {} bytes left the server", server.sent());
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_others_are_served_meanwhile() {
    let key = Signer::ed25519("k");
    let server = KeyServer::start(Mood::Hangs).await;
    let (logins, clock) = logins(KeySource::Url(server.url.clone()));
    let token = key.token(&claims(NOW));
    let unavailable = |result: Result<Principal, Error>| result.unwrap_err().code == Code::Unavailable;
    assert!(unavailable(logins.authenticate(&token).await), "nobody knows whether the token is good");
    assert!(unavailable(logins.authenticate(&token).await));
    assert_eq!(server.asked(), 1, "the second one asked nobody");
    clock.advance(Duration::from_secs(5));
    server.set(Mood::Answers(key_set(&[&key])));
    logins.authenticate(&token).await.unwrap();

    // Once there are keys, a hanging server delays only those who show unknown ones.
    server.set(Mood::Hangs);
    clock.advance(Duration::from_secs(60));
    let (slow, stranger) = (logins.clone(), Signer::ed25519("x").token(&claims(NOW)));
    let slow = tokio::spawn(async move { slow.authenticate(&stranger).await.map(drop) });
    until("the fetch is under way", async || (server.asked() == 3).then_some(())).await;
    logins.authenticate(&token).await.unwrap();
    assert!(!slow.is_finished());
    slow.abort();
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let (old, new) = (Signer::ed25519("old"), Signer::ed25519("newer"));
    let (logins, clock, folder) = with_keys(&[&old]);
    logins.authenticate(&old.token(&claims(NOW))).await.unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, key_set(&[&new])).unwrap();
    clock.advance(Duration::from_secs(1));
    logins.authenticate(&new.token(&claims(NOW))).await.unwrap();
    refused(&logins, &old.token(&claims(NOW))).await;
    std::fs::remove_file(&file).unwrap();
    clock.advance(Duration::from_secs(1));
    logins.authenticate(&new.token(&claims(NOW))).await.unwrap();
}
