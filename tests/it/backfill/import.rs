//! Imports of encrypted backups: right counts, no duplicates, whatever happens in between.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::made::{DIGITS, Made, crypt15, database, old_database};
use super::world::{Size, World};
use crate::gateway::PATIENCE;

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";

async fn until(world: &World, path: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let wait = async {
        loop {
            last = world.call("GET", path, None).await;
            if fits(&last) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let done = tokio::time::timeout(PATIENCE * 60, wait).await;
    assert!(done.is_ok(), "waited in vain for {what}: {last} {}", world.log());
    last
}

async fn counts(world: &World, session: &str) -> (i64, i64) {
    let options: SqliteConnectOptions = world.database().parse().unwrap();
    let mut db: SqliteConnection = options.read_only(true).connect().await.unwrap();
    let sql = "SELECT COUNT(*), COUNT(DISTINCT wa_message_id) FROM messages WHERE session_id = $1";
    sqlx::query_as(sql).bind(session).fetch_one(&mut db).await.unwrap()
}

/// A million messages with `WAGW_TEST_IMPORT=full` (some minutes), 6,000 without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_merged_once_whatever_happens() {
    let full = std::env::var("WAGW_TEST_IMPORT").as_deref() == Ok("full");
    let messages: usize = if full { 1_000_000 } else { 6_000 };
    let mut world = World::new(Size { contacts: 0, groups: 0, members: 0 }).await;
    let session = world.paired().await;
    // One message of the backup has come live.
    world.call("POST", "/sandbox/v1/phones", Some(json!({"phoneNumber": BUDI, "pushName": "Budi"}))).await;
    world.call("POST", &format!("/sandbox/v1/phones/{BUDI}/messages"), Some(json!({"to": SHOP, "text": "Hello?"}))).await;
    let live = until(&world, "/api/v1/events?events=message", "the live message", |e| e["data"][0].is_object()).await;
    let payload = &live["data"][0]["payload"];
    let known = payload["waMessageId"].as_str().or(payload["id"].as_str()).unwrap().to_owned();
    let before = counts(&world, &session).await;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("msgstore.db");
    let made = Made { messages, people: 400, groups: 20, extra: Some((known, BUDI.to_owned())), own: SHOP };
    database(&path, &made).await;
    let file = crypt15(&std::fs::read(&path).unwrap(), true);
    let imports = format!("/api/v1/sessions/{session}/backfill");

    // What is wrong is told, and nothing of it is merged.
    let wrong = "ff".repeat(32);
    let mut damaged = file.clone();
    damaged[file.len() / 2] ^= 1;
    let no_store = crypt15(b"SQLite format 3\0 and then nothing like it", false);
    let cases: [(&str, &str, &[u8]); 6] = [
        ("key", &wrong, &file),
        ("key", "not a key", &file),
        ("file", DIGITS, &damaged),
        ("file", DIGITS, &file[..file.len() - 1]),
        ("file", DIGITS, b"no backup at all, but long enough to be looked at for what it could be"),
        ("file", DIGITS, &no_store),
    ];
    for (field, key, file) in cases {
        let (status, why) = world.upload(false, &imports, &[("file", file), ("key", key.as_bytes())]).await;
        assert_eq!((status, &why["error"]["details"]["fields"][0]["field"]), (400, &json!(field)), "{why}");
    }
    let (status, _) = world.look_at(&imports).await;
    assert_eq!(status, 404, "none of them became an import");

    let started = Instant::now();
    let (status, job) = world.upload(false, &imports, &[("file", &file), ("key", DIGITS.as_bytes())]).await;
    assert_eq!((status, &job["status"], &job["source"]), (202, &json!("running"), &json!("crypt15")), "{job}");
    let taken = started.elapsed();
    let (status, second) = world.upload(false, &imports, &[("key", DIGITS.as_bytes()), ("file", &file)]).await;
    // A small one may be merged by then.
    assert!(status == 409 || status == 429 && !full, "one at a time: {status} {second}");
    // In the middle of it the process dies without a word.
    let third = i64::try_from(messages / 3).unwrap();
    until(&world, &imports, "a third", |job| job["messages"].as_i64() >= Some(third)).await;
    let peak = world.memory();
    world.kill().await;
    let done = until(&world, &imports, "the end", |job| job["status"] != "running").await;
    let took = started.elapsed();
    let wanted = i64::try_from(messages - messages / 100 + 1).unwrap();
    let told = |name: &str| done[name].as_i64().unwrap();
    assert_eq!((&done["status"], &done["id"]), (&json!("succeeded"), &job["id"]), "{done}");
    assert_eq!((told("messages"), told("newMessages"), told("chats")), (wanted, wanted - 1, 421), "{done}");
    assert_eq!((told("groups"), told("groupMembers")), (20, 20 * 401), "{done}");
    assert!(told("identities") >= 400, "{done}");
    let after = counts(&world, &session).await;
    assert_eq!((after.0, after.0), (before.0 + wanted - 1, after.1), "each message once");
    let left: Vec<_> = world.imports();
    assert!(left.is_empty(), "nothing of it stays on the disk: {left:?}");

    // Who was in groups by LID and in chats by number is one.
    let contacts = world.call("GET", &format!("/api/v1/sessions/{session}/contacts?limit=1000"), None).await;
    let contacts = contacts["data"].as_array().unwrap();
    let one: Vec<_> = contacts.iter().filter(|one| one["phoneNumber"] == "628990000007").collect();
    assert_eq!((one.len(), &one[0]["lid"]), (1, &json!("88000000007@lid")), "{one:?}");
    let groups = world.call("GET", &format!("/api/v1/sessions/{session}/groups?limit=1000"), None).await;
    assert!(groups["data"].as_array().unwrap().iter().any(|group| group["subject"] == "Group 7"), "{groups}");

    // Once a day for everybody, as often as it takes for the platform's own; and nothing comes twice.
    let (status, why) = world.upload(false, &imports, &[("file", &file), ("key", DIGITS.as_bytes())]).await;
    assert_eq!((status, &why["error"]["code"]), (429, &json!("rate_limited")), "{why}");
    assert!(why["error"]["details"]["retryAfterSeconds"].as_i64() > Some(80_000), "{why}");
    let (status, again) = world.upload(true, &imports, &[("file", &file), ("key", DIGITS.as_bytes())]).await;
    assert_eq!(status, 202, "{again}");
    let again = until(&world, &imports, "the end of the second", |job| job["status"] != "running").await;
    assert_eq!((&again["status"], &again["newMessages"], &again["messages"]), (&json!("succeeded"), &json!(0), &json!(wanted)));
    assert_eq!(counts(&world, &session).await, after);

    // And a backup of another age.
    let old = folder.path().join("old.db");
    old_database(&old).await;
    let file = crypt15(&std::fs::read(&old).unwrap(), false);
    let (status, job) = world.upload(true, &imports, &[("file", &file), ("key", DIGITS.as_bytes())]).await;
    assert_eq!(status, 202, "{job}");
    let done = until(&world, &imports, "the end of the old one", |job| job["status"] != "running").await;
    assert_eq!((&done["status"], &done["newMessages"], &done["chats"]), (&json!("succeeded"), &json!(3), &json!(2)), "{done}");
    assert_ne!(done["schemaFingerprint"], again["schemaFingerprint"]);
    note(messages, taken, took, peak.max(world.memory()));
}

#[expect(clippy::print_stderr, reason = "the measurement is what the test is run for by hand")]
fn note(messages: usize, taken: Duration, took: Duration, peak: u64) {
    eprintln!(
        "import of {messages} messages: checked in {:.1} s, merged after {:.1} s with one kill, peak memory {} MB (sandbox included)",
        taken.as_secs_f64(),
        took.as_secs_f64(),
        peak / 1024
    );
}
