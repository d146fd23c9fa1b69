//! Faults on command, as the real client library meets them. What a whole gateway makes of them: `tests/it/gateway/healing.rs`.
//!
//! | fault | healing is shown by |
//! |---|---|
//! | `drop`, `stream_end`, `stream_error` (429, 503, 515), `replaced` | `reports::a_connection_that_a_fault_ends_comes_back`; `gateway::healing`: `a_dropped_socket_is_a_blip`, `a_replaced_session_stays_away`, `an_ended_stream_and_a_busy_server_are_blips` |
//! | `half_open` | `reports::nothing_goes_over_a_half_open_connection`, `gateway::healing::a_half_open_socket_is_noticed` |
//! | `stall`, `slow` | `a_slow_or_stalled_connection_still_brings_everything` |
//! | `device_removed` | `a_removal_that_the_account_knows_nothing_of` |
//! | `refuse_login` (401, 402, 405), `ignore_login` | `reports::a_login_is_refused_in_three_ways_or_ignored`; `gateway::healing`: `a_refused_login_is_a_lost_pairing`, `a_ban_ends_some_day`, `an_outdated_client_stops`, `an_unanswered_login_is_tried_again` |
//! | `ignore_iq`, `late_iq`, `refuse_iq` | `answers_come_late_or_not_or_refused` |
//! | `refuse_message` (463, 479), `refuse_new_chats` | `reports::messages_are_refused_once_or_until_a_time`, `gateway::healing::a_refused_message_has_a_typed_error`, `surprises::an_accepted_send_is_not_a_delivered_message` |
//! | `corrupt` | `reports::a_damaged_message_is_asked_for_again_and_comes`, `gateway::healing::a_damaged_message_comes_once_after_a_retry`, `groups::a_damaged_group_message_is_asked_for_again` |
//! | `duplicate`, `reorder` | `deliveries_come_twice_and_out_of_order`, `gateway::healing::what_is_delivered_twice_is_one_message` |
//! | `redeliver` | `reports::what_was_acknowledged_comes_again_after_the_next_login` |
//! | `no_prekeys` | `without_one_time_prekeys_a_session_begins_all_the_same` |
//! | `unavailable` | `history::the_phone_fills_a_placeholder` |
//! | `app_state_conflict` | `contacts::a_change_of_the_app_state_reaches_the_other_devices` |
//! | `expired_qr`, `no_qr` | `codes_that_have_expired_link_nothing`, `reports::a_client_without_codes_gives_up`, `gateway::healing::codes_that_ran_out_are_no_loop` |
//! | `restart` | `surprises::a_restart_at_once_or_late_after_a_link_is_survived` |
//! | `media_…` | `media::files_come_late_in_part_damaged_or_not_at_all` |
//! | a schedule of many | `gateway::healing::a_schedule_of_faults_loses_nothing`, `the_dice_are_seeded`, and beside the code |

use std::time::{Duration, Instant};

use wacore::types::events::Event;
use wacore_binary::Jid;
use whatsapp_gateway::sandbox::MessageState;
use whatsapp_gateway::sandbox::fault::{FaultKind, FaultSpec};

use super::client::{ALICE, BOB, Peer, Running};

fn once(kind: FaultKind) -> FaultSpec {
    FaultSpec { phone_number: ALICE.into(), ..FaultSpec::once(kind) }
}

fn struck(running: &Running) -> Vec<u64> {
    running.sandbox.list_faults().iter().map(|fault| fault.injected).collect()
}

#[tokio::test]
async fn answers_come_late_or_not_or_refused() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let group: Jid = "120363000000000001@g.us".parse().unwrap();
    let ask = || FaultSpec { stanza: "iq/w:g2/query".into(), ..once(FaultKind::RefuseIq) };
    running.sandbox.create_fault(ask()).unwrap();
    let refused = alice.client.groups().get_metadata(&group).await.unwrap_err();
    assert!(format!("{refused:?}").contains("429"), "{refused:?}");
    let refused = alice.client.groups().get_metadata(&group).await.unwrap_err();
    assert!(format!("{refused:?}").contains("404"), "it strikes once: {refused:?}");

    let late = FaultSpec { duration: Some(Duration::from_millis(700)), kind: FaultKind::LateIq, ..ask() };
    running.sandbox.create_fault(late).unwrap();
    let since = Instant::now();
    // What is asked after it is not held up.
    let groups = alice.client.groups();
    let (first, second) =
        tokio::join!(groups.get_metadata(&group), async { alice.client.fetch_privacy_settings().await.map(|_| since.elapsed()) });
    assert!(first.is_err() && since.elapsed() >= Duration::from_millis(700));
    assert!(second.unwrap() < Duration::from_millis(700));

    running.sandbox.create_fault(FaultSpec { kind: FaultKind::IgnoreIq, ..ask() }).unwrap();
    let silence = tokio::time::timeout(Duration::from_secs(1), alice.client.groups().get_metadata(&group)).await;
    assert!(silence.is_err(), "no answer at all");
    assert_eq!(struck(&running), [1, 1, 1]);
    let report = running.sandbox.list_faults();
    assert_eq!(
        (report[0].injections[0].stanza.as_str(), report[0].injections[0].phone_number.as_str()),
        ("iq/w:g2/query", ALICE)
    );
}

#[tokio::test]
async fn a_slow_or_stalled_connection_still_brings_everything() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let slow = FaultSpec { bytes_per_second: Some(600), ..once(FaultKind::Slow) };
    running.sandbox.create_fault(slow).unwrap();
    let since = Instant::now();
    running.sandbox.send_message(BOB, ALICE, "drop by drop").await.unwrap();
    alice.text("drop by drop").await;
    assert!(since.elapsed() > Duration::from_millis(300), "{:?}", since.elapsed());
    running.sandbox.create_fault(FaultSpec { duration: Some(Duration::from_secs(1)), ..once(FaultKind::Stall) }).unwrap();
    let since = Instant::now();
    running.sandbox.send_message(BOB, ALICE, "after a pause").await.unwrap();
    alice.text("after a pause").await;
    assert!(since.elapsed() > Duration::from_millis(900), "{:?}", since.elapsed());
    assert_eq!(struck(&running), [1, 1]);
}

#[tokio::test]
async fn deliveries_come_twice_and_out_of_order() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    running.sandbox.send_message(BOB, ALICE, "zero").await.unwrap();
    alice.text("zero").await;
    let message = |kind| FaultSpec { stanza: "message".into(), ..once(kind) };
    running.sandbox.create_fault(message(FaultKind::Reorder)).unwrap();
    running.sandbox.create_fault(FaultSpec { count: Some(2), ..message(FaultKind::Duplicate) }).unwrap();
    for text in ["one", "two", "three"] {
        running.sandbox.send_message(BOB, ALICE, text).await.unwrap();
    }
    let mut seen = Vec::new();
    alice
        .wait("all three", |event| {
            if let Event::Messages(batch) = event {
                seen.extend(batch.iter().filter_map(|message| message.message.conversation.clone()));
            }
            seen.iter().any(|text| text == "three").then_some(())
        })
        .await;
    assert_eq!(seen, ["two", "one", "three"], "the first came after the second, and each once");
    assert_eq!(struck(&running), [1, 2]);
    running.phone(ALICE, "all acknowledged", |phone| (phone.devices[0].queued == 0).then_some(())).await;
}

#[tokio::test]
async fn without_one_time_prekeys_a_session_begins_all_the_same() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    running.sandbox.create_fault(once(FaultKind::NoPrekeys)).unwrap();
    running.sandbox.send_message(BOB, ALICE, "with the signed key alone").await.unwrap();
    alice.text("with the signed key alone").await;
    alice.client.send_text(Jid::pn(BOB), "and back").await.unwrap();
    let back = |rows: &[_]| {
        rows.iter()
            .any(|row: &whatsapp_gateway::sandbox::PhoneMessage| row.text == "and back" && row.state == MessageState::Received)
            .then_some(())
    };
    running.messages(BOB, "the answer", back).await;
    assert_eq!(struck(&running), [1]);
}

#[tokio::test]
async fn codes_that_have_expired_link_nothing() {
    let running = Running::with_phones().await;
    running.sandbox.create_fault(FaultSpec::once(FaultKind::ExpiredQr)).unwrap();
    let client = running.client().await;
    let code = client.qr().await;
    let refused = running.sandbox.scan_qr(ALICE, &code).await.unwrap_err();
    assert!(refused.to_string().contains("not valid any more"), "{refused}");
    assert_eq!(struck(&running), [1]);
}

/// The client is told that it was removed, and gives up; its account still has it, so it can come back.
#[tokio::test]
async fn a_removal_that_the_account_knows_nothing_of() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    running.sandbox.create_fault(once(FaultKind::DeviceRemoved)).unwrap();
    alice.wait("logged out", |event| matches!(event, Event::LoggedOut(out) if !out.on_connect).then_some(())).await;
    assert_eq!(struck(&running), [1]);
    let backend = alice.stop().await;
    let again = Peer::new(running.address, backend, None).await;
    again.connected().await;
    running.sandbox.send_message(BOB, ALICE, "back").await.unwrap();
    again.text("back").await;
}

/// The same seed strikes the same stanzas; another one strikes others.
#[tokio::test]
async fn the_dice_are_seeded() {
    let mut rounds = Vec::new();
    for seed in [7, 7, 8] {
        let running = Running::with_phones().await;
        let alice = running.linked(ALICE).await;
        let chance =
            FaultSpec { count: None, probability: Some(0.5), seed, stanza: "iq/w:g2".into(), ..once(FaultKind::RefuseIq) };
        running.sandbox.create_fault(chance).unwrap();
        let mut strikes = Vec::new();
        for n in 0..24 {
            let group: Jid = format!("1203630000000000{n:02}@g.us").parse().unwrap();
            let error = format!("{:?}", alice.client.groups().get_metadata(&group).await.unwrap_err());
            strikes.push(error.contains("429"));
        }
        let count = strikes.iter().filter(|struck| **struck).count();
        assert!((4..=20).contains(&count), "{count}");
        rounds.push(strikes);
    }
    assert_eq!(rounds[0], rounds[1]);
    assert_ne!(rounds[0], rounds[2]);
}

#[tokio::test]
async fn faults_are_listed_and_deleted() {
    let running = Running::with_phones().await;
    let first = running.sandbox.create_fault(once(FaultKind::Drop)).unwrap();
    running.sandbox.create_fault(once(FaultKind::HalfOpen)).unwrap();
    running.sandbox.delete_fault(first.id).unwrap();
    assert!(running.sandbox.delete_fault(first.id).is_err());
    assert_eq!(running.sandbox.list_faults().len(), 1);
    running.sandbox.delete_faults();
    assert!(running.sandbox.list_faults().is_empty());
    let nonsense = FaultSpec { probability: Some(1.5), ..once(FaultKind::Drop) };
    assert!(running.sandbox.create_fault(nonsense).is_err());
    // Nothing is left that would strike.
    let alice = running.linked(ALICE).await;
    running.sandbox.send_message(BOB, ALICE, "all is well").await.unwrap();
    alice.text("all is well").await;
}
