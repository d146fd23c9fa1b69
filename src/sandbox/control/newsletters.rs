//! Channels over gRPC.

use tonic::{Request, Response, Status};

use super::{Answer, Control, timestamp};
use crate::api::status::to_status;
use crate::error::Error;
use crate::proto::sandbox as proto;
use crate::proto::sandbox::newsletter_service_server::NewsletterService;
use crate::sandbox::newsletters::{Channel, ChannelPost};

#[tonic::async_trait]
impl NewsletterService for Control {
    async fn list_newsletters(&self, _: Request<proto::ListNewslettersRequest>) -> Answer<proto::ListNewslettersResponse> {
        let data = self.sandbox.list_channels().into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListNewslettersResponse { data, next_cursor: None }))
    }

    async fn create_newsletter(&self, request: Request<proto::CreateNewsletterRequest>) -> Answer<proto::Newsletter> {
        let proto::CreateNewsletterRequest { phone_number, name, description } = request.into_inner();
        let made = self.sandbox.create_channel(&phone_number, &name, &description).await;
        made.map(|channel| Response::new(channel.into())).map_err(to_status)
    }

    async fn follow_newsletter(&self, request: Request<proto::FollowNewsletterRequest>) -> Answer<proto::Newsletter> {
        let proto::FollowNewsletterRequest { phone_number, channel, follow } = request.into_inner();
        let followed = self.sandbox.follow_channel(&phone_number, &channel, follow.unwrap_or(true)).await;
        followed.map(|channel| Response::new(channel.into())).map_err(to_status)
    }

    async fn list_posts(&self, request: Request<proto::ListPostsRequest>) -> Answer<proto::ListPostsResponse> {
        let posts = self.sandbox.list_posts(&request.into_inner().channel).map_err(to_status)?;
        let data = posts.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListPostsResponse { data, next_cursor: None }))
    }

    async fn create_post(&self, request: Request<proto::CreatePostRequest>) -> Answer<proto::ChannelPost> {
        let proto::CreatePostRequest { phone_number, channel, text, picture } = request.into_inner();
        let made = self.sandbox.post(&phone_number, &channel, &text, &picture).await;
        made.map(|post| Response::new(post.into())).map_err(to_status)
    }

    async fn update_post(&self, request: Request<proto::UpdatePostRequest>) -> Answer<proto::ChannelPost> {
        let proto::UpdatePostRequest { phone_number, channel, server_id, text } = request.into_inner();
        let changed = self.sandbox.change_post(&phone_number, &channel, id(server_id)?, Some(&text)).await;
        changed.map(|post| Response::new(post.into())).map_err(to_status)
    }

    async fn revoke_post(&self, request: Request<proto::RevokePostRequest>) -> Answer<proto::ChannelPost> {
        let proto::RevokePostRequest { phone_number, channel, server_id } = request.into_inner();
        let revoked = self.sandbox.change_post(&phone_number, &channel, id(server_id)?, None).await;
        revoked.map(|post| Response::new(post.into())).map_err(to_status)
    }

    async fn react_to_post(&self, request: Request<proto::ReactToPostRequest>) -> Answer<proto::ChannelPost> {
        let proto::ReactToPostRequest { phone_number, channel, server_id, emoji } = request.into_inner();
        let reacted = self.sandbox.react_in_channel(&phone_number, &channel, id(server_id)?, &emoji).await;
        reacted.map(|post| Response::new(post.into())).map_err(to_status)
    }
}

fn id(server_id: i64) -> Result<u64, Status> {
    u64::try_from(server_id).map_err(|_| to_status(Error::field("serverId", "must be the number of a post")))
}

impl From<Channel> for proto::Newsletter {
    fn from(channel: Channel) -> Self {
        Self {
            jid: channel.jid,
            name: channel.name,
            description: channel.description,
            invite: channel.invite,
            owner: channel.owner,
            followers: channel.followers,
            posts: i64::try_from(channel.posts).unwrap_or(i64::MAX),
        }
    }
}

impl From<ChannelPost> for proto::ChannelPost {
    fn from(post: ChannelPost) -> Self {
        Self {
            server_id: i64::try_from(post.server_id).unwrap_or(i64::MAX),
            id: post.id,
            at: Some(timestamp(post.at)),
            kind: post.kind,
            text: post.text,
            edited: post.edited,
            reactions: post
                .reactions
                .into_iter()
                .map(|(emoji, count)| (emoji, i64::try_from(count).unwrap_or(i64::MAX)))
                .collect(),
        }
    }
}
