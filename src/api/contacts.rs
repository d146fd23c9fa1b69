//! `ContactService`.

use tonic::{Request, Response, Status};

use super::admin::or_default;
use super::convert::contact::{contact, detail, on_whatsapp, source};
use super::principal;
use super::status::to_status;
use crate::domain::identity::ContactFilter;
use crate::domain::ids::SessionId;
use crate::proto::gateway::contact_service_server::ContactService;
use crate::proto::gateway::{
    BlockContactRequest, CheckContactRequest, CheckContactsRequest, CheckContactsResponse, ContactAbout, ContactDetail,
    GetContactAboutRequest, GetContactPictureRequest, GetContactRequest, ListBlockedRequest, ListBlockedResponse,
    ListContactsRequest, ListContactsResponse, OnWhatsApp, ProfilePicture, UnblockContactRequest,
};
use crate::service::Service;

/// How many people a page has when the caller does not say.
const PAGE: i64 = 100;

/// The gRPC face of the directory.
#[derive(Clone)]
pub struct Contacts(pub Service);

#[tonic::async_trait]
impl ContactService for Contacts {
    async fn list_contacts(&self, request: Request<ListContactsRequest>) -> Result<Response<ListContactsResponse>, Status> {
        let caller = principal(&request)?;
        let it = request.into_inner();
        let filter = ContactFilter {
            source: source(it.source).map_err(to_status)?,
            group: it.group.filter(|text| !text.is_empty()),
            text: it.q.filter(|text| !text.is_empty()),
            ..ContactFilter::default()
        };
        let (id, limit) = (SessionId::new(it.session), or_default(it.limit, PAGE));
        let page = self.0.list_contacts(&caller, &id, filter, it.cursor.as_deref(), limit).await;
        let (data, next_cursor) = page.map_err(to_status)?;
        Ok(Response::new(ListContactsResponse { data: data.iter().map(contact).collect(), next_cursor }))
    }

    async fn check_contact(&self, request: Request<CheckContactRequest>) -> Result<Response<OnWhatsApp>, Status> {
        let caller = principal(&request)?;
        let CheckContactRequest { session, phone } = request.into_inner();
        let found = self.0.check_contacts(&caller, &SessionId::new(session), "phone", &[phone]).await.map_err(to_status)?;
        Ok(Response::new(found.into_iter().next().map(on_whatsapp).unwrap_or_default()))
    }

    async fn check_contacts(&self, request: Request<CheckContactsRequest>) -> Result<Response<CheckContactsResponse>, Status> {
        let caller = principal(&request)?;
        let CheckContactsRequest { session, phones } = request.into_inner();
        let found = self.0.check_contacts(&caller, &SessionId::new(session), "phones", &phones).await.map_err(to_status)?;
        Ok(Response::new(CheckContactsResponse { data: found.into_iter().map(on_whatsapp).collect() }))
    }

    async fn get_contact(&self, request: Request<GetContactRequest>) -> Result<Response<ContactDetail>, Status> {
        let GetContactRequest { session, lid } = request.get_ref();
        let found = self.0.get_contact(&principal(&request)?, &SessionId::new(session), lid).await.map_err(to_status)?;
        Ok(Response::new(detail(found)))
    }

    async fn get_contact_about(&self, request: Request<GetContactAboutRequest>) -> Result<Response<ContactAbout>, Status> {
        let GetContactAboutRequest { session, jid } = request.get_ref();
        let about = self.0.contact_about(&principal(&request)?, &SessionId::new(session), jid).await.map_err(to_status)?;
        Ok(Response::new(ContactAbout { about }))
    }

    async fn get_contact_picture(&self, request: Request<GetContactPictureRequest>) -> Result<Response<ProfilePicture>, Status> {
        let GetContactPictureRequest { session, jid } = request.get_ref();
        let found = self.0.contact_picture(&principal(&request)?, &SessionId::new(session), jid).await.map_err(to_status)?;
        let (id, url) = found.unzip();
        Ok(Response::new(ProfilePicture { id, url }))
    }

    async fn block_contact(&self, request: Request<BlockContactRequest>) -> Result<Response<()>, Status> {
        let BlockContactRequest { session, jid } = request.get_ref();
        self.0.set_blocked(&principal(&request)?, &SessionId::new(session), jid, true).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn unblock_contact(&self, request: Request<UnblockContactRequest>) -> Result<Response<()>, Status> {
        let UnblockContactRequest { session, jid } = request.get_ref();
        self.0.set_blocked(&principal(&request)?, &SessionId::new(session), jid, false).await.map_err(to_status)?;
        Ok(Response::new(()))
    }

    async fn list_blocked(&self, request: Request<ListBlockedRequest>) -> Result<Response<ListBlockedResponse>, Status> {
        let id = SessionId::new(&request.get_ref().session);
        let found = self.0.list_blocked(&principal(&request)?, &id).await.map_err(to_status)?;
        Ok(Response::new(ListBlockedResponse { data: found.iter().map(contact).collect(), next_cursor: None }))
    }
}
