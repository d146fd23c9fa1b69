//! What WhatsApp tells a live session about people.

use wacore::iq::usync::IsOnWhatsAppResult;
use wacore_binary::{Jid, Server};

use super::connection::Sender;
use super::failure::Refused;
use super::outgoing;
use crate::domain::jid::Address;

type Answer<T> = Result<T, Refused>;

/// What WhatsApp says about one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The number in digits.
    pub phone: String,
    /// Whether somebody uses WhatsApp with it.
    pub registered: bool,
    /// That person's LID.
    pub lid: Option<String>,
    /// The name of a business that WhatsApp has verified.
    pub business_name: Option<String>,
}

impl Sender {
    /// Asks which of these numbers, in digits, are on WhatsApp: one question for all of them.
    pub async fn check_phones(&self, phones: &[String]) -> Answer<Vec<Checked>> {
        let jids: Vec<Jid> = phones.iter().map(|phone| Jid::pn(phone.as_str())).collect();
        let found = self.client.contacts().is_on_whatsapp(&jids).await?;
        Ok(found.into_iter().filter_map(checked).collect())
    }

    /// What a person tells about itself; empty when that is hidden.
    pub async fn about(&self, person: &Address) -> Answer<Option<String>> {
        let jid = outgoing::jid(person);
        let mut found = self.client.contacts().get_user_info(std::slice::from_ref(&jid)).await?;
        Ok(found.remove(&jid).or_else(|| found.into_values().next()).map(|info| info.status.unwrap_or_default()))
    }

    /// A person's or group's picture: its id and where it can be had for a while. `None` without one, or when it is hidden.
    pub async fn picture(&self, of: &Address) -> Answer<Option<(String, String)>> {
        let found = self.client.contacts().get_profile_picture(&outgoing::jid(of), false).await?;
        Ok(found.map(|picture| (picture.id, picture.url)))
    }

    /// Blocks or unblocks a person.
    pub async fn set_blocked(&self, person: &Address, blocked: bool) -> Answer<()> {
        let (jid, blocking) = (outgoing::jid(person), self.client.blocking());
        let done = if blocked { blocking.block(&jid).await } else { blocking.unblock(&jid).await };
        Ok(done?)
    }

    /// The addresses of those who are blocked.
    pub async fn blocked(&self) -> Answer<Vec<String>> {
        let list = self.client.blocking().get_blocklist().await?;
        Ok(list.into_iter().map(|entry| entry.jid.to_non_ad().to_string()).collect())
    }
}

fn checked(it: IsOnWhatsAppResult) -> Option<Checked> {
    let jids = [Some(&it.jid), it.pn_jid.as_ref(), it.lid.as_ref()];
    let find = |server| jids.into_iter().flatten().find(|jid| jid.server == server);
    Some(Checked {
        phone: find(Server::Pn)?.user.to_string(),
        registered: it.is_registered,
        lid: find(Server::Lid).map(|lid| lid.to_non_ad().to_string()),
        business_name: it.verified_name.and_then(|name| name.name).filter(|name| !name.is_empty()),
    })
}
