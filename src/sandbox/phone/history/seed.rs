//! Pasts that never were: chats and messages drawn from a seed, the same in every run.

use std::time::Duration;

use buffa::Message as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use wacore_binary::Jid;
use waproto::whatsapp as wa;

use crate::domain::clock::Time;
use crate::error::{Error, Result};
use crate::sandbox::keys::{Blob, hex};
use crate::sandbox::phone::Chat;
use crate::sandbox::phone::content::describe;
use crate::sandbox::phone::message::MAX_MESSAGES;
use crate::sandbox::server::World;
use crate::sandbox::{Direction, MessageState, PhoneMessage};

/// What people talk about.
const WORDS: [&str; 32] = [
    "the", "order", "arrives", "tomorrow", "thanks", "please", "call", "me", "when", "you", "can", "meeting", "at", "noon",
    "coffee", "today", "yes", "no", "maybe", "photos", "from", "beach", "invoice", "paid", "great", "see", "soon", "happy",
    "birthday", "where", "are", "we",
];

/// A past to be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// How many persons the phone has chats with.
    pub chats: usize,
    /// How many messages each chat has.
    pub messages: usize,
    /// Over how many days they are spread.
    pub days: u32,
    /// Where the dice begin.
    pub seed: u64,
}

/// A message that was sent once.
pub(in crate::sandbox) struct Remembered<'a> {
    /// WhatsApp's id.
    pub(in crate::sandbox) id: String,
    /// Its author's number.
    pub(in crate::sandbox) author: &'a str,
    /// When it was sent.
    pub(in crate::sandbox) at: Time,
    /// What it is.
    pub(in crate::sandbox) content: wa::Message,
    /// Whether it has been read.
    pub(in crate::sandbox) read: bool,
}

impl World {
    /// Gives a phone a past with people from 628770000000 on, and these the same. Gives the number of messages.
    pub(in crate::sandbox) fn draw_past(&mut self, number: &str, past: Past) -> Result<usize> {
        let Past { chats, messages, days, seed } = past;
        if chats.saturating_mul(messages) > MAX_MESSAGES {
            return Err(Error::field("messages", format!("a phone keeps at most {MAX_MESSAGES} messages in all its chats")));
        }
        let mut dice = StdRng::seed_from_u64(seed);
        let people: Vec<String> = self.populate(number, chats, 0, 0)?.into_iter().map(|phone| phone.number).collect();
        let now = self.ambient.now();
        let span = Duration::from_secs(u64::from(days.max(1)) * 24 * 60 * 60);
        for peer in people.iter().filter(|peer| *peer != number) {
            self.acquaint(number, peer);
            let mut at = now.minus(span);
            let step = u64::try_from(span.as_millis()).unwrap_or(u64::MAX) / u64::try_from(messages + 1).unwrap_or(1);
            for _ in 0..messages {
                at = at.plus(Duration::from_millis(dice.random_range(step / 2..=step)));
                let author = if dice.random_bool(0.5) { number } else { peer.as_str() };
                let content = wa::Message { conversation: Some(sentence(&mut dice)), ..Default::default() };
                let message = Remembered { id: drawn_id(&mut dice), author, at, content, read: true };
                self.remember(&[number.to_owned(), peer.clone()], &Chat::Person(peer.clone()), &message);
            }
        }
        Ok(messages * people.len())
    }

    /// Puts a message of the past into phones. The chat is as the first of them sees it; the other of two sees the first.
    pub(in crate::sandbox) fn remember(&mut self, phones: &[String], chat: &Chat, message: &Remembered<'_>) {
        let Some(shown) = describe(&message.content) else { return };
        let kept = Blob(message.content.encode_to_vec());
        for (at, phone) in phones.iter().enumerate() {
            let named = match (chat, phones.first()) {
                (Chat::Person(_), Some(first)) if at > 0 => Chat::Person(first.clone()),
                _ => chat.clone(),
            };
            let own = phone == message.author;
            let row = PhoneMessage {
                id: message.id.clone(),
                chat: named.name(),
                sender: Jid::pn(message.author).to_string(),
                direction: if own { Direction::Out } else { Direction::In },
                state: match (own, message.read) {
                    (false, _) => MessageState::Received,
                    (true, true) => MessageState::Read,
                    (true, false) => MessageState::Delivered,
                },
                timestamp: message.at,
                delivered_at: Some(message.at),
                read_at: message.read.then_some(message.at),
                ..PhoneMessage::default()
            };
            self.phone_shows(phone, row, shown.clone(), Some(kept.clone()));
        }
    }
}

/// An id as phones make them, by dice.
pub(in crate::sandbox) fn drawn_id(dice: &mut StdRng) -> String {
    format!("3A{}", hex(&dice.random::<[u8; 9]>()))
}

/// A few words.
pub(in crate::sandbox) fn sentence(dice: &mut StdRng) -> String {
    let count = dice.random_range(2..10);
    let words: Vec<&str> = (0..count).filter_map(|_| WORDS.get(dice.random_range(0..WORDS.len())).copied()).collect();
    words.join(" ")
}
