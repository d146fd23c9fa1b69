//! Services that echo, fail and panic on demand: the edge is what is tested, not they.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use tonic::service::Routes;
use tonic::{Request, Response, Status, async_trait};
use whatsapp_gateway::api::principal;
use whatsapp_gateway::api::status::to_status;
use whatsapp_gateway::error::{Code, Error};
use whatsapp_gateway::proto::gateway::event_service_server::{EventService, EventServiceServer};
use whatsapp_gateway::proto::gateway::message_service_server::{MessageService, MessageServiceServer};
use whatsapp_gateway::proto::gateway::pairing_service_server::{PairingService, PairingServiceServer};
use whatsapp_gateway::proto::gateway::session_service_server::{SessionService, SessionServiceServer};
use whatsapp_gateway::proto::gateway::{self as pb, subscribe_response::Item, watch_pairing_response::Update};

#[derive(Clone)]
struct Fake;

pub(super) fn routes() -> Routes {
    Routes::new(SessionServiceServer::new(Fake))
        .add_service(PairingServiceServer::new(Fake))
        .add_service(EventServiceServer::new(Fake))
        .add_service(MessageServiceServer::new(Fake))
}

type Answer<T> = Result<Response<T>, Status>;
type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A session named `id`, or the failure that the name asks for.
fn session(id: &str) -> Answer<pb::Session> {
    let fail = |error: Error| Err(to_status(error));
    match id {
        "missing" => fail(Error::not_found("session")),
        "broken" => fail(Error::internal(anyhow::anyhow!("SELECT secret FROM /var/lib"))),
        "taken" => fail(Error::new(Code::Conflict, "taken").reason("lease_lost").detail("oldest", 17)),
        "offline" => fail(Error::new(Code::SessionNotConnected, "not connected")),
        "limited" => fail(Error::new(Code::RateLimited, "too fast").retry_after(Duration::from_millis(2500))),
        "panic" => panic!("a bug with a secret"),
        id => Ok(Response::new(pb::Session {
            id: id.to_owned(),
            status: pb::SessionStatus::ScanQrCode.into(),
            created_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 }),
            updated_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 }),
            rate_per_min: 20,
            ..Default::default()
        })),
    }
}

#[async_trait]
impl SessionService for Fake {
    async fn list_sessions(&self, _: Request<pb::ListSessionsRequest>) -> Answer<pb::ListSessionsResponse> {
        let data = vec![session("a")?.into_inner(), session("b")?.into_inner()];
        Ok(Response::new(pb::ListSessionsResponse { data, next_cursor: None }))
    }

    async fn create_session(&self, request: Request<pb::CreateSessionRequest>) -> Answer<pb::Session> {
        let who = principal(&request)?;
        let mut made = session("new")?;
        made.get_mut().organization_id = who.organization.to_string();
        made.get_mut().label = request.into_inner().label;
        Ok(made)
    }

    async fn get_session(&self, request: Request<pb::GetSessionRequest>) -> Answer<pb::Session> {
        session(&request.into_inner().session)
    }

    async fn update_session(&self, request: Request<pb::UpdateSessionRequest>) -> Answer<pb::Session> {
        let asked = request.into_inner();
        let mut found = session(&asked.session)?;
        found.get_mut().label = asked.label;
        found.get_mut().rate_per_min = asked.rate_per_min.unwrap_or(20);
        Ok(found)
    }

    async fn delete_session(&self, request: Request<pb::DeleteSessionRequest>) -> Answer<()> {
        session(&request.into_inner().session).map(|_| Response::new(()))
    }

    async fn start_session(&self, request: Request<pb::StartSessionRequest>) -> Answer<pb::Session> {
        session(&request.into_inner().session)
    }

    async fn stop_session(&self, request: Request<pb::StopSessionRequest>) -> Answer<pb::Session> {
        session(&request.into_inner().session)
    }

    async fn restart_session(&self, request: Request<pb::RestartSessionRequest>) -> Answer<pb::Session> {
        session(&request.into_inner().session)
    }

    async fn logout_session(&self, request: Request<pb::LogoutSessionRequest>) -> Answer<pb::Session> {
        session(&request.into_inner().session)
    }

    async fn get_me(&self, request: Request<pb::GetMeRequest>) -> Answer<pb::Me> {
        Ok(Response::new(pb::Me { session_id: request.into_inner().session, ..Default::default() }))
    }
}

#[async_trait]
impl MessageService for Fake {
    async fn send_message(&self, request: Request<pb::SendMessageRequest>) -> Answer<pb::SendResult> {
        let asked = request.into_inner();
        let mode = asked.r#type().as_str_name().to_owned();
        Ok(Response::new(pb::SendResult {
            mode,
            outbox_id: Some(asked.idempotency_key),
            chat_jid: Some(asked.to),
            ..Default::default()
        }))
    }

    async fn get_message(&self, _: Request<pb::GetMessageRequest>) -> Answer<pb::Message> {
        Err(to_status(Error::not_found("message")))
    }
}

#[async_trait]
impl PairingService for Fake {
    type WatchPairingStream = Items<pb::WatchPairingResponse>;

    async fn get_qr(&self, _: Request<pb::GetQrRequest>) -> Answer<pb::Qr> {
        Ok(Response::new(pb::Qr { code: "2@abc,def,ghi".into(), expires_at: None }))
    }

    async fn request_pairing_code(&self, _: Request<pb::RequestPairingCodeRequest>) -> Answer<pb::PairingCode> {
        Ok(Response::new(pb::PairingCode { code: "ABCD-EFGH".into(), expires_at: None }))
    }

    async fn answer_passkey(&self, _: Request<pb::AnswerPasskeyRequest>) -> Answer<()> {
        Ok(Response::new(()))
    }

    async fn confirm_passkey(&self, _: Request<pb::ConfirmPasskeyRequest>) -> Answer<()> {
        Ok(Response::new(()))
    }

    async fn create_pairing_link(&self, _: Request<pb::CreatePairingLinkRequest>) -> Answer<pb::PairingLink> {
        Ok(Response::new(pb::PairingLink::default()))
    }

    async fn list_pairing_links(&self, _: Request<pb::ListPairingLinksRequest>) -> Answer<pb::ListPairingLinksResponse> {
        Ok(Response::new(pb::ListPairingLinksResponse::default()))
    }

    async fn revoke_pairing_link(&self, _: Request<pb::RevokePairingLinkRequest>) -> Answer<()> {
        Ok(Response::new(()))
    }

    async fn watch_pairing(&self, _: Request<pb::WatchPairingRequest>) -> Answer<Self::WatchPairingStream> {
        let status = Update::Status(pb::SessionStatus::ScanQrCode.into());
        let qr = Update::Qr(pb::Qr { code: "2@abc".into(), expires_at: None });
        let items = [status, qr].map(|update| Ok(pb::WatchPairingResponse { update: Some(update) }));
        Ok(Response::new(Box::pin(stream::iter(items))))
    }
}

#[async_trait]
impl EventService for Fake {
    type SubscribeStream = Items<pb::SubscribeResponse>;

    /// The position, one event behind it, a heartbeat, and then what the filter asks for: `fail`, `panic`, `hang`, or the end.
    async fn subscribe(&self, request: Request<pb::SubscribeRequest>) -> Answer<Self::SubscribeStream> {
        let asked = request.into_inner();
        let after = asked.after.unwrap_or(100);
        let event = pb::Event { sequence: after + 1, id: "evt_1".into(), event: "message".into(), ..Default::default() };
        let items = [
            Item::Position(pb::StreamPosition { sequence: after, oldest: 1 }),
            Item::Event(event),
            Item::Heartbeat(pb::Heartbeat { sequence: after + 1 }),
        ];
        let items = stream::iter(items.map(|item| Ok(pb::SubscribeResponse { item: Some(item) })));
        Ok(Response::new(match asked.events.first().map(String::as_str) {
            Some("fail") => Box::pin(items.chain(stream::iter([Err(to_status(Error::new(Code::Unauthorized, "revoked")))]))),
            Some("panic") => Box::pin(items.chain(stream::poll_fn(|_| panic!("a bug in a stream")))),
            Some("hang") => Box::pin(items.chain(stream::pending())),
            _ => Box::pin(items),
        }))
    }

    async fn list_events(&self, request: Request<pb::ListEventsRequest>) -> Answer<pb::ListEventsResponse> {
        let next_cursor = Some(request.into_inner().after + 1);
        Ok(Response::new(pb::ListEventsResponse { data: Vec::new(), next_cursor }))
    }
}
