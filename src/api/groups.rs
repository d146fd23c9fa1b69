//! `GroupService` and `CommunityService`.

use tonic::{Request, Response, Status};

use super::admin::or_default;
use super::convert::group::{group, info, result};
use super::principal;
use super::status::to_status;
use crate::domain::group::GroupPatch;
use crate::domain::ids::SessionId;
use crate::proto::gateway::community_service_server::CommunityService;
use crate::proto::gateway::group_service_server::GroupService;
use crate::proto::gateway::{
    CreateCommunityRequest, CreateGroupRequest, DissolveCommunityRequest, GetGroupInviteRequest, GetGroupRequest,
    GetInviteInfoRequest, Group, GroupInfo, GroupInvite, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LinkGroupsRequest, LinkGroupsResponse, ListGroupsRequest, ListGroupsResponse, ListSubgroupsRequest, ListSubgroupsResponse,
    RevokeGroupInviteRequest, SetGroupPictureRequest, SetGroupPictureResponse, UnlinkGroupsRequest, UnlinkGroupsResponse,
    UpdateGroupRequest,
};
use crate::service::Service;
use crate::service::group::NewGroup;

/// How many groups a page has when the caller does not say: callers that know no pages get as many as can be.
const PAGE: i64 = 1000;

/// The gRPC face of groups and communities.
#[derive(Clone)]
pub struct Groups(pub Service);

#[tonic::async_trait]
impl GroupService for Groups {
    async fn list_groups(&self, request: Request<ListGroupsRequest>) -> Result<Response<ListGroupsResponse>, Status> {
        let caller = principal(&request)?;
        let it = request.into_inner();
        let (id, limit) = (SessionId::new(it.session), or_default(it.limit, PAGE));
        let (data, next_cursor) = self.0.list_groups(&caller, &id, it.cursor.as_deref(), limit).await.map_err(to_status)?;
        Ok(Response::new(ListGroupsResponse { data: data.iter().map(group).collect(), next_cursor }))
    }

    async fn create_group(&self, request: Request<CreateGroupRequest>) -> Result<Response<GroupInfo>, Status> {
        let caller = principal(&request)?;
        let CreateGroupRequest { session, name, participants: people, community } = request.into_inner();
        let new = NewGroup { name, people, community };
        let made = Box::pin(self.0.create_group(&caller, &SessionId::new(session), new)).await.map_err(to_status)?;
        Ok(Response::new(info(made)))
    }

    async fn get_group(&self, request: Request<GetGroupRequest>) -> Result<Response<Group>, Status> {
        let GetGroupRequest { session, gid } = request.get_ref();
        let found = self.0.get_group(&principal(&request)?, &SessionId::new(session), gid).await.map_err(to_status)?;
        Ok(Response::new(group(&found)))
    }

    async fn update_group(&self, request: Request<UpdateGroupRequest>) -> Result<Response<()>, Status> {
        let caller = principal(&request)?;
        let it = request.into_inner();
        let patch = GroupPatch {
            subject: it.subject,
            description: it.description,
            announce: it.announce,
            locked: it.locked,
            ephemeral: it.ephemeral_seconds.map(i32::unsigned_abs),
            approval: it.requires_approval,
        };
        self.0.update_group(&caller, &SessionId::new(it.session), &it.gid, patch).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn set_group_picture(
        &self,
        request: Request<SetGroupPictureRequest>,
    ) -> Result<Response<SetGroupPictureResponse>, Status> {
        let caller = principal(&request)?;
        let SetGroupPictureRequest { session, gid, picture } = request.into_inner();
        let id = self.0.set_group_picture(&caller, &SessionId::new(session), &gid, picture).await.map_err(to_status)?;
        Ok(Response::new(SetGroupPictureResponse { id }))
    }

    async fn leave_group(&self, request: Request<LeaveGroupRequest>) -> Result<Response<()>, Status> {
        let LeaveGroupRequest { session, gid } = request.get_ref();
        self.0.leave_group(&principal(&request)?, &SessionId::new(session), gid).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn get_group_invite(&self, request: Request<GetGroupInviteRequest>) -> Result<Response<GroupInvite>, Status> {
        let GetGroupInviteRequest { session, gid } = request.get_ref();
        let invite = self.0.group_invite(&principal(&request)?, &SessionId::new(session), gid, false).await;
        Ok(Response::new(GroupInvite { invite: invite.map_err(to_status)? }))
    }

    async fn revoke_group_invite(&self, request: Request<RevokeGroupInviteRequest>) -> Result<Response<GroupInvite>, Status> {
        let RevokeGroupInviteRequest { session, gid } = request.get_ref();
        let invite = self.0.group_invite(&principal(&request)?, &SessionId::new(session), gid, true).await;
        Ok(Response::new(GroupInvite { invite: invite.map_err(to_status)? }))
    }

    async fn get_invite_info(&self, request: Request<GetInviteInfoRequest>) -> Result<Response<GroupInfo>, Status> {
        let GetInviteInfoRequest { session, invite } = request.get_ref();
        let found = self.0.invite_info(&principal(&request)?, &SessionId::new(session), invite).await.map_err(to_status)?;
        Ok(Response::new(info(found)))
    }

    async fn join_group(&self, request: Request<JoinGroupRequest>) -> Result<Response<JoinGroupResponse>, Status> {
        let JoinGroupRequest { session, invite } = request.get_ref();
        let joined = self.0.join_group(&principal(&request)?, &SessionId::new(session), invite).await;
        let (group_jid, pending_approval) = joined.map_err(to_status)?;
        Ok(Response::new(JoinGroupResponse { group_jid, pending_approval }))
    }
}

#[tonic::async_trait]
impl CommunityService for Groups {
    async fn create_community(&self, request: Request<CreateCommunityRequest>) -> Result<Response<GroupInfo>, Status> {
        let caller = principal(&request)?;
        let CreateCommunityRequest { session, name, description, closed } = request.into_inner();
        let id = SessionId::new(session);
        let made = Box::pin(self.0.create_community(&caller, &id, &name, description.as_deref(), closed)).await;
        Ok(Response::new(info(made.map_err(to_status)?)))
    }

    async fn list_subgroups(&self, request: Request<ListSubgroupsRequest>) -> Result<Response<ListSubgroupsResponse>, Status> {
        let ListSubgroupsRequest { session, cid } = request.get_ref();
        let found = self.0.subgroups(&principal(&request)?, &SessionId::new(session), cid).await.map_err(to_status)?;
        Ok(Response::new(ListSubgroupsResponse { data: found.into_iter().map(info).collect(), next_cursor: None }))
    }

    async fn link_groups(&self, request: Request<LinkGroupsRequest>) -> Result<Response<LinkGroupsResponse>, Status> {
        let LinkGroupsRequest { session, cid, groups } = request.get_ref();
        let done = self.0.link_groups(&principal(&request)?, &SessionId::new(session), cid, groups, true).await;
        Ok(Response::new(LinkGroupsResponse { data: done.map_err(to_status)?.into_iter().map(result).collect() }))
    }

    async fn unlink_groups(&self, request: Request<UnlinkGroupsRequest>) -> Result<Response<UnlinkGroupsResponse>, Status> {
        let UnlinkGroupsRequest { session, cid, groups } = request.get_ref();
        let done = self.0.link_groups(&principal(&request)?, &SessionId::new(session), cid, groups, false).await;
        Ok(Response::new(UnlinkGroupsResponse { data: done.map_err(to_status)?.into_iter().map(result).collect() }))
    }

    async fn dissolve_community(&self, request: Request<DissolveCommunityRequest>) -> Result<Response<()>, Status> {
        let DissolveCommunityRequest { session, cid } = request.get_ref();
        self.0.dissolve_community(&principal(&request)?, &SessionId::new(session), cid).await.map_err(to_status)?;
        Ok(Response::new(()))
    }
}
