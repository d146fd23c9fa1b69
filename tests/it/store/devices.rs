//! The library's device state: the same expectations for the library's own in-memory backend, as the reference, and for ours on both
//! engines.

mod order;
mod protocol;
mod sealing;
mod signal;

/// Makes `reference::NAME`, `sqlite::NAME` and `postgres::NAME` of each `async fn NAME(backend: &dyn Backend)`.
macro_rules! on_every_backend {
    ($($name:ident),+ $(,)?) => {
        mod reference {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&wacore::store::InMemoryBackend::new()).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let (test, backend) = crate::store::devices::open(crate::support::Engine::Sqlite).await;
                super::$name(&backend).await;
                test.db.close().await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                let (test, backend) = crate::store::devices::open(crate::support::Engine::Postgres).await;
                super::$name(&backend).await;
                test.db.close().await;
            })+
        }
    };
}
use on_every_backend;

use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::store::cipher::{Cipher, Key};
use whatsapp_gateway::wa::device::DeviceStore;

use crate::store::stored_session;
use crate::support::{Engine, TestDb};

fn cipher() -> Cipher {
    Cipher::new(Ambient::system(), Some(Key::new([7; 32])), Vec::new())
}

/// A fresh session's device state, sealed; another session's rows lie beside it.
async fn open(engine: Engine) -> (TestDb, DeviceStore) {
    let test = engine.open().await;
    let session = stored_session(&test.db, "S1", "a").await;
    let other = stored_session(&test.db, "S2", "a").await;
    sealing::fill(&DeviceStore::new(test.db.clone(), other.id, &cipher())).await;
    let backend = DeviceStore::new(test.db.clone(), session.id, &cipher());
    (test, backend)
}
