//! A cursor turned into a stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::domain::event::Event;
use crate::domain::ids::{OrganizationId, SessionId};
use crate::error::{Code, Error, Result};
use crate::event::hub::Hub;
use crate::store::Db;

/// After this much silence a follower says that it lives; it also looks into the table then, for events that another gateway wrote.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// How many events are read at a time: few at first, twice as many each time, so that a follower that takes nothing holds few.
const BATCH: (i64, i64) = (8, 256);

/// What to leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these sessions; empty means all.
    pub sessions: Vec<SessionId>,
    /// Only these event names; empty means all.
    pub names: Vec<String>,
}

/// What a follower gets next.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An event; boxed, for heartbeats are small.
    Event(Box<Event>),
    /// Nothing happened for a while; everything up to this sequence has been given.
    Heartbeat(i64),
}

/// Follows one organization's log from a position on.
pub struct Follower {
    db: Db,
    bell: watch::Receiver<()>,
    turns: Arc<Semaphore>,
    organization: OrganizationId,
    filter: Filter,
    cursor: i64,
    read: VecDeque<Event>,
    batch: i64,
    _counted: Counted,
}

/// Counts a follower for as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        metrics::gauge!("wagw_followers").increment(1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("wagw_followers").decrement(1);
    }
}

/// The oldest and the newest sequence of a log; both 0 when it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest sequence that is still there.
    pub oldest: i64,
    /// The newest.
    pub newest: i64,
}

/// The bounds of an organization's log.
pub async fn bounds(db: &Db, organization: &OrganizationId) -> Result<Bounds> {
    let (oldest, newest) = db.event_bounds(organization).await?;
    Ok(Bounds { oldest, newest })
}

/// Refuses a cursor behind which events are already gone, and one that lies in the future.
pub fn check_cursor(after: i64, bounds: Bounds) -> Result<()> {
    if after > bounds.newest {
        return Err(Error::field("after", format!("the log ends at {}; take the sequence of an event you have", bounds.newest)));
    }
    if bounds.oldest > 0 && after < bounds.oldest - 1 && after != 0 {
        let oldest = bounds.oldest;
        let message = format!("events after {after} are no longer kept; the oldest is {oldest}, go on with after={}", oldest - 1);
        return Err(Error::field("after", message).reason("cursor_expired").detail("oldest", oldest));
    }
    Ok(())
}

impl Follower {
    /// Follows from behind `after`, or from now on.
    pub async fn new(
        db: Db,
        hub: &Hub,
        organization: OrganizationId,
        filter: Filter,
        after: Option<i64>,
    ) -> Result<(Self, Bounds)> {
        // Listen first, then look: what is written in between rings.
        let bell = hub.listen(&organization);
        let turns = hub.turns.clone();
        let bounds = bounds(&db, &organization).await?;
        let cursor = match after {
            Some(after) => {
                check_cursor(after, bounds)?;
                after
            }
            None => bounds.newest,
        };
        Ok((
            Self {
                db,
                bell,
                turns,
                organization,
                filter,
                cursor,
                read: VecDeque::new(),
                batch: BATCH.0,
                _counted: Counted::new(),
            },
            bounds,
        ))
    }

    /// The sequence behind which the follower goes on.
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    /// Waits for what comes next. Safe to be dropped and called again.
    pub async fn next(&mut self) -> Result<Item> {
        let mut silent = false;
        loop {
            if let Some(event) = self.read.pop_front() {
                self.cursor = event.sequence;
                return Ok(Item::Event(Box::new(event)));
            }
            self.bell.mark_unchanged();
            let read = self.read_on().await?;
            if read {
                continue;
            }
            if silent {
                return self.skip().await;
            }
            match tokio::time::timeout(HEARTBEAT, self.bell.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Error::new(Code::Unavailable, "the gateway is shutting down")),
                Err(_) => silent = true,
            }
        }
    }

    /// Nothing has come for a while: moves the cursor over what the filter leaves out, so that it need not be read again.
    async fn skip(&mut self) -> Result<Item> {
        let newest = bounds(&self.db, &self.organization).await?.newest;
        if self.read_on().await? {
            return Box::pin(self.next()).await;
        }
        self.cursor = self.cursor.max(newest);
        Ok(Item::Heartbeat(self.cursor))
    }

    async fn read_on(&mut self) -> Result<bool> {
        let (db, turns, organization) = (self.db.clone(), self.turns.clone(), self.organization.clone());
        let (filter, cursor, batch) = (self.filter.clone(), self.cursor, self.batch);
        // On a task of its own: a follower is polled only while its client takes what it gets, and must not keep its turn meanwhile.
        let read = AbortOnDropHandle::new(tokio::spawn(async move {
            let _turn = turns.acquire_owned().await.map_err(Error::internal)?;
            db.list_events(&organization, cursor, batch, &filter.sessions, &filter.names).await
        }));
        let events = read.await.map_err(Error::internal)??;
        let full = i64::try_from(events.len()).is_ok_and(|count| count == self.batch);
        self.batch = if full { (self.batch * 2).min(BATCH.1) } else { BATCH.0 };
        self.read.extend(events);
        Ok(!self.read.is_empty())
    }
}
