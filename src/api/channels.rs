//! `ChannelService` and `StatusService`.

use tonic::{Request, Response, Status};

use super::convert::message::has_media;
use super::convert::timestamp;
use super::principal;
use super::status::to_status;
use crate::domain::channel::{Channel, ChannelMessage, ChannelRole};
use crate::domain::ids::{MediaId, SessionId};
use crate::error::Error;
use crate::proto::gateway as pb;
use crate::proto::gateway::channel_service_server::ChannelService;
use crate::proto::gateway::status_service_server::StatusService;
use crate::service::Service;
use crate::service::status::{NewPost, Picture};

/// How many messages a page has when the caller does not say.
const PAGE: u32 = 50;

/// WhatsApp's own green.
const BACKGROUND: u32 = 0xFF1E_6E4F;

/// The gRPC face of channels and status posts.
#[derive(Clone)]
pub struct Channels(pub Service);

#[tonic::async_trait]
impl ChannelService for Channels {
    async fn list_channels(
        &self,
        request: Request<pb::ListChannelsRequest>,
    ) -> Result<Response<pb::ListChannelsResponse>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let found = self.0.list_channels(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(pb::ListChannelsResponse { data: found.into_iter().map(channel).collect(), next_cursor: None }))
    }

    async fn create_channel(&self, request: Request<pb::CreateChannelRequest>) -> Result<Response<pb::Channel>, Status> {
        let pb::CreateChannelRequest { session, name, description } = request.get_ref();
        let made = self.0.create_channel(&principal(&request)?, &SessionId::new(session), name, description).await;
        Ok(Response::new(channel(made.map_err(to_status)?)))
    }

    async fn get_channel(&self, request: Request<pb::GetChannelRequest>) -> Result<Response<pb::Channel>, Status> {
        let pb::GetChannelRequest { session, jid } = request.get_ref();
        let found = self.0.get_channel(&principal(&request)?, &SessionId::new(session), jid).await.map_err(to_status)?;
        Ok(Response::new(channel(found)))
    }

    async fn follow_channel(&self, request: Request<pb::FollowChannelRequest>) -> Result<Response<()>, Status> {
        let pb::FollowChannelRequest { session, jid } = request.get_ref();
        let caller = principal(&request)?;
        self.0.follow_channel(&caller, &SessionId::new(session), jid, true).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn unfollow_channel(&self, request: Request<pb::UnfollowChannelRequest>) -> Result<Response<()>, Status> {
        let pb::UnfollowChannelRequest { session, jid } = request.get_ref();
        let caller = principal(&request)?;
        self.0.follow_channel(&caller, &SessionId::new(session), jid, false).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn mute_channel(&self, request: Request<pb::MuteChannelRequest>) -> Result<Response<()>, Status> {
        let pb::MuteChannelRequest { session, jid, mute } = request.get_ref();
        let caller = principal(&request)?;
        self.0.mute_channel(&caller, &SessionId::new(session), jid, mute.unwrap_or(true)).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn list_channel_messages(
        &self,
        request: Request<pb::ListChannelMessagesRequest>,
    ) -> Result<Response<pb::ListChannelMessagesResponse>, Status> {
        let caller = principal(&request)?;
        let pb::ListChannelMessagesRequest { session, jid, limit, cursor } = request.get_ref();
        let limit = u32::try_from(*limit).ok().filter(|limit| *limit > 0).unwrap_or(PAGE);
        let (id, cursor) = (SessionId::new(session), cursor.as_deref().filter(|cursor| !cursor.is_empty()));
        let page = self.0.list_channel_messages(&caller, &id, jid, cursor, limit).await;
        let (data, next_cursor) = page.map_err(to_status)?;
        let data = data.into_iter().map(|it| message(&id, jid, it)).collect();
        Ok(Response::new(pb::ListChannelMessagesResponse { data, next_cursor }))
    }

    async fn post_channel_message(
        &self,
        request: Request<pb::PostChannelMessageRequest>,
    ) -> Result<Response<pb::PostChannelMessageResponse>, Status> {
        let pb::PostChannelMessageRequest { session, jid, text } = request.get_ref();
        let posted = self.0.post_in_channel(&principal(&request)?, &SessionId::new(session), jid, text).await;
        Ok(Response::new(pb::PostChannelMessageResponse { message_id: posted.map_err(to_status)? }))
    }

    async fn react_to_channel_message(&self, request: Request<pb::ReactToChannelMessageRequest>) -> Result<Response<()>, Status> {
        let pb::ReactToChannelMessageRequest { session, jid, mid, emoji } = request.get_ref();
        let caller = principal(&request)?;
        self.0.react_in_channel(&caller, &SessionId::new(session), jid, mid, emoji).await.map_err(to_status)?;
        Ok(Response::new(()))
    }
}

#[tonic::async_trait]
impl StatusService for Channels {
    async fn post_status(&self, request: Request<pb::PostStatusRequest>) -> Result<Response<pb::PostStatusResponse>, Status> {
        let caller = principal(&request)?;
        let kind = request.get_ref().r#type();
        let it = request.into_inner();
        let media = || match it.media_id.as_str() {
            "" => Err(to_status(Error::field("mediaId", "missing; upload the file first and give its id"))),
            id => Ok(MediaId::new(id)),
        };
        let picture = match kind {
            pb::StatusType::Text => Picture::None,
            pb::StatusType::Image => Picture::Image(media()?),
            pb::StatusType::Video => Picture::Video(media()?),
            pb::StatusType::Unspecified => return Err(to_status(Error::field("type", "must be text, image or video"))),
        };
        let new = NewPost {
            picture,
            text: it.text,
            background: it.background.unwrap_or(BACKGROUND),
            audience: it.audience,
            except: it.except,
        };
        let posted = Box::pin(self.0.post_status(&caller, &SessionId::new(it.session), new)).await;
        let (message_id, recipients) = posted.map_err(to_status)?;
        Ok(Response::new(pb::PostStatusResponse { message_id, recipients }))
    }
}

fn channel(it: Channel) -> pb::Channel {
    let role = it.role.map(|role| match role {
        ChannelRole::Owner => pb::ChannelRole::Owner,
        ChannelRole::Admin => pb::ChannelRole::Admin,
        ChannelRole::Subscriber => pb::ChannelRole::Subscriber,
        ChannelRole::Guest => pb::ChannelRole::Guest,
    });
    pb::Channel {
        jid: it.jid,
        name: it.name,
        description: it.description,
        followers: i64::try_from(it.followers).unwrap_or(i64::MAX),
        role: role.map(Into::into),
        verified: it.verified,
        invite: it.invite,
        created_at: it.created_at.map(timestamp),
    }
}

fn message(session: &SessionId, channel: &str, it: ChannelMessage) -> pb::ChannelMessage {
    let direction = if it.from_me { pb::MessageDirection::Out } else { pb::MessageDirection::In };
    let count = |(emoji, count): (String, u64)| pb::ChannelReaction { emoji, count: i64::try_from(count).unwrap_or(i64::MAX) };
    pb::ChannelMessage {
        id: it.server_id.to_string(),
        session_id: session.to_string(),
        wa_message_id: it.wa_message_id,
        chat_jid: channel.to_owned(),
        from_me: it.from_me,
        direction: direction.into(),
        r#type: it.kind.to_owned(),
        body: it.body,
        has_media: has_media(it.kind),
        edited: false,
        deleted: it.kind == "revoked",
        timestamp: Some(timestamp(it.timestamp)),
        created_at: Some(timestamp(it.timestamp)),
        reactions: it.reactions.into_iter().map(count).collect(),
    }
}
