//! `MediaService`.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tonic::{Request, Response, Status, Streaming};

use super::attempts::{Attempts, Peer};
use super::convert::media::{head, media};
use super::convert::timestamp;
use super::principal;
use super::status::to_status;
use super::stream::Stream;
use crate::domain::clock::Ambient;
use crate::domain::ids::{MediaId, SessionId};
use crate::error::{Code, Error};
use crate::proto::gateway::media_service_server::MediaService;
use crate::proto::gateway::{
    DeleteMediaRequest, FetchMessageMediaRequest, FilePiece, GetMediaRequest, GetMediaUrlRequest, Media, MediaUrl,
    ReadMediaLinkRequest, ReadMediaRequest, ReadMessageMediaRequest, UploadMediaRequest,
};
use crate::service::Service;
use crate::service::media::{Coming, Reading, Wish};

/// How long nothing may come of an upload that has begun.
const STALL: Duration = Duration::from_secs(30);

/// How many wrong signed addresses one network address may try in a minute before it is told to wait.
const GUESSES: u32 = 100;

/// Bytes of a file in one message.
const PIECE: usize = 256 << 10;

/// The gRPC face of files.
#[derive(Clone)]
pub struct Files {
    service: Service,
    /// Wrong signed addresses, by who tried them.
    guesses: Attempts,
}

impl Files {
    /// A face of `service`.
    pub fn new(service: Service, ambient: Ambient) -> Self {
        Self { service, guesses: Attempts::with_most(GUESSES, ambient) }
    }
}

#[tonic::async_trait]
impl MediaService for Files {
    type ReadMediaStream = Stream<FilePiece>;
    type ReadMessageMediaStream = Stream<FilePiece>;
    type ReadMediaLinkStream = Stream<FilePiece>;

    async fn upload_media(&self, request: Request<Streaming<UploadMediaRequest>>) -> Result<Response<Media>, Status> {
        let caller = principal(&request)?;
        let mut messages = request.into_inner();
        let first = next(&mut messages).await?.ok_or_else(|| to_status(Error::field("session", "missing")))?;
        let UploadMediaRequest { session, filename, mimetype, size, chunk } = first;
        let coming = Coming {
            field: "chunk".to_owned(),
            mimetype: Some(mimetype),
            filename: Some(filename),
            length: u64::try_from(size).ok(),
        };
        let session = SessionId::new(session);
        let mut intake = self.service.upload_media(&caller, &session, coming).await.map_err(to_status)?;
        let mut chunk = chunk;
        loop {
            if !chunk.is_empty() {
                intake.put(chunk.into()).await.map_err(to_status)?;
            }
            match next(&mut messages).await {
                Ok(Some(more)) => chunk = more.chunk,
                Ok(None) => break,
                Err(status) => {
                    intake.give_up().await;
                    return Err(status);
                }
            }
        }
        let kept = intake.finish().await.map_err(to_status)?;
        Ok(Response::new(media(&kept)))
    }

    async fn get_media(&self, request: Request<GetMediaRequest>) -> Result<Response<Media>, Status> {
        let GetMediaRequest { session, media: id } = request.get_ref();
        let found = self.service.get_media(&principal(&request)?, &SessionId::new(session), &MediaId::new(id)).await;
        Ok(Response::new(media(&found.map_err(to_status)?)))
    }

    async fn delete_media(&self, request: Request<DeleteMediaRequest>) -> Result<Response<()>, Status> {
        let DeleteMediaRequest { session, media } = request.get_ref();
        let deleted = self.service.delete_media(&principal(&request)?, &SessionId::new(session), &MediaId::new(media)).await;
        deleted.map(Response::new).map_err(to_status)
    }

    async fn read_media(&self, request: Request<ReadMediaRequest>) -> Result<Response<Stream<FilePiece>>, Status> {
        let caller = principal(&request)?;
        let ReadMediaRequest { session, media, range, if_range } = request.into_inner();
        let (session, media, wish) = (SessionId::new(session), MediaId::new(media), Wish { range, if_range });
        let reading = self.service.read_media(&caller, &session, &media, &wish).await.map_err(to_status)?;
        Ok(Response::new(pieces(reading)))
    }

    async fn read_message_media(&self, request: Request<ReadMessageMediaRequest>) -> Result<Response<Stream<FilePiece>>, Status> {
        let caller = principal(&request)?;
        let ReadMessageMediaRequest { session, mid, range, if_range } = request.into_inner();
        let (session, wish) = (SessionId::new(session), Wish { range, if_range });
        let reading = Box::pin(self.service.read_message_media(&caller, &session, &mid, &wish)).await.map_err(to_status)?;
        Ok(Response::new(pieces(reading)))
    }

    async fn fetch_message_media(&self, request: Request<FetchMessageMediaRequest>) -> Result<Response<Media>, Status> {
        let FetchMessageMediaRequest { session, mid } = request.get_ref();
        let caller = principal(&request)?;
        let found = Box::pin(self.service.fetch_message_media(&caller, &SessionId::new(session), mid)).await;
        Ok(Response::new(media(&found.map_err(to_status)?)))
    }

    async fn get_media_url(&self, request: Request<GetMediaUrlRequest>) -> Result<Response<MediaUrl>, Status> {
        let caller = principal(&request)?;
        let GetMediaUrlRequest { session, mid, expires_in } = request.get_ref();
        let good_for = expires_in.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        let session = SessionId::new(session);
        let made = Box::pin(self.service.media_url(&caller, &session, mid, good_for)).await;
        let (url, expires) = made.map_err(to_status)?;
        Ok(Response::new(MediaUrl { url, expires_at: Some(timestamp(expires)) }))
    }

    async fn read_media_link(&self, request: Request<ReadMediaLinkRequest>) -> Result<Response<Stream<FilePiece>>, Status> {
        let peer = request.extensions().get::<Peer>().copied();
        let ReadMediaLinkRequest { token, range, if_range } = request.into_inner();
        // Who has guessed too often waits at a narrow door, also with a right one.
        let _door = self.guesses.pass(peer).await;
        match self.service.read_media_link(&token, &Wish { range, if_range }).await {
            Ok(reading) => Ok(Response::new(pieces(reading))),
            Err(error) if error.code == Code::NotFound => Err(to_status(match self.guesses.failed(peer) {
                Some(wait) => Error::new(Code::RateLimited, "too many addresses that were not valid").retry_after(wait),
                None => error,
            })),
            Err(error) => Err(to_status(error)),
        }
    }
}

/// The next message of an upload.
async fn next(messages: &mut Streaming<UploadMediaRequest>) -> Result<Option<UploadMediaRequest>, Status> {
    match tokio::time::timeout(STALL, messages.message()).await {
        Ok(next) => next,
        Err(_) => Err(to_status(Error::new(Code::Timeout, "nothing came for 30 seconds; the upload was given up"))),
    }
}

/// The head, then the content.
fn pieces(reading: Reading) -> Stream<FilePiece> {
    let first = FilePiece { head: Some(head(&reading)), chunk: Vec::new() };
    let rest = reading.bytes.map_err(|cause| to_status(Error::internal(cause)));
    let rest = rest.map_ok(|bytes| {
        let mut left = bytes;
        let parts = std::iter::from_fn(move || {
            let part = left.split_to(left.len().min(PIECE));
            (!part.is_empty()).then(|| Ok(FilePiece { head: None, chunk: part.into() }))
        });
        stream::iter(parts)
    });
    stream::once(async { Ok(first) }).chain(rest.try_flatten()).boxed()
}
