//! `EventService`.

use futures_util::{StreamExt, stream};
use tonic::{Request, Response, Status};

use super::convert::event::{event, item, position};
use super::principal;
use super::status::to_status;
use super::stream::{Stream, guarded};
use crate::domain::ids::SessionId;
use crate::event::Filter;
use crate::proto::gateway::event_service_server::EventService;
use crate::proto::gateway::{ListEventsRequest, ListEventsResponse, SubscribeRequest, SubscribeResponse};
use crate::service::Service;

/// How many events a page has when the caller does not say.
const PAGE: i64 = 100;

/// The gRPC face of the event log.
#[derive(Clone)]
pub struct Events(pub Service);

#[tonic::async_trait]
impl EventService for Events {
    type SubscribeStream = Stream<SubscribeResponse>;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let caller = principal(&request)?;
        let SubscribeRequest { after, sessions, events } = request.into_inner();
        let (follower, bounds) = self.0.follow_events(&caller, filter(sessions, events), after).await.map_err(to_status)?;
        let first = stream::iter([Ok(position(follower.cursor(), bounds))]);
        let rest = stream::try_unfold(follower, async |mut follower| {
            let next = follower.next().await.map_err(to_status)?;
            Ok(Some((item(next), follower)))
        });
        Ok(Response::new(guarded(self.0.clone(), caller, first.chain(rest))))
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let caller = principal(&request)?;
        let ListEventsRequest { after, limit, sessions, events } = request.into_inner();
        let limit = if limit == 0 { PAGE } else { i64::from(limit) };
        let page = self.0.list_events(&caller, filter(sessions, events), after, limit).await.map_err(to_status)?;
        Ok(Response::new(ListEventsResponse { data: page.0.into_iter().map(event).collect(), next_cursor: page.1 }))
    }
}

fn filter(sessions: Vec<String>, names: Vec<String>) -> Filter {
    Filter { sessions: sessions.into_iter().map(SessionId::new).collect(), names }
}
