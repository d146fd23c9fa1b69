//! Which webhooks are told of an event.
//!
//! Deliveries are inserted in the transaction of the events, so there is no cursor to keep, no gap after a crash, and a webhook gets
//! exactly the events that were committed after its creation. It costs nothing where there are no webhooks: the statement that takes the
//! organization's sequence gives the version of its webhooks too, and only when that differs from the one remembered here are they read,
//! within the transaction. A change of webhooks takes the same lock, so what is remembered under an equal version is right, on every
//! gateway, without anybody being told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::event::NewEvent;
use crate::domain::ids::OrganizationId;
use crate::domain::webhook::wants;
use crate::error::Result;
use crate::store::{Appended, Subscription, Tx};

/// An organization's webhooks as of a version.
type Known = (i64, Arc<[Subscription]>);

/// Plans deliveries. Cheap to clone; the clones remember the same. What is remembered is bounded by the number of organizations.
#[derive(Clone, Default)]
pub(super) struct Planner {
    known: Arc<Mutex<HashMap<OrganizationId, Known>>>,
}

/// What was planned and learned in a transaction.
#[must_use = "what was learned counts only after the commit"]
pub(super) struct Plan {
    any: bool,
    learned: Vec<(OrganizationId, Known)>,
}

impl Planner {
    /// Inserts the deliveries of events that `tx` has appended.
    pub(super) async fn plan(&self, tx: &mut Tx, events: &[NewEvent], appended: Appended) -> Result<Plan> {
        let mut now: HashMap<&OrganizationId, Arc<[Subscription]>> = HashMap::new();
        let mut learned = Vec::new();
        for (organization, version) in &appended.webhooks {
            let known = self.remembered(organization, *version);
            let subscriptions = match known {
                Some(known) => known,
                None => {
                    let read: Arc<[Subscription]> = tx.subscriptions(organization).await?.into();
                    learned.push((organization.clone(), (*version, read.clone())));
                    read
                }
            };
            now.insert(organization, subscriptions);
        }
        let mut planned = Vec::new();
        for (event, sequence) in events.iter().zip(&appended.sequences) {
            for one in now.get(&event.organization).map_or(&[][..], |all| all) {
                let this_session = one.session.as_ref().is_none_or(|session| *session == event.session);
                if this_session && wants(&one.events, event.payload.name()) {
                    planned.push((one.id.clone(), event, *sequence));
                }
            }
        }
        tx.plan_deliveries(&planned).await?;
        Ok(Plan { any: !planned.is_empty(), learned })
    }

    /// Remembers what was learned, now that it holds, and says whether anything was planned. What a transaction learned that came to
    /// nothing may be about changes that never were.
    pub(super) fn committed(&self, plan: Plan) -> bool {
        if !plan.learned.is_empty() {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            for (organization, learned) in plan.learned {
                if known.get(&organization).is_none_or(|(version, _)| *version < learned.0) {
                    known.insert(organization, learned);
                }
            }
        }
        plan.any
    }

    fn remembered(&self, organization: &OrganizationId, version: i64) -> Option<Arc<[Subscription]>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(organization).filter(|(known, _)| *known == version).map(|(_, all)| all.clone())
    }
}
