//! Looking on, over gRPC.

use std::pin::Pin;

use futures_util::Stream;
use tonic::{Request, Response, Status};

use super::{Control, timestamp};
use crate::api::status::to_status;
use crate::proto::sandbox as proto;
use crate::proto::sandbox::watch_service_server::WatchService;
use crate::sandbox::sight::{Sight, SightKind};

#[tonic::async_trait]
impl WatchService for Control {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<proto::Sight, Status>> + Send>>;

    async fn watch(&self, request: Request<proto::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let asked = request.into_inner();
        let wanted: Vec<proto::SightKind> = asked.kinds().collect();
        let number = Some(asked.phone_number.as_str()).filter(|number| !number.is_empty());
        let watcher = self.sandbox.watch(number).map_err(to_status)?;
        let sights = futures_util::stream::unfold((watcher, wanted), async |(mut watcher, wanted)| {
            loop {
                let sight = proto::Sight::from(watcher.next().await?);
                if wanted.is_empty() || wanted.contains(&sight.kind()) || sight.kind() == proto::SightKind::Missed {
                    return Some((Ok(sight), (watcher, wanted)));
                }
            }
        });
        Ok(Response::new(Box::pin(sights)))
    }
}

impl From<Sight> for proto::Sight {
    fn from(sight: Sight) -> Self {
        let (kind, missed) = match sight.kind {
            SightKind::Login => (proto::SightKind::Login, 0),
            SightKind::Logout => (proto::SightKind::Logout, 0),
            SightKind::Stanza => (proto::SightKind::Stanza, 0),
            SightKind::Delivery => (proto::SightKind::Delivery, 0),
            SightKind::Message => (proto::SightKind::Message, 0),
            SightKind::Receipt => (proto::SightKind::Receipt, 0),
            SightKind::Fault => (proto::SightKind::Fault, 0),
            SightKind::Missed(missed) => (proto::SightKind::Missed, missed),
        };
        Self {
            at: Some(timestamp(sight.at)),
            kind: kind.into(),
            phone_number: sight.number,
            device_id: i32::from(sight.device),
            name: sight.name,
            id: sight.id,
            peer_jid: sight.peer,
            missed: i64::try_from(missed).unwrap_or(i64::MAX),
        }
    }
}
