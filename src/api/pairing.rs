//! `PairingService`.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::convert::session::{pairing_code, pairing_link, qr, step};
use super::principal;
use super::status::to_status;
use super::stream::{Stream, guarded};
use crate::domain::ids::{PairingLinkId, SessionId};
use crate::domain::pairing_link::LinkStatus;
use crate::proto::gateway::pairing_service_server::PairingService;
use crate::proto::gateway::{
    AnswerPasskeyRequest, ConfirmPasskeyRequest, CreatePairingLinkRequest, GetQrRequest, ListPairingLinksRequest,
    ListPairingLinksResponse, PairingCode, PairingLink, Qr, RequestPairingCodeRequest, RevokePairingLinkRequest,
    WatchPairingRequest, WatchPairingResponse,
};
use crate::service::Service;
use crate::service::pairing_link::NewLink;

/// How long a pairing link lives unless its maker says otherwise.
const LINK_LIFE: Duration = Duration::from_secs(900);

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

    async fn answer_passkey(&self, request: Request<AnswerPasskeyRequest>) -> Result<Response<()>, Status> {
        let AnswerPasskeyRequest { session, assertion } = request.get_ref();
        self.0.answer_passkey(&principal(&request)?, &SessionId::new(session), assertion).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn confirm_passkey(&self, request: Request<ConfirmPasskeyRequest>) -> Result<Response<()>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        self.0.confirm_passkey(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn create_pairing_link(&self, request: Request<CreatePairingLinkRequest>) -> Result<Response<PairingLink>, Status> {
        let CreatePairingLinkRequest { session, expires_in } = request.get_ref();
        let life = expires_in.map_or(LINK_LIFE, |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
        let caller = principal(&request)?;
        let NewLink { link, url } =
            self.0.create_pairing_link(&caller, &SessionId::new(session), life).await.map_err(to_status)?;
        Ok(Response::new(pairing_link(&link, LinkStatus::Active, Some(url))))
    }

    async fn list_pairing_links(
        &self,
        request: Request<ListPairingLinksRequest>,
    ) -> Result<Response<ListPairingLinksResponse>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let links = self.0.list_pairing_links(&principal(&request)?, &id).await.map_err(to_status)?;
        let data = links.iter().map(|link| pairing_link(link, self.0.pairing_link_status(link), None)).collect();
        Ok(Response::new(ListPairingLinksResponse { data, next_cursor: None }))
    }

    async fn revoke_pairing_link(&self, request: Request<RevokePairingLinkRequest>) -> Result<Response<()>, Status> {
        let RevokePairingLinkRequest { session, link } = request.get_ref();
        let (session, link) = (SessionId::new(session), PairingLinkId::new(link));
        self.0.revoke_pairing_link(&principal(&request)?, &session, &link).await.map_err(to_status)?;
        Ok(Response::new(()))
    }
}
