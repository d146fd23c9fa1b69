//! `MessageService`.

use tonic::{Request, Response, Status};

use super::convert::message::{sent, told};
use super::principal;
use super::status::to_status;
use crate::domain::ids::SessionId;
use crate::error::Error;
use crate::proto::gateway::message_service_server::MessageService;
use crate::proto::gateway::send_message_request::Content;
use crate::proto::gateway::{GetMessageRequest, Message, MessageType, SendMessageRequest, SendResult};
use crate::service::Service;
use crate::service::message::NewText;

/// The gRPC face of messages.
#[derive(Clone)]
pub struct Messages(pub Service);

#[tonic::async_trait]
impl MessageService for Messages {
    async fn send_message(&self, request: Request<SendMessageRequest>) -> Result<Response<SendResult>, Status> {
        let caller = principal(&request)?;
        let SendMessageRequest { session, r#type, to, idempotency_key, content } = request.into_inner();
        let text = match (MessageType::try_from(r#type), content) {
            (Ok(MessageType::Text), Some(Content::Text(text))) => text,
            (Ok(MessageType::Text), None) => return Err(to_status(Error::field("text", "missing; a text message needs a text"))),
            (Ok(MessageType::Unspecified) | Err(_), _) => {
                return Err(to_status(Error::field("type", "missing or unknown; one of: text")));
            }
        };
        let new = NewText { to, text, idempotency_key: Some(idempotency_key).filter(|key| !key.is_empty()) };
        let result = Box::pin(self.0.send_text(&caller, &SessionId::new(session), new)).await.map_err(to_status)?;
        Ok(Response::new(sent(result)))
    }

    async fn get_message(&self, request: Request<GetMessageRequest>) -> Result<Response<Message>, Status> {
        let GetMessageRequest { session, mid } = request.get_ref();
        let found = self.0.message_detail(&principal(&request)?, &SessionId::new(session), mid).await.map_err(to_status)?;
        Ok(Response::new(told(&found.message, &found.reactions, &found.votes)))
    }
}
