//! What the library leaves out. When a change of the app state is told while an earlier one is being fetched, it takes both for the same,
//! though the answer that is under way may know only the earlier one; the later one is then seen with whatever changes next. So whenever
//! a change has come, its collection is asked for once more, a moment later: in the end nothing is missing. The same goes for what changes
//! while a new device fetches everything for the first time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use wacore::appstate::patch_decode::WAPatchName;
use wacore::types::events::{Event, EventHandler, EventInterest, EventKind, Subscription};
use whatsapp_rust::client::Client;
use whatsapp_rust::sync_task::MajorSyncTask;

/// How much later: what changes together has come by then, and is asked for together.
const LATER: Duration = Duration::from_secs(1);

/// How long after a new device's first connection everything is asked for once more: soon, and when the first time took long.
const AFTER_PAIRING: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(15)];

/// Everything that an account's devices share.
const ALL: [WAPatchName; 5] = [
    WAPatchName::CriticalBlock,
    WAPatchName::CriticalUnblockLow,
    WAPatchName::RegularHigh,
    WAPatchName::RegularLow,
    WAPatchName::Regular,
];

struct Resync {
    client: Weak<Client>,
    /// The collections that are asked for soon.
    due: Arc<Mutex<HashSet<WAPatchName>>>,
    /// It was paired and has not been connected since.
    new: AtomicBool,
    /// What waits or is being asked; it ends with the subscription. One waits for each collection at most, and one for a new device.
    waiting: Mutex<JoinSet<()>>,
}

impl Resync {
    fn spawn(&self, later: impl Future<Output = ()> + Send + 'static) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.try_join_next().is_some() {}
        waiting.spawn(later);
    }
}

/// Watches over a client for as long as the subscription lives.
pub(super) fn watch(client: &Arc<Client>) -> Subscription {
    let kinds = [
        EventKind::PairSuccess,
        EventKind::Connected,
        EventKind::LabelEditUpdate,
        EventKind::LabelAssociationUpdate,
        EventKind::PinUpdate,
        EventKind::ArchiveUpdate,
        EventKind::MarkChatAsReadUpdate,
        EventKind::MuteUpdate,
        EventKind::StarUpdate,
        EventKind::DeleteChatUpdate,
        EventKind::ClearChatUpdate,
        EventKind::DeleteMessageForMeUpdate,
        EventKind::ContactUpdate,
    ];
    client.subscribe(
        EventInterest::of(&kinds),
        Arc::new(Resync {
            client: Arc::downgrade(client),
            due: Arc::default(),
            waiting: Mutex::default(),
            new: AtomicBool::default(),
        }),
    )
}

/// Where a change stands.
fn collection(event: &Event) -> Option<WAPatchName> {
    Some(match event {
        Event::LabelEditUpdate(_) | Event::LabelAssociationUpdate(_) => WAPatchName::Regular,
        Event::PinUpdate(_) | Event::ArchiveUpdate(_) | Event::MarkChatAsReadUpdate(_) => WAPatchName::RegularLow,
        Event::MuteUpdate(_)
        | Event::StarUpdate(_)
        | Event::DeleteChatUpdate(_)
        | Event::ClearChatUpdate(_)
        | Event::DeleteMessageForMeUpdate(_) => WAPatchName::RegularHigh,
        Event::ContactUpdate(_) => WAPatchName::CriticalUnblockLow,
        _ => return None,
    })
}

async fn ask(client: &Weak<Client>, name: WAPatchName) {
    if let Some(client) = client.upgrade() {
        Box::pin(client.process_sync_task(MajorSyncTask::AppStateSync { name, full_sync: false })).await;
    }
}

impl EventHandler for Resync {
    fn handle_event(&self, event: Arc<Event>) {
        match *event {
            Event::PairSuccess(_) => self.new.store(true, Ordering::Release),
            Event::Connected(_) if self.new.swap(false, Ordering::AcqRel) => {
                let client = self.client.clone();
                self.spawn(async move {
                    for wait in AFTER_PAIRING {
                        tokio::time::sleep(wait).await;
                        for name in ALL {
                            ask(&client, name).await;
                        }
                    }
                });
            }
            _ => {}
        }
        let Some(name) = collection(&event) else { return };
        if !self.due.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
            return;
        }
        let (client, due) = (self.client.clone(), self.due.clone());
        self.spawn(async move {
            tokio::time::sleep(LATER).await;
            due.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            ask(&client, name).await;
        });
    }
}
