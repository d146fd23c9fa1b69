//! How a client comes to trust the sandbox, and that every other combination fails closed. Fails loudly when an upgrade of the
//! library changes the method.

use std::sync::Arc;

use wacore::store::InMemoryBackend;
use wacore::types::events::Event;

use super::client::{Peer, Running, eventually};

/// What the client made of the server it met.
async fn refused(running: &Running, trust: Option<([u8; 32], bool)>) {
    let client = Peer::new(running.address, Arc::new(InMemoryBackend::new()), trust).await;
    // The library tells of a failed connection by a counter alone, and tries again.
    eventually("two attempts failed", || async { (client.client.stats().reconnect_errors >= 1).then_some(()) }).await;
    assert!(!client.client.is_logged_in());
    assert!(!client.saw(|event| matches!(event, Event::PairingQrCode(_) | Event::Connected(_))));
}

#[tokio::test]
async fn without_the_pinned_key_the_certificate_is_refused() {
    refused(&Running::start().await, None).await;
}

#[tokio::test]
async fn the_pinned_key_alone_is_not_enough_for_an_unregistered_device() {
    let running = Running::start().await;
    let key = running.sandbox.static_public_key();
    refused(&running, Some((key, false))).await;
}

#[tokio::test]
async fn another_servers_key_is_refused() {
    refused(&Running::start().await, Some(([9; 32], true))).await;
}

#[tokio::test]
async fn with_the_pinned_key_and_the_placeholder_pairing_begins() {
    let running = Running::start().await;
    let client = running.client().await;
    assert!(client.qr().await.contains(','));
}
