//! A message's row is there before the ratchet's that has moved on because of it.

use std::time::Duration;

use sqlx::Connection as _;
use tokio::time::timeout;
use wacore::store::traits::{ProtocolStore as _, SignalStore as _};

use super::open;
use crate::support::Engine;

/// PostgreSQL can hold one table back and not the other.
#[tokio::test]
async fn ratchets_wait_for_the_rows_of_messages() {
    let (test, backend) = open(Engine::Postgres).await;
    let mut other = sqlx::PgConnection::connect(&test.url).await.unwrap();
    let mut held = other.begin().await.unwrap();
    sqlx::query("LOCK TABLE wa_pending_inbound IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();

    let mut message = std::pin::pin!(backend.store_pending_inbound("chat", "sender", "id", b"text"));
    assert!(timeout(Duration::from_millis(100), &mut message).await.is_err(), "its table is held");
    let mut ratchet = std::pin::pin!(backend.put_session("sender.0", b"moved on"));
    assert!(timeout(Duration::from_millis(500), &mut ratchet).await.is_err(), "the message has no row yet");
    assert_eq!(backend.get_session("sender.0").await.unwrap(), None);

    held.rollback().await.unwrap();
    let (message, ratchet) = tokio::join!(message, ratchet);
    message.unwrap();
    ratchet.unwrap();
    assert!(backend.get_session("sender.0").await.unwrap().is_some());
    assert!(backend.get_pending_inbound("chat", "sender", "id").await.unwrap().is_some());
    test.db.close().await;
}
