//! The documented surface, field for field, and its errors.

use serde_json::{Value, json};
use tonic::Request;
use whatsapp_gateway::proto::gateway::ListSessionsRequest;
use whatsapp_gateway::proto::gateway::session_service_client::SessionServiceClient;

use super::{Home, KEY, on_both_engines};

on_both_engines!(
    the_list_is_as_documented,
    errors_are_as_documented,
    organizations_are_apart,
    settings_change_one_by_one,
    keys_live_and_die,
    the_same_values_over_grpc,
);

async fn the_list_is_as_documented(home: Home) {
    let gateway = home.start().await;
    assert_eq!(gateway.get("/api/v1/sessions").await, json!({"data": [], "nextCursor": null}));
    let made = gateway.post("/api/v1/sessions", json!({"label": "Support line"})).await;
    let page = gateway.get("/api/v1/sessions").await;
    assert_eq!(page["data"], json!([made]));
    let session = &page["data"][0];
    let expected = json!({
        "id": session["id"], "organizationId": "org_default", "gatewayId": "gw-test-1", "label": "Support line", "status": "stopped",
        "statusDetail": {"reason": "created", "message": session["statusDetail"]["message"], "since": session["createdAt"]},
        "isAdminSession": false, "autoRead": false, "presenceTyping": true, "ratePerMin": 20, "ratePerHour": 600,
        "newContactsPerDay": 0, "warmUpDays": 0, "autoDownload": false, "autoRejectCalls": false, "ignoreStatus": false, "ignoreGroups": false, "ignoreChannels": false, "ignoreBroadcast": false, "metadata": {},
        "createdAt": session["createdAt"], "updatedAt": session["updatedAt"],
    });
    assert_eq!(session, &expected, "unset fields are left out, times are numbers");
    assert!(session["createdAt"].as_i64().is_some_and(|at| at > 1_700_000_000_000));
    assert_eq!(session["id"].as_str().map(str::len), Some(26), "ids are ULIDs");
    gateway.stop().await;
}

async fn errors_are_as_documented(home: Home) {
    let gateway = home.start().await;
    let error = |(status, body): (u16, Value)| (status, body["error"]["code"].as_str().unwrap_or_default().to_owned(), body);
    let sessions = "/api/v1/sessions";
    for key in [None, Some("wa_wrong"), Some("not-a-key"), Some("")] {
        let (status, code, body) = error(gateway.call_as(key, "GET", sessions, None).await);
        assert_eq!((status, code.as_str()), (401, "unauthorized"), "{key:?}: {body}");
        assert!(body["error"]["details"]["requestId"].is_string(), "{body}");
    }
    let reader = gateway.post("/api/v1/api-keys", json!({"name": "reader", "capabilities": ["read"]})).await;
    let reader = reader["secret"].as_str().unwrap();
    let (status, code, body) = error(gateway.call_as(Some(reader), "GET", sessions, None).await);
    assert_eq!((status, code.as_str()), (403, "forbidden"), "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("manage"), "{body}");

    let cases = [
        ("GET", format!("{sessions}/no-such-id"), None, 404, "not_found", ""),
        ("POST", sessions.to_owned(), Some(json!({"label": "x".repeat(129)})), 400, "validation_error", "label"),
        ("POST", sessions.to_owned(), Some(json!({"label": "x".repeat(10_000)})), 400, "validation_error", "label"),
        ("POST", sessions.to_owned(), Some(json!({"label": 7})), 400, "validation_error", "label"),
        ("POST", sessions.to_owned(), Some(json!({"lable": "x"})), 400, "validation_error", "lable"),
        ("GET", format!("{sessions}?limit=3"), None, 400, "validation_error", "limit"),
        (
            "POST",
            format!("{sessions}/x/messages"),
            Some(json!({"type": "text", "to": "abc", "text": "x"})),
            400,
            "validation_error",
            "to",
        ),
        (
            "POST",
            format!("{sessions}/x/messages"),
            Some(json!({"type": "dance", "to": "1234567"})),
            400,
            "validation_error",
            "type",
        ),
        (
            "POST",
            format!("{sessions}/x/messages"),
            Some(json!({"type": "text", "to": "1234567", "text": ""})),
            400,
            "validation_error",
            "text",
        ),
    ];
    for (method, path, body, status, code, field) in cases {
        let (got_status, got_code, got) = error(gateway.call_as(Some(KEY), method, &path, body.clone()).await);
        assert_eq!((got_status, got_code.as_str()), (status, code), "{method} {path} {body:?}: {got}");
        if !field.is_empty() {
            let fields = got["error"]["details"]["fields"].to_string();
            assert!(fields.contains(&format!("\"{field}\"")), "{method} {path}: {got}");
        }
    }
    let (status, ..) = error(gateway.call_as(Some(KEY), "PUT", sessions, Some(json!({}))).await);
    assert_eq!(status, 405);
    gateway.stop().await;
}

async fn organizations_are_apart(home: Home) {
    let gateway = home.start().await;
    let ours = gateway.post("/api/v1/sessions", json!({"label": "ours"})).await;
    let id = ours["id"].as_str().unwrap();
    let stranger = gateway.stranger().await;
    let (status, page) = gateway.call_as(Some(&stranger), "GET", "/api/v1/sessions", None).await;
    assert_eq!((status, &page["data"]), (200, &json!([])));
    let one = format!("/api/v1/sessions/{id}");
    let calls = [
        ("GET", one.clone(), None),
        ("PATCH", one.clone(), Some(json!({"label": "theirs"}))),
        ("DELETE", one.clone(), None),
        ("POST", format!("{one}:start"), None),
        ("POST", format!("{one}:stop"), None),
        ("POST", format!("{one}:restart"), None),
        ("POST", format!("{one}:logout"), None),
        ("GET", format!("{one}/qr"), None),
        ("GET", format!("{one}/me"), None),
        ("POST", format!("{one}/pairing-links"), Some(json!({}))),
        ("GET", format!("{one}/pairing-links"), None),
        ("DELETE", format!("{one}/pairing-links/x"), None),
        ("POST", format!("{one}/passkey"), Some(json!({"assertion": "{}"}))),
        ("POST", format!("{one}/passkey:confirm"), Some(json!({}))),
        ("POST", format!("{one}/pairing-code"), Some(json!({"phone": "6281200000001"}))),
        ("POST", format!("{one}/messages"), Some(json!({"type": "text", "to": "6281200000002", "text": "x"}))),
        ("GET", format!("{one}/messages/x"), None),
    ];
    for (method, path, body) in calls {
        let (status, answer) = gateway.call_as(Some(&stranger), method, &path, body).await;
        assert_eq!(status, 404, "{method} {path}: {answer}");
    }
    assert_eq!(gateway.get(&one).await, ours, "nothing changed");
    let (_, log) = gateway.call_as(Some(&stranger), "GET", "/api/v1/events", None).await;
    assert_eq!(log["data"], json!([]), "and nothing is told");
    gateway.stop().await;
}

async fn settings_change_one_by_one(home: Home) {
    let gateway = home.start().await;
    let made = gateway.post("/api/v1/sessions", json!({"label": "a", "autoRead": true})).await;
    let path = format!("/api/v1/sessions/{}", made["id"].as_str().unwrap());
    let (status, changed) =
        gateway.call_as(Some(KEY), "PATCH", &path, Some(json!({"ratePerMin": 5, "presenceTyping": false}))).await;
    assert_eq!(status, 200);
    let fields = ["label", "autoRead", "presenceTyping", "ratePerMin", "ratePerHour"];
    assert_eq!(fields.map(|f| changed[f].clone()), [json!("a"), json!(true), json!(false), json!(5), json!(600)]);
    let (_, changed) = gateway.call_as(Some(KEY), "PATCH", &path, Some(json!({"label": ""}))).await;
    assert_eq!(changed.get("label"), None, "the empty text removes the label");
    let (status, _) = gateway.call_as(Some(KEY), "PATCH", &path, Some(json!({"ratePerMin": 0}))).await;
    assert_eq!(status, 400);
    let (status, body) = gateway.call_as(Some(KEY), "DELETE", &path, None).await;
    assert_eq!((status, body), (204, Value::Null));
    assert_eq!(gateway.call_as(Some(KEY), "GET", &path, None).await.0, 404);
    gateway.stop().await;
}

async fn keys_live_and_die(home: Home) {
    let gateway = home.start().await;
    let made = gateway.post("/api/v1/api-keys", json!({"name": "ci", "capabilities": ["manage", "read"]})).await;
    let (secret, id) = (made["secret"].as_str().unwrap(), made["apiKey"]["id"].as_str().unwrap());
    assert!(secret.starts_with("wa_") && secret.starts_with(made["apiKey"]["prefix"].as_str().unwrap()));
    assert_eq!(gateway.call_as(Some(secret), "GET", "/api/v1/sessions", None).await.0, 200);
    let (status, body) =
        gateway.call_as(Some(secret), "POST", "/api/v1/api-keys", Some(json!({"name": "more", "capabilities": ["send"]}))).await;
    assert_eq!(status, 403, "nobody gives more than they have: {body}");
    let list = gateway.get("/api/v1/api-keys").await;
    assert!(!list.to_string().contains(secret), "the secret is shown once");
    assert_eq!(gateway.call_as(Some(KEY), "DELETE", &format!("/api/v1/api-keys/{id}"), None).await.0, 204);
    assert_eq!(gateway.call_as(Some(secret), "GET", "/api/v1/sessions", None).await.0, 401, "revoked means now");
    assert_eq!(gateway.call_as(Some(KEY), "DELETE", &format!("/api/v1/api-keys/{id}"), None).await.0, 204, "and again is fine");
    assert_eq!(gateway.call_as(Some(&gateway.stranger().await), "DELETE", &format!("/api/v1/api-keys/{id}"), None).await.0, 404);
    gateway.stop().await;
}

async fn the_same_values_over_grpc(home: Home) {
    let gateway = home.start().await;
    let made = gateway.post("/api/v1/sessions", json!({"label": "Support line"})).await;
    let mut client = SessionServiceClient::new(gateway.channel().await);
    let page = client.list_sessions(Request::new(ListSessionsRequest {})).await.unwrap().into_inner();
    assert_eq!(page.data.len(), 1);
    let (grpc, rest) = (&page.data[0], &made);
    assert_eq!(rest["id"], grpc.id.as_str());
    assert_eq!(rest["label"], grpc.label.as_deref().unwrap());
    assert_eq!(rest["gatewayId"], grpc.gateway_id.as_str());
    let created = grpc.created_at.unwrap();
    assert_eq!(rest["createdAt"], created.seconds * 1000 + i64::from(created.nanos / 1_000_000));
    assert_eq!(page.next_cursor, None);
    gateway.stop().await;
}
