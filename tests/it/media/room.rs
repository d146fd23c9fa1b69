//! The room without doors, on both engines, with the folder and with memory as its shelf.

use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::TryStreamExt as _;
use tempfile::TempDir;
use whatsapp_gateway::domain::clock::{Ambient, Time};
use whatsapp_gateway::domain::ids::{MediaId, OrganizationId, SessionId};
use whatsapp_gateway::domain::media::{Media, MediaKind, MediaState};
use whatsapp_gateway::domain::network::Own;
use whatsapp_gateway::egress::Guard;
use whatsapp_gateway::error::{Code, Error};
use whatsapp_gateway::media::keep::Coming;
use whatsapp_gateway::media::link::Signer;
use whatsapp_gateway::media::{Bounds, Files, Shelf, Source, Wanted};
use whatsapp_gateway::store::{Cipher, Db};

use super::{pattern, picture, sound, web, web_file};
use crate::store::{on_both_engines, stored_session};

const START: Time = Time(1_760_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

/// An open room with one session, `S` of `org_1`.
pub(super) struct Room {
    pub(super) files: Files,
    pub(super) ambient: Ambient,
    pub(super) organization: OrganizationId,
    pub(super) session: SessionId,
    folder: TempDir,
}

impl Room {
    pub(super) async fn with(db: &Db, shelf: impl FnOnce(&TempDir) -> Shelf, bounds: Bounds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ambient, guard) = (Ambient::held(START), Guard::new(vec![Own::parse("127.0.0.0/8").unwrap()]).unwrap());
        let (organization, session) = (OrganizationId::new("org_1"), SessionId::new("S"));
        if db.session(&organization, &session).await.unwrap().is_none() {
            stored_session(db, "S", "org_1").await;
        }
        let shelf = shelf(&folder);
        let files = Files::new(db.clone(), shelf, guard, ambient.clone(), bounds, folder.path().to_owned());
        Self { files, ambient, organization, session, folder }
    }

    async fn new(db: &Db) -> Self {
        Self::with(db, |folder| Shelf::folder(&folder.path().join("shelf")).unwrap(), roomy()).await
    }

    pub(super) async fn keep(&self, bytes: &[u8], mimetype: Option<&str>) -> Result<Media, Error> {
        let coming = Coming { field: "chunk".into(), mimetype: mimetype.map(str::to_owned), ..Coming::default() };
        let mut intake = self.files.take(&self.organization, &self.session, coming).await?;
        for piece in bytes.chunks(100_000) {
            intake.put(piece.to_vec().into()).await?;
        }
        intake.finish().await
    }

    pub(super) async fn read(&self, media: &Media, range: Option<std::ops::Range<u64>>) -> Vec<u8> {
        let pieces: Vec<_> = self.files.read(media, range).await.unwrap().try_collect().await.unwrap();
        pieces.concat()
    }

    async fn send(
        &self,
        kind: MediaKind,
        source: Source,
        mimetype: Option<&str>,
    ) -> Result<whatsapp_gateway::media::Outgoing, Error> {
        let wanted = Wanted { source, kind, mimetype: mimetype.map(str::to_owned), filename: None, field: "media".into() };
        self.files.outgoing(&self.organization, &self.session, &wanted).await
    }

    /// Files below the shelf's folder.
    fn on_disk(&self) -> usize {
        fn count(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).map(|all| all.map(|entry| entry.unwrap().path()).collect::<Vec<_>>());
            entries.unwrap_or_default().iter().map(|path| if path.is_dir() { count(path) } else { 1 }).sum()
        }
        count(&self.folder.path().join("shelf"))
    }
}

pub(super) fn roomy() -> Bounds {
    Bounds { retention: 30 * DAY, file: 20 << 20, organization: 1 << 30 }
}

fn base64(bytes: &[u8]) -> Source {
    Source::Base64(BASE64_STANDARD.encode(bytes))
}

async fn kept_whole_read_in_parts_and_deleted(db: Db) {
    let shelves: [fn(&TempDir) -> Shelf; 2] =
        [|folder| Shelf::folder(&folder.path().join("shelf")).unwrap(), |_| Shelf::in_memory()];
    for shelf in shelves {
        let room = Room::with(&db, shelf, roomy()).await;
        // Larger than one part of an upload in several.
        let bytes = pattern(12_345_678);
        let kept = room.keep(&bytes, Some("application/x-own")).await.unwrap();
        assert_eq!((kept.size, kept.state, kept.mimetype.as_str()), (12_345_678, MediaState::Ready, "application/x-own"));
        let found = room.files.get(&room.organization, &room.session, &kept.id).await.unwrap();
        assert_eq!(found, kept);
        assert!(room.read(&kept, None).await == bytes);
        assert!(room.read(&kept, Some(0..1)).await == bytes[..1]);
        assert!(room.read(&kept, Some(5_000_000..5_300_000)).await == bytes[5_000_000..5_300_000]);
        assert!(room.read(&kept, Some(12_345_677..12_345_678)).await == bytes[12_345_677..]);
        for (organization, session) in [("org_2", "S"), ("org_1", "T")] {
            let other = room.files.get(&OrganizationId::new(organization), &SessionId::new(session), &kept.id).await;
            assert_eq!(other.unwrap_err().code, Code::NotFound);
        }
        assert!(room.files.delete(&room.organization, &room.session, &kept.id).await.unwrap());
        assert!(!room.files.delete(&room.organization, &room.session, &kept.id).await.unwrap());
        assert!(room.files.read(&kept, None).await.is_err() && room.on_disk() == 0);
    }
}

/// Its name, what is sent as what and with which type, and the field and the reason in the refusal.
type Case<'a> = (&'a str, MediaKind, Source, Option<&'a str>, &'a str, Option<&'a str>);

async fn what_is_wrong_is_refused_and_leaves_nothing(db: Db) {
    let bounds = Bounds { retention: DAY, file: 50_000, organization: 120_000 };
    let room = Room::with(&db, |folder| Shelf::folder(&folder.path().join("shelf")).unwrap(), bounds).await;
    let (jpeg, text) = (picture(20, 20, image::ImageFormat::Jpeg), b"just words".to_vec());
    let page = web_file("image/jpeg", b"<!DOCTYPE html><html></html>").await;
    let missing = web(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    let endless = web([b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), pattern(60_000)].concat()).await;
    let announced = web(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n".to_vec()).await;
    let broken = web(b"HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\nabc".to_vec()).await;
    let url = |text: &str| Source::Url(text.to_owned());
    let cases: Vec<Case<'_>> = vec![
        ("bad base64", MediaKind::Image, Source::Base64("%%%".into()), None, "media.data", Some("wrong_base64")),
        ("empty", MediaKind::Document, Source::Base64(String::new()), None, "media.data", Some("media_empty")),
        ("no picture", MediaKind::Image, base64(&text), None, "media.mimetype", Some("wrong_media_type")),
        ("a lie", MediaKind::Image, base64(&text), Some("image/jpeg"), "media.mimetype", Some("wrong_media_type")),
        ("another lie", MediaKind::Image, base64(&jpeg), Some("image/png"), "media.mimetype", Some("wrong_media_type")),
        ("no type", MediaKind::Document, base64(&jpeg), Some("picture"), "media.mimetype", Some("wrong_media_type")),
        ("no sticker", MediaKind::Sticker, base64(&jpeg), None, "media.mimetype", Some("wrong_media_type")),
        ("no sound", MediaKind::Voice, base64(&jpeg), None, "media.mimetype", Some("wrong_media_type")),
        ("half a picture", MediaKind::Image, base64(&jpeg[..20]), None, "media", Some("wrong_media_type")),
        ("too large", MediaKind::Document, base64(&pattern(50_001)), None, "media.data", Some("media_too_large")),
        ("no such file", MediaKind::Image, Source::Id(MediaId::new("none")), None, "media.id", None),
        ("a private address", MediaKind::Image, url("http://10.0.0.1/x.jpg"), None, "media.url", Some("url_refused")),
        ("metadata", MediaKind::Image, url("http://169.254.169.254/latest"), None, "media.url", Some("url_refused")),
        ("no address", MediaKind::Image, url("x.jpg"), None, "media.url", Some("url_refused")),
        ("another scheme", MediaKind::Image, url("file:///etc/passwd"), None, "media.url", Some("url_refused")),
        ("nobody there", MediaKind::Image, url("http://127.0.0.1:1/x.jpg"), None, "media.url", Some("url_refused")),
        ("not there", MediaKind::Image, url(&missing), None, "media.url", Some("url_refused")),
        ("a page", MediaKind::Image, url(&page), None, "media.mimetype", Some("wrong_media_type")),
        ("endless", MediaKind::Document, url(&endless), None, "media.url", Some("media_too_large")),
        ("announced", MediaKind::Document, url(&announced), None, "media.url", Some("media_too_large")),
        ("broken off", MediaKind::Document, url(&broken), None, "media.url", Some("url_refused")),
    ];
    for (name, kind, source, mimetype, field, reason) in cases {
        let refused = room.send(kind, source, mimetype).await.unwrap_err();
        let found = refused.fields.first().map(|it| it.field.as_str());
        assert_eq!((refused.code, found, refused.reason), (Code::Validation, Some(field), reason), "{name}: {refused}");
        assert!(!refused.message.contains("127.0.0.1") && !refused.message.contains("10.0.0.1"), "{name}: {refused}");
        // What could be kept and only cannot be sent is kept: `half a picture` is a file like any other.
        let rest = if name == "half a picture" { 1 } else { 0 };
        if rest == 0 {
            assert_eq!((db.media_space(&room.organization).await.unwrap(), room.on_disk()), (0, 0), "{name}");
        } else {
            room.ambient.advance(2 * DAY);
            assert_eq!(room.files.sweep().await.unwrap(), 1);
        }
    }
    // Each fits, all together do not.
    room.keep(&pattern(50_000), None).await.unwrap();
    let second = room.keep(&pattern(50_000), None).await.unwrap();
    let refused = room.keep(&pattern(50_000), None).await.unwrap_err();
    assert_eq!((refused.code, refused.reason), (Code::RateLimited, Some("media_space_used_up")), "{refused}");
    assert_eq!((db.media_space(&room.organization).await.unwrap(), room.on_disk()), (100_000, 2));
    room.files.delete(&room.organization, &room.session, &second.id).await.unwrap();
    room.keep(&pattern(50_000), None).await.unwrap();
}

async fn what_is_sent_is_looked_into(db: Db) {
    let room = Room::new(&db).await;
    let jpeg = picture(640, 320, image::ImageFormat::Jpeg);
    let by_url = Source::Url(format!("{}/folder/a%20picture.jpg", web_file("application/octet-stream", &jpeg).await));
    for source in [base64(&jpeg), Source::Base64(format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(&jpeg))), by_url] {
        let named = matches!(source, Source::Url(_)).then_some("a picture.jpg");
        let mut sent = room.send(MediaKind::Image, source, None).await.unwrap();
        let mut content = Vec::new();
        sent.file.read_to_end(&mut content).unwrap();
        assert!(content == jpeg);
        assert_eq!((sent.media.mimetype.as_str(), sent.media.filename.as_deref()), ("image/jpeg", named));
        assert_eq!((sent.details.width, sent.details.height), (Some(640), Some(320)));
        let thumbnail = image::load_from_memory(sent.details.thumbnail.as_deref().unwrap()).unwrap();
        assert_eq!((thumbnail.width(), thumbnail.height()), (100, 50));
        // The same again by its id, also as something else.
        let again = room.send(MediaKind::Document, Source::Id(sent.media.id.clone()), None).await.unwrap();
        assert_eq!(again.media, sent.media);
        assert_eq!(
            room.send(MediaKind::Video, Source::Id(sent.media.id), None).await.unwrap_err().fields[0].field,
            "media.mimetype"
        );
    }
    let heard = room.send(MediaKind::Audio, base64(&sound(3)), Some("audio/wav")).await.unwrap();
    assert_eq!(heard.details.duration, Some(Duration::from_secs(3)));
    let sticker = room.send(MediaKind::Sticker, base64(&picture(512, 512, image::ImageFormat::WebP)), None).await.unwrap();
    assert_eq!((sticker.details.width, sticker.details.animated), (Some(512), false));

    // Some kilobytes that would become a gigabyte: its size is told, and nobody decodes it.
    let mut bomb = Vec::new();
    let mut encoder = png::Encoder::new(&mut bomb, 30_000, 30_000);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&vec![0; 30_000 / 8 * 30_000]).unwrap();
    writer.finish().unwrap();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let bomb = room.send(MediaKind::Image, base64(&bomb), None).await.unwrap();
    assert_eq!((bomb.details.width, bomb.details.height, bomb.details.thumbnail), (Some(30_000), Some(30_000), None));
}

async fn what_is_over_is_swept(db: Db) {
    let room = Room::new(&db).await;
    let kept = room.keep(&pattern(1000), None).await.unwrap();
    // One that is given up by nobody: as after a crash.
    let coming = Coming { field: "chunk".into(), ..Coming::default() };
    drop(room.files.take(&room.organization, &room.session, coming).await.unwrap());
    assert_eq!(room.files.sweep().await.unwrap(), 0);
    room.ambient.advance(Duration::from_secs(3601));
    assert_eq!(room.files.sweep().await.unwrap(), 1, "the upload that broke off");
    room.ambient.advance(29 * DAY);
    let young = room.keep(&pattern(1000), None).await.unwrap();
    room.ambient.advance(DAY);
    assert_eq!(room.files.sweep().await.unwrap(), 1);
    assert_eq!(room.files.get(&room.organization, &room.session, &kept.id).await.unwrap_err().code, Code::NotFound);
    assert_eq!((room.read(&young, None).await.len(), room.on_disk()), (1000, 1));
    // A session takes its files with it.
    let mut tx = db.begin().await.unwrap();
    tx.delete_session(&room.organization, &room.session).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((room.files.sweep().await.unwrap(), room.files.sweep().await.unwrap(), room.on_disk()), (1, 0, 0));
}

async fn signed_addresses_are_good_for_one_file_and_a_while(db: Db) {
    let room = Room::new(&db).await;
    let cipher = Cipher::plain(room.ambient.clone());
    let signer = Signer::open(&db, &cipher, [7; 32]).await.unwrap();
    let (one, other) = (room.keep(&pattern(10), None).await.unwrap(), room.keep(&pattern(11), None).await.unwrap());
    let until = START.plus(Duration::from_secs(300));
    let token = signer.sign(&one, until);
    assert_eq!(room.files.by_link(&signer, &token).await.unwrap(), one);
    // The key is the database's: the next start has the same, whatever it offers.
    let next = Signer::open(&db, &cipher, [8; 32]).await.unwrap();
    assert_eq!(room.files.by_link(&next, &token).await.unwrap(), one);

    let parts: Vec<&str> = token.split('.').collect();
    let later = (until.0 + 1).to_string();
    let swapped = signer.sign(&other, until);
    for wrong in [
        String::new(),
        "x".into(),
        "a.b.c".into(),
        format!("{token}x"),
        format!("{token}.x"),
        [other.id.as_str(), parts[1], parts[2]].join("."),
        [parts[0], &later, parts[2]].join("."),
        [parts[0], parts[1], swapped.split('.').nth(2).unwrap()].join("."),
        [parts[0], parts[1], ""].join("."),
    ] {
        assert_eq!(room.files.by_link(&signer, &wrong).await.unwrap_err().code, Code::NotFound, "{wrong}");
    }
    room.ambient.advance(Duration::from_secs(300));
    assert_eq!(room.files.by_link(&signer, &token).await.unwrap_err().code, Code::NotFound, "its time is over");
}

on_both_engines!(
    kept_whole_read_in_parts_and_deleted,
    what_is_wrong_is_refused_and_leaves_nothing,
    what_is_sent_is_looked_into,
    what_is_over_is_swept,
    signed_addresses_are_good_for_one_file_and_a_while,
);
