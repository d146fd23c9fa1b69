//! `WebhookService`.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::convert::webhook::{again, created, delivery, status, tested, updated, webhook, with_backlog};
use super::principal;
use super::status::to_status;
use crate::domain::ids::WebhookId;
use crate::domain::webhook::Page;
use crate::proto::gateway as pb;
use crate::proto::gateway::webhook_service_server::WebhookService;
use crate::service::Service;

/// How many deliveries a page has, unless the caller says otherwise.
const PAGE: i32 = 100;
/// For how long a former secret signs, unless the caller says otherwise: a day.
const OVERLAP: i64 = 86_400;

/// The gRPC face of webhooks.
#[derive(Clone)]
pub struct Webhooks(pub Service);

#[tonic::async_trait]
impl WebhookService for Webhooks {
    async fn list_webhooks(
        &self,
        request: Request<pb::ListWebhooksRequest>,
    ) -> Result<Response<pb::ListWebhooksResponse>, Status> {
        let all = self.0.list_webhooks(&principal(&request)?).await.map_err(to_status)?;
        let data = all.into_iter().map(|(it, backlog)| with_backlog(it, backlog)).collect();
        Ok(Response::new(pb::ListWebhooksResponse { data, next_cursor: None }))
    }

    async fn create_webhook(&self, request: Request<pb::CreateWebhookRequest>) -> Result<Response<pb::Webhook>, Status> {
        let caller = principal(&request)?;
        let change = created(request.into_inner()).map_err(to_status)?;
        let (made, secret) = self.0.create_webhook(&caller, change).await.map_err(to_status)?;
        Ok(Response::new(webhook(made, secret)))
    }

    async fn get_webhook(&self, request: Request<pb::GetWebhookRequest>) -> Result<Response<pb::Webhook>, Status> {
        let id = WebhookId::new(&request.get_ref().id);
        let (found, backlog) = self.0.get_webhook(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(with_backlog(found, backlog)))
    }

    async fn update_webhook(&self, request: Request<pb::UpdateWebhookRequest>) -> Result<Response<pb::Webhook>, Status> {
        let caller = principal(&request)?;
        let id = WebhookId::new(&request.get_ref().id);
        let change = updated(request.into_inner()).map_err(to_status)?;
        let changed = self.0.update_webhook(&caller, &id, change).await.map_err(to_status)?;
        Ok(Response::new(webhook(changed, None)))
    }

    async fn delete_webhook(&self, request: Request<pb::DeleteWebhookRequest>) -> Result<Response<()>, Status> {
        let id = WebhookId::new(&request.get_ref().id);
        self.0.delete_webhook(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<pb::RotateWebhookSecretRequest>,
    ) -> Result<Response<pb::Webhook>, Status> {
        let caller = principal(&request)?;
        let pb::RotateWebhookSecretRequest { id, secret, overlap_seconds } = request.into_inner();
        let overlap = Duration::from_secs(u64::try_from(overlap_seconds.unwrap_or(OVERLAP)).unwrap_or(0));
        let rotated = self.0.rotate_webhook_secret(&caller, &WebhookId::new(id), secret, overlap).await;
        let (changed, made) = rotated.map_err(to_status)?;
        Ok(Response::new(webhook(changed, made)))
    }

    async fn test_webhook(&self, request: Request<pb::TestWebhookRequest>) -> Result<Response<pb::TestWebhookResponse>, Status> {
        let id = WebhookId::new(&request.get_ref().id);
        self.0.test_webhook(&principal(&request)?, &id).await.map(tested).map(Response::new).map_err(to_status)
    }

    async fn list_webhook_deliveries(
        &self,
        request: Request<pb::ListWebhookDeliveriesRequest>,
    ) -> Result<Response<pb::ListWebhookDeliveriesResponse>, Status> {
        let caller = principal(&request)?;
        let asked = request.get_ref();
        let status = asked.status.map(status).transpose().map_err(to_status)?;
        let limit = if asked.limit == 0 { PAGE } else { asked.limit };
        let page = Page { status, before: (asked.cursor > 0).then_some(asked.cursor), limit: limit.into() };
        let found = self.0.list_webhook_deliveries(&caller, &WebhookId::new(&asked.id), page).await;
        let (found, next_cursor) = found.map_err(to_status)?;
        let data = found.into_iter().map(delivery).collect();
        Ok(Response::new(pb::ListWebhookDeliveriesResponse { data, next_cursor }))
    }

    async fn redeliver_webhook(
        &self,
        request: Request<pb::RedeliverWebhookRequest>,
    ) -> Result<Response<pb::RedeliverWebhookResponse>, Status> {
        let caller = principal(&request)?;
        let id = WebhookId::new(&request.get_ref().id);
        let again = again(request.into_inner()).map_err(to_status)?;
        let count = self.0.redeliver_webhook(&caller, &id, again).await.map_err(to_status)?;
        Ok(Response::new(pb::RedeliverWebhookResponse { count: i64::try_from(count).unwrap_or(i64::MAX) }))
    }
}
