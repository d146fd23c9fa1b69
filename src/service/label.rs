//! Labels: made and given on all devices of the account by its app state, and kept here as they were told.

use super::Service;
use super::contact::PATIENCE;
use crate::domain::ids::SessionId;
use crate::domain::jid::Address;
use crate::domain::label::{Label, LabelNews};
use crate::domain::principal::{Capability, Principal};
use crate::error::{Error, Result};

/// A name's longest length in characters.
const MAX_NAME: usize = 100;

/// How many colours WhatsApp has.
const COLORS: i64 = 20;

impl Service {
    /// The labels, or those of one chat.
    pub async fn list_labels(&self, caller: &Principal, id: &SessionId, chat: Option<&str>) -> Result<Vec<Label>> {
        caller.require(Capability::Read)?;
        self.get_session(caller, id).await?;
        match chat {
            None => self.0.db.labels(id).await,
            Some(chat) => {
                let chat = Address::parse("chat", chat)?.to_string();
                self.0.db.labels_of_chat(id, &chat).await
            }
        }
    }

    /// Makes a label.
    pub async fn create_label(&self, caller: &Principal, id: &SessionId, name: &str, color: Option<i32>) -> Result<Label> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let name = label_name(name)?;
        let sender = self.online(&session)?;
        // The turn keeps two calls at the same moment from taking the same id.
        let mut turn = sender.turn(PATIENCE).await?;
        let ids = self.0.db.label_ids(id).await?;
        let next = ids.iter().filter_map(|id| id.parse::<i64>().ok()).max().unwrap_or(0).saturating_add(1);
        let color = color.map_or((next - 1).rem_euclid(COLORS), i64::from);
        let label = Label { id: next.to_string(), name: name.to_owned(), color, chats: 0 };
        turn.ask(sender.set_label(&label.id, &label.name, color_number(color))).await?;
        self.note(id, LabelNews::Set { id: label.id.clone(), name: label.name.clone(), color }).await?;
        Ok(label)
    }

    /// Changes a label.
    pub async fn update_label(
        &self,
        caller: &Principal,
        id: &SessionId,
        label: &str,
        name: Option<&str>,
        color: Option<i32>,
    ) -> Result<Label> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let old = self.label(id, label).await?;
        let name = name.map(label_name).transpose()?.unwrap_or(&old.name).to_owned();
        let new = Label { name, color: color.map_or(old.color, i64::from), ..old };
        let sender = self.online(&session)?;
        sender.ask(PATIENCE, sender.set_label(&new.id, &new.name, color_number(new.color))).await?;
        self.note(id, LabelNews::Set { id: new.id.clone(), name: new.name.clone(), color: new.color }).await?;
        Ok(new)
    }

    /// Deletes a label.
    pub async fn delete_label(&self, caller: &Principal, id: &SessionId, label: &str) -> Result<()> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let label = self.label(id, label).await?;
        let sender = self.online(&session)?;
        sender.ask(PATIENCE, sender.delete_label(&label.id)).await?;
        self.note(id, LabelNews::Deleted { id: label.id }).await
    }

    /// The chats that have a label.
    pub async fn list_label_chats(&self, caller: &Principal, id: &SessionId, label: &str) -> Result<Vec<String>> {
        caller.require(Capability::Read)?;
        self.get_session(caller, id).await?;
        let label = self.label(id, label).await?;
        self.0.db.label_chats(id, &label.id).await
    }

    /// Gives a chat a label, or takes it.
    pub async fn assign_label(&self, caller: &Principal, id: &SessionId, label: &str, chat: &str, on: bool) -> Result<()> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let chat = Address::parse("chat", chat)?;
        let label = self.label(id, label).await?;
        let sender = self.online(&session)?;
        sender.ask(PATIENCE, sender.assign_label(&label.id, &chat, on)).await?;
        self.note(id, LabelNews::Assigned { id: label.id, chat: chat.to_string(), on }).await
    }

    async fn label(&self, id: &SessionId, label: &str) -> Result<Label> {
        self.0.db.label(id, label).await?.ok_or_else(|| Error::not_found("label"))
    }

    /// WhatsApp does not tell a device what it did itself.
    async fn note(&self, id: &SessionId, news: LabelNews) -> Result<()> {
        let mut tx = self.0.db.begin().await?;
        tx.record_label(id, &news).await?;
        tx.commit().await
    }
}

fn label_name(name: &str) -> Result<&str> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME {
        return Err(Error::field("name", format!("takes 1 to {MAX_NAME} characters")));
    }
    Ok(name)
}

fn color_number(color: i64) -> i32 {
    i32::try_from(color).unwrap_or_default()
}
