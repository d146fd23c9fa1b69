//! What the database must do, whichever engine it is: each expectation is a function of an open database, run on both.

mod bench;
mod chats;
mod devices;
mod events;
mod groups;
mod history;
mod identities;
mod keys;
mod leases;
mod messages;
mod migrations;
mod sessions;

use std::time::Duration;

use whatsapp_gateway::domain::clock::Time;
use whatsapp_gateway::domain::ids::{GatewayId, OrganizationId, SessionId};
use whatsapp_gateway::domain::session::{Desired, Reason, Session, Settings, State, Status};
use whatsapp_gateway::store::Db;

/// Makes `sqlite::NAME` and `postgres::NAME` of each `async fn NAME(db: Db)`.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let test = crate::support::Engine::Sqlite.open().await;
                super::$name(test.db.clone()).await;
                test.db.close().await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let test = crate::support::Engine::Postgres.open().await;
                super::$name(test.db.clone()).await;
                test.db.close().await;
            })+
        }
    };
}
pub(crate) use on_both_engines;

const NOW: Time = Time(1_760_000_000_000);

fn later(seconds: u64) -> Time {
    NOW.plus(Duration::from_secs(seconds))
}

fn organization(name: &str) -> OrganizationId {
    OrganizationId::new(name)
}

/// A session as it is created: stopped, on gateway `gw-1`.
fn new_session(id: &str, owner: &str) -> Session {
    Session {
        id: SessionId::new(id),
        organization: organization(owner),
        gateway: GatewayId::new("gw-1"),
        created_by_user: None,
        settings: Settings::default(),
        desired: Desired::Stopped,
        generation: 0,
        state: State::new(Status::Stopped, Reason::Created, NOW),
        account: None,
        is_admin: false,
        last_connected_at: None,
        restricted_until: None,
        attached_at: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// Stores a fresh session and its organization.
pub(crate) async fn stored_session(db: &Db, id: &str, owner: &str) -> Session {
    let session = new_session(id, owner);
    let mut tx = db.begin().await.unwrap();
    tx.ensure_organization(&session.organization, NOW).await.unwrap();
    tx.insert_session(&session).await.unwrap();
    tx.commit().await.unwrap();
    session
}
