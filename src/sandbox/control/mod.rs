//! The control operations over gRPC (and so over REST): a thin conversion around [`Sandbox`].

mod business;
mod chats;
mod faults;
mod history;
mod media;
mod messages;
mod newsletters;
mod passkey;
mod person;
mod schedules;
mod services;
mod watch;

use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::{Phone, PhoneChange, Sandbox};
use crate::api::status::to_status;
use crate::domain::clock::Time;
use crate::error::Error;
use crate::proto::sandbox as proto;
use crate::proto::sandbox::sandbox_service_server::SandboxService;

/// The control service of one sandbox.
#[derive(Clone)]
pub struct Control {
    sandbox: Sandbox,
}

impl Control {
    /// Offers the control of `sandbox`.
    pub fn new(sandbox: Sandbox) -> Self {
        Self { sandbox }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl SandboxService for Control {
    async fn create_phone(&self, request: Request<proto::CreatePhoneRequest>) -> Answer<proto::Phone> {
        let proto::CreatePhoneRequest { phone_number, push_name, auto_read, echo, chatty, seed } = request.into_inner();
        let mut phone =
            self.sandbox.create_phone(&phone_number, &push_name, auto_read.unwrap_or(true)).await.map_err(to_status)?;
        if echo || chatty {
            let change = PhoneChange { echo: Some(echo), chatty: Some(chatty), seed, ..PhoneChange::default() };
            phone = self.sandbox.update_phone(&phone_number, change).await.map_err(to_status)?;
        }
        Ok(Response::new(phone.into()))
    }

    async fn list_phones(&self, _: Request<proto::ListPhonesRequest>) -> Answer<proto::ListPhonesResponse> {
        let phones = self.sandbox.list_phones().await.map_err(to_status)?;
        let data = phones.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListPhonesResponse { data, next_cursor: None }))
    }

    async fn populate(&self, request: Request<proto::PopulateRequest>) -> Answer<proto::PopulateResponse> {
        let proto::PopulateRequest { phone_number, people, groups, members } = request.into_inner();
        let size = |count: i32| usize::try_from(count).unwrap_or(0);
        let crowd = self.sandbox.populate(&phone_number, size(people), size(groups), size(members)).await.map_err(to_status)?;
        let data = crowd.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::PopulateResponse { data, next_cursor: None }))
    }

    async fn get_phone(&self, request: Request<proto::GetPhoneRequest>) -> Answer<proto::Phone> {
        let phone = self.sandbox.get_phone(&request.into_inner().phone_number).await;
        phone.map(|phone| Response::new(phone.into())).map_err(to_status)
    }

    async fn scan_qr(&self, request: Request<proto::ScanQrRequest>) -> Answer<proto::Phone> {
        let proto::ScanQrRequest { phone_number, code } = request.into_inner();
        let phone = self.sandbox.scan_qr(&phone_number, &code).await;
        phone.map(|phone| Response::new(phone.into())).map_err(to_status)
    }

    async fn enter_code(&self, request: Request<proto::EnterCodeRequest>) -> Answer<proto::Phone> {
        let proto::EnterCodeRequest { phone_number, code } = request.into_inner();
        let phone = self.sandbox.enter_code(&phone_number, &code).await;
        phone.map(|phone| Response::new(phone.into())).map_err(to_status)
    }

    async fn unlink(&self, request: Request<proto::UnlinkRequest>) -> Answer<proto::Phone> {
        let proto::UnlinkRequest { phone_number, device_id } = request.into_inner();
        let device = u16::try_from(device_id).map_err(|_| to_status(Error::field("deviceId", "no such device")))?;
        let phone = self.sandbox.unlink(&phone_number, device).await;
        phone.map(|phone| Response::new(phone.into())).map_err(to_status)
    }

    async fn send_phone_message(&self, request: Request<proto::SendPhoneMessageRequest>) -> Answer<proto::PhoneMessage> {
        let mut asked = request.into_inner();
        let (phone_number, to) = (std::mem::take(&mut asked.phone_number), std::mem::take(&mut asked.to));
        let draft = messages::draft(asked).map_err(to_status)?;
        let message = self.sandbox.send_message(&phone_number, &to, draft).await;
        message.map(|message| Response::new(message.into())).map_err(to_status)
    }

    async fn list_phone_messages(
        &self,
        request: Request<proto::ListPhoneMessagesRequest>,
    ) -> Answer<proto::ListPhoneMessagesResponse> {
        let proto::ListPhoneMessagesRequest { phone_number, with } = request.into_inner();
        let with = Some(with.as_str()).filter(|with| !with.is_empty());
        let messages = self.sandbox.list_messages(&phone_number, with).await.map_err(to_status)?;
        let data = messages.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListPhoneMessagesResponse { data, next_cursor: None }))
    }
}

impl From<Phone> for proto::Phone {
    fn from(phone: Phone) -> Self {
        let devices = phone.devices.into_iter().map(|device| proto::Device {
            device_id: i32::from(device.id),
            online: device.online,
            queued: i32::try_from(device.queued).unwrap_or(i32::MAX),
            dropped: i64::try_from(device.dropped).unwrap_or(i64::MAX),
            linked_at: Some(timestamp(device.linked_at)),
            os: device.os,
            platform: device.platform,
        });
        Self {
            phone_number: phone.number,
            lid: phone.lid,
            push_name: phone.push_name,
            devices: devices.collect(),
            auto_read: phone.auto_read,
            echo: phone.echo,
            chatty: phone.chatty.is_some(),
            seed: phone.chatty.unwrap_or(0),
            about: phone.about,
            picture_id: phone.picture_id.unwrap_or_default(),
            online: phone.online,
            last_seen_at: phone.last_seen.map(timestamp),
            blocked: phone.blocked,
            privacy: phone.privacy.into_iter().collect(),
            switched_on: phone.switched_on,
            business: phone.business.map(Into::into),
        }
    }
}

fn timestamp(time: Time) -> Timestamp {
    let nanos = i32::try_from(time.0.rem_euclid(1000) * 1_000_000).unwrap_or(0);
    Timestamp { seconds: time.0.div_euclid(1000), nanos }
}
