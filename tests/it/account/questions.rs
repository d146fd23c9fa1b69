//! What is asked of WhatsApp: once for all who want to know the same, and one question after the other.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::SHOP;
use crate::gateway::{Gateway, Home, KEY};

/// How long the simulator takes for an answer.
const LATE: Duration = Duration::from_millis(200);

const CALLERS: usize = 50;
const GROUPS: usize = 3;
const MEMBERS: usize = 6;

/// Has all questions of a kind take a while.
async fn slow(gateway: &Gateway, stanza: &str) {
    let millis = u64::try_from(LATE.as_millis()).unwrap();
    let late = json!({"kind": "late_iq", "phoneNumber": SHOP, "stanza": stanza, "durationMs": millis, "count": 1000});
    gateway.post("/sandbox/v1/faults", late).await;
}

/// When the slow questions came, earliest first.
async fn asked(gateway: &Gateway) -> Vec<i64> {
    let faults = gateway.get("/sandbox/v1/faults").await;
    let all = faults["data"].as_array().unwrap().iter();
    let mut moments: Vec<i64> = all
        .flat_map(|fault| fault["injections"].as_array().into_iter().flatten())
        .map(|injection| injection["at"].as_i64().unwrap())
        .collect();
    moments.sort_unstable();
    moments
}

pub(super) async fn many_readers_ask_once(home: Home) {
    let gateway = home.start().await;
    let session = gateway.paired(SHOP).await;
    let crowd = json!({"people": 2 * MEMBERS, "groups": GROUPS, "members": MEMBERS});
    gateway.post(&format!("/sandbox/v1/phones/{SHOP}:populate"), crowd).await;
    let groups = format!("/api/v1/sessions/{session}/groups");
    let list = gateway.get(&groups).await;
    let of = |at: usize| format!("{groups}/{}", list["data"][at]["groupJid"].as_str().unwrap());
    for stanza in ["iq/w:g2", "iq/w:profile:picture"] {
        slow(&gateway, stanza).await;
    }
    let get = async |path: String| {
        let (status, answer) = gateway.call_as(Some(KEY), "GET", &path, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };

    // All want the same at once, half of them the group and half of them its members.
    let path = |caller: usize| if caller.is_multiple_of(2) { of(0) } else { format!("{}/members?limit=1000", of(0)) };
    let answers = join_all((0..CALLERS).map(|caller| get(path(caller)))).await;
    for (caller, answer) in answers.iter().enumerate() {
        let members = match caller % 2 {
            0 => answer["participantCount"].clone(),
            _ => json!(answer["data"].as_array().unwrap().len()),
        };
        assert_eq!(members, json!(MEMBERS), "{answer}");
    }
    assert_eq!(asked(&gateway).await.len(), 1, "one question for all");

    // Different ones at once: a question for each, none before the answer to the one before it.
    let pictures = (0..GROUPS).map(|at| {
        let jid = list["data"][at]["groupJid"].as_str().unwrap();
        format!("/api/v1/sessions/{session}/contacts/{jid}/picture")
    });
    let invites = (0..GROUPS).map(|at| format!("{}/invite", of(at)));
    let paths: Vec<String> = (0..CALLERS / 2).map(|caller| of(caller % GROUPS)).chain(pictures).chain(invites).collect();
    let status = async |path: String| gateway.call_as(Some(KEY), "GET", &path, None).await.0;
    for (path, status) in paths.iter().zip(join_all(paths.iter().cloned().map(status)).await) {
        // None of them has a picture.
        assert!(status == 200 || status == 404 && path.ends_with("/picture"), "{path}: {status}");
    }
    let moments = asked(&gateway).await;
    assert_eq!(moments.len(), 1 + (GROUPS - 1) + 2 * GROUPS, "{moments:?}");
    let closest = moments.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    let late = i64::try_from(LATE.as_millis()).unwrap();
    assert!(closest >= late - 20, "one at a time: {closest} ms between two, each takes {late}: {moments:?}");
    let known: Vec<Value> = join_all((0..GROUPS).map(|at| get(of(at)))).await;
    assert!(known.iter().all(|group| group["participantCount"] == json!(MEMBERS)), "{known:?}");
    assert_eq!(asked(&gateway).await.len(), moments.len(), "what is known is not asked again");
    gateway.stop().await;
}
