//! `ProfileService`.

use tonic::{Request, Response, Status};

use super::principal;
use super::status::to_status;
use crate::domain::ids::SessionId;
use crate::domain::profile::{Privacy, Profile as Shown, ProfilePatch};
use crate::proto::gateway as pb;
use crate::proto::gateway::profile_service_server::ProfileService;
use crate::service::Service;

/// The gRPC face of the account behind a session.
#[derive(Clone)]
pub struct Profile(pub Service);

#[tonic::async_trait]
impl ProfileService for Profile {
    async fn get_profile(&self, request: Request<pb::GetProfileRequest>) -> Result<Response<pb::Profile>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let found = self.0.profile(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(profile(found)))
    }

    async fn update_profile(&self, request: Request<pb::UpdateProfileRequest>) -> Result<Response<pb::Profile>, Status> {
        let caller = principal(&request)?;
        let pb::UpdateProfileRequest { session, name, about, picture } = request.into_inner();
        let patch = ProfilePatch { name, about, picture };
        let found = self.0.update_profile(&caller, &SessionId::new(session), patch).await.map_err(to_status)?;
        Ok(Response::new(profile(found)))
    }

    async fn get_privacy(&self, request: Request<pb::GetPrivacyRequest>) -> Result<Response<pb::Privacy>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let found = self.0.privacy(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(privacy(found)))
    }

    async fn update_privacy(&self, request: Request<pb::UpdatePrivacyRequest>) -> Result<Response<pb::Privacy>, Status> {
        let caller = principal(&request)?;
        let it = request.into_inner();
        let wish = [it.last_seen, it.online, it.picture, it.about, it.group_add, it.read_receipts, it.call_add, it.messages];
        let found = self.0.update_privacy(&caller, &SessionId::new(it.session), wish).await.map_err(to_status)?;
        Ok(Response::new(privacy(found)))
    }

    async fn reject_call(&self, request: Request<pb::RejectCallRequest>) -> Result<Response<()>, Status> {
        let pb::RejectCallRequest { session, call_id } = request.get_ref();
        self.0.reject_call(&principal(&request)?, &SessionId::new(session), call_id).await.map_err(to_status)?;
        Ok(Response::new(()))
    }
}

fn profile(it: Shown) -> pb::Profile {
    let (picture_id, picture_url) = it.picture.unzip();
    pb::Profile { phone_number: it.phone_number, name: it.name, about: it.about, picture_id, picture_url }
}

fn privacy(it: Privacy) -> pb::Privacy {
    let [last_seen, online, picture, about, group_add, read_receipts, call_add, messages] = it;
    pb::Privacy { last_seen, online, picture, about, group_add, read_receipts, call_add, messages }
}
