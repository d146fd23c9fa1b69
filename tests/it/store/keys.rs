//! Organizations, api-keys, gateways.

use whatsapp_gateway::domain::api_key::{self, ApiKey};
use whatsapp_gateway::domain::gateway::Gateway;
use whatsapp_gateway::domain::ids::{ApiKeyId, GatewayId, SessionId};
use whatsapp_gateway::domain::principal::{Capabilities, Capability};
use whatsapp_gateway::error::Code;
use whatsapp_gateway::store::Db;

use super::{NOW, later, new_session, on_both_engines, organization, stored_session};

on_both_engines!(
    answers_a_ping,
    keys_are_found_by_hash,
    doubles_of_keys_are_conflicts,
    revoking_is_for_ever_and_for_the_owner,
    the_last_use_moves_forward_only,
    gateways_count_their_sessions,
    the_least_loaded_living_gateway_is_chosen,
);

fn key(id: &str, owner: &str, secret: &str) -> ApiKey {
    ApiKey {
        id: ApiKeyId::new(id),
        organization: organization(owner),
        name: "für Tests 🔑".into(),
        prefix: api_key::prefix(secret),
        hash: api_key::hash(secret),
        capabilities: [Capability::Read, Capability::Manage].into_iter().collect(),
        sessions: (id == "K2").then(|| vec![SessionId::new("S1"), SessionId::new("S2")]),
        expires_at: Some(later(60)),
        created_at: NOW,
        last_used_at: None,
        revoked_at: None,
    }
}

async fn answers_a_ping(db: Db) {
    db.ping().await.unwrap();
    db.close().await;
    assert_eq!(db.ping().await.unwrap_err().code, Code::Unavailable);
}

async fn keys_are_found_by_hash(db: Db) {
    assert_eq!(db.count_api_keys().await.unwrap(), 0);
    for owner in ["a", "b", "a"] {
        db.ensure_organization(&organization(owner), NOW).await.unwrap();
    }
    let mut second = key("K2", "a", "wa_two");
    (second.capabilities, second.expires_at) = (Capabilities::NONE, None);
    let keys = [key("K1", "a", "wa_one"), second, key("K3", "b", "wa_three")];
    for key in &keys {
        db.insert_api_key(key).await.unwrap();
    }
    assert_eq!(db.find_api_key(&api_key::hash("wa_two")).await.unwrap().as_ref(), Some(&keys[1]));
    assert_eq!(db.find_api_key(&api_key::hash("wa_four")).await.unwrap(), None);
    assert_eq!(db.list_api_keys(&organization("a")).await.unwrap(), keys[..2]);
    assert_eq!(db.list_api_keys(&organization("c")).await.unwrap(), []);
    assert_eq!(db.count_api_keys().await.unwrap(), 3);
}

async fn doubles_of_keys_are_conflicts(db: Db) {
    db.ensure_organization(&organization("a"), NOW).await.unwrap();
    db.insert_api_key(&key("K1", "a", "wa_one")).await.unwrap();
    for double in [key("K1", "a", "wa_two"), key("K2", "a", "wa_one")] {
        let error = db.insert_api_key(&double).await.unwrap_err();
        assert_eq!(error.code, Code::Conflict);
        assert!(!error.message.contains("api_keys"), "{}", error.message);
    }
    assert_eq!(db.insert_api_key(&key("K3", "unseen", "wa_x")).await.unwrap_err().code, Code::Internal);
}

async fn revoking_is_for_ever_and_for_the_owner(db: Db) {
    let (a, id) = (organization("a"), ApiKeyId::new("K1"));
    db.ensure_organization(&a, NOW).await.unwrap();
    db.insert_api_key(&key("K1", "a", "wa_one")).await.unwrap();
    assert!(!db.revoke_api_key(&organization("b"), &id, NOW).await.unwrap());
    assert!(!db.revoke_api_key(&a, &ApiKeyId::new("K9"), NOW).await.unwrap());
    assert!(db.revoke_api_key(&a, &id, later(1)).await.unwrap());
    assert!(db.revoke_api_key(&a, &id, later(2)).await.unwrap());
    assert_eq!(db.list_api_keys(&a).await.unwrap()[0].revoked_at, Some(later(1)));
}

async fn the_last_use_moves_forward_only(db: Db) {
    let (a, id) = (organization("a"), ApiKeyId::new("K1"));
    db.ensure_organization(&a, NOW).await.unwrap();
    db.insert_api_key(&key("K1", "a", "wa_one")).await.unwrap();
    for at in [later(5), later(9), later(7)] {
        db.touch_api_key(&id, at).await.unwrap();
    }
    assert_eq!(db.list_api_keys(&a).await.unwrap()[0].last_used_at, Some(later(9)));
}

fn gateway(id: &str, seconds: u64) -> Gateway {
    let at = later(seconds);
    Gateway { id: GatewayId::new(id), address: format!("{id}:8080"), started_at: at, heartbeat_at: at, sessions: 99 }
}

async fn gateways_count_their_sessions(db: Db) {
    db.heartbeat(&gateway("gw-2", 0)).await.unwrap();
    db.heartbeat(&gateway("gw-1", 0)).await.unwrap();
    stored_session(&db, "S1", "a").await;
    stored_session(&db, "S2", "b").await;
    let mut moved = gateway("gw-1", 30);
    moved.address = "elsewhere:1".into();
    db.heartbeat(&moved).await.unwrap();
    let expected = [Gateway { started_at: NOW, sessions: 2, ..moved }, Gateway { sessions: 0, ..gateway("gw-2", 0) }];
    assert_eq!(db.list_gateways().await.unwrap(), expected);
}

async fn the_least_loaded_living_gateway_is_chosen(db: Db) {
    assert_eq!(db.least_loaded_gateway(NOW).await.unwrap(), None);
    for (id, at) in [("gw-1", 20), ("gw-2", 20), ("gw-3", 0)] {
        db.heartbeat(&gateway(id, at)).await.unwrap();
    }
    // As many sessions on each: the first by id.
    assert_eq!(db.least_loaded_gateway(later(10)).await.unwrap(), Some(GatewayId::new("gw-1")));
    stored_session(&db, "S1", "a").await;
    assert_eq!(db.least_loaded_gateway(later(10)).await.unwrap(), Some(GatewayId::new("gw-2")));
    assert_eq!(db.least_loaded_gateway(later(21)).await.unwrap(), None);
    assert_eq!(new_session("S1", "a").gateway, GatewayId::new("gw-1"));
}
