//! Contacts, groups and backfills, as documented.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BUDI, Contract, TYPED};
use crate::gateway::{Gateway, KEY};

/// What this file shows to succeed.
pub(super) async fn calls(c: &mut Contract, gateway: &Gateway, id: &str, super_admin: &str) {
    contacts(c, gateway, id).await;
    groups(c, gateway, id).await;
    backfill(c, gateway, id, super_admin).await;
}

async fn contacts(c: &mut Contract, gateway: &Gateway, id: &str) {
    for query in ["", "?source=dm", "?source=group", "?limit=1", "?q=zzz"] {
        c.call_as(gateway, Some(KEY), "listContacts", &[id], query, None).await;
    }
    let (_, found) = c.call_as(gateway, Some(KEY), "checkContact", &[id], &format!("?phone=%2B{BUDI}"), None).await;
    assert_eq!((found["isOnWhatsApp"].as_bool(), &found["query"]), (Some(true), &json!(format!("+{BUDI}"))));
    let (_, none) = c.call_as(gateway, Some(KEY), "checkContact", &[id], "?phone=6281299999999", None).await;
    assert_eq!((none["isOnWhatsApp"].as_bool(), &none["jid"]), (Some(false), &Value::Null));
    let (status, _) = c.call_as(gateway, Some(KEY), "checkContact", &[id], "?phone=nonsense", None).await;
    assert_eq!(status, 400);
    let many = json!({"phones": [BUDI, "6281299999999", format!("+{BUDI}")]});
    let many = gateway.post(&format!("/api/v1/sessions/{id}/contacts:check"), many).await;
    let answers: Vec<bool> = many["data"].as_array().unwrap().iter().map(|one| one["isOnWhatsApp"] == true).collect();
    assert_eq!(answers, [true, false, true]);

    let detail = c.call(gateway, "getContact", &[id, BUDI], None).await;
    let lid = detail["identity"]["lid"].as_str().unwrap().to_owned();
    assert!(lid.ends_with("@lid"), "{detail}");
    for form in [lid.as_str(), lid.trim_end_matches("@lid"), &format!("{BUDI}@c.us")] {
        let again = c.call(gateway, "getContact", &[id, form], None).await;
        assert_eq!(again["identity"]["id"], detail["identity"]["id"], "{form}");
    }
    let (status, _) = c.call_as(gateway, Some(KEY), "getContact", &[id, "6281299999999"], "", None).await;
    assert_eq!(status, 404);
    let about = c.call(gateway, "getContactAbout", &[id, BUDI], None).await;
    assert_eq!(about["about"], "Hey there! I am using the sandbox");
    assert_eq!(c.call(gateway, "getContactPicture", &[id, BUDI], None).await, json!({}));
    c.call(gateway, "blockContact", &[id, BUDI], None).await;
    let blocked = gateway.get(&format!("/api/v1/sessions/{id}/blocklist")).await;
    assert_eq!((blocked["data"].as_array().unwrap().len(), &blocked["data"][0]["lid"]), (1, &json!(lid)));
    c.call(gateway, "unblockContact", &[id, &lid], None).await;
    assert_eq!(gateway.get(&format!("/api/v1/sessions/{id}/blocklist")).await["data"], json!([]));
}

async fn groups(c: &mut Contract, gateway: &Gateway, id: &str) {
    c.call(gateway, "listGroups", &[id], None).await;
    let made = c.call(gateway, "createGroup", &[id], Some(json!({"name": "Friends", "participants": [BUDI]}))).await;
    assert_eq!((&made["subject"], &made["participants"]), (&json!("Friends"), &json!(2)));
    let gid = made["groupJid"].as_str().unwrap();
    let change = json!({"subject": "Good friends", "description": "All about us", "announce": true, "locked": true});
    c.call(gateway, "updateGroup", &[id, gid], Some(change)).await;
    let group = c.call(gateway, "getGroup", &[id, gid], None).await;
    let told = ["subject", "description", "isAnnounce", "isLocked", "participantCount"].map(|name| group[name].clone());
    assert_eq!(json!(told), json!(["Good friends", "All about us", true, true, 2]));
    let (status, _) = c.call_as(gateway, Some(KEY), "updateGroup", &[id, gid], "", Some(json!({"subject": " "}))).await;
    assert_eq!(status, 400);
    let (status, _) = c.call_as(gateway, Some(KEY), "getGroup", &[id, "120363999999999999@g.us"], "", None).await;
    assert_eq!(status, 404);

    // Members: each with a role, who comes, rises, falls and goes.
    let roles = async |c: &mut Contract| {
        let members = c.call(gateway, "listGroupMembers", &[id, gid], None).await;
        let mut roles: Vec<String> =
            members["data"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap().to_owned()).collect();
        roles.sort();
        roles.join(" ")
    };
    assert_eq!(roles(c).await, "member superadmin");
    c.call(gateway, "promoteGroupMember", &[id, gid, BUDI], None).await;
    assert_eq!(roles(c).await, "admin superadmin");
    c.call(gateway, "demoteGroupMember", &[id, gid, BUDI], None).await;
    assert_eq!(roles(c).await, "member superadmin");
    c.call(gateway, "addGroupMembers", &[id, gid], Some(json!({"participants": [TYPED]}))).await;
    assert_eq!(roles(c).await, "member member superadmin");
    let again = Some(json!({"participants": [TYPED, "6281299999999"]}));
    let (status, refused) = c.call_as(gateway, Some(KEY), "addGroupMembers", &[id, gid], "", again).await;
    assert_eq!((status, &refused["error"]["details"]["reason"]), (409, &json!("partly_refused")), "{refused}");
    let each = gateway
        .post(
            &format!("/api/v1/sessions/{id}/groups/{gid}/members:change"),
            json!({"action": "add", "participants": [TYPED, "6281299999999"]}),
        )
        .await;
    let codes: Vec<&Value> = each["data"].as_array().unwrap().iter().map(|one| &one["code"]).collect();
    assert_eq!(codes, [&json!("409"), &json!("404")], "{each}");
    c.call(gateway, "removeGroupMember", &[id, gid, TYPED], None).await;
    assert_eq!(roles(c).await, "member superadmin");
    let history = gateway.get(&format!("/api/v1/sessions/{id}/groups/{gid}/history")).await;
    let mut actions: Vec<&str> = history["data"].as_array().unwrap().iter().map(|one| one["action"].as_str().unwrap()).collect();
    actions.dedup();
    assert!(actions.contains(&"leave") && actions.contains(&"join"), "{history}");
    let here = c.call(gateway, "getContact", &[id, BUDI], None).await;
    assert_eq!((here["groups"][0]["jid"].as_str(), here["groups"][0]["role"].as_str()), (Some(gid), Some("member")), "{here}");
    let (_, of_group) = c.call_as(gateway, Some(KEY), "listContacts", &[id], &format!("?group={gid}"), None).await;
    assert_eq!(of_group["data"].as_array().unwrap().len(), 1, "all but the account itself");

    // Invitations, and those who have to wait.
    let invite = c.call(gateway, "getGroupInvite", &[id, gid], None).await;
    let anew = c.call(gateway, "revokeGroupInvite", &[id, gid], None).await;
    assert_ne!(invite, anew);
    let (status, _) = c.call_as(gateway, Some(KEY), "joinGroup", &[id], "", Some(json!({"invite": "not a link"}))).await;
    assert_eq!(status, 400);
    c.call(gateway, "leaveGroup", &[id, gid], None).await;
    let listed = c.call(gateway, "listGroups", &[id], None).await;
    assert_eq!(listed["data"], json!([]));
    join(c, gateway, id).await;
    communities(gateway, id).await;
}

/// Another session founds a group; this one joins by the link and waits for the other's word.
async fn join(c: &mut Contract, gateway: &Gateway, id: &str) {
    let other = gateway.paired("6281200000009").await;
    let founded = c.call(gateway, "createGroup", &[&other], Some(json!({"name": "Closed"}))).await;
    let gid = founded["groupJid"].as_str().unwrap();
    gateway
        .call_as(Some(KEY), "PATCH", &format!("/api/v1/sessions/{other}/groups/{gid}"), Some(json!({"requiresApproval": true})))
        .await;
    let invite = c.call(gateway, "getGroupInvite", &[&other, gid], None).await["invite"].as_str().unwrap().to_owned();
    let code = invite.rsplit('/').next().unwrap();
    let info = gateway.get(&format!("/api/v1/sessions/{id}/invites/{code}")).await;
    assert_eq!((&info["groupJid"], &info["subject"]), (&json!(gid), &json!("Closed")));
    let joined = c.call(gateway, "joinGroup", &[id], Some(json!({"invite": invite}))).await;
    assert_eq!((&joined["groupJid"], &joined["pendingApproval"]), (&json!(gid), &json!(true)));
    let waiting = gateway.get(&format!("/api/v1/sessions/{other}/groups/{gid}/requests")).await;
    assert_eq!(waiting["data"].as_array().unwrap().len(), 1, "{waiting}");
    let who = json!({"participants": [waiting["data"][0]["jid"]]});
    c.call(gateway, "approveGroupMembers", &[&other, gid], Some(who)).await;
    let members = c.call(gateway, "listGroupMembers", &[&other, gid], None).await;
    assert_eq!(members["data"].as_array().unwrap().len(), 2);
    c.call(gateway, "getGroup", &[id, gid], None).await;
    c.call(gateway, "deleteSession", &[&other], None).await;
}

async fn communities(gateway: &Gateway, id: &str) {
    let base = format!("/api/v1/sessions/{id}");
    let community = gateway.post(&format!("{base}/communities"), json!({"name": "Village"})).await;
    let cid = community["groupJid"].as_str().unwrap();
    let group = gateway.post(&format!("{base}/groups"), json!({"name": "Choir"})).await;
    let link = json!({"groups": [group["groupJid"]]});
    let linked = gateway.post(&format!("{base}/communities/{cid}/groups:link"), link.clone()).await;
    assert_eq!(linked["data"][0]["ok"], true, "{linked}");
    let names = async || {
        let groups = gateway.get(&format!("{base}/communities/{cid}/groups")).await;
        groups["data"].as_array().unwrap().iter().any(|one| one["subject"] == "Choir")
    };
    assert!(names().await);
    gateway.post(&format!("{base}/communities/{cid}/groups:unlink"), link).await;
    assert!(!names().await);
    let (status, _) = gateway.call_as(Some(KEY), "DELETE", &format!("{base}/communities/{cid}"), None).await;
    assert_eq!(status, 204);
}

async fn backfill(c: &mut Contract, gateway: &Gateway, id: &str, super_admin: &str) {
    let key = Some(super_admin);
    let (status, _) = c.call_as(gateway, key, "adminSessionBackfillStatus", &[id], "", None).await;
    assert_eq!(status, 404, "there was none");
    for credential in [Some(KEY), None] {
        let (status, _) = c.call_as(gateway, credential, "adminStartSessionBackfill", &[id], "", None).await;
        assert_eq!(status, if credential.is_some() { 403 } else { 401 });
    }
    let (status, job) = c.call_as(gateway, key, "adminStartSessionBackfill", &[id], "", None).await;
    assert_eq!((status, &job["status"], &job["sessionId"]), (202, &json!("running"), &json!(id)));
    let (status, second) = c.call_as(gateway, key, "adminStartSessionBackfill", &[id], "", None).await;
    assert_eq!((status, &second["error"]["code"]), (409, &json!("conflict")), "{second}");
    let wait = async {
        loop {
            let (_, now) = c.call_as(gateway, key, "adminSessionBackfillStatus", &[id], "", None).await;
            if now["status"] != "running" {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
    assert_eq!((&done["status"], &done["id"], &done["failures"]), (&json!("succeeded"), &job["id"], &json!([])), "{done}");
    assert!(done["groups"].as_i64() > Some(0) && done["groupMembers"].as_i64() > Some(0), "{done}");
    // What cannot run says why.
    let unpaired = gateway.post("/api/v1/sessions", json!({})).await;
    let unpaired = unpaired["id"].as_str().unwrap();
    let (status, why) = c.call_as(gateway, key, "adminStartSessionBackfill", &[unpaired], "", None).await;
    assert_eq!((status, &why["error"]["details"]["reason"]), (409, &json!("not_paired")), "{why}");
    c.call(gateway, "deleteSession", &[unpaired], None).await;
}
