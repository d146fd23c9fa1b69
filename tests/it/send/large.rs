//! Files that are larger than the gateway takes: refused with the field's name, whichever way they come, and nothing of them stays.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Status;
use tonic_types::StatusExt as _;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::proto::gateway::media_service_client::MediaServiceClient;
use whatsapp_gateway::proto::gateway::message_service_client::MessageServiceClient;
use whatsapp_gateway::proto::gateway::{AlbumMediaPayload, MediaPayload, MessageType, SendMessageRequest, UploadMediaRequest};

use super::{BUDI, Shop};
use crate::gateway::{Gateway, Home, KEY};
use crate::media::{pattern, web, web_file};
use crate::support::Engine;

/// The limit when nobody sets one.
const DEFAULT: u64 = 100 << 20;

/// What was refused: the field, the reason, and the limit that is named.
#[derive(Debug, PartialEq)]
struct Refused {
    field: String,
    reason: String,
    limit: String,
}

impl Refused {
    fn new(field: &str, limit: u64) -> Self {
        Self { field: field.to_owned(), reason: "media_too_large".to_owned(), limit: limit.to_string() }
    }

    fn of_http((status, error): &(u16, Value)) -> Self {
        assert_eq!((*status, &error["error"]["code"]), (400, &json!("validation_error")), "{error}");
        let details = &error["error"]["details"];
        let limit = details["limit"].as_str().map_or_else(|| details["limit"].to_string(), str::to_owned);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self { field: text(&details["fields"][0]["field"]), reason: text(&details["reason"]), limit }
    }

    fn of_grpc(status: &Status) -> Self {
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
        let details = status.get_error_details();
        let field = details.bad_request().unwrap().field_violations[0].field.clone();
        let info = details.error_info().unwrap();
        let limit = info.metadata.get("limit").cloned().unwrap_or_default();
        Self { field, reason: info.reason.clone(), limit }
    }
}

/// The same message by both doors; `data` and `url` stand where one file does.
async fn sent(shop: &Shop, album: bool, data: Option<String>, url: Option<String>) -> [Refused; 2] {
    let session = shop.path.rsplit('/').next().unwrap().to_owned();
    let file = json!({"data": data, "url": url});
    let small = BASE64_STANDARD.encode(crate::media::picture(8, 8, image::ImageFormat::Jpeg));
    let body = match album {
        true => json!({"type": "album", "to": BUDI, "medias": [
            {"type": "image", "data": small}, {"type": "image", "data": data, "url": url},
        ]}),
        false => json!({"type": "document", "to": BUDI, "media": file}),
    };
    let mut request = SendMessageRequest { session, to: BUDI.into(), ..Default::default() };
    if album {
        request.set_type(MessageType::Album);
        let image = |data, url| AlbumMediaPayload { r#type: Some("image".into()), data, url, ..Default::default() };
        request.medias = vec![image(Some(small), None), image(data, url)];
    } else {
        request.set_type(MessageType::Document);
        request.media = Some(MediaPayload { data, url, ..Default::default() });
    }
    let by_http = Refused::of_http(&shop.send(body, "").await);
    let mut client = MessageServiceClient::new(shop.gateway.channel().await);
    let by_grpc = Refused::of_grpc(&client.send_message(request).await.unwrap_err());
    [by_http, by_grpc]
}

/// An upload by gRPC whose first message announces `size`; then come `chunks`.
async fn uploaded(gateway: &Gateway, session: &str, size: i64, chunks: Vec<Vec<u8>>) -> Refused {
    let first = UploadMediaRequest { session: session.to_owned(), size, ..Default::default() };
    let rest = chunks.into_iter().map(|chunk| UploadMediaRequest { chunk, ..Default::default() });
    let messages: Vec<_> = std::iter::once(first).chain(rest).collect();
    let mut client = MediaServiceClient::new(gateway.channel().await);
    Refused::of_grpc(&client.upload_media(tokio_stream::iter(messages)).await.unwrap_err())
}

/// An upload by HTTP that announces so many bytes and sends none before it is answered.
async fn announced(gateway: &Gateway, path: &str, length: u64) -> Refused {
    let mut socket = tokio::net::TcpStream::connect(gateway.running.address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/octet-stream\r\n\
         content-length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // Until the whole of the answer is there: it ends with two braces of JSON.
    let mut piece = [0; 4096];
    while !answer.ends_with("}}") {
        let length = socket.read(&mut piece).await.unwrap();
        assert_ne!(length, 0, "it ended: {answer}");
        answer.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Refused::of_http(&(status, serde_json::from_str(body).unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_larger_than_the_setting_is_refused_by_every_way() {
    const LIMIT: u64 = 500_000;
    let home = Home::new(Engine::Sqlite).await;
    let settings = [("WAGW_MEDIA_MAX_BYTES", LIMIT.to_string())];
    let shop = Shop::open(home.start_with(&settings, Ambient::system()).await).await;
    let (gateway, session) = (&shop.gateway, shop.path.rsplit('/').next().unwrap());
    let file = pattern(usize::try_from(LIMIT).unwrap() + 1);
    let data = BASE64_STANDARD.encode(&file);
    let told = web_file("application/octet-stream", &file).await;
    let endless = web([b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), file.clone()].concat()).await;

    for field in ["media.data", "medias[1].data"] {
        let refused = sent(&shop, field.starts_with("medias"), Some(data.clone()), None).await;
        assert_eq!(refused, [(); 2].map(|()| Refused::new(field, LIMIT)));
    }
    for url in [told, endless] {
        for field in ["media.url", "medias[1].url"] {
            let refused = sent(&shop, field.starts_with("medias"), None, Some(url.clone())).await;
            assert_eq!(refused, [(); 2].map(|()| Refused::new(field, LIMIT)), "{url}");
        }
    }
    let path = format!("{}/media", shop.path);
    let up = |body: reqwest::Body, kind: &'static str| {
        let call = reqwest::Client::new().post(format!("{}{path}", gateway.base)).bearer_auth(KEY);
        async move {
            let answer = call.header("content-type", kind).body(body).send().await.unwrap();
            Refused::of_http(&(answer.status().as_u16(), answer.json().await.unwrap()))
        }
    };
    let expected = Refused::new("chunk", LIMIT);
    assert_eq!(announced(gateway, &path, LIMIT + 1).await, expected, "announced");
    assert_eq!(up(file.clone().into(), "application/octet-stream").await, expected, "a body");
    let pieces: Vec<Vec<u8>> = file.chunks(100_000).map(<[u8]>::to_vec).collect();
    let stream = tokio_stream::iter(pieces.clone().into_iter().map(Ok::<_, std::io::Error>));
    assert_eq!(up(reqwest::Body::wrap_stream(stream), "application/octet-stream").await, expected, "a stream");
    let head = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n";
    let form = [head.as_bytes(), &file, b"\r\n--x--\r\n"].concat();
    assert_eq!(up(form.into(), "multipart/form-data; boundary=x").await, expected, "a form");
    assert_eq!(uploaded(gateway, session, i64::try_from(LIMIT).unwrap() + 1, Vec::new()).await, expected, "announced");
    assert_eq!(uploaded(gateway, session, 0, pieces).await, expected, "found out on the way");

    // Nothing of them is there, nothing went out, and what just fits is taken.
    let fits = BASE64_STANDARD.encode(&file[1..]);
    let answer = shop.sent(json!({"type": "document", "to": BUDI, "media": {"data": fits}})).await;
    let shown = gateway.get(&format!("/sandbox/v1/phones/{BUDI}/messages")).await;
    let shown = shown["data"].as_array().unwrap();
    assert_eq!((shown.len(), &shown[0]["id"], &shown[0]["media"]["length"]), (1, &answer["waMessageId"], &json!(LIMIT)));
    let count = walk(&home.path().join("media"));
    // The album's small picture was kept before its neighbour was refused, and goes with its time.
    assert!(count >= 1, "the one that was taken");
    shop.gateway.stop().await;
}

fn walk(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

/// Without a setting: what is announced is refused before it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_are_the_most_by_default() {
    let home = Home::new(Engine::Sqlite).await;
    let shop = Shop::open(home.start().await).await;
    let (gateway, session) = (&shop.gateway, shop.path.rsplit('/').next().unwrap());
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", DEFAULT + 1);
    let url = web(head.into_bytes()).await;
    assert_eq!(sent(&shop, false, None, Some(url)).await, [(); 2].map(|()| Refused::new("media.url", DEFAULT)));
    let expected = Refused::new("chunk", DEFAULT);
    assert_eq!(announced(gateway, &format!("{}/media", shop.path), DEFAULT + 1).await, expected);
    assert_eq!(uploaded(gateway, session, i64::try_from(DEFAULT).unwrap() + 1, Vec::new()).await, expected);
    // By base64 a request itself has less room than that.
    let data = BASE64_STANDARD.encode(pattern(4 << 20));
    let body = json!({"type": "document", "to": BUDI, "media": {"data": data}});
    let (status, error) = shop.send(body, "").await;
    assert_eq!((status, &error["error"]["code"]), (413, &json!("validation_error")), "{error}");
    shop.gateway.stop().await;
}
