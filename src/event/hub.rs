//! Wakes those who follow an organization's log. It carries nothing: what happened stands in the table.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, Semaphore, watch};

use crate::domain::ids::OrganizationId;

/// The bells of all organizations that somebody follows. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    bells: Arc<Mutex<HashMap<OrganizationId, watch::Sender<()>>>>,
    deliveries: Arc<watch::Sender<()>>,
    untold: Arc<(Mutex<Rung>, Notify)>,
    /// One ring wakes every follower. They read in turn, so that a thousand of them leave connections for everybody else.
    pub(super) turns: Arc<Semaphore>,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(2)
    }
}

/// Which bells were rung here and not yet at other gateways. Bounded by the number of organizations.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rung {
    /// Organizations whose log has grown.
    pub(super) organizations: BTreeSet<OrganizationId>,
    /// Whether webhook deliveries were planned.
    pub(super) deliveries: bool,
}

impl Hub {
    /// A hub whose followers read with `readers` of the database's connections at most.
    pub fn new(readers: usize) -> Self {
        let turns = Arc::new(Semaphore::new(readers.max(1)));
        Self { bells: Arc::default(), deliveries: Arc::default(), untold: Arc::default(), turns }
    }

    /// Rings the organization's bell, here and at the other gateways. Rings that nobody has heard yet count as one.
    pub fn wake(&self, organization: &OrganizationId) {
        self.ring(organization);
        self.note(|rung| {
            if !rung.organizations.contains(organization) {
                rung.organizations.insert(organization.clone());
            }
        });
    }

    /// Rings the bell of the webhook workers, here and at the other gateways.
    pub fn wake_deliveries(&self) {
        self.ring_deliveries();
        self.note(|rung| rung.deliveries = true);
    }

    fn note(&self, note: impl FnOnce(&mut Rung)) {
        note(&mut self.untold.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.untold.1.notify_one();
    }

    /// What was rung here since the last time; waits until there is something.
    pub(super) async fn rung(&self) -> Rung {
        loop {
            let rung = self.take_rung();
            if rung != Rung::default() {
                return rung;
            }
            self.untold.1.notified().await;
        }
    }

    /// What was rung here since the last time, perhaps nothing.
    pub(super) fn take_rung(&self) -> Rung {
        std::mem::take(&mut *self.untold.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Rings every bell, here only.
    pub(super) fn ring_all(&self) {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, bell| bell.send(()).is_ok());
        self.ring_deliveries();
    }

    /// Rings the organization's bell, here only.
    pub(super) fn ring(&self, organization: &OrganizationId) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(organization) {
            // An error says that the last follower has gone, and then the bell goes too.
            if bell.send(()).is_err() {
                bells.remove(organization);
            }
        }
    }

    /// Rings the bell of the webhook workers, here only.
    pub(super) fn ring_deliveries(&self) {
        self.deliveries.send_replace(());
    }

    /// Hears the bell of the webhook workers from now on.
    pub fn listen_deliveries(&self) -> watch::Receiver<()> {
        self.deliveries.subscribe()
    }

    /// Hears the organization's bell from now on.
    pub fn listen(&self, organization: &OrganizationId) -> watch::Receiver<()> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.entry(organization.clone()).or_insert_with(|| watch::channel(()).0).subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ring_before_the_wait_is_heard_and_bells_of_others_are_not() {
        let hub = Hub::default();
        let (ours, theirs) = (OrganizationId::new("ours"), OrganizationId::new("theirs"));
        let mut bell = hub.listen(&ours);
        hub.wake(&theirs);
        assert!(!bell.has_changed().unwrap());
        hub.wake(&ours);
        hub.wake(&ours);
        bell.changed().await.unwrap();
        assert!(!bell.has_changed().unwrap(), "two rings count as one");
    }

    #[test]
    fn bells_that_nobody_hears_are_taken_down() {
        let hub = Hub::default();
        let ours = OrganizationId::new("ours");
        drop(hub.listen(&ours));
        hub.wake(&ours);
        assert!(hub.bells.lock().unwrap().is_empty());
    }
}
