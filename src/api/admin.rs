//! `AdminService`.

use tonic::{Request, Response, Status};

use super::convert::audit::audit_entry;
use super::convert::session::session;
use super::principal;
use super::status::to_status;
use crate::domain::ids::{OrganizationId, SessionId};
use crate::proto::gateway::admin_service_server::AdminService;
use crate::proto::gateway::{
    AdminServiceListSessionsRequest, AdminServiceListSessionsResponse, ListAuditLogRequest, ListAuditLogResponse,
};
use crate::service::Service;

/// How many sessions a page has when the caller does not say: callers that know no pages get as many as can be.
const SESSIONS: i64 = 1000;

/// How many entries a page of the audit log has when the caller does not say.
const ENTRIES: i64 = 100;

/// The gRPC face of what the platform's own people may see.
#[derive(Clone)]
pub struct Admin(pub Service);

#[tonic::async_trait]
impl AdminService for Admin {
    async fn list_sessions(
        &self,
        request: Request<AdminServiceListSessionsRequest>,
    ) -> Result<Response<AdminServiceListSessionsResponse>, Status> {
        let caller = principal(&request)?;
        let AdminServiceListSessionsRequest { cursor, limit } = request.get_ref();
        let page = self.0.list_all_sessions(&caller, cursor.as_deref(), or_default(*limit, SESSIONS)).await;
        let (data, next) = page.map_err(to_status)?;
        let next_cursor = next.as_ref().map(SessionId::to_string);
        Ok(Response::new(AdminServiceListSessionsResponse { data: data.iter().map(session).collect(), next_cursor }))
    }

    async fn list_audit_log(&self, request: Request<ListAuditLogRequest>) -> Result<Response<ListAuditLogResponse>, Status> {
        let caller = principal(&request)?;
        let ListAuditLogRequest { cursor, limit, organization_id } = request.into_inner();
        let organization = organization_id.map(OrganizationId::new);
        let limit = or_default(limit, ENTRIES);
        let page = self.0.list_audit_log(&caller, organization.as_ref(), cursor.as_deref(), limit).await;
        let (data, next_cursor) = page.map_err(to_status)?;
        Ok(Response::new(ListAuditLogResponse { data: data.into_iter().map(audit_entry).collect(), next_cursor }))
    }
}

pub(super) fn or_default(limit: i32, default: i64) -> i64 {
    if limit == 0 { default } else { i64::from(limit) }
}
