//! The only writer of the event log.

use crate::domain::clock::Ambient;
use crate::domain::event::{NewEvent, Payload};
use crate::domain::ids::{OrganizationId, SessionId};
use crate::domain::message::MessageStatus;
use crate::error::Result;
use crate::event::hub::Hub;
use crate::event::plan::Planner;
use crate::store::{Db, Tx};

/// The way to write to the log. Cheap to clone.
#[derive(Clone)]
pub struct EventLog {
    db: Db,
    hub: Hub,
    ambient: Ambient,
    planner: Planner,
}

impl EventLog {
    /// A log over `db` that rings the bells of `hub`.
    pub fn new(db: Db, hub: Hub, ambient: Ambient) -> Self {
        Self { db, hub, ambient, planner: Planner::default() }
    }

    /// Begins a transaction in which things change and are told. Nothing of it holds before [`Recording::commit`].
    pub async fn begin(&self) -> Result<Recording> {
        Ok(Recording { tx: self.db.begin().await?, log: self.clone(), events: Vec::new() })
    }

    /// Records one event that no other change belongs to.
    pub async fn record(&self, organization: &OrganizationId, session: &SessionId, payload: Payload) -> Result<()> {
        let mut recording = self.begin().await?;
        recording.tell(organization, session, payload);
        recording.commit().await
    }
}

/// A transaction whose events are stored with it and told after it. Dropped without a commit, nothing has happened.
#[must_use = "nothing holds before commit"]
pub struct Recording {
    /// The transaction, for the changes that the events tell of.
    pub tx: Tx,
    log: EventLog,
    events: Vec<NewEvent>,
}

impl Recording {
    /// Adds an event.
    pub fn tell(&mut self, organization: &OrganizationId, session: &SessionId, payload: Payload) {
        let ambient = &self.log.ambient;
        self.events.push(NewEvent {
            id: format!("evt_{}", ambient.ulid()),
            session: session.clone(),
            organization: organization.clone(),
            timestamp: ambient.now(),
            payload,
        });
    }

    /// Stores the changes with their events and the webhook deliveries of these, then wakes the followers and the workers. The events are written last, so that the organization's
    /// sequence, which serializes writers, is held as short as can be.
    pub async fn commit(mut self) -> Result<()> {
        let mut plan = None;
        if !self.events.is_empty() {
            let appended = self.tx.append_events(&self.events).await?;
            plan = Some(self.log.planner.plan(&mut self.tx, &self.events, appended).await?);
        }
        self.tx.commit().await?;
        if plan.is_some_and(|plan| self.log.planner.committed(plan)) {
            self.log.hub.wake_deliveries();
        }
        for event in &self.events {
            count(&event.payload);
            self.log.hub.wake(&event.organization);
        }
        Ok(())
    }
}

/// Counts what was recorded, for the metrics.
fn count(payload: &Payload) {
    metrics::counter!("wagw_events_recorded_total", "event" => payload.name()).increment(1);
    let sent = |outcome: &'static str| metrics::counter!("wagw_messages_sent_total", "outcome" => outcome).increment(1);
    match payload {
        Payload::Message(_) => metrics::counter!("wagw_messages_received_total").increment(1),
        Payload::MessageStatus(news) if news.status == MessageStatus::Sent => sent("sent"),
        Payload::MessageStatus(news) if news.status == MessageStatus::Failed => sent("failed"),
        _ => {}
    }
}
