//! The files on the simulated media host.

use tonic::{Request, Response, Status};

use super::{Answer, Control, timestamp};
use crate::api::status::to_status;
use crate::proto::sandbox as proto;
use crate::proto::sandbox::media_host_service_server::MediaHostService;

#[tonic::async_trait]
impl MediaHostService for Control {
    async fn list_media(&self, _: Request<proto::ListMediaRequest>) -> Answer<proto::ListMediaResponse> {
        let files = self.sandbox.list_media().into_iter().map(|file| proto::MediaFile {
            direct_path: file.direct_path,
            kind: file.kind,
            size: i64::try_from(file.size).unwrap_or(i64::MAX),
            uploaded_at: Some(timestamp(file.uploaded_at)),
            expires_at: Some(timestamp(file.expires_at)),
        });
        Ok(Response::new(proto::ListMediaResponse { data: files.collect(), next_cursor: None }))
    }

    async fn expire_media(&self, request: Request<proto::ExpireMediaRequest>) -> Answer<proto::ExpireMediaResponse> {
        let path = request.into_inner().direct_path;
        let expired = self.sandbox.expire_media(Some(path.as_str()).filter(|path| !path.is_empty())).await.map_err(to_status)?;
        Ok(Response::new(proto::ExpireMediaResponse { expired: i64::try_from(expired).unwrap_or(i64::MAX) }))
    }

    async fn remove_media(&self, request: Request<proto::RemoveMediaRequest>) -> Result<Response<()>, Status> {
        let deleted = self.sandbox.delete_media(&request.into_inner().direct_path).await;
        deleted.map(Response::new).map_err(to_status)
    }
}
