//! Every method with every kind of credential, by gRPC and by HTTP. What must come out follows from the methods' options alone, so a
//! new method is covered as it is.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use super::issuer::{Signer, claims, unsigned};
use super::methods::{all, http_status};
use super::{Trusting, until};

/// What a credential is worth.
enum Worth {
    /// Nothing: every method that is not public refuses it with 401.
    Nothing,
    /// These capabilities.
    May(&'static [&'static str]),
    /// These, and only for one session.
    Restricted(&'static [&'static str]),
}

const EVERYTHING: &[&str] = &["READ", "SEND", "MANAGE", "EVENTS"];

/// What a method must answer to a caller: 401, 403, or 0 for anything else.
fn expected(requires: &str, worth: &Worth) -> u16 {
    let capability = requires.trim_start_matches("CAPABILITY_");
    match (capability, worth) {
        ("PUBLIC", _) => 0,
        (_, Worth::Nothing) => 401,
        ("AUTHENTICATED", _) => 0,
        (_, Worth::May(list) | Worth::Restricted(list)) if list.contains(&capability) => 0,
        _ => 403,
    }
}

async fn credentials(it: &Trusting) -> Vec<(String, Option<String>, Worth)> {
    let now = it.clock.now();
    let with = |name: &str, value: Value| {
        let mut all = claims(now);
        all[name] = value;
        it.signer.token(&all)
    };
    let session = it.session("org_1").await;
    let nothing = |name: &str, credential: String| (name.to_owned(), Some(credential), Worth::Nothing);
    let may = |name: &str, credential: String, list| (name.to_owned(), Some(credential), Worth::May(list));
    let (revoked_id, revoked) = it.key("org_1", json!({"name": "revoked", "capabilities": ["manage"]})).await;
    let owner = it.login("org_1", "owner");
    let revoke = format!("/api/v1/api-keys/{revoked_id}");
    assert_eq!(it.gateway.call_as(Some(&owner), "DELETE", &revoke, None).await.0, 204);
    let soon = now.plus(Duration::from_secs(60)).0;
    let brief = json!({"name": "brief", "capabilities": ["read", "send", "manage", "events"], "expiresAt": soon});
    let expired = it.key("org_1", brief).await.1;
    it.clock.advance(Duration::from_secs(61));
    let public = it.signer.jwk()["x"].as_str().unwrap().to_owned();
    let mac = {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let message = unsigned(&json!({"alg": "HS256", "kid": it.signer.kid}), &claims(now));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(public.as_bytes()).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    let mut list = vec![
        ("no credential".to_owned(), None, Worth::Nothing),
        nothing("malformed", "nonsense".into()),
        nothing("an unknown key", format!("wa_{}", "x".repeat(40))),
        nothing("a revoked key", revoked),
        nothing("an expired key", expired),
        nothing("an expired login", with("exp", json!(now.0 / 1000 - 61))),
        nothing("a login of another issuer", with("iss", json!("https://evil.example"))),
        nothing("a login for another audience", with("aud", json!("another"))),
        nothing("alg none", format!("{}.", unsigned(&json!({"alg": "none", "kid": it.signer.kid}), &claims(now)))),
        nothing("HS256 with the public key", mac),
        nothing("a stranger's signature", Signer::ed25519(&it.signer.kid).token(&claims(now))),
        may("member", it.login("org_1", "member"), &["READ", "SEND"]),
        may("admin", it.login("org_1", "admin"), EVERYTHING),
        may("owner", owner, EVERYTHING),
        may("a role of nobody", it.login("org_1", "guest"), &[]),
        may("super_admin as a role of an organization", it.login("org_1", "super_admin"), &[]),
        may("super_admin", it.super_admin(), &["READ", "SEND", "MANAGE", "EVENTS", "SUPER_ADMIN"]),
    ];
    for (word, capability) in [("read", &["READ"]), ("send", &["SEND"]), ("manage", &["MANAGE"]), ("events", &["EVENTS"])] {
        let key = it.key("org_1", json!({"name": word, "capabilities": [word]})).await.1;
        list.push(may(&format!("a key that may {word}"), key, capability));
    }
    let every = json!(["read", "send", "manage", "events"]);
    let foreign = it.key("org_2", json!({"name": "foreign", "capabilities": every})).await.1;
    list.push(may("a key of another organization", foreign, EVERYTHING));
    let restricted = json!({"name": "restricted", "capabilities": every, "sessions": [session]});
    let restricted = it.key("org_1", restricted).await.1;
    list.push(("a restricted key".into(), Some(restricted), Worth::Restricted(EVERYTHING)));
    list
}

/// The reason in a gRPC error.
fn reason(result: &Result<(), Status>) -> String {
    let details = result.as_ref().err().map(Status::get_error_details);
    details.and_then(|details| details.error_info().map(|info| info.reason.clone())).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_lets_in_whom_its_options_say() {
    let it = Trusting::held().await;
    let credentials = credentials(&it).await;
    let channel = Channel::from_shared(it.gateway.base.clone()).unwrap().connect().await.unwrap();
    let http = reqwest::Client::new();
    let (mut wrong, mut failures, mut seen) = (Vec::new(), 0, HashMap::new());
    for method in all() {
        for (name, credential, worth) in &credentials {
            if matches!(worth, Worth::Nothing) {
                // Guessing is slowed down; this test goes on a minute later.
                failures += 2;
                if failures > 20 {
                    it.clock.advance(Duration::from_secs(60));
                    failures = 2;
                }
            }
            let expected = expected(&method.requires, worth);
            *seen.entry(expected).or_insert(0) += 1;
            let by_http = method.by_http(&http, &it.gateway.base, credential.as_deref()).await;
            let by_grpc = method.by_grpc(&channel, credential.as_deref()).await;
            for (door, status, reason) in [("HTTP", by_http.0, by_http.1), ("gRPC", http_status(&by_grpc), reason(&by_grpc))] {
                // Behind the guard, services refuse callers without an organization or restricted to a session in their own words.
                let own_words = status == 403 && ["restricted_key", "no_organization"].contains(&reason.as_str());
                let fits = match expected {
                    0 => !matches!(status, 401 | 403 | 429 | 500 | 501) || own_words,
                    code => status == code && !own_words,
                };
                if !fits {
                    wrong.push(format!("{} by {door} with {name}: {status} {reason}, expected {expected}", method.name()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!([0, 401, 403].iter().all(|code| seen[code] > 50), "each outcome is asked for often: {seen:?}");
    it.stop().await;
}

/// What an organization has, as far as its owner can see.
async fn everything(it: &Trusting, organization: &str) -> Value {
    let owner = it.login(organization, "owner");
    let mut all = Vec::new();
    for path in ["/api/v1/sessions", "/api/v1/api-keys", "/api/v1/events"] {
        let (status, mut found) = it.get_as(&owner, path).await;
        assert_eq!(status, 200, "{path}: {found}");
        // Being used is no change.
        for row in found["data"].as_array_mut().unwrap() {
            row.as_object_mut().unwrap().remove("lastUsedAt");
        }
        all.push(found);
    }
    json!(all)
}

/// An empty form.
async fn form(it: &Trusting, credential: &str, path: &str) -> (u16, Value) {
    let call = reqwest::Client::new().post(format!("{}{path}", it.gateway.base)).bearer_auth(credential);
    let call = call.header("content-type", "multipart/form-data; boundary=x").body("--x--\r\n");
    let answer = call.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_others_does_not_exist() {
    let it = Trusting::held().await;
    let (session, own) = (it.session("org_1").await, it.session("org_1").await);
    let (key, _) = it.key("org_1", json!({"name": "theirs", "capabilities": ["read"]})).await;
    let every = json!(["read", "send", "manage", "events"]);
    let restricted = it.key("org_1", json!({"name": "restricted", "capabilities": every, "sessions": [own]})).await.1;
    let strangers = [
        ("another organization's owner", it.login("org_2", "owner")),
        ("another organization's key", it.key("org_2", json!({"name": "all", "capabilities": every})).await.1),
        ("the platform's own", it.super_admin()),
        ("a key restricted to another session", restricted),
    ];
    let before = everything(&it, "org_1").await;
    let (mut tried, mut wrong) = (0, Vec::new());
    for method in all().iter().filter(|method| method.is_ours() && !method.variables().is_empty()) {
        // Methods of the platform's own see everybody's; the matrix shows that nobody else gets there.
        if method.requires == "CAPABILITY_SUPER_ADMIN" {
            continue;
        }
        let path = method.path(|noun| match noun {
            "sessions" => session.clone(),
            "api-keys" => key.clone(),
            _ => "01ARZ3NDEKTSV4RRFFQ69G5FAV".into(),
        });
        let path = format!("{path}{}", method.query());
        for (who, credential) in &strangers {
            let (status, answer) = match method.takes_form() {
                true => form(&it, credential, &path).await,
                false => it.gateway.call_as(Some(credential), method.verb, &path, method.body()).await,
            };
            if (status, &answer["error"]["code"]) != (404, &json!("not_found")) {
                wrong.push(format!("{} {path} by {who}: {status} {answer} (a field without a plausible value?)", method.verb));
            }
            tried += 1;
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(tried >= 4 * 10, "only {tried} calls were tried");
    assert_eq!(everything(&it, "org_1").await, before, "nothing changed");
    // And to its owner it does exist: the very same path answers.
    let (status, _) = it.get_as(&it.login("org_1", "member"), &format!("/api/v1/sessions/{session}")).await;
    let (as_owner, _) = it.get_as(&it.login("org_1", "owner"), &format!("/api/v1/sessions/{session}")).await;
    assert!([200, 403].contains(&status) && as_owner == 200);
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_key_sees_its_own_and_makes_nothing_wider() {
    let it = Trusting::held().await;
    let (own, other) = (it.session("org_1").await, it.session("org_1").await);
    let every = json!(["read", "send", "manage", "events"]);
    let restricted = it.key("org_1", json!({"name": "restricted", "capabilities": every, "sessions": [own]})).await.1;
    let ids = |page: &Value, name: &str| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|row| row[name].as_str().unwrap().to_owned()).collect()
    };
    let sessions = it.get_as(&restricted, "/api/v1/sessions").await.1;
    assert_eq!(ids(&sessions, "id"), [own.as_str()]);
    for (query, seen) in [("", vec![own.clone()]), ("?sessions=", vec![])] {
        let path = if query.is_empty() { "/api/v1/events".to_owned() } else { format!("/api/v1/events{query}{other}") };
        let events = it.get_as(&restricted, &path).await.1;
        let mut found = ids(&events, "session");
        found.dedup();
        assert_eq!(found, seen, "{path}: {events}");
    }
    let keys = it.get_as(&restricted, "/api/v1/api-keys").await.1;
    assert_eq!(ids(&keys, "name"), ["restricted"]);
    let make = async |path: &str, body: Value| it.gateway.call_as(Some(&restricted), "POST", path, Some(body)).await;
    let (status, answer) = make("/api/v1/sessions", json!({})).await;
    assert_eq!((status, &answer["error"]["details"]["reason"]), (403, &json!("restricted_key")), "{answer}");
    let wider = make("/api/v1/api-keys", json!({"name": "wider", "capabilities": ["read"]})).await;
    assert_eq!(wider.0, 403, "{wider:?}");
    let sideways = make("/api/v1/api-keys", json!({"name": "sideways", "capabilities": ["read"], "sessions": [other]})).await;
    assert_eq!(sideways.0, 400, "{sideways:?}");
    let same = make("/api/v1/api-keys", json!({"name": "same", "capabilities": ["read"], "sessions": [own]})).await;
    assert_eq!(same.0, 201, "{same:?}");
    until("the new key works", async || {
        let (status, _) = it.get_as(same.1["secret"].as_str().unwrap(), &format!("/api/v1/sessions/{own}")).await;
        (status != 401).then_some(())
    })
    .await;
    it.stop().await;
}
