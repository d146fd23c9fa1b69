//! The phones' pasts and what their devices get of it.

use tonic::{Request, Response, Status};

use super::{Answer, Control};
use crate::api::status::to_status;
use crate::error::Error;
use crate::proto::sandbox as proto;
use crate::proto::sandbox::history_service_server::HistoryService;
use crate::sandbox::history::Past;

#[tonic::async_trait]
impl HistoryService for Control {
    async fn generate_history(&self, request: Request<proto::GenerateHistoryRequest>) -> Answer<proto::GenerateHistoryResponse> {
        let proto::GenerateHistoryRequest { phone_number, chats, messages, days, seed } = request.into_inner();
        let size = |count: i32| usize::try_from(count).unwrap_or(0);
        let past = Past {
            chats: size(chats),
            messages: size(messages),
            days: days.and_then(|days| u32::try_from(days).ok()).unwrap_or(30),
            seed: seed.cast_unsigned(),
        };
        let drawn = self.sandbox.generate_history(&phone_number, past).await.map_err(to_status)?;
        Ok(Response::new(proto::GenerateHistoryResponse { messages: i64::try_from(drawn).unwrap_or(i64::MAX) }))
    }

    async fn send_history(&self, request: Request<proto::SendHistoryRequest>) -> Result<Response<()>, Status> {
        let proto::SendHistoryRequest { phone_number, device_id } = request.into_inner();
        let device = u16::try_from(device_id).map_err(|_| to_status(Error::field("deviceId", "no such device")))?;
        self.sandbox.send_history(&phone_number, device).await.map(Response::new).map_err(to_status)
    }
}
