//! Wakes those who follow an organization's log. It carries nothing: what happened stands in the table.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::domain::ids::OrganizationId;

/// The bells of all organizations that somebody follows. Cheap to clone.
#[derive(Clone, Default)]
pub struct Hub {
    bells: Arc<Mutex<HashMap<OrganizationId, watch::Sender<()>>>>,
    deliveries: Arc<watch::Sender<()>>,
}

impl Hub {
    /// Rings the organization's bell. Rings that nobody has heard yet count as one.
    pub fn wake(&self, organization: &OrganizationId) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(organization) {
            // An error says that the last follower has gone, and then the bell goes too.
            if bell.send(()).is_err() {
                bells.remove(organization);
            }
        }
    }

    /// Rings the bell of the webhook workers.
    pub fn wake_deliveries(&self) {
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
