//! What a live session does as its account: presence, profile, privacy, calls, labels.

use wacore::iq::privacy::{PrivacyCategory, PrivacyValue};
use whatsapp_rust::features::{ChatStateType, PresenceError};

use super::attention::Ringing;
use super::connection::Sender;
use super::failure::Refused;
use super::outgoing;
use crate::domain::jid::Address;
use crate::domain::presence::Activity;
use crate::domain::profile::{PRIVACY, Privacy};

type Answer<T> = Result<T, Refused>;

impl Sender {
    /// Shows the account as there or as away, on this connection and those that the library makes anew. False while WhatsApp has not
    /// told the account's name, without which nobody is shown.
    pub async fn set_presence(&self, online: bool) -> Answer<bool> {
        let presence = self.client.presence();
        let done = if online { presence.set_available().await } else { presence.set_unavailable().await };
        match done {
            Ok(()) => {
                self.attention().set_away(!online);
                Ok(true)
            }
            Err(PresenceError::PushNameEmpty) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks WhatsApp to tell of a person, who has these addresses, from now on. False when it was asked before.
    pub async fn watch_presence(&self, who: &Address, addresses: &[String]) -> Answer<bool> {
        let jid = outgoing::jid(who);
        let (fresh, gone) = self.attention().watch(&jid);
        if fresh {
            // Whoever was watched before and made place has gone on unseen since.
            self.attention().forget(addresses);
        }
        let presence = self.client.presence();
        let asked = async {
            if let Some(gone) = gone {
                presence.unsubscribe(&gone).await?;
            }
            if fresh {
                presence.subscribe(jid.clone()).await?;
            }
            Ok(())
        };
        if let Err(refused) = asked.await {
            // Nobody is watched whom WhatsApp was not asked for.
            self.attention().unwatch(&jid);
            return Err(refused);
        }
        Ok(fresh)
    }

    /// Shows something in a chat.
    pub async fn show_activity(&self, chat: &Address, activity: Activity) -> Answer<()> {
        let state = match activity {
            Activity::Composing => ChatStateType::Composing,
            Activity::Recording => ChatStateType::Recording,
            Activity::Paused => ChatStateType::Paused,
        };
        Ok(self.client.chatstate().send(&outgoing::jid(chat), state).await?)
    }

    /// The name that others see; `None` while WhatsApp has not told it.
    pub fn own_name(&self) -> Option<String> {
        Some(self.client.push_name()).filter(|name| !name.is_empty())
    }

    /// Changes the name that others see.
    pub async fn set_own_name(&self, name: &str) -> Answer<()> {
        Ok(self.client.profile().set_push_name(name).await?)
    }

    /// Changes what the account tells about itself.
    pub async fn set_own_about(&self, about: &str) -> Answer<()> {
        Ok(self.client.profile().set_status_text(about).await?)
    }

    /// Changes the account's picture, a JPEG; no bytes remove it.
    pub async fn set_own_picture(&self, picture: Vec<u8>) -> Answer<()> {
        self.client.profile().set_profile_picture(picture).await?;
        Ok(())
    }

    /// The account's privacy settings.
    pub async fn privacy(&self) -> Answer<Privacy> {
        let settings = self.client.fetch_privacy_settings().await?;
        Ok(PRIVACY.map(|(_, name)| {
            let value = settings.get_value(&PrivacyCategory::from(name))?;
            Some(value.as_str().to_owned())
        }))
    }

    /// Changes one privacy setting, named in WhatsApp's words.
    pub async fn set_privacy(&self, name: &str, value: &str) -> Answer<()> {
        self.client.set_privacy_setting(PrivacyCategory::from(name), PrivacyValue::from(value)).await?;
        Ok(())
    }

    /// Refuses a call.
    pub async fn reject_call(&self, call: &Ringing) -> Answer<()> {
        self.client.voip().reject_call(&call.call_id, &call.peer, &call.creator).await?;
        self.attention().silence(&call.call_id);
        Ok(())
    }

    /// Makes or changes a label on all devices of the account.
    pub async fn set_label(&self, id: &str, name: &str, color: i32) -> Answer<()> {
        Ok(self.client.labels().create_label(id, name, color).await?)
    }

    /// Deletes a label on all devices of the account.
    pub async fn delete_label(&self, id: &str) -> Answer<()> {
        Ok(self.client.labels().delete_label(id).await?)
    }

    /// Gives a chat a label, or takes it.
    pub async fn assign_label(&self, id: &str, chat: &Address, on: bool) -> Answer<()> {
        let (labels, chat) = (self.client.labels(), outgoing::jid(chat));
        let done = if on { labels.add_chat_label(id, &chat).await } else { labels.remove_chat_label(id, &chat).await };
        Ok(done?)
    }
}

/// Whether WhatsApp knows this value for this privacy setting.
pub fn is_privacy_value(name: &str, value: &str) -> bool {
    let value = PrivacyValue::from(value);
    !matches!(value, PrivacyValue::Other(_)) && PrivacyCategory::from(name).is_valid_value(&value)
}
