//! Businesses, as the real client library sees them.

use wacore::iq::business::{BusinessHourMode, DayOfWeek};
use wacore::types::events::{BusinessUpdateType, Event};
use wacore_binary::Jid;
use whatsapp_gateway::sandbox::business::{BusinessProfile, OpeningHours, Weekday};

use super::client::{ALICE, BOB, Peer, Running};

fn bakery() -> BusinessProfile {
    BusinessProfile {
        name: "Bob's Bakery".into(),
        description: "Bread and more".into(),
        email: "bob@example.com".into(),
        address: "Main Street 1".into(),
        websites: vec!["https://example.com".into(), "https://example.org".into()],
        categories: vec!["Bakery".into()],
        timezone: "America/Sao_Paulo".into(),
        hours: vec![
            OpeningHours { day: Weekday::Mon, between: Some((420, 720)) },
            OpeningHours { day: Weekday::Sun, between: None },
        ],
    }
}

async fn told(peer: &Peer, update: BusinessUpdateType) -> Option<String> {
    peer.wait("news of a business", |event| match event {
        Event::BusinessStatusUpdate(it) if it.update_type == update => Some(it.verified_name.clone()),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_business_says_who_it_is() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let bob = Jid::pn(BOB);
    assert!(alice.client.get_business_profile(&bob).await.unwrap().is_none(), "a person has none");
    let known = async || alice.client.contacts().is_on_whatsapp(std::slice::from_ref(&bob)).await.unwrap().remove(0);
    assert!(!known().await.is_business);
    // Those who know it are told.
    running.sandbox.send_message(BOB, ALICE, "hello").await.unwrap();
    alice.text("hello").await;
    running.sandbox.set_business(BOB, Some(bakery())).await.unwrap();
    assert_eq!(told(&alice, BusinessUpdateType::VerifiedNameChanged).await.as_deref(), Some("Bob's Bakery"));
    told(&alice, BusinessUpdateType::ProfileUpdated).await;

    let profile = alice.client.get_business_profile(&bob).await.unwrap().unwrap();
    assert_eq!(profile.wid, Some(bob.clone()));
    assert_eq!((profile.description.as_str(), profile.email.as_deref()), ("Bread and more", Some("bob@example.com")));
    assert_eq!((profile.address.as_deref(), profile.website.len()), (Some("Main Street 1"), 2));
    assert_eq!(profile.categories[0].name, "Bakery");
    assert_eq!(profile.business_hours.timezone.as_deref(), Some("America/Sao_Paulo"));
    let hours = profile.business_hours.business_config.unwrap();
    assert_eq!((&hours[0].day_of_week, &hours[0].mode), (&DayOfWeek::Monday, &BusinessHourMode::SpecificHours));
    assert_eq!((hours[0].open_time, hours[0].close_time), (Some(420), Some(720)));
    assert_eq!((&hours[1].day_of_week, &hours[1].mode), (&DayOfWeek::Sunday, &BusinessHourMode::Open24H));
    let seen = known().await;
    assert!(seen.is_business);
    assert_eq!(seen.verified_name.unwrap().name.as_deref(), Some("Bob's Bakery"));
    // Its messages say so too.
    running.sandbox.send_message(BOB, ALICE, "from the bakery").await.unwrap();
    let vouched = alice
        .wait("the message", |event| match event {
            Event::Messages(batch) => {
                let it = batch.iter().find(|it| it.message.conversation.as_deref() == Some("from the bakery"))?;
                Some(it.info.verified_name.as_ref().and_then(|name| name.name.clone()))
            }
            _ => None,
        })
        .await;
    assert_eq!(vouched.as_deref(), Some("Bob's Bakery"));
    // A device that is linked to it is told what it belongs to.
    let device = running.client().await;
    let code = device.qr().await;
    running.sandbox.scan_qr(BOB, &code).await.unwrap();
    let (name, platform) = device
        .wait("linked", |event| match event {
            Event::PairSuccess(it) => Some((it.business_name.clone(), it.platform.clone())),
            _ => None,
        })
        .await;
    assert_eq!((name.as_str(), platform.as_str()), ("Bob's Bakery", "smba"));
    device.connected().await;
    assert_eq!(device.client.persistence_manager().get_device_snapshot().push_name, "Bob", "the app state knows better");
    assert_eq!(device.client.get_business_profile(&bob).await.unwrap().unwrap().description, "Bread and more");

    running.sandbox.set_business(BOB, None).await.unwrap();
    told(&alice, BusinessUpdateType::RemovedAsBusiness).await;
    assert!(alice.client.get_business_profile(&bob).await.unwrap().is_none());
    let nameless = BusinessProfile { name: String::new(), ..bakery() };
    assert!(running.sandbox.set_business(BOB, Some(nameless)).await.is_err());
}
