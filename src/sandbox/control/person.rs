//! What people do with their phones, over gRPC.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status};

use super::{Answer, Control, business, timestamp};
use crate::api::status::to_status;
use crate::error::Result as Outcome;
use crate::proto::sandbox as proto;
use crate::proto::sandbox::person_service_server::PersonService;
use crate::sandbox::keys::hex;
use crate::sandbox::{Call, CallState, Direction, Phone, PhoneChange, Typing};

/// The longest file that an answer carries.
const MAX_ANSWER: usize = 3 << 20;
/// How long a call rings when nobody says otherwise.
const RING: Duration = Duration::from_secs(45);

#[tonic::async_trait]
impl PersonService for Control {
    async fn update_phone(&self, request: Request<proto::UpdatePhoneRequest>) -> Answer<proto::Phone> {
        let asked = request.into_inner();
        let change = PhoneChange {
            push_name: asked.push_name,
            about: asked.about,
            auto_read: asked.auto_read,
            echo: asked.echo,
            chatty: asked.chatty,
            seed: asked.seed,
            online: asked.online,
            switched_on: asked.switched_on,
            privacy: asked.privacy.into_iter().collect(),
        };
        phone(self.sandbox.update_phone(&asked.phone_number, change).await)
    }

    async fn set_phone_picture(&self, request: Request<proto::SetPhonePictureRequest>) -> Answer<proto::Phone> {
        let proto::SetPhonePictureRequest { phone_number, data } = request.into_inner();
        let picture = Some(data).filter(|data: &Vec<u8>| !data.is_empty());
        phone(self.sandbox.set_picture(&phone_number, picture).await)
    }

    async fn set_phone_business(&self, request: Request<proto::SetPhoneBusinessRequest>) -> Answer<proto::Phone> {
        let proto::SetPhoneBusinessRequest { phone_number, profile } = request.into_inner();
        let profile = profile.map(business::profile).transpose().map_err(to_status)?;
        phone(self.sandbox.set_business(&phone_number, profile).await)
    }

    async fn read_phone_messages(
        &self,
        request: Request<proto::ReadPhoneMessagesRequest>,
    ) -> Answer<proto::ReadPhoneMessagesResponse> {
        let proto::ReadPhoneMessagesRequest { phone_number, chat, message_ids, played } = request.into_inner();
        let read = self.sandbox.read_messages(&phone_number, &chat, &message_ids, played).await.map_err(to_status)?;
        let data = read.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ReadPhoneMessagesResponse { data, next_cursor: None }))
    }

    async fn type_on_phone(&self, request: Request<proto::TypeOnPhoneRequest>) -> Result<Response<()>, Status> {
        let asked = request.into_inner();
        let state = match asked.state() {
            proto::TypingState::Unspecified | proto::TypingState::Composing => Typing::Composing,
            proto::TypingState::Recording => Typing::Recording,
            proto::TypingState::Paused => Typing::Paused,
        };
        self.sandbox.typing(&asked.phone_number, &asked.chat, state).await.map(Response::new).map_err(to_status)
    }

    async fn change_phone_number(&self, request: Request<proto::ChangePhoneNumberRequest>) -> Answer<proto::Phone> {
        let proto::ChangePhoneNumberRequest { phone_number, new_number } = request.into_inner();
        phone(self.sandbox.change_number(&phone_number, &new_number).await)
    }

    async fn leave_phone_group(&self, request: Request<proto::LeavePhoneGroupRequest>) -> Answer<proto::Phone> {
        let proto::LeavePhoneGroupRequest { phone_number, group } = request.into_inner();
        phone(self.sandbox.leave_group(&phone_number, &group).await)
    }

    async fn block_on_phone(&self, request: Request<proto::BlockOnPhoneRequest>) -> Answer<proto::Phone> {
        let proto::BlockOnPhoneRequest { phone_number, person } = request.into_inner();
        phone(self.sandbox.block(&phone_number, &person, true).await)
    }

    async fn unblock_on_phone(&self, request: Request<proto::UnblockOnPhoneRequest>) -> Answer<proto::Phone> {
        let proto::UnblockOnPhoneRequest { phone_number, person } = request.into_inner();
        phone(self.sandbox.block(&phone_number, &person, false).await)
    }

    async fn reinstall_phone(&self, request: Request<proto::ReinstallPhoneRequest>) -> Answer<proto::Phone> {
        phone(self.sandbox.reinstall(&request.into_inner().phone_number).await)
    }

    async fn get_phone_media(&self, request: Request<proto::GetPhoneMediaRequest>) -> Answer<proto::PhoneMedia> {
        let proto::GetPhoneMediaRequest { phone_number, message_id } = request.into_inner();
        let (message, plain) = self.sandbox.open_file(&phone_number, &message_id).map_err(to_status)?;
        let data_omitted = plain.len() > MAX_ANSWER;
        Ok(Response::new(proto::PhoneMedia {
            sha256: hex(&Sha256::digest(&plain)).to_lowercase(),
            length: i64::try_from(plain.len()).unwrap_or(i64::MAX),
            data_omitted,
            info: message.media.map(Into::into),
            data: if data_omitted { Vec::new() } else { plain },
        }))
    }

    async fn start_phone_call(&self, request: Request<proto::StartPhoneCallRequest>) -> Answer<proto::PhoneCall> {
        let proto::StartPhoneCallRequest { phone_number, to, video, ring_seconds } = request.into_inner();
        let ring = ring_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(RING, Duration::from_secs);
        call(self.sandbox.start_call(&phone_number, &to, video, ring).await)
    }

    async fn list_phone_calls(&self, request: Request<proto::ListPhoneCallsRequest>) -> Answer<proto::ListPhoneCallsResponse> {
        let calls = self.sandbox.list_calls(&request.into_inner().phone_number).map_err(to_status)?;
        let data = calls.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListPhoneCallsResponse { data, next_cursor: None }))
    }

    async fn end_phone_call(&self, request: Request<proto::EndPhoneCallRequest>) -> Answer<proto::PhoneCall> {
        let proto::EndPhoneCallRequest { phone_number, call_id } = request.into_inner();
        call(self.sandbox.end_call(&phone_number, &call_id).await)
    }
}

fn phone(phone: Outcome<Phone>) -> Answer<proto::Phone> {
    phone.map(|phone| Response::new(phone.into())).map_err(to_status)
}

fn call(call: Outcome<Call>) -> Answer<proto::PhoneCall> {
    call.map(|call| Response::new(call.into())).map_err(to_status)
}

impl From<Call> for proto::PhoneCall {
    fn from(call: Call) -> Self {
        let state = match call.state {
            CallState::Ringing => proto::PhoneCallState::Ringing,
            CallState::Accepted => proto::PhoneCallState::Accepted,
            CallState::Rejected => proto::PhoneCallState::Rejected,
            CallState::Ended => proto::PhoneCallState::Ended,
            CallState::TimedOut => proto::PhoneCallState::TimedOut,
        };
        Self {
            id: call.id,
            peer_jid: call.peer,
            direction: match call.direction {
                Direction::In => proto::MessageDirection::In.into(),
                Direction::Out => proto::MessageDirection::Out.into(),
            },
            video: call.video,
            state: state.into(),
            started_at: Some(timestamp(call.at)),
        }
    }
}
