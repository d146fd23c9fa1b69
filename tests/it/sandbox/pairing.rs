//! Linking a device by QR code and by typed code; ending the link from either side.

use std::time::Duration;

use wacore::types::events::Event;
use whatsapp_gateway::domain::clock::{Ambient, Time};
use whatsapp_gateway::error::Code;
use whatsapp_gateway::sandbox::SandboxConfig;
use whatsapp_rust::pair_code::PairCodeOptions;

use super::client::{ALICE, BOB, Peer, Running};

#[tokio::test]
async fn a_scanned_qr_code_links_the_device() {
    let running = Running::with_phones().await;
    let client = running.client().await;
    let code = client.qr().await;
    let phone = running.sandbox.scan_qr(ALICE, &code).await.unwrap();
    assert_eq!(phone.devices.len(), 1);
    client.wait("pair success", |event| matches!(event, Event::PairSuccess(_)).then_some(())).await;
    client.wait("connected", |event| matches!(event, Event::Connected(_)).then_some(())).await;
    assert_eq!(client.client.pn().map(|jid| jid.user.to_string()).as_deref(), Some(ALICE));
    running.phone(ALICE, "the device is online", |phone| phone.devices[0].online.then_some(())).await;
    // One code links one device.
    let again = running.sandbox.scan_qr(BOB, &code).await.unwrap_err();
    assert_eq!((again.code, again.reason), (Code::Validation, Some("code_expired")));
    assert_eq!(running.sandbox.unknown_requests(), Default::default(), "the client asks for nothing that the sandbox lacks");
}

#[tokio::test]
async fn a_qr_code_expires_after_its_minute() {
    let ambient = Ambient::held(Time(1_800_000_000_000));
    let running = Running::with(SandboxConfig::default(), ambient).await;
    running.sandbox.create_phone(ALICE, "Alice", true).await.unwrap();
    let client = running.client().await;
    let code = client.qr().await;
    running.ambient.advance(Duration::from_secs(61));
    let error = running.sandbox.scan_qr(ALICE, &code).await.unwrap_err();
    assert_eq!(error.reason, Some("code_expired"));
    let nonsense = running.sandbox.scan_qr(ALICE, "hello").await.unwrap_err();
    assert_eq!((nonsense.code, nonsense.fields[0].field.as_str()), (Code::Validation, "code"));
}

#[tokio::test]
async fn a_typed_code_links_the_device_and_a_wrong_one_does_not() {
    let running = Running::with_phones().await;
    let nobody = running.sandbox.enter_code(ALICE, "ABCD-2345").await.unwrap_err();
    assert_eq!((nobody.code, nobody.reason), (Code::SessionNotConnected, Some("no_pairing_request")));
    let client = running.client().await;
    client.qr().await;
    let options = PairCodeOptions { phone_number: ALICE.into(), ..Default::default() };
    let code = client.client.pair_with_code(options).await.unwrap();
    let other = if code.starts_with('A') { "BBBBBBBB" } else { "AAAAAAAA" };
    let wrong = running.sandbox.enter_code(ALICE, other).await.unwrap_err();
    assert_eq!((wrong.code, wrong.reason), (Code::Validation, Some("wrong_code")));
    let dashed = format!("{}-{}", &code[..4], &code[4..]);
    running.sandbox.enter_code(ALICE, &dashed).await.unwrap();
    client.wait("connected", |event| matches!(event, Event::Connected(_)).then_some(())).await;
    assert_eq!(client.client.pn().map(|jid| jid.user.to_string()).as_deref(), Some(ALICE));
}

#[tokio::test]
async fn three_wrong_codes_end_the_request() {
    let running = Running::with_phones().await;
    let client = running.client().await;
    client.qr().await;
    let code = client.client.pair_with_code(PairCodeOptions { phone_number: ALICE.into(), ..Default::default() }).await.unwrap();
    let wrong = if code.starts_with('A') { "BBBBBBBB" } else { "AAAAAAAA" };
    for _ in 0..3 {
        assert_eq!(running.sandbox.enter_code(ALICE, wrong).await.unwrap_err().reason, Some("wrong_code"));
    }
    let over = running.sandbox.enter_code(ALICE, &code).await.unwrap_err();
    assert_eq!((over.code, over.reason), (Code::RateLimited, Some("too_many_attempts")));
}

#[tokio::test]
async fn logging_out_removes_the_device_and_its_next_login_is_refused() {
    let running = Running::with_phones().await;
    let client = running.linked(ALICE).await;
    client.client.logout().await;
    client.wait("logged out", |event| matches!(event, Event::LoggedOut(_)).then_some(())).await;
    running.phone(ALICE, "the device is gone", |phone| phone.devices.is_empty().then_some(())).await;
    let backend = client.stop().await;
    let again = Peer::new(running.address, backend, None).await;
    let refused_at_login = again
        .wait("logged out at login", |event| match event {
            Event::LoggedOut(out) => Some(out.on_connect),
            _ => None,
        })
        .await;
    assert!(refused_at_login);
}

#[tokio::test]
async fn unlinking_on_the_phone_logs_the_device_out() {
    let running = Running::with_phones().await;
    let client = running.linked(ALICE).await;
    assert_eq!(running.sandbox.unlink(ALICE, 7).await.unwrap_err().code, Code::NotFound);
    let phone = running.sandbox.unlink(ALICE, 0).await.unwrap();
    assert!(phone.devices.is_empty());
    client.wait("logged out", |event| matches!(event, Event::LoggedOut(_)).then_some(())).await;
    let backend = client.stop().await;
    let again = Peer::new(running.address, backend, None).await;
    again.wait("refused at login", |event| matches!(event, Event::LoggedOut(out) if out.on_connect).then_some(())).await;
}

#[tokio::test]
async fn a_second_connection_of_a_device_replaces_the_first() {
    let running = Running::with_phones().await;
    let first = running.linked(ALICE).await;
    let second = Peer::new(running.address, first.backend.clone(), None).await;
    first.wait("replaced", |event| matches!(event, Event::StreamReplaced(_)).then_some(())).await;
    second.connected().await;
    running.phone(ALICE, "one device, online", |phone| (phone.devices.len() == 1 && phone.devices[0].online).then_some(())).await;
}
