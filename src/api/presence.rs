//! `PresenceService`.

use tonic::{Request, Response, Status};

use super::convert::timestamp;
use super::principal;
use super::status::to_status;
use crate::domain::ids::SessionId;
use crate::domain::presence::{Activity, Presence as Known};
use crate::error::Error;
use crate::proto::gateway as pb;
use crate::proto::gateway::presence_service_server::PresenceService;
use crate::service::Service;
use crate::service::presence::ChatPresence;

/// The gRPC face of presence.
#[derive(Clone)]
pub struct Presence(pub Service);

#[tonic::async_trait]
impl PresenceService for Presence {
    async fn set_presence(&self, request: Request<pb::SetPresenceRequest>) -> Result<Response<()>, Status> {
        let caller = principal(&request)?;
        let online = match request.get_ref().state() {
            pb::OwnPresence::Online => true,
            pb::OwnPresence::Offline => false,
            pb::OwnPresence::Unspecified => return Err(missing("online or offline")),
        };
        let id = SessionId::new(&request.get_ref().session);
        self.0.set_presence(&caller, &id, online).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn get_chat_presence(
        &self,
        request: Request<pb::GetChatPresenceRequest>,
    ) -> Result<Response<pb::ChatPresence>, Status> {
        let pb::GetChatPresenceRequest { session, cid } = request.get_ref();
        let found = self.0.chat_presence(&principal(&request)?, &SessionId::new(session), cid).await.map_err(to_status)?;
        Ok(Response::new(chat_presence(found)))
    }

    async fn set_chat_presence(&self, request: Request<pb::SetChatPresenceRequest>) -> Result<Response<()>, Status> {
        let caller = principal(&request)?;
        let activity = match request.get_ref().state() {
            pb::ChatActivity::Composing => Activity::Composing,
            pb::ChatActivity::Recording => Activity::Recording,
            pb::ChatActivity::Paused => Activity::Paused,
            pb::ChatActivity::Unspecified => return Err(missing("composing, paused or recording")),
        };
        let pb::SetChatPresenceRequest { session, cid, .. } = request.get_ref();
        self.0.set_chat_presence(&caller, &SessionId::new(session), cid, activity).await.map_err(to_status)?;
        Ok(Response::new(()))
    }
}

fn missing(which: &str) -> Status {
    to_status(Error::field("state", format!("must be {which}")))
}

fn chat_presence(it: ChatPresence) -> pb::ChatPresence {
    let state = match it.presence {
        Known::Unknown => pb::ChatPresenceState::Unknown,
        Known::Available => pb::ChatPresenceState::Available,
        Known::Unavailable => pb::ChatPresenceState::Unavailable,
        Known::Composing { .. } => pb::ChatPresenceState::Composing,
        Known::Paused => pb::ChatPresenceState::Paused,
    };
    let media = match it.presence {
        Known::Composing { audio: true } => Some(pb::ChatPresenceMedia::Audio),
        Known::Composing { audio: false } => Some(pb::ChatPresenceMedia::Text),
        _ => None,
    };
    let unavailable = match it.presence {
        Known::Unknown => None,
        presence => Some(presence == Known::Unavailable),
    };
    pb::ChatPresence {
        chat_jid: Some(it.chat),
        from: it.from,
        state: state.into(),
        media: media.map(Into::into),
        last_seen: it.last_seen.map(timestamp),
        unavailable,
    }
}
