//! The story's ear at the event log: a gRPC subscription that goes on where it was.

use anyhow::Context;
use serde_json::Value;
use tonic::Streaming;

use crate::cli::client::Connection;
use crate::cli::render;
use crate::proto::gateway::subscribe_response::Item;
use crate::proto::gateway::{SubscribeRequest, SubscribeResponse};

/// Follows the log from its beginning.
pub(super) struct Log {
    stream: Streaming<SubscribeResponse>,
    /// Sequence of the last event that was seen.
    last: i64,
}

impl Log {
    /// Follows the log behind `after`.
    pub(super) async fn follow(connection: &Connection, after: i64) -> anyhow::Result<Self> {
        let request = SubscribeRequest { after: Some(after), ..SubscribeRequest::default() };
        let stream = connection.events().subscribe(request).await?.into_inner();
        Ok(Self { stream, last: after })
    }

    /// Sequence of the last event that was seen.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// The next event that `wanted` accepts, as JSON.
    pub(super) async fn next(&mut self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        loop {
            let answer = self.stream.message().await?.context("the event stream ended")?;
            let Some(Item::Event(event)) = answer.item else { continue };
            self.last = event.sequence;
            let event = render::json("Event", &event).map_err(|failure| anyhow::anyhow!("{}", failure.line()))?;
            if wanted(&event) {
                return Ok(event);
            }
        }
    }
}
