//! What people do with their phones.

use super::draft::Draft;
use super::{PhoneMessage, Sandbox};
use crate::domain::jid::{Address, phone_digits};
use crate::error::Result;

impl Sandbox {
    /// The phone sends something to a person or a group, encrypted for every device of the recipients; a text alone can be given as
    /// it is. Gives the row that the phone shows, or the changed one. Fails when either side is unknown, when the phone may not write
    /// there, and when what it speaks of is not in the chat.
    pub async fn send_message(&self, number: &str, to: &str, draft: impl Into<Draft>) -> Result<PhoneMessage> {
        let number = phone_digits("phoneNumber", number)?;
        let to = Address::parse("to", to)?;
        let draft = draft.into();
        let message = self.inner.act(|world| {
            let to = world.chat("to", &to)?;
            world.phone_sends_draft(&number, &to, &draft)
        })?;
        self.inner.settled().await;
        Ok(message)
    }

    /// What the phone shows, oldest first; only the chat with `with` when given. Fails when there is no such phone.
    pub async fn list_messages(&self, number: &str, with: Option<&str>) -> Result<Vec<PhoneMessage>> {
        let number = phone_digits("phoneNumber", number)?;
        let with = with.map(|with| Address::parse("with", with)).transpose()?;
        let world = self.inner.world();
        // A chat with nobody we know is an empty one.
        let chat = with.map(|with| world.chat("with", &with).map_or_else(|_| with.to_string(), |chat| chat.name()));
        let account = world.known(&number)?;
        let rows = account.messages.values().map(|row| &row.shown);
        Ok(rows.filter(|row| chat.as_ref().is_none_or(|chat| row.chat == *chat)).cloned().collect())
    }
}
