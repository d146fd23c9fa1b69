//! The platform's own session, set up by `admin_phone`.

use serde_json::{Value, json};
use whatsapp_gateway::domain::clock::Ambient;

use crate::gateway::{Gateway, Home, on_both_engines};

on_both_engines!(its_session_is_set_up_once_and_linked_by_the_told_code);

const PHONE: &str = "6281200000009";

async fn sessions(gateway: &Gateway) -> Vec<Value> {
    gateway.get("/api/v1/sessions").await["data"].as_array().unwrap().clone()
}

async fn its_session_is_set_up_once_and_linked_by_the_told_code(home: Home) {
    let gateway = home.start().await;
    gateway.phone(PHONE).await;
    gateway.post("/api/v1/sessions", json!({"label": "somebody's"})).await;
    gateway.stop().await;

    let settings = [("WAGW_ADMIN_PHONE", "+62 812-0000-0009".to_owned())];
    let gateway = home.start_with(&settings, Ambient::system()).await;
    let told = gateway.until("/api/v1/events?events=auth.code", "the code", |page| page["data"][0].is_object()).await;
    let all = sessions(&gateway).await;
    assert_eq!(all.iter().map(|it| it["isAdminSession"].clone()).collect::<Vec<_>>(), [json!(false), json!(true)]);
    assert_eq!(told["data"][0]["session"], all[1]["id"]);
    let code = &told["data"][0]["payload"]["code"];
    gateway.post(&format!("/sandbox/v1/phones/{PHONE}:enter-code"), json!({"code": code})).await;
    let path = format!("/api/v1/sessions/{}", all[1]["id"].as_str().unwrap());
    gateway.until(&path, "working", |row| row["status"] == "working").await;
    gateway.stop().await;

    let gateway = home.start_with(&settings, Ambient::system()).await;
    gateway.until(&path, "working", |row| row["status"] == "working" && row["phoneNumber"] == PHONE).await;
    assert_eq!(sessions(&gateway).await.len(), 2, "and not a second one");
    gateway.stop().await;
}
