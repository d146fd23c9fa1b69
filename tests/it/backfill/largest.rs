//! A backup that is larger than the gateway takes is refused, however it comes: nothing of it stays on the disk, and it never was in memory.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;
use tonic::Request;
use tonic_types::StatusExt as _;
use whatsapp_gateway::backup::crypt15::LARGEST;
use whatsapp_gateway::proto::gateway::ImportBackupRequest;
use whatsapp_gateway::proto::gateway::backup_service_client::BackupServiceClient;

use super::world::{Size, World};
use crate::gateway::KEY;

/// Bytes of a piece.
const PIECE: u64 = 1 << 20;

/// What the process may take beside what it had before, in kB: far less than the file.
const ROOM: u64 = 64 << 10;

const HEAD: &str = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"msgstore.db.crypt15\"\r\n\r\n";
const TAIL: &str = "\r\n--x\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\n00\r\n--x--\r\n";

/// The pieces of a file that has one byte too many.
fn pieces() -> impl Iterator<Item = Bytes> {
    let piece = Bytes::from(vec![7; usize::try_from(PIECE).unwrap()]);
    let whole = usize::try_from(LARGEST / PIECE).unwrap();
    std::iter::repeat_n(piece, whole).chain([Bytes::from_static(b"!")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_too_large_is_refused_however_it_comes() {
    let mut world = World::new(Size { contacts: 0, groups: 0, members: 0 }).await;
    let session = world.paired().await;
    let path = format!("/api/v1/sessions/{session}/backfill");
    let before = world.memory();

    for announced in [true, false] {
        let form =
            std::iter::once(Bytes::from_static(HEAD.as_bytes())).chain(pieces()).chain([Bytes::from_static(TAIL.as_bytes())]);
        let body = reqwest::Body::wrap_stream(tokio_stream::iter(form.map(Ok::<_, std::io::Error>)));
        let mut call = reqwest::Client::new().post(format!("{}{path}", world.base())).bearer_auth(KEY).body(body);
        call = call.header("content-type", "multipart/form-data; boundary=x");
        if announced {
            let length = u64::try_from(HEAD.len() + TAIL.len()).unwrap() + LARGEST + 1;
            call = call.header("content-length", length);
        }
        let answer = call.send().await.unwrap_or_else(|e| panic!("announced: {announced}: {e:?} {}", world.log()));
        let (status, error) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
        assert_eq!((status, &error["error"]["code"]), (400, &json!("validation_error")), "announced: {announced}: {error}");
        let field = &error["error"]["details"]["fields"][0];
        assert_eq!(*field, json!({"field": "file", "message": "has more than 256 MiB"}), "announced: {announced}: {error}");
        assert_eq!(world.imports(), Vec::<String>::new(), "announced: {announced}");
    }

    let mut client = BackupServiceClient::connect(world.base()).await.unwrap();
    let first = ImportBackupRequest { session: session.clone(), ..Default::default() };
    let rest = pieces().map(|piece| ImportBackupRequest { file: piece.to_vec(), ..Default::default() });
    let mut request = Request::new(tokio_stream::iter(std::iter::once(first)).chain(tokio_stream::iter(rest)));
    request.metadata_mut().insert("x-api-key", KEY.parse().unwrap());
    let refused = client.import_backup(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
    let details = refused.get_error_details();
    let violation = &details.bad_request().unwrap().field_violations[0];
    assert_eq!((violation.field.as_str(), violation.description.as_str()), ("file", "has more than 256 MiB"));

    assert_eq!(world.imports(), Vec::<String>::new());
    let (status, _) = world.look_at(&path).await;
    assert_eq!(status, 404, "none of them became an import");
    let grown = world.memory() - before;
    assert!(grown < ROOM, "{grown} kB more than the {before} kB before");
}
