//! What a phone's owner does to chats and contacts without writing anything. Linked devices learn of it by app state.

use super::Sandbox;
use super::server::World;
use super::server::account::Contact;
use crate::domain::clock::Time;
use crate::domain::jid::{Address, phone_digits};
use crate::error::{Error, Result};

/// How a chat is shown from now on; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChatChange {
    /// Pinned to the top.
    pub pinned: Option<bool>,
    /// Put away.
    pub archived: Option<bool>,
    /// Silent.
    pub muted: Option<bool>,
    /// Until when it is silent; `None` for ever.
    pub muted_until: Option<Time>,
    /// Marked as read, or as unread.
    pub read: Option<bool>,
}

/// A label of a business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Its id, chosen by whoever makes it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The number of its colour.
    pub color: i32,
    /// Whether it is gone.
    pub deleted: bool,
}

impl Sandbox {
    /// Saves a person in a phone's address book. An empty first name is the full name's first word. Fails when either has no phone.
    pub async fn save_contact(&self, number: &str, person: &str, full_name: &str, first_name: &str) -> Result<()> {
        let person = phone_digits("contact", person)?;
        if full_name.trim().is_empty() {
            return Err(Error::field("fullName", "must not be empty"));
        }
        let first = if first_name.is_empty() { full_name.split_whitespace().next().unwrap_or_default() } else { first_name };
        let contact = Contact { full_name: full_name.to_owned(), first_name: first.to_owned() };
        self.phone_does(number, |world, number| world.phone_saves_contact(number, &person, contact)).await
    }

    /// Changes how a phone shows a chat. Fails when there is no such phone, person or group.
    pub async fn change_chat(&self, number: &str, chat: &str, change: ChatChange) -> Result<()> {
        let chat = Address::parse("chat", chat)?;
        self.phone_does(number, |world, number| {
            let chat = world.chat("chat", &chat)?;
            world.phone_changes_chat(number, &chat, change)
        })
        .await
    }

    /// Makes, changes or deletes a label of a phone. Fails when there is no such phone.
    pub async fn save_label(&self, number: &str, label: &Label) -> Result<()> {
        if label.id.is_empty() {
            return Err(Error::field("id", "must not be empty"));
        }
        self.phone_does(number, |world, number| world.phone_saves_label(number, label)).await
    }

    /// Puts a label on a chat, or takes it off. Fails when there is no such phone, person or group.
    pub async fn label_chat(&self, number: &str, label: &str, chat: &str, on: bool) -> Result<()> {
        let chat = Address::parse("chat", chat)?;
        self.phone_does(number, |world, number| {
            let chat = world.chat("chat", &chat)?;
            world.phone_labels_chat(number, label, &chat, on)
        })
        .await
    }

    /// Stars a message of a phone, or takes the star off. Fails when the phone has no such message.
    pub async fn star_message(&self, number: &str, chat: &str, id: &str, starred: bool) -> Result<()> {
        let chat = Address::parse("chat", chat)?;
        self.phone_does(number, |world, number| {
            let chat = world.chat("chat", &chat)?;
            world.phone_stars(number, &chat, id, starred)
        })
        .await
    }

    async fn phone_does(&self, number: &str, act: impl FnOnce(&mut World, &str) -> Result<()>) -> Result<()> {
        let number = phone_digits("phoneNumber", number)?;
        self.inner.act(|world| act(world, &number))?;
        self.inner.settled().await;
        Ok(())
    }
}
