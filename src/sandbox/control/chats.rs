//! What phones' owners do to chats and contacts.

use tonic::{Request, Response, Status};

use super::Control;
use crate::api::status::to_status;
use crate::domain::clock::Time;
use crate::proto::sandbox as proto;
use crate::proto::sandbox::phone_chat_service_server::PhoneChatService;
use crate::sandbox::chats::{ChatChange, Label};

type Done = Result<Response<()>, Status>;

#[tonic::async_trait]
impl PhoneChatService for Control {
    async fn save_phone_contact(&self, request: Request<proto::SavePhoneContactRequest>) -> Done {
        let proto::SavePhoneContactRequest { phone_number, contact, full_name, first_name } = request.into_inner();
        let saved = self.sandbox.save_contact(&phone_number, &contact, &full_name, &first_name).await;
        saved.map(Response::new).map_err(to_status)
    }

    async fn update_phone_chat(&self, request: Request<proto::UpdatePhoneChatRequest>) -> Done {
        let proto::UpdatePhoneChatRequest { phone_number, chat, pinned, archived, muted, muted_until, read } =
            request.into_inner();
        let muted_until = muted_until.map(|until| Time(until.seconds.saturating_mul(1000) + i64::from(until.nanos / 1_000_000)));
        let change = ChatChange { pinned, archived, muted, muted_until, read };
        self.sandbox.change_chat(&phone_number, &chat, change).await.map(Response::new).map_err(to_status)
    }

    async fn save_phone_label(&self, request: Request<proto::SavePhoneLabelRequest>) -> Done {
        let proto::SavePhoneLabelRequest { phone_number, label_id, name, color, deleted } = request.into_inner();
        let label = Label { id: label_id, name, color, deleted };
        self.sandbox.save_label(&phone_number, &label).await.map(Response::new).map_err(to_status)
    }

    async fn label_phone_chat(&self, request: Request<proto::LabelPhoneChatRequest>) -> Done {
        let proto::LabelPhoneChatRequest { phone_number, label_id, chat, labeled } = request.into_inner();
        let labelled = self.sandbox.label_chat(&phone_number, &label_id, &chat, labeled.unwrap_or(true)).await;
        labelled.map(Response::new).map_err(to_status)
    }

    async fn star_phone_message(&self, request: Request<proto::StarPhoneMessageRequest>) -> Done {
        let proto::StarPhoneMessageRequest { phone_number, chat, message_id, starred } = request.into_inner();
        let marked = self.sandbox.star_message(&phone_number, &chat, &message_id, starred.unwrap_or(true)).await;
        marked.map(Response::new).map_err(to_status)
    }
}
