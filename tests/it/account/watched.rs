//! How many people a session watches at a time, and who makes place.

use serde_json::{Value, json};
use whatsapp_gateway::sandbox::sight::{SightKind, Watcher};
use whatsapp_gateway::wa::attention::WATCHED;

use super::{BUDI, SHOP, patch};
use crate::gateway::{Gateway, Home};
use crate::support::Engine;

const DEWI: &str = "6281200000003";

/// A session that looks at people, and what WhatsApp is asked because of it.
struct Looking {
    gateway: Gateway,
    session: String,
    watcher: Watcher,
}

impl Looking {
    /// Looks at a person: what is known, and what WhatsApp was asked, as `subscribe` and `unsubscribe` with the address.
    async fn at(&mut self, person: &str) -> (Value, Vec<(String, String)>) {
        let shown = self.gateway.get(&format!("/api/v1/sessions/{}/chats/{person}/presence", self.session)).await;
        // Shown in a chat afterwards: the socket keeps the order, so that everything before has been seen with it.
        let typed = json!({"state": "composing"});
        let path = format!("/api/v1/sessions/{}/chats/{BUDI}/presence", self.session);
        assert_eq!(super::put(&self.gateway, &path, typed).await.0, 204);
        let mut asked = Vec::new();
        loop {
            let sight = self.watcher.next().await.unwrap();
            assert!(!matches!(sight.kind, SightKind::Missed(_)), "{sight:?}");
            match (sight.kind, sight.name.as_str()) {
                (SightKind::Stanza, "chatstate/composing") => return (shown, asked),
                (SightKind::Stanza, "presence/subscribe" | "presence/unsubscribe") => {
                    let word = sight.name.trim_start_matches("presence/").to_owned();
                    asked.push((word, sight.peer));
                }
                _ => {}
            }
        }
    }
}

fn asked(word: &str, address: &str) -> (String, String) {
    (word.to_owned(), address.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_asked_for_longest_ago_makes_place() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    let session = gateway.paired(SHOP).await;
    for number in [BUDI, DEWI] {
        gateway.phone(number).await;
    }
    let people = json!({"people": WATCHED - 1, "groups": 0, "members": 0});
    let crowd = gateway.post(&format!("/sandbox/v1/phones/{SHOP}:populate"), people).await;
    let crowd: Vec<&str> = crowd["data"].as_array().unwrap().iter().map(|one| one["lid"].as_str().unwrap()).collect();
    let (last, crowd) = crowd.split_last().unwrap();
    let watcher = gateway.running.sandbox.as_ref().unwrap().watch(Some(SHOP)).unwrap();
    let mut looking = Looking { gateway, session, watcher };

    // Up to the bound everybody is asked for, once.
    let [budi, dewi] = [BUDI, DEWI].map(|number| format!("{number}@s.whatsapp.net"));
    assert_eq!(looking.at(BUDI).await.1, [asked("subscribe", &budi)]);
    assert_eq!(looking.at(DEWI).await.1, [asked("subscribe", &dewi)]);
    for one in crowd {
        assert_eq!(looking.at(one).await.1, [asked("subscribe", one)]);
    }
    assert_eq!(crowd.len() + 2, WATCHED);

    // All of them are told of, the first ones too. Whoever looks again at one asks nothing, and keeps that one for longer.
    for (online, state) in [(true, "available"), (false, "unavailable")] {
        patch(&looking.gateway, &format!("/sandbox/v1/phones/{BUDI}"), json!({"online": online})).await;
        let path = format!("/api/v1/sessions/{}/chats/{BUDI}/presence", looking.session);
        looking.gateway.until(&path, state, |shown| shown["state"] == state).await;
    }
    assert_eq!(looking.at(BUDI).await.1, []);

    // One more, and Dewi is the one asked for longest ago; then the first of the crowd, for Dewi.
    assert_eq!(looking.at(last).await.1, [asked("unsubscribe", &dewi), asked("subscribe", last)]);
    patch(&looking.gateway, &format!("/sandbox/v1/phones/{DEWI}"), json!({"online": true})).await;
    let (shown, again) = looking.at(DEWI).await;
    assert_eq!(again, [asked("unsubscribe", crowd[0]), asked("subscribe", &dewi)]);
    assert_eq!(shown["state"], "available", "the first word is waited for anew: {shown}");
    assert_eq!(looking.at(BUDI).await.1, [], "Budi is watched still");
    looking.gateway.stop().await;
}
