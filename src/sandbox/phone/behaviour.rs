//! Phones that answer by themselves: with an echo, or with small talk after a pause.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Chat;
use crate::sandbox::draft::Draft;
use crate::sandbox::server::World;
use crate::sandbox::{Direction, PhoneMessage};

/// How many answers a phone gives by itself within [`WINDOW`], so that two that answer each other come to an end.
const MAX_ANSWERS: u32 = 30;
/// Seconds.
const WINDOW: u64 = 60;
/// What a chatty phone says.
const SMALL_TALK: [&str; 10] = [
    "Ha, good one!",
    "I was just thinking of that.",
    "Really?",
    "Let me ask my sister.",
    "Sounds good to me.",
    "I'll get back to you.",
    "Not today, sorry.",
    "Where did you hear that?",
    "See you soon!",
    "Tell me more.",
];

/// What a phone does by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Behaviour {
    /// It answers each text with the same text.
    pub(in crate::sandbox) echo: bool,
    /// It answers each message with small talk, by this seed.
    pub(in crate::sandbox) chatty: Option<i64>,
    /// How many answers of small talk it has given.
    pub(in crate::sandbox) said: u64,
    /// Since when (seconds since 1970) its answers are counted, and how many there were.
    #[serde(skip)]
    counted: (u64, u32),
}

impl Behaviour {
    /// Changes what is given; `drawn` is the seed when there is none.
    pub(in crate::sandbox) fn change(&mut self, echo: Option<bool>, chatty: Option<bool>, seed: Option<i64>, drawn: i64) {
        self.echo = echo.unwrap_or(self.echo);
        let before = self.chatty;
        if chatty.unwrap_or(before.is_some()) {
            self.chatty = seed.or(before).or(Some(drawn));
        } else {
            self.chatty = None;
        }
        if self.chatty != before {
            self.said = 0;
        }
    }

    fn answers(&self) -> bool {
        self.echo || self.chatty.is_some()
    }

    /// The next small talk and the pause before it: the same for the same seed and turn.
    fn small_talk(&self) -> Option<(Duration, &'static str)> {
        let mut hash = Sha256::new();
        hash.update(self.chatty?.to_be_bytes());
        hash.update(self.said.to_be_bytes());
        let [first, second, which, ..] = <[u8; 32]>::from(hash.finalize());
        let pause = Duration::from_millis(200 + u64::from(u16::from_be_bytes([first, second])) % 1800);
        Some((pause, SMALL_TALK.get(usize::from(which) % SMALL_TALK.len())?))
    }
}

impl World {
    /// Somebody wrote to a phone: it answers if that is its way. A phone never answers another one that answers by itself, nor in groups,
    /// nor more often than 30 times a minute.
    pub(super) fn phone_answers(&mut self, number: &str, row: &PhoneMessage) {
        if row.direction != Direction::In || matches!(row.kind.as_str(), "reaction" | "vote") {
            return;
        }
        let Some(peer) = row.chat.strip_suffix("@s.whatsapp.net").map(ToOwned::to_owned) else { return };
        if self.accounts.get(&peer).is_none_or(|account| account.behaviour.answers()) {
            return;
        }
        let now = self.now_secs();
        let Some(account) = self.accounts.get_mut(number).filter(|account| account.behaviour.answers()) else { return };
        let behaviour = &mut account.behaviour;
        let (since, count) = behaviour.counted;
        let count = if now >= since + WINDOW { 0 } else { count };
        if count >= MAX_ANSWERS {
            return;
        }
        behaviour.counted = if count == 0 { (now, 1) } else { (since, count + 1) };
        let echo = behaviour.echo && row.kind == "text" && !row.text.is_empty();
        let talk = behaviour.small_talk();
        if talk.is_some() {
            behaviour.said += 1;
            self.touch_account(number);
        }
        if echo {
            self.phone_says(number, &peer, &row.text);
        }
        if let Some((pause, talk)) = talk {
            let number = number.to_owned();
            self.after_a_while(pause, move |world| world.phone_says(&number, &peer, talk));
        }
    }

    fn phone_says(&mut self, number: &str, peer: &str, text: &str) {
        // Whoever is gone by now gets no answer.
        let _ = self.phone_sends_draft(number, &Chat::Person(peer.to_owned()), &Draft::from(text));
    }

    /// Runs a step after a while, if the sandbox is still there.
    fn after_a_while(&self, after: Duration, step: impl FnOnce(&mut Self) + Send + 'static) {
        let inner = self.inner.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(inner) = inner.upgrade() {
                inner.act(step);
            }
        });
    }
}
