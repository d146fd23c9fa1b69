//! The directory: whom a session's account knows, and what WhatsApp tells of them.

use std::time::Duration;

use super::Service;
use crate::domain::group::Member;
use crate::domain::identity::{ContactFilter, Identity, Names, Seen};
use crate::domain::ids::SessionId;
use crate::domain::jid::{Address, Kind, phone_digits};
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::Session;
use crate::error::{Code, Error, Result};
use crate::outbox::check;

/// How long a caller waits for its turn to ask WhatsApp.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// How many numbers one call may ask for.
const MOST_PHONES: usize = 100;

/// A number that was asked for, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnWhatsApp {
    /// The number as the caller wrote it.
    pub query: String,
    /// The address of who uses it; `None` when nobody does.
    pub jid: Option<String>,
}

/// A person with all that the directory has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Who.
    pub person: Identity,
    /// Every address that the person ever had.
    pub aliases: Vec<String>,
    /// The groups that the person is in.
    pub groups: Vec<Member>,
}

impl Service {
    /// A page of the directory, and where the next one begins when there is more.
    pub async fn list_contacts(
        &self,
        caller: &Principal,
        id: &SessionId,
        filter: ContactFilter,
        after: Option<&str>,
        limit: i64,
    ) -> Result<(Vec<Identity>, Option<String>)> {
        caller.require(Capability::Read)?;
        let session = self.get_session(caller, id).await?;
        let group = filter.group.as_deref().map(|group| group_address("group", group)).transpose()?;
        let account = session.account.as_ref();
        let except = (account.and_then(|own| own.wa_lid.clone()), account.map(|own| own.phone_number.clone()));
        let filter = ContactFilter { group: group.map(|group| group.to_string()), except, ..filter };
        let mut page = self.0.db.contacts(id, &filter, position(after)?, limit.saturating_add(1)).await?;
        let next = next_of(&mut page, limit, |person| person.id);
        Ok((page, next))
    }

    /// One person with the groups that it is in.
    pub async fn get_contact(&self, caller: &Principal, id: &SessionId, person: &str) -> Result<Known> {
        caller.require(Capability::Read)?;
        self.get_session(caller, id).await?;
        // A bare number may be a LID as well as a phone number: LIDs are looked for first, as the path's name says.
        let bare = person.bytes().all(|b| b.is_ascii_digit()).then(|| Address { kind: Kind::Lid, user: person.to_owned() });
        let mut found = None;
        if let Some(lid) = bare {
            found = self.0.db.identity(id, &lid.to_string()).await?;
        }
        if found.is_none() {
            let address = person_address("lid", person)?;
            found = self.0.db.identity(id, &address.to_string()).await?;
        }
        let person = found.ok_or_else(|| Error::not_found("contact"))?;
        let groups = self.0.db.memberships(person.id).await?;
        let aliases = self.0.db.aliases(person.id).await?;
        Ok(Known { person, aliases, groups })
    }

    /// Which of these numbers are on WhatsApp, in their order. What was asked within a day is not asked again.
    pub async fn check_contacts(
        &self,
        caller: &Principal,
        id: &SessionId,
        field: &str,
        phones: &[String],
    ) -> Result<Vec<OnWhatsApp>> {
        caller.require(Capability::Read)?;
        let session = self.get_session(caller, id).await?;
        if phones.is_empty() || phones.len() > MOST_PHONES {
            return Err(Error::field(field, format!("takes 1 to {MOST_PHONES} numbers")));
        }
        let mut numbers = Vec::with_capacity(phones.len());
        for (at, phone) in phones.iter().enumerate() {
            let field = if phones.len() > 1 { format!("{field}[{at}]") } else { field.to_owned() };
            numbers.push(phone_digits(&field, phone)?);
        }
        let found = check::registered(&self.0.db, id, &numbers, self.0.ambient.now(), || self.online(&session)).await?;
        let answer =
            |(query, digits): (&String, &String)| OnWhatsApp { query: query.clone(), jid: found.get(digits).cloned().flatten() };
        Ok(phones.iter().zip(&numbers).map(answer).collect())
    }

    /// What a person tells about itself.
    pub async fn contact_about(&self, caller: &Principal, id: &SessionId, person: &str) -> Result<String> {
        caller.require(Capability::Read)?;
        let session = self.get_session(caller, id).await?;
        let person = person_address("jid", person)?;
        let sender = self.online(&session)?;
        let about = sender.ask(PATIENCE, sender.about(&person)).await?;
        about.ok_or_else(|| Error::not_found("contact"))
    }

    /// A person's or group's picture: its id and its URL.
    pub async fn contact_picture(&self, caller: &Principal, id: &SessionId, of: &str) -> Result<Option<(String, String)>> {
        caller.require(Capability::Read)?;
        let session = self.get_session(caller, id).await?;
        let of = Address::parse("jid", of)?;
        let sender = self.online(&session)?;
        match sender.ask(PATIENCE, sender.picture(&of)).await {
            // Hidden from this account: as if there were none.
            Err(e) if matches!(e.code, Code::Forbidden) => Ok(None),
            answer => answer,
        }
    }

    /// Blocks or unblocks a person.
    pub async fn set_blocked(&self, caller: &Principal, id: &SessionId, person: &str, blocked: bool) -> Result<()> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let person = person_address("jid", person)?;
        let sender = self.online(&session)?;
        // WhatsApp blocks people by LID and wants the number with it; who is known by one of them is asked for first.
        let known = self.0.db.identity(id, &person.to_string()).await?;
        if known.is_none_or(|known| known.lid.is_none()) && person.kind == Kind::Phone {
            let found = sender.ask(PATIENCE, sender.check_phones(std::slice::from_ref(&person.user))).await?;
            if !found.iter().any(|one| one.registered) {
                return Err(Error::not_found("contact"));
            }
        }
        sender.ask(PATIENCE, sender.set_blocked(&person, blocked)).await
    }

    /// Those who are blocked.
    pub async fn list_blocked(&self, caller: &Principal, id: &SessionId) -> Result<Vec<Identity>> {
        caller.require(Capability::Read)?;
        let session = self.get_session(caller, id).await?;
        let sender = self.online(&session)?;
        let addresses = sender.ask(PATIENCE, sender.blocked()).await?;
        let seen: Vec<Seen> = addresses.iter().filter_map(|one| Seen::new([one.as_str()], Names::default(), None)).collect();
        let mut tx = self.0.db.begin().await?;
        tx.learn(id, &seen, self.0.ambient.now()).await?;
        tx.commit().await?;
        let mut people = Vec::with_capacity(seen.len());
        for address in seen.iter().flat_map(Seen::addresses) {
            people.extend(self.0.db.identity(id, &address).await?);
        }
        Ok(people)
    }

    /// The address under which WhatsApp is asked about a session's group, which must be one.
    pub(super) async fn group_of(&self, caller: &Principal, id: &SessionId, gid: &str) -> Result<(Session, Address)> {
        let session = self.get_session(caller, id).await?;
        Ok((session, group_address("gid", gid)?))
    }
}

/// Reads the address of a person.
pub(super) fn person_address(field: &str, text: &str) -> Result<Address> {
    let address = Address::parse(field, text)?;
    match address.kind {
        Kind::Phone | Kind::Lid => Ok(address),
        _ => Err(Error::field(field, "not a person; use a phone number, or an address that ends in @s.whatsapp.net or @lid")),
    }
}

/// Reads the address of a group; the part before the `@` is enough.
pub(super) fn group_address(field: &str, text: &str) -> Result<Address> {
    let text = if text.contains('@') { text.to_owned() } else { format!("{text}@g.us") };
    let address = Address::parse(field, &text)?;
    match address.kind {
        Kind::Group => Ok(address),
        _ => Err(Error::field(field, "not a group; use an address that ends in @g.us")),
    }
}

/// The position that a cursor names.
pub(super) fn position(cursor: Option<&str>) -> Result<i64> {
    cursor.map_or(Ok(0), |text| text.parse().map_err(|_| Error::field("cursor", "not the `nextCursor` of an earlier page")))
}

/// Cuts the one row more than asked for, and gives the cursor of the next page if there was one.
pub(super) fn next_of<T>(page: &mut Vec<T>, limit: i64, id: impl Fn(&T) -> i64) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(0);
    if page.len() <= limit {
        return None;
    }
    page.truncate(limit);
    page.last().map(|last| id(last).to_string())
}
