//! `SessionService`.

use tonic::{Request, Response, Status};

use super::convert::session::{me, session};
use super::principal;
use super::status::to_status;
use crate::domain::ids::SessionId;
use crate::proto::gateway::session_service_server::SessionService;
use crate::proto::gateway::{
    CreateSessionRequest, DeleteSessionRequest, GetMeRequest, GetSessionRequest, ListSessionsRequest, ListSessionsResponse,
    LogoutSessionRequest, Me, RestartSessionRequest, Session, StartSessionRequest, StopSessionRequest, UpdateSessionRequest,
};
use crate::service::Service;
use crate::service::session::{IgnorePatch, NewSession, SettingsPatch};

/// The gRPC face of the sessions' use cases.
#[derive(Clone)]
pub struct Sessions(pub Service);

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn list_sessions(&self, request: Request<ListSessionsRequest>) -> Result<Response<ListSessionsResponse>, Status> {
        let all = self.0.list_sessions(&principal(&request)?).await.map_err(to_status)?;
        Ok(Response::new(ListSessionsResponse { data: all.iter().map(session).collect(), next_cursor: None }))
    }

    async fn create_session(&self, request: Request<CreateSessionRequest>) -> Result<Response<Session>, Status> {
        let caller = principal(&request)?;
        let it = request.into_inner();
        let new = NewSession {
            label: it.label,
            auto_read: it.auto_read,
            presence_typing: it.presence_typing,
            auto_reject_calls: it.auto_reject_calls,
            ignore: IgnorePatch {
                status: it.ignore_status,
                groups: it.ignore_groups,
                channels: it.ignore_channels,
                broadcast: it.ignore_broadcast,
            },
            metadata: it.metadata,
            start: it.start,
        };
        let key = Some(it.idempotency_key).filter(|key| !key.is_empty());
        let created = self.0.create_session(&caller, new, key.as_deref()).await.map_err(to_status)?;
        Ok(Response::new(Session { replayed: key.map(|_| created.replayed), ..session(&created.session) }))
    }

    async fn get_session(&self, request: Request<GetSessionRequest>) -> Result<Response<Session>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let row = self.0.get_session(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(session(&row)))
    }

    async fn update_session(&self, request: Request<UpdateSessionRequest>) -> Result<Response<Session>, Status> {
        let caller = principal(&request)?;
        let it = request.into_inner();
        let patch = SettingsPatch {
            label: it.label,
            auto_read: it.auto_read,
            presence_typing: it.presence_typing,
            auto_reject_calls: it.auto_reject_calls,
            rate_per_min: it.rate_per_min,
            rate_per_hour: it.rate_per_hour,
            ignore: IgnorePatch {
                status: it.ignore_status,
                groups: it.ignore_groups,
                channels: it.ignore_channels,
                broadcast: it.ignore_broadcast,
            },
            metadata: it.metadata,
        };
        let row = self.0.update_session(&caller, &SessionId::new(it.session), patch).await.map_err(to_status)?;
        Ok(Response::new(session(&row)))
    }

    async fn delete_session(&self, request: Request<DeleteSessionRequest>) -> Result<Response<()>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        self.0.delete_session(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn start_session(&self, request: Request<StartSessionRequest>) -> Result<Response<Session>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let row = self.0.start_session(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(session(&row)))
    }

    async fn stop_session(&self, request: Request<StopSessionRequest>) -> Result<Response<Session>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let row = self.0.stop_session(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(session(&row)))
    }

    async fn restart_session(&self, request: Request<RestartSessionRequest>) -> Result<Response<Session>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let row = self.0.restart_session(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(session(&row)))
    }

    async fn logout_session(&self, request: Request<LogoutSessionRequest>) -> Result<Response<Session>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let row = self.0.logout_session(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(session(&row)))
    }

    async fn get_me(&self, request: Request<GetMeRequest>) -> Result<Response<Me>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let row = self.0.get_session(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(me(&row, self.0.is_connected(&row))))
    }
}
