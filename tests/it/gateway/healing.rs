//! What goes wrong on WhatsApp's side, and that a session heals, or gives up with the right reason.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whatsapp_gateway::session::Timing;

use super::{Gateway, Home, KEY, on_both_engines};

on_both_engines!(
    a_dropped_socket_is_a_blip,
    a_half_open_socket_is_noticed,
    a_replaced_session_stays_away,
    a_ban_ends_some_day,
    an_outdated_client_stops,
    a_refused_login_is_a_lost_pairing,
    an_unanswered_login_is_tried_again,
    codes_that_ran_out_are_no_loop,
    a_refused_message_has_a_typed_error,
    what_is_delivered_twice_is_one_message,
    a_damaged_message_comes_once_after_a_retry,
    an_ended_stream_and_a_busy_server_are_blips,
    a_schedule_of_faults_loses_nothing,
);

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";

async fn fault(gateway: &Gateway, fault: Value) -> String {
    gateway.post("/sandbox/v1/faults", fault).await["id"].as_str().unwrap().to_owned()
}

/// How often a fault has struck.
async fn struck(gateway: &Gateway, id: &str) -> i64 {
    let all = gateway.get("/sandbox/v1/faults").await;
    let fault = all["data"].as_array().unwrap().iter().find(|fault| fault["id"] == id).unwrap();
    let reported = fault["injections"].as_array().map_or(0, Vec::len);
    assert_eq!(reported > 0, fault["injected"].as_i64() > Some(0), "the report tells every strike: {fault}");
    fault["injected"].as_i64().unwrap()
}

/// The session's states from the log, as `status/reason`.
async fn states(gateway: &Gateway) -> Vec<String> {
    let told = gateway.events("session.status").await;
    let word = |e: &Value| {
        format!("{}/{}", e["payload"]["status"].as_str().unwrap(), e["payload"]["statusDetail"]["reason"].as_str().unwrap())
    };
    told.iter().map(word).collect()
}

async fn until_state(gateway: &Gateway, id: &str, status: &str, reason: &str) -> Value {
    let path = format!("/api/v1/sessions/{id}");
    let fits = |s: &Value| s["status"] == status && s["statusDetail"]["reason"] == reason;
    gateway.until(&path, &format!("{status}/{reason}"), fits).await
}

/// Waits until the log has told this many times that the session is connected.
async fn connected_times(gateway: &Gateway, times: usize) {
    let count = |page: &Value| {
        let told = page["data"].as_array().unwrap().iter();
        told.filter(|e| e["payload"]["statusDetail"]["reason"] == "connected").count() >= times
    };
    gateway.until("/api/v1/events?limit=1000&events=session.status", &format!("connected {times} times"), count).await;
}

async fn write(gateway: &Gateway, text: &str) {
    gateway.post(&format!("/sandbox/v1/phones/{BUDI}/messages"), json!({"to": SHOP, "text": text})).await;
}

async fn received(gateway: &Gateway, count: usize) -> Vec<String> {
    let all = |page: &Value| page["data"].as_array().unwrap().len() >= count;
    let page = gateway.until("/api/v1/events?limit=1000&events=message", &format!("{count} messages"), all).await;
    page["data"].as_array().unwrap().iter().map(|e| e["payload"]["body"].as_str().unwrap().to_owned()).collect()
}

async fn a_dropped_socket_is_a_blip(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    let before = states(&gateway).await.len();
    let drop = fault(&gateway, json!({"kind": "drop", "phoneNumber": SHOP})).await;
    connected_times(&gateway, 2).await;
    assert_eq!(struck(&gateway, &drop).await, 1);
    let told = states(&gateway).await;
    assert_eq!(told[before..], ["working/reconnecting", "working/connected"], "it is `working` all the time");
    write(&gateway, "after the blip").await;
    assert_eq!(received(&gateway, 1).await, ["after the blip"]);
    assert_eq!(gateway.get(&format!("/api/v1/sessions/{id}")).await["status"], "working");
    gateway.stop().await;
}

async fn a_half_open_socket_is_noticed(home: Home) {
    // The library itself needs up to 50 seconds to notice.
    let timing = Timing { deaf: Duration::from_secs(4), look: Duration::from_millis(200), ..Timing::default() };
    let gateway = home.start_timed(timing).await;
    gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    let half = fault(&gateway, json!({"kind": "half_open", "phoneNumber": SHOP})).await;
    assert_eq!(struck(&gateway, &half).await, 1);
    let since = Instant::now();
    write(&gateway, "into the void").await;
    assert_eq!(received(&gateway, 1).await, ["into the void"]);
    let took = since.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(14), "{took:?}");
    assert!(states(&gateway).await.contains(&"working/reconnecting".to_owned()));
    gateway.stop().await;
}

async fn a_replaced_session_stays_away(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    fault(&gateway, json!({"kind": "replaced", "phoneNumber": SHOP})).await;
    until_state(&gateway, &id, "failed", "replaced").await;
    // It would log in again at once if it did not know better.
    let watch = fault(&gateway, json!({"kind": "ignore_login", "count": 100})).await;
    let offline = format!("/sandbox/v1/phones/{SHOP}");
    gateway.until(&offline, "the device offline", |p| p["devices"][0]["online"] == false).await;
    tokio::time::timeout(Duration::from_secs(3), std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(struck(&gateway, &watch).await, 0);
    until_state(&gateway, &id, "failed", "replaced").await;
    // A caller may bring it back.
    let (status, _) = gateway.call_as(Some(KEY), "DELETE", "/sandbox/v1/faults", None).await;
    assert_eq!(status, 204);
    gateway.post(&format!("/api/v1/sessions/{id}:start"), json!({})).await;
    until_state(&gateway, &id, "working", "connected").await;
    gateway.stop().await;
}

async fn a_ban_ends_some_day(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    fault(&gateway, json!({"kind": "refuse_login", "phoneNumber": SHOP, "code": 402, "durationMs": 3000})).await;
    fault(&gateway, json!({"kind": "drop", "phoneNumber": SHOP})).await;
    let banned = until_state(&gateway, &id, "failed", "banned").await;
    let detail = &banned["statusDetail"];
    let lasts = detail["until"].as_i64().unwrap() - detail["since"].as_i64().unwrap();
    assert!((2000..=4000).contains(&lasts), "{banned}");
    // Who wants to send is told what holds and until when, and so is everybody who listens.
    let text = json!({"type": "text", "to": BUDI, "text": "hello?"});
    let (status, error) = gateway.call_as(Some(KEY), "POST", &format!("/api/v1/sessions/{id}/messages"), Some(text)).await;
    let told = &error["error"];
    assert_eq!((status, &told["code"], &told["details"]["reason"]), (409, &json!("session_not_connected"), &json!("banned")));
    assert_eq!(told["details"]["until"], detail["until"], "{error}");
    // When the time is over it comes back by itself.
    until_state(&gateway, &id, "working", "connected").await;
    let path = "/api/v1/events?events=account.restricted";
    let told = gateway.until(path, "the ban and its end", |page| page["data"].as_array().unwrap().len() == 2).await;
    let [began, ended] = [0, 1].map(|at| told["data"][at]["payload"].clone());
    assert_eq!((&began["restricted"], &began["kind"], &began["code"]), (&json!(true), &json!("banned"), &json!("101")));
    assert_eq!(began["until"], detail["until"]);
    assert_eq!((&ended["restricted"], &ended["kind"]), (&json!(false), &json!("banned")));
    gateway.stop().await;
}

async fn an_outdated_client_stops(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    let refuse = fault(&gateway, json!({"kind": "refuse_login", "code": 405, "count": 5})).await;
    fault(&gateway, json!({"kind": "drop", "phoneNumber": SHOP})).await;
    let session = until_state(&gateway, &id, "failed", "client_outdated").await;
    assert_eq!(session["phoneNumber"], SHOP, "the pairing stays");
    assert_eq!(struck(&gateway, &refuse).await, 1, "it does not knock again");
    gateway.stop().await;
}

async fn a_refused_login_is_a_lost_pairing(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    fault(&gateway, json!({"kind": "refuse_login", "phoneNumber": SHOP, "code": 401})).await;
    fault(&gateway, json!({"kind": "drop", "phoneNumber": SHOP})).await;
    let session = until_state(&gateway, &id, "logged_out", "unlinked").await;
    assert_eq!(session.get("phoneNumber"), None);
    gateway.stop().await;
}

async fn an_unanswered_login_is_tried_again(home: Home) {
    let timing = Timing {
        connecting: Duration::from_secs(2),
        blip: Duration::from_secs(1),
        lost: Duration::from_secs(2),
        ..Timing::default()
    };
    let gateway = home.start_timed(timing).await;
    let id = gateway.paired(SHOP).await;
    let silent = fault(&gateway, json!({"kind": "ignore_login", "phoneNumber": SHOP, "count": 3})).await;
    fault(&gateway, json!({"kind": "drop", "phoneNumber": SHOP})).await;
    let waiting = until_state(&gateway, &id, "starting", "connect_timeout").await;
    assert!(waiting["statusDetail"]["until"].is_i64(), "it tells when it tries again: {waiting}");
    until_state(&gateway, &id, "working", "connected").await;
    assert_eq!(struck(&gateway, &silent).await, 3);
    gateway.stop().await;
}

async fn codes_that_ran_out_are_no_loop(home: Home) {
    let gateway = home.start().await;
    let none = fault(&gateway, json!({"kind": "no_qr", "count": 5})).await;
    let session = gateway.post("/api/v1/sessions", json!({"start": true})).await;
    let id = session["id"].as_str().unwrap();
    until_state(&gateway, id, "failed", "qr_exhausted").await;
    tokio::time::timeout(Duration::from_secs(2), std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(struck(&gateway, &none).await, 1, "it does not ask again by itself");
    gateway.stop().await;
}

async fn a_refused_message_has_a_typed_error(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    let path = format!("/api/v1/sessions/{id}/messages");
    // 479 says no to this one message, 463 to every conversation that the number would begin.
    for (code, expected) in [(479, (409, "refused_by_whatsapp")), (463, (429, "restricted"))] {
        fault(&gateway, json!({"kind": "refuse_message", "code": code})).await;
        let body = json!({"type": "text", "to": BUDI, "text": "no"});
        let (status, answer) = gateway.call_as(Some(KEY), "POST", &path, Some(body)).await;
        assert_eq!((status, answer["error"]["details"]["reason"].as_str()), (expected.0, Some(expected.1)), "{answer}");
        assert_eq!(answer["error"]["details"]["whatsappCode"], code.to_string());
    }
    let shown = gateway.get(&format!("/sandbox/v1/phones/{BUDI}/messages")).await;
    assert_eq!(shown["data"], json!([]), "nothing arrived");
    let failed = gateway.events("message.status").await;
    assert_eq!(failed.iter().filter(|e| e["payload"]["status"] == "failed").count(), 2, "{failed:?}");
    gateway.stop().await;
}

async fn what_is_delivered_twice_is_one_message(home: Home) {
    let gateway = home.start().await;
    gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    let twice = fault(&gateway, json!({"kind": "duplicate", "phoneNumber": SHOP, "stanza": "message", "count": 3})).await;
    let again = fault(&gateway, json!({"kind": "redeliver", "phoneNumber": SHOP, "stanza": "message", "count": 1})).await;
    for n in 0..3 {
        write(&gateway, &format!("m{n}")).await;
    }
    assert_eq!(received(&gateway, 3).await, ["m0", "m1", "m2"]);
    let path = "/sandbox/v1/faults";
    gateway.until(path, "both struck", |f| f["data"].as_array().unwrap().iter().all(|f| f["injected"].as_i64() >= Some(1))).await;
    assert_eq!((struck(&gateway, &twice).await, struck(&gateway, &again).await), (3, 1));
    // What was acknowledged and forgotten comes again at the next login.
    fault(&gateway, json!({"kind": "drop", "phoneNumber": SHOP})).await;
    connected_times(&gateway, 2).await;
    write(&gateway, "m3").await;
    assert_eq!(received(&gateway, 4).await, ["m0", "m1", "m2", "m3"]);
    gateway.stop().await;
}

async fn a_damaged_message_comes_once_after_a_retry(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    write(&gateway, "sound").await;
    received(&gateway, 1).await;
    let damage = fault(&gateway, json!({"kind": "corrupt", "phoneNumber": SHOP})).await;
    write(&gateway, "damaged").await;
    write(&gateway, "sound again").await;
    let mut texts = received(&gateway, 3).await;
    texts.sort();
    assert_eq!(texts, ["damaged", "sound", "sound again"]);
    assert_eq!(struck(&gateway, &damage).await, 1);
    // And the other way round: Budi's phone asks the session for it again.
    fault(&gateway, json!({"kind": "corrupt", "phoneNumber": BUDI})).await;
    gateway.post(&format!("/api/v1/sessions/{id}/messages"), json!({"type": "text", "to": BUDI, "text": "to budi"})).await;
    let shown = format!("/sandbox/v1/phones/{BUDI}/messages");
    let readable =
        |m: &Value| m["data"].as_array().unwrap().iter().any(|m| m["text"] == "to budi" && m["state"] != "undecryptable");
    gateway.until(&shown, "the message, readable", readable).await;
    gateway.stop().await;
}

async fn an_ended_stream_and_a_busy_server_are_blips(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    let endings = [
        json!({"kind": "stream_end"}),
        json!({"kind": "stream_error", "code": 503}),
        json!({"kind": "stream_error", "code": 515}),
    ];
    for (n, ending) in endings.into_iter().enumerate() {
        let ended = fault(&gateway, ending).await;
        assert_eq!(struck(&gateway, &ended).await, 1);
        // The device is gone for a moment; what is written meanwhile arrives.
        write(&gateway, &format!("m{n}")).await;
        received(&gateway, n + 1).await;
        gateway.until(&format!("/api/v1/sessions/{id}"), "working", |s| s["status"] == "working").await;
        let online = |p: &Value| p["devices"][0]["online"] == true && p["devices"][0]["queued"] == 0;
        gateway.until(&format!("/sandbox/v1/phones/{SHOP}"), "online, all acknowledged", online).await;
    }
    assert!(states(&gateway).await.iter().all(|state| !state.starts_with("failed")));
    gateway.stop().await;
}

/// Things go wrong by lot while people write: at the end everything is there, once.
async fn a_schedule_of_faults_loses_nothing(home: Home) {
    let gateway = home.start().await;
    gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    let asked = json!({
        "kinds": ["drop", "stall", "stream_end", "stream_error", "duplicate", "reorder", "redeliver", "late_iq", "corrupt"],
        "phoneNumbers": [SHOP], "intervalMs": 300, "runMs": 8000, "durationMs": 150, "seed": 11,
    });
    let schedule = gateway.post("/sandbox/v1/fault-schedules", asked).await;
    let path = format!("/sandbox/v1/fault-schedules/{}", schedule["id"].as_str().unwrap());
    assert_eq!((&schedule["accounts"], &schedule["running"]), (&json!(1), &json!(true)), "{schedule}");
    let sum = |schedule: &Value, what: &str| {
        let counts = schedule["counts"].as_array().unwrap().iter();
        counts.map(|count| count[what].as_i64().unwrap()).sum::<i64>()
    };
    let (mut texts, mut seen) = (Vec::new(), 0);
    loop {
        let text = format!("m{:03}", texts.len());
        write(&gateway, &text).await;
        texts.push(text);
        let more = |schedule: &Value| sum(schedule, "due") > seen || schedule["running"] == false;
        let now = gateway.until(&path, "the next fault", more).await;
        seen = sum(&now, "due");
        if now["running"] == false {
            break;
        }
    }
    let report = gateway.get(&path).await;
    assert!(texts.len() > 5 && sum(&report, "injected") > 5, "{report}");
    assert_eq!(report["injections"].as_array().unwrap().len(), usize::try_from(sum(&report, "injected")).unwrap());
    let (status, _) = gateway.call_as(Some(KEY), "DELETE", &path, None).await;
    assert_eq!(status, 204);
    assert_eq!(gateway.get("/sandbox/v1/fault-schedules").await["data"], json!([]));
    write(&gateway, "peace").await;
    texts.push("peace".to_owned());
    let mut got = received(&gateway, texts.len()).await;
    got.sort();
    assert_eq!(got, texts);
    gateway.stop().await;
}
