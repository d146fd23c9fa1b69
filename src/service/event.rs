//! Reading the event log.

use super::Service;
use crate::domain::event::Event;
use crate::domain::ids::SessionId;
use crate::domain::principal::{Capability, Principal};
use crate::error::Result;
use crate::event::follow::{Bounds, bounds, check_cursor};
use crate::event::{Filter, Follower};

impl Service {
    /// Follows the log of the caller's organization from behind `after`, or from now on.
    pub async fn follow_events(&self, caller: &Principal, filter: Filter, after: Option<i64>) -> Result<(Follower, Bounds)> {
        caller.require(Capability::Events)?;
        let filter = restricted(caller, filter);
        Follower::new(self.0.db.clone(), &self.0.hub, caller.organization.clone(), filter, after).await
    }

    /// A page of the log of the caller's organization, and the cursor of the next one when there is more.
    pub async fn list_events(
        &self,
        caller: &Principal,
        filter: Filter,
        after: i64,
        limit: i64,
    ) -> Result<(Vec<Event>, Option<i64>)> {
        caller.require(Capability::Events)?;
        check_cursor(after, bounds(&self.0.db, &caller.organization).await?)?;
        let Filter { sessions, names } = &restricted(caller, filter);
        // One more than asked for tells whether there is a next page.
        let mut events = self.0.db.list_events(&caller.organization, after, limit + 1, sessions, names).await?;
        let more = i64::try_from(events.len()).is_ok_and(|count| count > limit);
        if more {
            events.pop();
        }
        let next = events.last().filter(|_| more).map(|event| event.sequence);
        Ok((events, next))
    }
}

/// Narrows a filter to the sessions that exist for the caller.
fn restricted(caller: &Principal, mut filter: Filter) -> Filter {
    let Some(own) = &caller.sessions else { return filter };
    match filter.sessions.is_empty() {
        true => filter.sessions.clone_from(own),
        false => filter.sessions.retain(|id| caller.sees(id)),
    }
    // An empty list would mean all of them; no session has the empty id.
    if filter.sessions.is_empty() {
        filter.sessions.push(SessionId::new(""));
    }
    filter
}
