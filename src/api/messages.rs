//! `MessageService`.

use tonic::{Request, Response, Status};

use super::convert::message::{delivery, outgoing, sent, told};
use super::principal;
use super::status::to_status;
use crate::domain::ids::SessionId;
use crate::domain::message::MessageStatus;
use crate::proto::gateway::message_service_server::MessageService;
use crate::proto::gateway::{GetMessageRequest, Message, SendMessageRequest, SendResult};
use crate::service::Service;
use crate::service::message::SendOptions;

/// The gRPC face of messages.
#[derive(Clone)]
pub struct Messages(pub Service);

#[tonic::async_trait]
impl MessageService for Messages {
    async fn send_message(&self, request: Request<SendMessageRequest>) -> Result<Response<SendResult>, Status> {
        let caller = principal(&request)?;
        let mut request = request.into_inner();
        let idempotency_key = Some(std::mem::take(&mut request.idempotency_key)).filter(|key| !key.is_empty());
        let options = SendOptions { idempotency_key, detached: request.r#async };
        let session = SessionId::new(std::mem::take(&mut request.session));
        let new = outgoing(request);
        let result = Box::pin(self.0.send_message(&caller, &session, &new, options)).await.map_err(to_status)?;
        Ok(sent(result))
    }

    async fn get_message(&self, request: Request<GetMessageRequest>) -> Result<Response<Message>, Status> {
        let caller = principal(&request)?;
        let GetMessageRequest { session, mid } = request.get_ref();
        let session = SessionId::new(session);
        let mut found = self.0.message_detail(&caller, &session, mid).await.map_err(to_status)?;
        let progress = self.0.message_progress(&caller, &session, &found.message.id).await.map_err(to_status)?;
        let settled = progress.as_ref().is_some_and(|item| item.state.is_settled());
        if settled && found.message.status == Some(MessageStatus::Pending) {
            // Its way has ended between the two looks, and the message says so now.
            found = self.0.message_detail(&caller, &session, mid).await.map_err(to_status)?;
        }
        let told = told(&found.message, &found.reactions, &found.votes);
        Ok(Response::new(Message { delivery: progress.map(|item| delivery(&item)), ..told }))
    }
}
