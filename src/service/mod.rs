//! Use cases, one file per noun: a principal and a command go in, a domain value or an error comes out. Every query is bound to the
//! caller's organization here, so that no edge can forget it.

pub mod admin;
pub mod api_key;
pub mod audit;
pub mod backfill;
pub mod backup;
pub mod channel;
pub mod chat;
pub mod contact;
pub mod event;
pub mod group;
pub mod group_member;
mod key_cache;
pub mod label;
pub mod media;
pub mod message;
pub mod message_action;
pub mod message_pass;
pub mod pairing;
pub mod pairing_link;
pub mod passkey;
pub mod presence;
pub mod profile;
pub mod realtime;
pub mod session;
pub mod status;
pub mod webhook;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::domain::clock::Ambient;
use crate::domain::ids::GatewayId;
use crate::event::EventLog;
use crate::event::hub::Hub;
use crate::outbox::Outbox;
use crate::session::Supervisor;
use crate::store::Db;

pub use self::key_cache::KeyCache;

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Parts>);

/// What the use cases work with.
pub struct Parts {
    /// The store.
    pub db: Db,
    /// The log's writer.
    pub log: EventLog,
    /// Wakes the log's followers.
    pub hub: Hub,
    /// The running sessions.
    pub supervisor: Supervisor,
    /// Messages on their way.
    pub outbox: Outbox,
    /// What files need.
    pub media: media::Rooms,
    /// What webhooks need.
    pub webhooks: webhook::Webhooks,
    /// Where uploaded backups lie until they are merged.
    pub imports: PathBuf,
    /// Whether backfills may be started.
    pub backfill: bool,
    /// Clock and randomness.
    pub ambient: Ambient,
    /// This gateway.
    pub gateway: GatewayId,
    /// Where people reach this gateway by a browser, such as `https://wa.example.org`; without a slash at the end.
    pub public_url: String,
    /// Work that goes on although its caller has gone: a message whose caller hung up is sent and recorded all the same.
    pub tasks: TaskTracker,
    /// Api-keys and organizations that were looked up a moment ago.
    pub keys: KeyCache,
}

impl Service {
    /// Puts the use cases together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Waits until work that outlives its callers is done. To be called once, after the doors are closed.
    pub async fn finish(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.media.fetcher.finish().await;
    }
}
