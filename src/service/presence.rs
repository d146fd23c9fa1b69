//! Who is there and who types.

use std::time::Duration;

use super::Service;
use super::contact::PATIENCE;
use crate::domain::clock::Time;
use crate::domain::ids::SessionId;
use crate::domain::jid::{Address, Kind};
use crate::domain::presence::{Activity, Presence};
use crate::domain::principal::{Capability, Principal};
use crate::error::{Code, Error, Result};

/// How long WhatsApp's first word about a person is waited for.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// What is known of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatPresence {
    /// The chat.
    pub chat: String,
    /// Who it is about.
    pub from: String,
    /// What is known.
    pub presence: Presence,
    /// When the person was last there.
    pub last_seen: Option<Time>,
}

impl Service {
    /// Shows the account as there or as away.
    pub async fn set_presence(&self, caller: &Principal, id: &SessionId, online: bool) -> Result<()> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        if self.online(&session)?.set_presence(online).await? {
            return Ok(());
        }
        let text = "WhatsApp has not told the account's name yet, without which nobody is shown; set one or try again soon";
        Err(Error::new(Code::SessionNotConnected, text).reason("no_name"))
    }

    /// The last that was told of a chat; has WhatsApp tell of a person from the first call on.
    pub async fn chat_presence(&self, caller: &Principal, id: &SessionId, chat: &str) -> Result<ChatPresence> {
        caller.require(Capability::Read)?;
        let session = self.get_session(caller, id).await?;
        let chat = conversation("cid", chat)?;
        let sender = self.online(&session)?;
        // WhatsApp tells of a person by whichever of the person's addresses it likes: both have to be known.
        let mut addresses = vec![chat.to_string()];
        let mut person = self.0.db.identity(id, &chat.to_string()).await?;
        if chat.kind == Kind::Phone && person.as_ref().is_none_or(|person| person.lid.is_none()) {
            let found = self.check_contacts(caller, id, "cid", std::slice::from_ref(&chat.user)).await?;
            if found.iter().all(|one| one.jid.is_none()) {
                return Err(Error::not_found("contact"));
            }
            person = self.0.db.identity(id, &chat.to_string()).await?;
        }
        if let Some(person) = person {
            addresses.extend(self.0.db.aliases(person.id).await?);
        }
        let attention = sender.attention();
        let fresh = chat.kind != Kind::Group && sender.watch_presence(&chat, &addresses).await?;
        let seen = if fresh { attention.wait(&addresses, FIRST_WORD).await } else { attention.latest(&addresses) };
        let chat = chat.to_string();
        Ok(match seen {
            Some(seen) => {
                let presence = seen.now(self.0.ambient.now());
                ChatPresence { chat, from: seen.who, presence, last_seen: seen.last_seen }
            }
            None => ChatPresence { from: chat.clone(), chat, presence: Presence::Unknown, last_seen: None },
        })
    }

    /// Shows something in a chat.
    pub async fn set_chat_presence(&self, caller: &Principal, id: &SessionId, chat: &str, activity: Activity) -> Result<()> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let chat = conversation("cid", chat)?;
        let sender = self.online(&session)?;
        sender.show_activity(&chat, activity).await?;
        Ok(())
    }

    /// Refuses a call that rings.
    pub async fn reject_call(&self, caller: &Principal, id: &SessionId, call_id: &str) -> Result<()> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let sender = self.online(&session)?;
        let call = sender.attention().ringing(call_id).ok_or_else(|| Error::not_found("call"))?;
        let answer = tokio::time::timeout(PATIENCE, sender.reject_call(&call)).await;
        answer.map_err(|late| Error::new(Code::Timeout, "the call could not be refused in time").because(late))??;
        Ok(())
    }
}

/// Reads the address of a chat in which people type.
fn conversation(field: &str, text: &str) -> Result<Address> {
    let address = Address::parse(field, text)?;
    match address.kind {
        Kind::Phone | Kind::Lid | Kind::Group => Ok(address),
        Kind::Newsletter | Kind::Broadcast => Err(Error::field(field, "nobody types there; use a person or a group")),
    }
}
