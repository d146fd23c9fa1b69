//! Files in a bucket: a small service that speaks S3, the room on it, and a gateway on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::media::shelf::Credentials;
use whatsapp_gateway::media::{Bounds, Shelf};
use whatsapp_gateway::store::Db;

use super::doors::down;
use super::room::{Room, roomy};
use super::{pattern, picture};
use crate::gateway::{Home, KEY};
use crate::store::on_both_engines;
use crate::support::Engine;

on_both_engines!(the_room_works_on_a_bucket);

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";
const ACCESS: &str = "the-access-key";
const SECRET: &str = "the-secret-key";

/// What a bucket holds and was asked.
#[derive(Default)]
struct Inside {
    objects: BTreeMap<String, Bytes>,
    /// Parts of uploads that are not finished, by the upload's id.
    uploads: BTreeMap<String, BTreeMap<u32, Bytes>>,
    begun: usize,
    /// Method and kind of each call.
    calls: Vec<String>,
    /// What a client of S3 would not do.
    wrong: Vec<String>,
}

/// A service with one bucket, `files`, on a port of its own.
#[derive(Clone)]
struct Bucket {
    inside: Arc<Mutex<Inside>>,
    base: String,
}

impl Bucket {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let inside: Arc<Mutex<Inside>> = Arc::default();
        let router = Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(inside.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inside, base }
    }

    /// The setting that names it, with a prefix.
    fn url(&self) -> String {
        format!("s3://files/of/gateways?region=eu-west-1&endpoint={}", self.base)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    fn keys(&self) -> Vec<String> {
        self.inside().objects.keys().cloned().collect()
    }

    fn calls(&self, kind: &str) -> usize {
        self.inside().calls.iter().filter(|call| *call == kind).count()
    }
}

fn xml(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/xml")], format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{text}")).into_response()
}

fn tagged(status: StatusCode) -> Response {
    (status, [(header::ETAG, "\"tag\"")]).into_response()
}

async fn answer(State(inside): State<Arc<Mutex<Inside>>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut inside = inside.lock().unwrap();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signed = text("authorization");
    let scope = format!("AWS4-HMAC-SHA256 Credential={ACCESS}/");
    let right = signed.starts_with(&scope) && signed.contains("/eu-west-1/s3/aws4_request") && signed.contains("Signature=");
    if !right || text("x-amz-date").is_empty() || text("x-amz-content-sha256").is_empty() || signed.contains(SECRET) {
        inside.wrong.push(format!("{method} {uri}: {signed}"));
        return StatusCode::FORBIDDEN.into_response();
    }
    let query: BTreeMap<&str, &str> =
        uri.query().unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    let Some(key) = uri.path().strip_prefix("/files/").map(str::to_owned) else {
        inside.wrong.push(format!("{method} {uri}"));
        return StatusCode::NOT_FOUND.into_response();
    };
    let kind = match (method.as_str(), query.contains_key("uploadId"), query.contains_key("uploads")) {
        ("PUT", true, _) => "part",
        ("POST", true, _) => "complete",
        ("DELETE", true, _) => "abort",
        ("POST", _, true) => "begin",
        ("PUT", ..) => "put",
        ("GET", ..) => "get",
        ("DELETE", ..) => "delete",
        _ => "unknown",
    };
    inside.calls.push(kind.to_owned());
    let upload = query.get("uploadId").copied().unwrap_or_default().to_owned();
    match kind {
        "begin" => {
            inside.begun += 1;
            let id = format!("upload-{}", inside.begun);
            inside.uploads.insert(id.clone(), BTreeMap::new());
            xml(&format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"))
        }
        "part" => {
            let number = query["partNumber"].parse().unwrap();
            match inside.uploads.get_mut(&upload) {
                Some(parts) => parts.insert(number, body),
                None => return StatusCode::NOT_FOUND.into_response(),
            };
            tagged(StatusCode::OK)
        }
        "complete" => {
            let Some(parts) = inside.uploads.remove(&upload) else { return StatusCode::NOT_FOUND.into_response() };
            // All parts but the last have at least this many bytes.
            let short = parts.values().rev().skip(1).any(|part| part.len() < 5 << 20);
            if short {
                inside.wrong.push("a part is too short".to_owned());
                return StatusCode::BAD_REQUEST.into_response();
            }
            let whole = parts.into_values().collect::<Vec<_>>().concat();
            inside.objects.insert(key, whole.into());
            xml("<CompleteMultipartUploadResult><ETag>tag</ETag></CompleteMultipartUploadResult>")
        }
        "abort" => {
            inside.uploads.remove(&upload);
            StatusCode::NO_CONTENT.into_response()
        }
        "put" => {
            inside.objects.insert(key, body);
            tagged(StatusCode::OK)
        }
        "delete" => {
            inside.objects.remove(&key);
            StatusCode::NO_CONTENT.into_response()
        }
        "get" => match inside.objects.get(&key).cloned() {
            Some(object) => read(&object, text("range")),
            None => (StatusCode::NOT_FOUND, xml("<Error><Code>NoSuchKey</Code></Error>")).into_response(),
        },
        _ => {
            inside.wrong.push(format!("{method} {uri}"));
            StatusCode::NOT_IMPLEMENTED.into_response()
        }
    }
}

/// An object or, with a range such as `bytes=5-9`, a part of it.
fn read(object: &Bytes, range: &str) -> Response {
    let common = [(header::ETAG, "\"tag\"".to_owned()), (header::LAST_MODIFIED, "Sun, 01 Mar 2026 10:00:00 GMT".to_owned())];
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return (common, object.clone()).into_response();
    };
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let told = format!("bytes {first}-{last}/{}", object.len());
    (StatusCode::PARTIAL_CONTENT, common, [(header::CONTENT_RANGE, told)], object.slice(first..=last)).into_response()
}

fn shelf(bucket: &Bucket) -> Shelf {
    let [access_key, secret_key] = [ACCESS, SECRET].map(SecretString::from);
    Shelf::open(&bucket.url(), Some(Credentials { access_key, secret_key })).unwrap()
}

async fn the_room_works_on_a_bucket(db: Db) {
    let bucket = Bucket::start().await;
    let room = Room::with(&db, |_| shelf(&bucket), Bounds { file: 13_000_000, ..roomy() }).await;
    let place = |id: &str| format!("of/gateways/org_1/S/{id}");

    // A short file goes at once, a long one in parts.
    let short = pattern(100_000);
    let kept = room.keep(&short, None).await.unwrap();
    assert_eq!(bucket.keys(), [place(kept.id.as_str())]);
    assert_eq!((bucket.calls("put"), bucket.calls("begin")), (1, 0));
    let bytes = pattern(12_345_678);
    let long = room.keep(&bytes, None).await.unwrap();
    assert_eq!((bucket.calls("put"), bucket.calls("part"), bucket.calls("complete")), (1, 3, 1));
    assert!(bucket.inside().objects[&place(long.id.as_str())] == bytes);
    assert!(room.read(&kept, None).await == short && room.read(&long, None).await == bytes);
    for part in [0..1, 5_000_000..5_300_000, 12_345_677..12_345_678] {
        let (from, to) = (usize::try_from(part.start).unwrap(), usize::try_from(part.end).unwrap());
        assert!(room.read(&long, Some(part)).await == bytes[from..to], "{from}..{to}");
    }

    // One that turns out to be too long leaves no parts behind, and a deleted one nothing.
    let refused = room.keep(&pattern(13_000_001), None).await.unwrap_err();
    assert_eq!(refused.reason, Some("media_too_large"));
    assert!(bucket.inside().uploads.is_empty() && bucket.keys().len() == 2);
    assert_eq!((bucket.calls("begin"), bucket.calls("abort")), (2, 1));
    assert!(room.files.delete(&room.organization, &room.session, &kept.id).await.unwrap());
    assert_eq!(bucket.keys(), [place(long.id.as_str())]);

    // What is over is swept.
    let deleted = bucket.calls("delete");
    room.ambient.advance(roomy().retention + Duration::from_secs(1));
    assert_eq!(room.files.sweep().await.unwrap(), 1);
    assert_eq!((bucket.keys().len(), bucket.calls("delete")), (0, deleted + 1));
    // The bucket lost one by itself: it is not there, and its facts can go.
    let lost = room.keep(&short, None).await.unwrap();
    bucket.inside().objects.clear();
    let gone = room.files.read(&lost, None).await.err().unwrap();
    assert_eq!(gone.code, whatsapp_gateway::error::Code::NotFound);
    assert!(room.files.delete(&room.organization, &room.session, &lost.id).await.unwrap());
    let wrong = std::mem::take(&mut bucket.inside().wrong);
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The same from outside: what is uploaded, sent and received lies in the bucket alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_keeps_its_files_in_a_bucket() {
    let bucket = Bucket::start().await;
    let home = Home::new(Engine::Sqlite).await;
    let settings = [
        ("WAGW_MEDIA_URL", bucket.url()),
        ("WAGW_MEDIA_ACCESS_KEY", ACCESS.to_owned()),
        ("WAGW_MEDIA_SECRET_KEY", SECRET.to_owned()),
    ];
    let gateway = home.start_with(&settings, Ambient::system()).await;
    gateway.phone(BUDI).await;
    let session = gateway.paired(SHOP).await;
    let path = format!("/api/v1/sessions/{session}");

    // Uploaded, read in part, sent by its id.
    let file = picture(600, 400, image::ImageFormat::Png);
    let call = reqwest::Client::new().post(format!("{}{path}/media?filename=it.png", gateway.base)).bearer_auth(KEY);
    let answer = call.header("content-type", "image/png").body(file.clone()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 201);
    let media: serde_json::Value = answer.json().await.unwrap();
    let id = media["id"].as_str().unwrap();
    assert_eq!(bucket.keys(), [format!("of/gateways/org_default/{session}/{id}")]);
    let content = format!("{path}/media/{id}/content");
    let (status, headers, part) = down(&gateway, &content, &[("range", "bytes=100-199")]).await;
    assert!(status == 206 && part == file[100..200], "{status}");
    assert_eq!(headers["content-range"].to_str().unwrap(), format!("bytes 100-199/{}", file.len()));
    let message = json!({"type": "image", "to": BUDI, "media": {"id": id}});
    let sent = gateway.post(&format!("{path}/messages"), message).await;
    let at_budi = format!("/sandbox/v1/phones/{BUDI}/messages");
    let sha256 = &media["sha256"];
    gateway.until(&at_budi, "the picture", |rows| rows["data"][0]["media"]["sha256"] == *sha256).await;

    // A message's file by a signed address: of one that was sent, and of one that came and was fetched.
    let draft = json!({"to": SHOP, "text": "look", "media": {"kind": "image"}});
    let came = gateway.post(&at_budi, draft).await;
    gateway.until("/api/v1/events?events=message", "the message", |page| page["data"][0].is_object()).await;
    for (mid, sha256) in [(&sent["waMessageId"], sha256), (&came["id"], &came["media"]["sha256"])] {
        let wanted = format!("{path}/messages/{}/media-url", mid.as_str().unwrap());
        let made = gateway.post(&wanted, json!({"expiresIn": 60})).await;
        let answer = reqwest::get(made["url"].as_str().unwrap()).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        use sha2::Digest as _;
        let hash = sha2::Sha256::digest(answer.bytes().await.unwrap());
        assert_eq!(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), sha256.as_str().unwrap());
    }
    assert!(bucket.keys().len() >= 2, "{:?}", bucket.keys());
    assert!(!home.path().join("media").exists(), "nothing lies here");

    // A deleted session takes its files with it.
    let (status, answer) = gateway.call_as(Some(KEY), "DELETE", &path, None).await;
    assert_eq!(status, 204, "{answer}");
    let empty = async {
        while !bucket.keys().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(crate::gateway::PATIENCE, empty).await.is_ok(), "{:?}", bucket.keys());
    let wrong = std::mem::take(&mut bucket.inside().wrong);
    assert!(wrong.is_empty(), "{wrong:?}");
    gateway.stop().await;
}
