//! The media host, as the real client library and the gateway's own HTTP client use it.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use wacore::download::MediaType;
use wacore::media_retry::MediaRetryResult;
use wacore::types::events::Event;
use wacore_binary::Jid;
use waproto::whatsapp as wa;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::SandboxConfig;
use whatsapp_gateway::sandbox::fault::{FaultKind, FaultSpec, Injection};
use whatsapp_rust::download::DownloadParams;
use whatsapp_rust::features::MediaReuploadRequest;
use whatsapp_rust::upload::{UploadOptions, UploadResponse};

use super::client::{ALICE, BOB, Peer, Running};

fn params(file: &UploadResponse, kind: MediaType) -> DownloadParams {
    let UploadResponse { direct_path, media_key, file_sha256, file_enc_sha256, file_length, .. } = file;
    DownloadParams::encrypted(direct_path.as_str(), media_key, file_sha256, file_enc_sha256, *file_length, kind)
}

/// Bytes that show where they are.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

async fn upload(client: &Peer, plain: &[u8], kind: MediaType) -> UploadResponse {
    client.client.upload(plain.to_vec(), kind, UploadOptions::new()).await.unwrap()
}

#[tokio::test]
async fn files_go_up_and_come_down_whole_and_streamed() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let plain = pattern(300_000);
    let file = upload(&alice, &plain, MediaType::Image).await;
    assert_eq!(alice.client.download_from_params(&params(&file, MediaType::Image)).await.unwrap(), plain);
    // The phone opens it with the same key, and nobody without it.
    let opened = running.sandbox.download_media(&file.direct_path, &file.media_key, MediaType::Image).unwrap();
    assert_eq!(opened, plain);
    assert!(running.sandbox.download_media(&file.direct_path, &[0; 32], MediaType::Image).is_err());

    // Streamed both ways, large enough to ask for an earlier upload of the same bytes first.
    let plain = pattern(6 << 20);
    let mut sealed = Vec::new();
    let info = wacore::upload::encrypt_media_streaming(Cursor::new(&plain), &mut sealed, MediaType::Document).unwrap();
    let file = alice.client.upload_stream(bytes::Bytes::from(sealed), info, MediaType::Document).await.unwrap();
    let got = alice.client.download_from_params_to_writer(&params(&file, MediaType::Document), Cursor::new(Vec::new())).await;
    assert!(got.unwrap().into_inner() == plain, "what came down is not what went up");
    let kinds: Vec<String> = running.sandbox.list_media().into_iter().map(|file| file.kind).collect();
    assert_eq!(kinds, ["document", "image"]);

    // A file of a phone comes down at a client.
    let sent = running.sandbox.upload_media(b"from a phone", MediaType::Audio).await.unwrap();
    let by_phone = DownloadParams::encrypted(
        sent.direct_path,
        &sent.media_key,
        &sent.file_sha256,
        &sent.file_enc_sha256,
        sent.file_length,
        MediaType::Audio,
    );
    assert_eq!(alice.client.download_from_params(&by_phone).await.unwrap(), b"from a phone");
}

/// The hash in the path is checked, uploads need a right and a length, ranges are served, and an interrupted upload goes on.
#[tokio::test]
async fn the_host_is_strict_and_resumes() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let auth = alice.client.refresh_media_conn(true).await.unwrap();
    assert_eq!(auth.hosts[0].hostname, running.address.to_string());
    let http = reqwest::Client::new();
    let bytes = pattern(100_000);
    let token = whatsapp_gateway::sandbox::media::token(&bytes);
    let at = |token: &str, rest: &str| format!("http://{}/mms/image/{token}?auth={}{rest}", running.address, auth.auth);

    let answer = http.post(at(&token, "").replace("auth=", "auth=x")).body(bytes.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let answer = http.post(at(&token, "")).body(b"something else".to_vec()).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(running.sandbox.list_media().is_empty());

    // Half of it, then the connection is gone.
    {
        use tokio::io::AsyncWriteExt as _;
        let mut socket = tokio::net::TcpStream::connect(running.address).await.unwrap();
        let head = format!("POST /mms/image/{token}?auth={} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", auth.auth);
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&bytes[..50_000]).await.unwrap();
        socket.flush().await.unwrap();
    }
    let resumed = super::client::eventually("something to resume", || async {
        let answer = http.post(at(&token, "&resume=1")).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        answer["resume"].as_str().and_then(|offset| offset.parse::<usize>().ok())
    })
    .await;
    assert!(resumed <= 50_000, "{resumed}");
    let too_far = http.post(at(&token, "&file_offset=90000")).body(bytes[90_000..].to_vec()).send().await.unwrap();
    assert_eq!(too_far.status(), 416);
    let answer = http.post(at(&token, "")).body(bytes.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: serde_json::Value = http.post(at(&token, "&resume=1")).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["resume"], "complete");

    let path = answer["direct_path"].as_str().unwrap();
    let get = |range: &'static str| {
        let request = http.get(format!("http://{}{path}", running.address));
        async move { request.header("range", range).send().await.unwrap() }
    };
    let part = get("bytes=1000-1999").await;
    assert_eq!((part.status().as_u16(), part.headers()["content-range"].to_str().unwrap()), (206, "bytes 1000-1999/100000"));
    assert!(part.bytes().await.unwrap() == bytes[1000..2000]);
    assert!(get("bytes=99990-").await.bytes().await.unwrap() == bytes[99_990..]);
    assert_eq!(get("bytes=100000-").await.status(), 416);
    assert_eq!(http.get(format!("http://{}/v/t62/image/none", running.address)).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_resumed_upload_is_whole() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let auth = alice.client.refresh_media_conn(true).await.unwrap().auth;
    let http = reqwest::Client::new();
    let bytes = pattern(3000);
    let token = whatsapp_gateway::sandbox::media::token(&bytes);
    {
        use tokio::io::AsyncWriteExt as _;
        let mut socket = tokio::net::TcpStream::connect(running.address).await.unwrap();
        let head = format!("POST /mms/video/{token}?auth={auth} HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n");
        socket.write_all(&[head.as_bytes(), &bytes[..1000]].concat()).await.unwrap();
        socket.flush().await.unwrap();
    }
    let url = format!("http://{}/mms/video/{token}?auth={auth}", running.address);
    let offset = super::client::eventually("something to resume", || async {
        let answer: serde_json::Value = http.post(format!("{url}&resume=1")).send().await.unwrap().json().await.unwrap();
        answer["resume"].as_str().and_then(|offset| offset.parse::<usize>().ok()).filter(|offset| *offset > 0)
    })
    .await;
    let rest = http.post(format!("{url}&file_offset={offset}")).body(bytes[offset..].to_vec()).send().await.unwrap();
    assert_eq!(rest.status(), 200);
    let path = rest.json::<serde_json::Value>().await.unwrap()["direct_path"].as_str().unwrap().to_owned();
    let whole = http.get(format!("http://{}{path}", running.address)).send().await.unwrap().bytes().await.unwrap();
    assert!(whole == bytes);
}

#[tokio::test]
async fn a_full_host_says_so() {
    let config = SandboxConfig { media_limit: 100_000, ..SandboxConfig::default() };
    let running = Running::with(config, Ambient::system()).await;
    running.sandbox.create_phone(ALICE, "Alice", true).await.unwrap();
    let alice = running.linked(ALICE).await;
    upload(&alice, &pattern(60_000), MediaType::Image).await;
    let refused = alice.client.upload(pattern(60_001), MediaType::Image, UploadOptions::new()).await.unwrap_err();
    assert!(format!("{refused:?}").contains("507") && format!("{refused:?}").contains("store is full"), "{refused:?}");
    assert!(running.sandbox.upload_media(&pattern(60_002), MediaType::Image).await.is_err());
    // What has expired makes room.
    assert_eq!(running.sandbox.expire_media(None).await.unwrap(), 1);
    upload(&alice, &pattern(60_003), MediaType::Image).await;
    assert_eq!(running.sandbox.list_media().len(), 1);
}

#[tokio::test]
async fn files_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = || SandboxConfig { state_file: Some(directory.path().join("sandbox.journal")), ..Default::default() };
    let running = Running::with(config(), Ambient::system()).await;
    running.sandbox.create_phone(ALICE, "Alice", true).await.unwrap();
    let alice = running.linked(ALICE).await;
    let plain = pattern(200_000);
    let file = upload(&alice, &plain, MediaType::Video).await;
    let expired = upload(&alice, b"old", MediaType::Video).await;
    running.sandbox.expire_media(Some(&expired.direct_path)).await.unwrap();
    drop(alice);
    running.stop().await;
    std::fs::write(directory.path().join("sandbox.media").join("stray"), b"x").unwrap();

    let running = Running::with(config(), Ambient::system()).await;
    let opened = running.sandbox.download_media(&file.direct_path, &file.media_key, MediaType::Video).unwrap();
    assert!(opened == plain);
    let get = |path: &str| reqwest::get(format!("http://{}{path}", running.address));
    let whole = get(&file.direct_path).await.unwrap().bytes().await.unwrap();
    assert_eq!(
        whatsapp_gateway::sandbox::media::token(&whole),
        whatsapp_gateway::sandbox::media::token_of(&file.file_enc_sha256)
    );
    assert_eq!(get(&expired.direct_path).await.unwrap().status(), 410);
    assert_eq!(std::fs::read_dir(directory.path().join("sandbox.media")).unwrap().count(), 2, "strays are cleared away");
}

#[tokio::test]
async fn files_come_late_in_part_damaged_or_not_at_all() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let file = params(&upload(&alice, &pattern(5000), MediaType::Image).await, MediaType::Image);
    let arm = |kind, count| {
        let stanza = "media/download/image".to_owned();
        let spec = FaultSpec { phone_number: ALICE.into(), stanza, count, ..FaultSpec::once(kind) };
        running.sandbox.create_fault(spec).unwrap().id
    };
    for (kind, says) in [
        (FaultKind::MediaNotFound, "404"),
        (FaultKind::MediaGone, "410"),
        (FaultKind::MediaRefused, "503"),
        (FaultKind::MediaTruncated, ""),
        (FaultKind::MediaCorrupted, ""),
    ] {
        let id = arm(kind, None);
        let failed = alice.client.download_from_params(&file).await.unwrap_err();
        assert!(format!("{failed:?}").contains(says), "{kind:?}: {failed:?}");
        let report = running.sandbox.list_faults().remove(0);
        assert!(report.injected > 0 && report.injections.len() as u64 == report.injected, "{report:?}");
        let of_alice = |it: &Injection| (it.phone_number.as_str(), it.stanza.as_str()) == (ALICE, "media/download/image");
        assert!(report.injections.iter().all(of_alice), "{report:?}");
        running.sandbox.delete_fault(id).unwrap();
    }
    // A refusal that asks for a new right is healed by one.
    running.sandbox.create_fault(FaultSpec { code: Some(401), ..FaultSpec::once(FaultKind::MediaRefused) }).unwrap();
    let again = alice.client.upload(b"again".to_vec(), MediaType::Image, UploadOptions::new()).await;
    assert!(again.is_ok(), "{again:?}");
    assert_eq!(running.sandbox.list_faults()[0].injections[0].stanza, "media/upload/image");

    let spec = FaultSpec { bytes_per_second: Some(10_000), ..FaultSpec::once(FaultKind::MediaSlow) };
    running.sandbox.create_fault(spec).unwrap();
    let since = std::time::Instant::now();
    assert_eq!(alice.client.download_from_params(&file).await.unwrap(), pattern(5000));
    assert!(since.elapsed() >= Duration::from_millis(400), "{:?}", since.elapsed());
    assert_eq!(running.sandbox.list_faults()[1].injected, 1);
}

/// A file has expired: the own phone, which still has it, puts it up again and says where.
#[tokio::test]
async fn the_phone_puts_an_expired_file_up_again() {
    let running = Running::with_phones().await;
    let (alice, bob) = tokio::join!(running.linked(ALICE), running.linked(BOB));
    let file = upload(&alice, b"a picture", MediaType::Image).await;
    let image = wa::message::ImageMessage {
        url: Some(file.url.clone()),
        direct_path: Some(file.direct_path.clone()),
        media_key: Some(file.media_key.to_vec()),
        file_sha256: Some(file.file_sha256.to_vec()),
        file_enc_sha256: Some(file.file_enc_sha256.to_vec()),
        file_length: Some(file.file_length),
        mimetype: Some("image/jpeg".into()),
        ..Default::default()
    };
    let message = wa::Message { image_message: buffa::MessageField::some(image), ..Default::default() };
    let sent = alice.client.send_message(Jid::pn(BOB), message).await.unwrap();
    let (id, chat, content) = bob
        .wait("the picture", |event| match event {
            Event::Messages(batch) => batch
                .iter()
                .find(|message| message.message.image_message.is_set())
                .map(|message| (message.info.id.clone(), message.info.source.chat.clone(), Arc::clone(&message.message))),
            _ => None,
        })
        .await;
    assert_eq!(id, sent.message_id);
    running.messages(BOB, "the phone has it", |messages| messages.iter().any(|message| message.id == id).then_some(())).await;
    let image = content.image_message.as_option().unwrap();
    assert_eq!(bob.client.download(image).await.unwrap(), b"a picture");

    running.sandbox.expire_media(None).await.unwrap();
    let gone = bob.client.download(image).await.unwrap_err();
    assert!(format!("{gone:?}").contains("410"), "{gone:?}");
    let ask = |key: [u8; 32], id: String| {
        let (client, chat) = (Arc::clone(&bob.client), chat.clone());
        async move {
            let request =
                MediaReuploadRequest { msg_id: &id, chat_jid: &chat, media_key: &key, is_from_me: false, participant: None };
            client.media_reupload().request(&request).await.unwrap()
        }
    };
    let MediaRetryResult::Success { direct_path } = ask(file.media_key, id.clone()).await else { panic!("not put up again") };
    assert_ne!(direct_path, file.direct_path);
    let again = wa::message::ImageMessage { direct_path: Some(direct_path.clone()), url: None, ..image.clone() };
    assert_eq!(bob.client.download(&again).await.unwrap(), b"a picture");

    assert!(matches!(ask([9; 32], id.clone()).await, MediaRetryResult::DecryptionError));
    assert!(matches!(ask(file.media_key, "UNKNOWN".into()).await, MediaRetryResult::NotFound));
    // Without the phone's copy there is nothing to put up.
    running.sandbox.delete_media(&direct_path).await.unwrap();
    assert!(matches!(ask(file.media_key, id).await, MediaRetryResult::NotFound));
}
