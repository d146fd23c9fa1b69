//! `BackfillService`.

use futures_util::StreamExt as _;
use tonic::{Request, Response, Status};

use super::convert::backfill::backfill;
use super::principal;
use super::status::to_status;
use super::stream::{Stream, guarded};
use crate::domain::clock::Ambient;
use crate::domain::ids::SessionId;
use crate::proto::gateway::backfill_service_server::BackfillService;
use crate::proto::gateway::{BackfillJob, CancelBackfillRequest, GetBackfillRequest, StartBackfillRequest, WatchBackfillRequest};
use crate::service::Service;

/// The gRPC face of backfills.
#[derive(Clone)]
pub struct Backfills {
    /// The use cases.
    pub service: Service,
    /// The clock that estimates go by.
    pub ambient: Ambient,
}

#[tonic::async_trait]
impl BackfillService for Backfills {
    type WatchBackfillStream = Stream<BackfillJob>;

    async fn start_backfill(&self, request: Request<StartBackfillRequest>) -> Result<Response<BackfillJob>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let job = self.service.start_backfill(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(backfill(job, self.ambient.now())))
    }

    async fn get_backfill(&self, request: Request<GetBackfillRequest>) -> Result<Response<BackfillJob>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let job = self.service.get_backfill(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(backfill(job, self.ambient.now())))
    }

    async fn watch_backfill(
        &self,
        request: Request<WatchBackfillRequest>,
    ) -> Result<Response<Self::WatchBackfillStream>, Status> {
        let caller = principal(&request)?;
        let id = SessionId::new(&request.get_ref().session);
        let jobs = self.service.watch_backfill(&caller, &id).await.map_err(to_status)?;
        let ambient = self.ambient.clone();
        let items = jobs.map(move |job| job.map(|job| backfill(job, ambient.now())).map_err(to_status));
        Ok(Response::new(guarded(self.service.clone(), caller, items)))
    }

    async fn cancel_backfill(&self, request: Request<CancelBackfillRequest>) -> Result<Response<BackfillJob>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let job = self.service.cancel_backfill(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(backfill(job, self.ambient.now())))
    }
}
