//! Files through the doors: REST as bodies and forms, gRPC as streams, ranges, and what others may not.

use http::HeaderMap;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::proto::gateway::media_service_client::MediaServiceClient;
use whatsapp_gateway::proto::gateway::{ReadMediaRequest, UploadMediaRequest};

use super::{pattern, picture};
use crate::gateway::{Gateway, Home, KEY};
use crate::support::Engine;

/// A file up by HTTP: what was answered.
async fn up(gateway: &Gateway, path: &str, kind: Option<&str>, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let mut call = reqwest::Client::new().post(format!("{}{path}", gateway.base)).bearer_auth(KEY).body(body);
    if let Some(kind) = kind {
        call = call.header("content-type", kind);
    }
    let answer = call.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

/// A file down by HTTP: status, headers, content.
pub(crate) async fn down(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Vec<u8>) {
    let mut call = reqwest::Client::new().get(format!("{}{path}", gateway.base)).bearer_auth(KEY);
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    let answer = call.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.bytes().await.unwrap().to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_and_down_by_http_and_grpc() {
    let gateway = Home::new(Engine::Sqlite).await.start().await;
    let session = gateway.post("/api/v1/sessions", json!({})).await["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/sessions/{session}/media");

    let png = picture(64, 64, image::ImageFormat::Png);
    let (status, file) = up(&gateway, &format!("{path}?filename=..%2Fa%20b.png"), Some("image/png"), png.clone()).await;
    assert_eq!((status, &file["state"], &file["filename"]), (201, &json!("ready"), &json!("a b.png")), "{file}");
    assert_eq!(
        (&file["mimetype"], &file["size"], file["sha256"].as_str().map(str::len)),
        (&json!("image/png"), &json!(png.len()), Some(64))
    );
    let id = file["id"].as_str().unwrap();
    assert_eq!(gateway.get(&format!("{path}/{id}")).await, file);
    let (status, headers, content) = down(&gateway, &format!("{path}/{id}/content"), &[]).await;
    assert!(status == 200 && content == png);
    let header = |name: &str| headers[name].to_str().unwrap();
    assert_eq!(header("content-disposition"), "attachment; filename=\"a b.png\"; filename*=UTF-8''a%20b.png");
    assert_eq!(
        (header("content-type"), header("x-content-type-options"), header("accept-ranges")),
        ("image/png", "nosniff", "bytes")
    );
    assert_eq!(header("content-length"), png.len().to_string());

    // A form, as browsers and curl send them.
    let form = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"words.txt\"\r\ncontent-type: text/plain\r\n\r\nhello\r\n--x--\r\n";
    let (status, file) = up(&gateway, &path, Some("multipart/form-data; boundary=x"), form).await;
    assert_eq!(
        (status, &file["filename"], &file["mimetype"], &file["size"]),
        (201, &json!("words.txt"), &json!("text/plain"), &json!(5)),
        "{file}"
    );

    // The same by gRPC, in messages of any size.
    let bytes = pattern(700_000);
    let mut client = MediaServiceClient::new(gateway.channel().await);
    let first = UploadMediaRequest { session: session.clone(), filename: "x.bin".into(), ..Default::default() };
    let rest = bytes.chunks(100_001).map(|chunk| UploadMediaRequest { chunk: chunk.to_vec(), ..Default::default() });
    let messages: Vec<_> = std::iter::once(first).chain(rest).collect();
    let kept = client.upload_media(tokio_stream::iter(messages)).await.unwrap().into_inner();
    assert_eq!((kept.size, kept.mimetype.as_str()), (700_000, "application/octet-stream"));
    let asked = ReadMediaRequest {
        session: session.clone(),
        media: kept.id.clone(),
        range: "bytes=-500000".into(),
        if_range: String::new(),
    };
    let mut pieces = client.read_media(asked).await.unwrap().into_inner();
    let head = pieces.next().await.unwrap().unwrap().head.unwrap();
    assert_eq!((head.offset, head.length, head.size, head.partial), (200_000, 500_000, 700_000, true));
    let mut content = Vec::new();
    while let Some(piece) = pieces.next().await {
        content.extend(piece.unwrap().chunk);
    }
    assert!(content == bytes[200_000..]);

    // Others see nothing, and what is deleted is gone.
    let stranger = gateway.stranger().await;
    for (method, path) in
        [("GET", format!("{path}/{id}")), ("GET", format!("{path}/{id}/content")), ("DELETE", format!("{path}/{id}"))]
    {
        assert_eq!(gateway.call_as(Some(&stranger), method, &path, None).await.0, 404);
    }
    assert_eq!(gateway.call_as(Some(KEY), "DELETE", &format!("{path}/{id}"), None).await.0, 204);
    assert_eq!(gateway.call_as(Some(KEY), "GET", &format!("{path}/{id}"), None).await.0, 404);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_as_http_has_them() {
    let gateway = Home::new(Engine::Sqlite).await.start().await;
    let session = gateway.post("/api/v1/sessions", json!({})).await["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/sessions/{session}/media");
    let bytes = pattern(10_000);
    let id = up(&gateway, &path, None, bytes.clone()).await.1["id"].as_str().unwrap().to_owned();
    let path = format!("{path}/{id}/content");
    let tag = down(&gateway, &path, &[]).await.1["etag"].to_str().unwrap().to_owned();
    for (range, status, from, to) in [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-199", 206, 100, 200),
        ("bytes=9999-", 206, 9999, 10_000),
        ("bytes=-10", 206, 9990, 10_000),
        ("bytes=5000-999999", 206, 5000, 10_000),
        ("bytes=0-1,5-6", 200, 0, 10_000),
        ("bytes=5-4", 200, 0, 10_000),
        ("pages=1", 200, 0, 10_000),
    ] {
        let (found, headers, content) = down(&gateway, &path, &[("range", range)]).await;
        assert!(found == status && content == bytes[from..to], "{range}: {found}, {} bytes", content.len());
        let told = headers.get("content-range").map(|it| it.to_str().unwrap().to_owned());
        assert_eq!(told, (status == 206).then(|| format!("bytes {from}-{}/10000", to - 1)), "{range}");
    }
    for range in ["bytes=10000-", "bytes=-0", "bytes=10000-10001"] {
        let (status, _, content) = down(&gateway, &path, &[("range", range)]).await;
        let error: Value = serde_json::from_slice(&content).unwrap();
        assert_eq!((status, &error["error"]["details"]["reason"]), (416, &json!("range_not_satisfiable")), "{range}: {error}");
    }
    let part = ("range", "bytes=0-9");
    assert_eq!(down(&gateway, &path, &[part, ("if-range", &tag)]).await.0, 206);
    assert_eq!(down(&gateway, &path, &[part, ("if-range", "\"other\"")]).await.2.len(), 10_000);
    for same in [tag.as_str(), "*", &format!("W/{tag}, \"x\"")] {
        let (status, headers, content) = down(&gateway, &path, &[("if-none-match", same)]).await;
        assert_eq!((status, content.len(), headers["etag"].to_str().unwrap()), (304, 0, tag.as_str()), "{same}");
    }
    assert_eq!(down(&gateway, &path, &[("if-none-match", "\"other\"")]).await.0, 200);
    let head =
        reqwest::Client::new().head(format!("{}{path}", gateway.base)).bearer_auth(KEY).header("range", "bytes=0-99").send();
    let head = head.await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (206, "100"));
    assert!(head.bytes().await.unwrap().is_empty());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_uploads_are_told_what_is_wrong() {
    let limits = [("WAGW_MEDIA_MAX_BYTES", "1000000".to_owned()), ("WAGW_MEDIA_TOTAL_BYTES", "1500000".to_owned())];
    let gateway = Home::new(Engine::Sqlite).await.start_with(&limits, Ambient::system()).await;
    let session = gateway.post("/api/v1/sessions", json!({})).await["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/sessions/{session}/media");
    let form = "multipart/form-data; boundary=x";
    // A stream has no length beforehand: what is too large is found out on the way.
    let stream = || reqwest::Body::wrap_stream(tokio_stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(pattern(100_000)))));
    for (kind, body, status, reason) in [
        (None, reqwest::Body::from(""), 400, json!("media_empty")),
        (Some("image/png"), "words".into(), 400, json!("wrong_media_type")),
        (Some("nonsense"), "words".into(), 400, json!("wrong_media_type")),
        (None, pattern(1_000_001).into(), 400, json!("media_too_large")),
        (None, stream(), 400, json!("media_too_large")),
        (Some(form), "--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--\r\n".into(), 400, Value::Null),
        (Some(form), "no form".into(), 400, Value::Null),
        (Some("multipart/form-data"), "no boundary".into(), 400, Value::Null),
    ] {
        let (found, answer) = up(&gateway, &path, kind, body).await;
        assert_eq!((found, &answer["error"]["details"]["reason"]), (status, &reason), "{kind:?}: {answer}");
    }
    assert_eq!(up(&gateway, "/api/v1/sessions/none/media", None, "x").await.0, 404);
    assert_eq!(up(&gateway, &format!("{path}?name=x"), None, "x").await.0, 400, "unknown parameters are refused");
    // Nothing of all that counts, and what is used up is told.
    assert_eq!(up(&gateway, &path, None, pattern(900_000)).await.0, 201);
    let (status, answer) = up(&gateway, &path, None, pattern(900_000)).await;
    assert_eq!((status, &answer["error"]["details"]["reason"]), (429, &json!("media_space_used_up")), "{answer}");
    // Half a body is no file.
    {
        use tokio::io::AsyncWriteExt as _;
        let mut socket = tokio::net::TcpStream::connect(gateway.running.address).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: 1000\r\n\r\nhalf");
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.flush().await.unwrap();
    }
    assert_eq!(up(&gateway, &path, None, pattern(500_000)).await.0, 201);
    gateway.stop().await;
}
