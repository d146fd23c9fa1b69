//! `RealtimeService`.

use futures_util::StreamExt as _;
use tonic::{Request, Response, Status};

use super::convert::timestamp;
use super::events::Events;
use super::principal;
use super::status::to_status;
use super::stream::Stream;
use crate::proto::gateway::event_service_server::EventService as _;
use crate::proto::gateway::realtime_service_server::RealtimeService;
use crate::proto::gateway::{
    CreateTicketRequest, CreateTicketResponse, OpenRealtimeRequest, OpenRealtimeResponse, SubscribeRequest,
    open_realtime_response, subscribe_response,
};
use crate::service::Service;

/// The gRPC face of realtime streams: the same log by another door.
#[derive(Clone)]
pub struct Realtime(pub Service);

#[tonic::async_trait]
impl RealtimeService for Realtime {
    type OpenRealtimeStream = Stream<OpenRealtimeResponse>;

    async fn create_ticket(&self, request: Request<CreateTicketRequest>) -> Result<Response<CreateTicketResponse>, Status> {
        let caller = principal(&request)?;
        let ticket = self.0.create_ticket(&caller).await.map_err(to_status)?;
        Ok(Response::new(CreateTicketResponse {
            ticket: ticket.secret,
            url: ticket.url,
            expires_at: Some(timestamp(ticket.expires_at)),
        }))
    }

    async fn open_realtime(&self, request: Request<OpenRealtimeRequest>) -> Result<Response<Self::OpenRealtimeStream>, Status> {
        let request = request.map(|OpenRealtimeRequest { ticket: _, after, sessions, events }| SubscribeRequest {
            after,
            sessions,
            events,
        });
        let items = Events(self.0.clone()).subscribe(request).await?.into_inner();
        Ok(Response::new(Box::pin(items.map(|item| item.map(|item| OpenRealtimeResponse { item: item.item.map(same) })))))
    }
}

/// The two messages have the same members; each RPC has its own, as the rules of protobuf want it.
fn same(item: subscribe_response::Item) -> open_realtime_response::Item {
    match item {
        subscribe_response::Item::Position(it) => open_realtime_response::Item::Position(it),
        subscribe_response::Item::Event(it) => open_realtime_response::Item::Event(it),
        subscribe_response::Item::Heartbeat(it) => open_realtime_response::Item::Heartbeat(it),
    }
}
