//! What is recorded of all this, and who may read it.

use serde_json::{Value, json};

use super::{Trusting, until};

/// The newest entries, as the platform's own see them, without the reading itself.
async fn entries(it: &Trusting, query: &str) -> Vec<Value> {
    let (status, page) = it.get_as(&it.super_admin(), &format!("/api/v1/admin/audit-log{query}")).await;
    assert_eq!(status, 200, "{page}");
    let all = page["data"].as_array().unwrap().clone();
    all.into_iter().filter(|entry| !entry["method"].as_str().unwrap().ends_with("ListAuditLog")).collect()
}

async fn entry(it: &Trusting, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    until(what, async || entries(it, "?limit=1000").await.into_iter().find(|entry| fits(entry))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_and_what_is_refused_is_on_record() {
    let it = Trusting::held().await;
    let session = it.session("org_1").await;
    let created =
        entry(&it, "the creation is recorded", |entry| entry["method"].as_str().unwrap().ends_with("CreateSession")).await;
    assert_eq!(created["object"], json!(session), "found in the reply");
    assert_eq!((&created["actorKind"], &created["actor"]), (&json!("login"), &json!("user_1")));
    assert_eq!((&created["organizationId"], &created["outcome"]), (&json!("org_1"), &json!("ok")));
    assert_eq!(created["address"], "127.0.0.1");
    assert!(created["requestId"].as_str().is_some_and(|id| !id.is_empty()));

    assert_eq!(it.get_as(&it.login("org_1", "owner"), "/api/v1/sessions").await.0, 200);
    let (key, secret) = it.key("org_1", json!({"name": "key", "capabilities": ["manage"]})).await;
    let path = format!("/api/v1/sessions/{session}");
    assert_eq!(it.gateway.call_as(Some(&secret), "DELETE", &path, None).await.0, 204);
    assert_eq!(it.gateway.call_as(Some(&secret), "DELETE", &path, None).await.0, 404);
    for outcome in ["ok", "not_found"] {
        let found = entry(&it, "the deletion is recorded", |entry| {
            entry["method"].as_str().unwrap().ends_with("DeleteSession") && entry["outcome"] == outcome
        });
        let found = found.await;
        assert_eq!((&found["object"], &found["actorKind"], &found["actor"]), (&json!(session), &json!("api_key"), &json!(key)));
    }
    let made =
        entry(&it, "the key's making is recorded", |entry| entry["method"].as_str().unwrap().ends_with("CreateApiKey")).await;
    assert_eq!(made["object"], json!(key), "found in the reply, inside");
    assert!(!entries(&it, "").await.iter().any(|entry| entry.to_string().contains(&secret)), "no secret is on record");

    // Questions are no deeds; the deletion above was recorded after this one.
    let recorded = entries(&it, "?limit=1000").await;
    assert!(
        !recorded.iter().any(|entry| entry["method"].as_str().unwrap().ends_with("SessionService/ListSessions")),
        "{recorded:?}"
    );
    it.get_as(&it.login("org_1", "member"), "/api/v1/sessions").await;
    let refused = entry(&it, "the refusal is recorded", |entry| entry["outcome"] == "forbidden").await;
    assert_eq!((&refused["actor"], &refused["organizationId"]), (&json!("user_1"), &json!("org_1")));
    it.get_as("wa_nobody", "/api/v1/sessions").await;
    let nobody = entry(&it, "the stranger is recorded", |entry| entry["outcome"] == "unauthorized").await;
    assert_eq!(nobody["actorKind"], "nobody");
    assert!(nobody.get("actor").is_none() && nobody.get("organizationId").is_none(), "{nobody}");

    it.session("org_2").await;
    let other = until("the other organization's is recorded", async || entries(&it, "?organizationId=org_2").await.pop()).await;
    assert_eq!(other["organizationId"], "org_2");
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_read_in_pages_and_refusals_are_sampled() {
    let it = Trusting::held().await;
    for number in 0..60 {
        it.get_as(&format!("wa_nobody{number}"), "/api/v1/sessions").await;
    }
    for _ in 0..5 {
        it.session("org_1").await;
    }
    until("the creations are recorded", async || {
        let found = entries(&it, "?limit=1000").await;
        (found.iter().filter(|entry| entry["outcome"] == "ok").count() == 5).then_some(())
    })
    .await;
    let refused = entries(&it, "?limit=1000").await.iter().filter(|entry| entry["outcome"] == "unauthorized").count();
    assert_eq!(refused, 20, "of one address and minute");

    let (mut ids, mut cursor) = (Vec::<String>::new(), String::new());
    loop {
        let (status, page) =
            it.get_as(&it.super_admin(), &format!("/api/v1/admin/audit-log?organizationId=org_1&limit=2{cursor}")).await;
        assert_eq!(status, 200, "{page}");
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 2);
        ids.extend(data.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted_by(|one, other| one > other), "newest first: {ids:?}");
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_platform_sees_the_sessions_of_all_organizations() {
    let it = Trusting::held().await;
    let mut made = vec![it.session("org_1").await, it.session("org_2").await, it.session("org_3").await];
    made.sort();
    let (status, page) = it.get_as(&it.super_admin(), "/api/v1/admin/sessions").await;
    assert_eq!((status, &page["nextCursor"]), (200, &Value::Null), "{page}");
    let mut found: Vec<String> =
        page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert!(found.is_sorted());
    assert_eq!(found, made);
    let (_, first) = it.get_as(&it.super_admin(), "/api/v1/admin/sessions?limit=2").await;
    let next = first["nextCursor"].as_str().unwrap();
    let (_, rest) = it.get_as(&it.super_admin(), &format!("/api/v1/admin/sessions?limit=2&cursor={next}")).await;
    assert_eq!(rest["data"].as_array().unwrap().len(), 1, "{rest}");
    assert_eq!(rest["data"][0]["id"], json!(found.pop().unwrap()));
    // Bound to no organization, they find nothing in any and make nothing.
    let (status, own) = it.get_as(&it.super_admin(), "/api/v1/sessions").await;
    assert_eq!((status, &own["data"]), (200, &json!([])));
    let (status, refused) = it.gateway.call_as(Some(&it.super_admin()), "POST", "/api/v1/sessions", Some(json!({}))).await;
    assert_eq!((status, &refused["error"]["details"]["reason"]), (403, &json!("no_organization")), "{refused}");
    it.stop().await;
}

/// A recorded call's answer is read before it goes out; over gRPC-Web and HTTP/1.1 its closing frame must still follow the message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_answer_keeps_its_end() {
    let it = Trusting::held().await;
    for (call, status) in [("CreateSession", "grpc-status:0"), ("DeleteSession", "grpc-status:3")] {
        let call = format!("{}/whatsapp.gateway.v1.SessionService/{call}", it.gateway.base);
        let call = reqwest::Client::new().post(call).bearer_auth(it.login("org_1", "owner"));
        let answer = call.header("content-type", "application/grpc-web+proto").body([0; 5].to_vec()).send().await.unwrap();
        let told = answer.headers().get("grpc-status").map(|status| format!("grpc-status:{}", status.to_str().unwrap()));
        let body = answer.bytes().await.unwrap();
        assert!(told.as_deref() == Some(status) || String::from_utf8_lossy(&body).contains(status), "{told:?} {body:?}");
    }
    it.stop().await;
}
