//! The catalogue of events: each has a name of its own and the documented shape, with everything set that can be.

use std::collections::BTreeSet;

use prost::Message as _;
use serde_json::Value;
use whatsapp_gateway::api::convert::event::event;
use whatsapp_gateway::domain::clock::Time;
use whatsapp_gateway::domain::event::{Event, NAMES, NewEvent};
use whatsapp_gateway::domain::ids::{OrganizationId, SessionId};
use whatsapp_gateway::domain::session::Metadata;
use whatsapp_gateway::proto::DESCRIPTORS;
use whatsapp_gateway::rest::render::Renderer;

use super::Contract;
use crate::support::catalogue::payloads;

#[test]
fn every_event_has_the_documented_shape() {
    let contract = Contract::read();
    let renderer = Renderer::new(DESCRIPTORS, "whatsapp.gateway.v1.Event").unwrap();
    let events: Vec<Value> = payloads()
        .into_iter()
        .map(|payload| {
            let event = event(Event {
                sequence: 1,
                event: NewEvent {
                    id: "evt_1".into(),
                    session: SessionId::new("S1"),
                    organization: OrganizationId::new("a"),
                    timestamp: Time(1_700_000_000_000),
                    payload,
                },
                metadata: Metadata::new(),
            });
            serde_json::from_slice(&renderer.json(&event.encode_to_vec()).unwrap()).unwrap()
        })
        .collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES, "the samples are the whole catalogue, in its order");
    let documented: BTreeSet<String> = contract.check_events(&events);
    let named: BTreeSet<String> = contract
        .schemas
        .values()
        .filter_map(|schema| schema["properties"]["event"]["enum"].as_array())
        .flatten()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(documented, named, "every documented event is in the catalogue");
    // What the documentation names is filled, not only tolerated.
    for event in &events {
        let name = event["event"].as_str().unwrap();
        let full = ["message.reaction", "message.edited", "message.revoked", "poll.vote", "group.update", "group.participant"];
        let Some(schema) = contract.payload_of(name).filter(|_| !full.contains(&name)) else { continue };
        for property in schema["properties"].as_object().unwrap().keys() {
            let about_something_done = ["reaction", "selectedOptions", "targetId"].contains(&property.as_str());
            assert!(
                about_something_done || event["payload"].get(property).is_some(),
                "{name}: {property} is never set: {event:#}"
            );
        }
    }
    let text = serde_json::to_string(&events).unwrap();
    assert!(!text.contains("mediaKey") && !text.contains("directPath") && !text.contains("secret"), "keys are told: {text}");
}
