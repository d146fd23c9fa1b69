//! A backfill as its caller sees it: watched, ended before its time, and honest about what failed.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::proto::gateway::backfill_service_client::BackfillServiceClient;
use whatsapp_gateway::proto::gateway::{BackfillStatus, WatchBackfillRequest};

use crate::gateway::KEY;
use crate::trust::Trusting;

const SHOP: &str = "6281200000001";

/// Groups of the account.
const GROUPS: usize = 12;

/// A connected session in some groups.
struct Story {
    trusting: Trusting,
    session: String,
    token: String,
}

impl Story {
    async fn begin() -> Self {
        let trusting = Trusting::start(Ambient::system()).await;
        let session = trusting.gateway.paired(SHOP).await;
        let crowd = json!({"people": 30, "groups": GROUPS, "members": 10});
        trusting.gateway.post(&format!("/sandbox/v1/phones/{SHOP}:populate"), crowd).await;
        let token = trusting.super_admin();
        Self { trusting, session, token }
    }

    fn path(&self) -> String {
        format!("/api/v1/admin/sessions/{}", self.session)
    }

    async fn call(&self, method: &str, path: &str) -> (u16, Value) {
        self.trusting.gateway.call_as(Some(&self.token), method, path, None).await
    }

    async fn start(&self) -> Value {
        let (status, job) = self.call("POST", &format!("{}:backfill", self.path())).await;
        assert_eq!(status, 202, "{job}");
        job
    }

    /// The backfill as soon as `fits`.
    async fn until(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let (_, job) = self.call("GET", &format!("{}/backfill", self.path())).await;
                if fits(&job) {
                    return job;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(crate::gateway::PATIENCE, wait).await.unwrap_or_else(|_| panic!("never {what}"))
    }

    async fn fault(&self, fault: Value) {
        self.trusting.gateway.post("/sandbox/v1/faults", fault).await;
    }

    async fn well_again(&self) {
        let (status, _) = self.trusting.gateway.call_as(Some(KEY), "DELETE", "/sandbox/v1/faults", None).await;
        assert_eq!(status, 204);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_does_none_says_so() {
    let trusting = Trusting::with(Ambient::system(), &[("WAGW_BACKFILL", "false".to_owned())]).await;
    let session = trusting.gateway.paired(SHOP).await;
    let path = format!("/api/v1/admin/sessions/{session}:backfill");
    let (status, refused) = trusting.gateway.call_as(Some(&trusting.super_admin()), "POST", &path, None).await;
    assert_eq!((status, &refused["error"]["code"]), (501, &json!("not_implemented")), "{refused}");
    // Who may not ask is told nothing of it.
    assert_eq!(trusting.gateway.call_as(Some(KEY), "POST", &path, None).await.0, 403);
    trusting.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_watched_to_its_end() {
    let story = Story::begin().await;
    // Each question takes a moment, so that there is something to be seen.
    let late = json!({"kind": "late_iq", "stanza": "iq/w:g2/query", "durationMs": 150, "probability": 1.0});
    story.fault(late).await;
    let job = story.start().await;
    let channel = tonic::transport::Channel::from_shared(story.trusting.gateway.base.clone()).unwrap().connect().await.unwrap();
    let mut client = BackfillServiceClient::new(channel);
    let request = || {
        let mut request = Request::new(WatchBackfillRequest { session: story.session.clone() });
        let bearer: AsciiMetadataValue = format!("Bearer {}", story.token).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    };
    // A watcher that goes away and comes again is told where things stand, and goes on from there.
    let mut watch = client.watch_backfill(request()).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!((&json!(first.id), first.status()), (&job["id"], BackfillStatus::Running));
    drop(watch);
    let mut watch = client.watch_backfill(request()).await.unwrap().into_inner();
    let (mut updates, mut groups, mut last) = (0, 0, first);
    while let Some(job) = watch.message().await.unwrap() {
        assert!(job.groups >= groups, "{job:?}");
        (updates, groups, last) = (updates + 1, job.groups, job);
    }
    assert!(updates > 2, "{updates} updates");
    assert_eq!((last.status(), last.failures.len()), (BackfillStatus::Succeeded, 0), "{last:?}");
    assert_eq!((last.groups, last.total_groups), (GROUPS as i64, Some(GROUPS as i64)), "{last:?}");
    assert!(last.queries_per_second > 0.0 && last.queries > GROUPS as i64, "{last:?}");

    // The same from the command line.
    story.well_again().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"));
    command.args(["sessions", "backfill", &story.session, "--watch", "--json", "--server", &story.trusting.gateway.base]);
    command.env_clear().env("WAGW_API_KEY", &story.token).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["status"], &told["groups"]), (&json!("succeeded"), &json!(GROUPS)), "{told}");
    story.trusting.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_be_ended_and_begun_anew() {
    let story = Story::begin().await;
    let (status, why) = story.call("POST", &format!("{}/backfill:cancel", story.path())).await;
    assert_eq!((status, &why["error"]["details"]["reason"]), (409, &json!("no_backfill_running")), "{why}");
    let late = json!({"kind": "late_iq", "stanza": "iq/w:g2/query", "durationMs": 300, "probability": 1.0});
    story.fault(late).await;
    let job = story.start().await;
    story.until("the first group", |job| job["groups"].as_i64() > Some(0)).await;
    let (status, _) = story.call("POST", &format!("{}/backfill:cancel", story.path())).await;
    assert_eq!(status, 200);
    let ended = story.until("its end", |job| job["status"] != "running").await;
    assert_eq!((&ended["id"], &ended["status"], &ended["error"]), (&job["id"], &json!("failed"), &json!("cancelled")), "{ended}");
    assert!(ended["groups"].as_i64() < Some(GROUPS as i64), "{ended}");
    story.well_again().await;
    let again = story.start().await;
    assert_ne!(again["id"], job["id"]);
    let done = story.until("its end", |job| job["status"] != "running").await;
    assert_eq!((&done["status"], &done["groups"]), (&json!("succeeded"), &json!(GROUPS)), "{done}");
    story.trusting.stop().await;
}

/// What WhatsApp does not show fails by itself and is named; only when every source fails does the whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_named() {
    let story = Story::begin().await;
    // The first three groups are told, the next two are not.
    let question = |kind: &str, what: &str, count: u32| {
        json!({
            "kind": kind, "stanza": format!("iq/w:g2/{what}"), "code": 403, "durationMs": 20, "count": count
        })
    };
    story.fault(question("late_iq", "query", 3)).await;
    story.fault(question("refuse_iq", "query", 2)).await;
    story.start().await;
    let done = story.until("its end", |job| job["status"] != "running").await;
    let failures = done["failures"].as_array().unwrap();
    assert_eq!((&done["status"], failures.len(), &done["groups"]), (&json!("succeeded"), 2, &json!(GROUPS - 2)), "{done}");
    assert!(failures.iter().all(|it| it["source"].as_str().unwrap().ends_with("@g.us")), "{done}");
    assert!(failures.iter().all(|it| it["message"].as_str().is_some_and(|text| !text.is_empty())), "{done}");
    assert_ne!(failures[0]["source"], failures[1]["source"]);
    // Without its groups there are still its contacts.
    story.well_again().await;
    story.fault(question("refuse_iq", "participating", 1)).await;
    story.start().await;
    let done = story.until("its end", |job| job["status"] != "running").await;
    assert_eq!((&done["status"], &done["failures"][0]["source"]), (&json!("succeeded"), &json!("groups")), "{done}");
    story.trusting.stop().await;
}
