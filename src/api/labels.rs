//! `LabelService`.

use tonic::{Request, Response, Status};

use super::principal;
use super::status::to_status;
use crate::domain::ids::SessionId;
use crate::domain::label::Label;
use crate::proto::gateway as pb;
use crate::proto::gateway::label_service_server::LabelService;
use crate::service::Service;

/// The gRPC face of labels.
#[derive(Clone)]
pub struct Labels(pub Service);

#[tonic::async_trait]
impl LabelService for Labels {
    async fn list_labels(&self, request: Request<pb::ListLabelsRequest>) -> Result<Response<pb::ListLabelsResponse>, Status> {
        let pb::ListLabelsRequest { session, chat } = request.get_ref();
        let chat = chat.as_deref().filter(|chat| !chat.is_empty());
        let found = self.0.list_labels(&principal(&request)?, &SessionId::new(session), chat).await.map_err(to_status)?;
        Ok(Response::new(pb::ListLabelsResponse { data: found.into_iter().map(label).collect(), next_cursor: None }))
    }

    async fn create_label(&self, request: Request<pb::CreateLabelRequest>) -> Result<Response<pb::Label>, Status> {
        let pb::CreateLabelRequest { session, name, color } = request.get_ref();
        let made = self.0.create_label(&principal(&request)?, &SessionId::new(session), name, *color).await;
        Ok(Response::new(label(made.map_err(to_status)?)))
    }

    async fn update_label(&self, request: Request<pb::UpdateLabelRequest>) -> Result<Response<pb::Label>, Status> {
        let pb::UpdateLabelRequest { session, label: id, name, color } = request.get_ref();
        let caller = principal(&request)?;
        let changed = self.0.update_label(&caller, &SessionId::new(session), id, name.as_deref(), *color).await;
        Ok(Response::new(label(changed.map_err(to_status)?)))
    }

    async fn delete_label(&self, request: Request<pb::DeleteLabelRequest>) -> Result<Response<()>, Status> {
        let pb::DeleteLabelRequest { session, label } = request.get_ref();
        self.0.delete_label(&principal(&request)?, &SessionId::new(session), label).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn list_label_chats(
        &self,
        request: Request<pb::ListLabelChatsRequest>,
    ) -> Result<Response<pb::ListLabelChatsResponse>, Status> {
        let pb::ListLabelChatsRequest { session, label } = request.get_ref();
        let found = self.0.list_label_chats(&principal(&request)?, &SessionId::new(session), label).await;
        let data = found.map_err(to_status)?.into_iter().map(|chat_jid| pb::LabeledChat { chat_jid }).collect();
        Ok(Response::new(pb::ListLabelChatsResponse { data, next_cursor: None }))
    }

    async fn assign_label(&self, request: Request<pb::AssignLabelRequest>) -> Result<Response<()>, Status> {
        let pb::AssignLabelRequest { session, label, chat } = request.get_ref();
        let caller = principal(&request)?;
        self.0.assign_label(&caller, &SessionId::new(session), label, chat, true).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn unassign_label(&self, request: Request<pb::UnassignLabelRequest>) -> Result<Response<()>, Status> {
        let pb::UnassignLabelRequest { session, label, chat } = request.get_ref();
        let caller = principal(&request)?;
        self.0.assign_label(&caller, &SessionId::new(session), label, chat, false).await.map_err(to_status)?;
        Ok(Response::new(()))
    }
}

fn label(it: Label) -> pb::Label {
    pb::Label { id: it.id, name: it.name, color: i32::try_from(it.color).unwrap_or_default(), chats: it.chats }
}
