//! `GroupMemberService`.

use tonic::{Request, Response, Status};

use super::admin::or_default;
use super::convert::group::{change, member, request as join_request, result, wish};
use super::principal;
use super::status::to_status;
use crate::domain::group::MemberWish;
use crate::domain::ids::SessionId;
use crate::domain::principal::Principal;
use crate::error::Error;
use crate::proto::gateway::group_member_service_server::GroupMemberService;
use crate::proto::gateway::{
    AddGroupMembersRequest, ApproveGroupMembersRequest, ChangeGroupMembersRequest, ChangeGroupMembersResponse,
    DemoteGroupMemberRequest, ListGroupHistoryRequest, ListGroupHistoryResponse, ListGroupMembersRequest,
    ListGroupMembersResponse, ListJoinRequestsRequest, ListJoinRequestsResponse, PromoteGroupMemberRequest,
    RejectGroupMembersRequest, RemoveGroupMemberRequest,
};
use crate::service::Service;

/// How many members a page has when the caller does not say: every group fits into one.
const MEMBERS: i64 = 2000;

/// How many entries of a history a page has when the caller does not say.
const ENTRIES: i64 = 100;

/// The gRPC face of who is in groups.
#[derive(Clone)]
pub struct GroupMembers(pub Service);

impl GroupMembers {
    async fn all(
        &self,
        caller: &Principal,
        (session, gid): (&str, &str),
        wish: MemberWish,
        who: &[String],
    ) -> Result<Response<()>, Status> {
        let done = self.0.change_all_members(caller, &SessionId::new(session), gid, wish, who).await;
        done.map(Response::new).map_err(to_status)
    }
}

#[tonic::async_trait]
impl GroupMemberService for GroupMembers {
    async fn list_group_members(
        &self,
        request: Request<ListGroupMembersRequest>,
    ) -> Result<Response<ListGroupMembersResponse>, Status> {
        let caller = principal(&request)?;
        let it = request.into_inner();
        let (id, limit) = (SessionId::new(it.session), or_default(it.limit, MEMBERS));
        let page = self.0.list_members(&caller, &id, &it.gid, it.include_left, it.cursor.as_deref(), limit).await;
        let (data, next_cursor) = page.map_err(to_status)?;
        Ok(Response::new(ListGroupMembersResponse { data: data.iter().map(|one| member(&id, one)).collect(), next_cursor }))
    }

    async fn list_group_history(
        &self,
        request: Request<ListGroupHistoryRequest>,
    ) -> Result<Response<ListGroupHistoryResponse>, Status> {
        let caller = principal(&request)?;
        let it = request.into_inner();
        let (id, limit) = (SessionId::new(it.session), or_default(it.limit, ENTRIES));
        let page = self.0.group_history(&caller, &id, &it.gid, it.cursor.as_deref(), limit).await;
        let (data, next_cursor) = page.map_err(to_status)?;
        Ok(Response::new(ListGroupHistoryResponse { data: data.iter().map(change).collect(), next_cursor }))
    }

    async fn add_group_members(&self, request: Request<AddGroupMembersRequest>) -> Result<Response<()>, Status> {
        let caller = principal(&request)?;
        let it = request.get_ref();
        self.all(&caller, (&it.session, &it.gid), MemberWish::Add, &it.participants).await
    }

    async fn remove_group_member(&self, request: Request<RemoveGroupMemberRequest>) -> Result<Response<()>, Status> {
        let caller = principal(&request)?;
        let it = request.get_ref();
        self.all(&caller, (&it.session, &it.gid), MemberWish::Remove, std::slice::from_ref(&it.jid)).await
    }

    async fn promote_group_member(&self, request: Request<PromoteGroupMemberRequest>) -> Result<Response<()>, Status> {
        let caller = principal(&request)?;
        let it = request.get_ref();
        self.all(&caller, (&it.session, &it.gid), MemberWish::Promote, std::slice::from_ref(&it.jid)).await
    }

    async fn demote_group_member(&self, request: Request<DemoteGroupMemberRequest>) -> Result<Response<()>, Status> {
        let caller = principal(&request)?;
        let it = request.get_ref();
        self.all(&caller, (&it.session, &it.gid), MemberWish::Demote, std::slice::from_ref(&it.jid)).await
    }

    async fn change_group_members(
        &self,
        request: Request<ChangeGroupMembersRequest>,
    ) -> Result<Response<ChangeGroupMembersResponse>, Status> {
        let caller = principal(&request)?;
        let ChangeGroupMembersRequest { session, gid, action, participants } = request.into_inner();
        let id = SessionId::new(session);
        let wish = wish(action).map_err(to_status)?;
        // Whether the session exists is said first.
        self.0.get_session(&caller, &id).await.map_err(to_status)?;
        let wish = wish.ok_or_else(|| to_status(Error::field("action", "missing")))?;
        let done = self.0.change_members(&caller, &id, &gid, wish, &participants).await.map_err(to_status)?;
        Ok(Response::new(ChangeGroupMembersResponse { data: done.into_iter().map(result).collect() }))
    }

    async fn list_join_requests(
        &self,
        request: Request<ListJoinRequestsRequest>,
    ) -> Result<Response<ListJoinRequestsResponse>, Status> {
        let ListJoinRequestsRequest { session, gid } = request.get_ref();
        let found = self.0.join_requests(&principal(&request)?, &SessionId::new(session), gid).await.map_err(to_status)?;
        Ok(Response::new(ListJoinRequestsResponse { data: found.into_iter().map(join_request).collect(), next_cursor: None }))
    }

    async fn approve_group_members(&self, request: Request<ApproveGroupMembersRequest>) -> Result<Response<()>, Status> {
        let caller = principal(&request)?;
        let it = request.get_ref();
        self.all(&caller, (&it.session, &it.gid), MemberWish::Approve, &it.participants).await
    }

    async fn reject_group_members(&self, request: Request<RejectGroupMembersRequest>) -> Result<Response<()>, Status> {
        let caller = principal(&request)?;
        let it = request.get_ref();
        self.all(&caller, (&it.session, &it.gid), MemberWish::Reject, &it.participants).await
    }
}
