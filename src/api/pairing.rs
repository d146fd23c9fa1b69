//! `PairingService`.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::convert::session::{pairing_code, qr, step};
use super::principal;
use super::status::to_status;
use super::stream::{Stream, guarded};
use crate::domain::ids::SessionId;
use crate::proto::gateway::pairing_service_server::PairingService;
use crate::proto::gateway::{
    GetQrRequest, PairingCode, Qr, RequestPairingCodeRequest, WatchPairingRequest, WatchPairingResponse,
};
use crate::service::Service;

/// The gRPC face of pairing.
#[derive(Clone)]
pub struct Pairing(pub Service);

#[tonic::async_trait]
impl PairingService for Pairing {
    async fn get_qr(&self, request: Request<GetQrRequest>) -> Result<Response<Qr>, Status> {
        let GetQrRequest { session, wait } = request.get_ref();
        let wait = Duration::from_secs(u64::try_from(*wait).unwrap_or(0));
        let code = self.0.get_qr(&principal(&request)?, &SessionId::new(session), wait).await.map_err(to_status)?;
        Ok(Response::new(qr(code)))
    }

    async fn request_pairing_code(&self, request: Request<RequestPairingCodeRequest>) -> Result<Response<PairingCode>, Status> {
        let RequestPairingCodeRequest { session, phone } = request.get_ref();
        let id = SessionId::new(session);
        let code = self.0.request_pairing_code(&principal(&request)?, &id, phone).await.map_err(to_status)?;
        Ok(Response::new(pairing_code(code)))
    }

    type WatchPairingStream = Stream<WatchPairingResponse>;

    async fn watch_pairing(&self, request: Request<WatchPairingRequest>) -> Result<Response<Self::WatchPairingStream>, Status> {
        let caller = principal(&request)?;
        let id = SessionId::new(&request.get_ref().session);
        let watch = self.0.watch_pairing(&caller, &id).await.map_err(to_status)?;
        let steps = futures_util::stream::try_unfold(watch, async |mut watch| {
            let next = watch.next().await.map_err(to_status)?;
            Ok(next.map(|it| (step(it), watch)))
        });
        Ok(Response::new(guarded(self.0.clone(), caller, steps)))
    }
}
