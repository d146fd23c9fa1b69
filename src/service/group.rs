//! Groups: what the directory knows, kept right by asking WhatsApp when it may not be, and what callers do with them.

use std::time::Duration;

use super::Service;
use super::contact::{PATIENCE, group_address, next_of, person_address, position};
use crate::domain::clock::Time;
use crate::domain::group::{Group, GroupFacts, GroupPatch};
use crate::domain::ids::SessionId;
use crate::domain::jid::Address;
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::Session;
use crate::error::{Code, Error, Result};
use crate::wa::connection::Sender;
use crate::wa::groups::{MAX_DESCRIPTION, MAX_SUBJECT};

/// How long what WhatsApp told is taken as right. News of changes comes by itself; this is for what may have been missed.
const FRESH: Duration = Duration::from_secs(3600);

/// A picture's largest size in bytes.
pub(super) const MAX_PICTURE: usize = 512 * 1024;

/// A group to found.
#[derive(Clone, Debug)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// Whom to put in, as the caller wrote them.
    pub people: Vec<String>,
    /// The community that it shall belong to.
    pub community: Option<String>,
}

impl Service {
    /// The groups that the account is in, and where the next page begins.
    pub async fn list_groups(
        &self,
        caller: &Principal,
        id: &SessionId,
        after: Option<&str>,
        limit: i64,
    ) -> Result<(Vec<Group>, Option<String>)> {
        caller.require(Capability::Read)?;
        let session = self.get_session(caller, id).await?;
        let after = position(after)?;
        if after == 0
            && let Ok(sender) = self.online(&session)
        {
            self.refresh_list(&session, &sender).await?;
        }
        let mut page = self.0.db.groups(id, after, limit.saturating_add(1)).await?;
        let next = next_of(&mut page, limit, |group| group.id);
        Ok((page, next))
    }

    /// Asks which groups there are, once an hour and connection.
    async fn refresh_list(&self, session: &Session, sender: &Sender) -> Result<()> {
        let asked = self.0.ambient.now();
        let fresh = |at: Option<Time>| at.is_some_and(|at| asked.since(at) < FRESH);
        if fresh(sender.listed_at()) {
            return Ok(());
        }
        let mut turn = sender.turn(PATIENCE).await?;
        // Whoever had the turn before may have asked the same.
        if fresh(sender.listed_at()) {
            return Ok(());
        }
        let joined = turn.ask(sender.joined_groups()).await?;
        let now = self.0.ambient.now();
        let mut tx = self.0.db.begin().await?;
        for facts in &joined {
            tx.record_group(&session.id, facts, now).await?;
        }
        tx.commit().await?;
        sender.set_listed_at(now);
        Ok(())
    }

    /// One group.
    pub async fn get_group(&self, caller: &Principal, id: &SessionId, gid: &str) -> Result<Group> {
        caller.require(Capability::Read)?;
        let (session, group) = self.group_of(caller, id, gid).await?;
        self.fresh_group(&session, &group).await
    }

    /// A group with members that are right: from the directory, or from WhatsApp when that may be out of date. Several callers at a
    /// time ask only once. When the session is not connected, or the account is not in the group any more, what is known is told.
    pub(super) async fn fresh_group(&self, session: &Session, group: &Address) -> Result<Group> {
        let (db, jid) = (&self.0.db, group.to_string());
        let asked = self.0.ambient.now();
        let known = db.group(&session.id, &jid).await?;
        let right = |it: &Group| it.left_at.is_some() || it.refreshed_at.is_some_and(|at| asked.since(at) < FRESH);
        if let Some(known) = known.as_ref().filter(|known| right(known)) {
            return Ok(known.clone());
        }
        let sender = match self.online(session) {
            Ok(sender) => sender,
            Err(offline) => return known.ok_or(offline),
        };
        let mut turn = sender.turn(PATIENCE).await?;
        if let Some(known) = db.group(&session.id, &jid).await?.filter(right) {
            return Ok(known);
        }
        match turn.ask(sender.group(group)).await {
            Ok(facts) => self.record_group(session, &facts).await,
            Err(gone) if matches!(gone.code, Code::Forbidden | Code::NotFound) => {
                // Out of the group, or it is no more: what was known stays known.
                let Some(known) = known else { return Err(Error::not_found("group").because(gone)) };
                let now = self.0.ambient.now();
                let mut tx = db.begin().await?;
                tx.group_left(&session.id, &jid, now).await?;
                tx.commit().await?;
                Ok(Group { left_at: Some(now), ..known })
            }
            Err(other) => known.ok_or(other),
        }
    }

    async fn record_group(&self, session: &Session, facts: &GroupFacts) -> Result<Group> {
        let mut tx = self.0.db.begin().await?;
        tx.record_group(&session.id, facts, self.0.ambient.now()).await?;
        tx.commit().await?;
        let stored = self.0.db.group(&session.id, &facts.jid).await?;
        stored.ok_or_else(|| Error::internal(anyhow::anyhow!("the group was deleted at once")))
    }

    /// Founds a group.
    pub async fn create_group(&self, caller: &Principal, id: &SessionId, new: NewGroup) -> Result<GroupFacts> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let name = subject("name", &new.name)?;
        let people = people("participants", &new.people)?;
        let community = new.community.as_deref().map(|text| group_address("community", text)).transpose()?;
        let sender = self.online(&session)?;
        let facts = sender.ask(PATIENCE, sender.create_group(name, &people, community.as_ref())).await?;
        self.record_group(&session, &facts).await?;
        Ok(facts)
    }

    /// Changes what a group is, one setting after another.
    pub async fn update_group(&self, caller: &Principal, id: &SessionId, gid: &str, patch: GroupPatch) -> Result<()> {
        caller.require(Capability::Send)?;
        let (session, group) = self.group_of(caller, id, gid).await?;
        let new_subject = patch.subject.as_deref().map(|text| subject("subject", text)).transpose()?;
        if patch.description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
            return Err(Error::field("description", format!("has more than {MAX_DESCRIPTION} characters")));
        }
        let sender = self.online(&session)?;
        let mut turn = sender.turn(PATIENCE).await?;
        let outcome = async {
            if let Some(text) = new_subject {
                turn.ask(sender.set_group_subject(&group, text)).await?;
            }
            if let Some(text) = &patch.description {
                turn.ask(sender.set_group_description(&group, Some(text.as_str()).filter(|text| !text.is_empty()))).await?;
            }
            if let Some(on) = patch.announce {
                turn.ask(sender.set_group_announce(&group, on)).await?;
            }
            if let Some(on) = patch.locked {
                turn.ask(sender.set_group_locked(&group, on)).await?;
            }
            if let Some(seconds) = patch.ephemeral {
                turn.ask(sender.set_group_ephemeral(&group, seconds)).await?;
            }
            if let Some(on) = patch.approval {
                turn.ask(sender.set_group_approval(&group, on)).await?;
            }
            Ok::<(), Error>(())
        };
        let outcome = outcome.await;
        self.outdate(id, &group).await?;
        outcome
    }

    /// Changes or removes a group's picture and gives the new one's id.
    pub async fn set_group_picture(
        &self,
        caller: &Principal,
        id: &SessionId,
        gid: &str,
        jpeg: Vec<u8>,
    ) -> Result<Option<String>> {
        caller.require(Capability::Send)?;
        let (session, group) = self.group_of(caller, id, gid).await?;
        let picture = Some(jpeg).filter(|bytes| !bytes.is_empty());
        if picture.as_ref().is_some_and(|bytes| !bytes.starts_with(&[0xff, 0xd8, 0xff])) {
            return Err(Error::field("picture", "not a JPEG"));
        }
        if picture.as_ref().is_some_and(|bytes| bytes.len() > MAX_PICTURE) {
            return Err(Error::field("picture", format!("has more than {MAX_PICTURE} bytes")));
        }
        let sender = self.online(&session)?;
        sender.ask(PATIENCE, sender.set_group_picture(&group, picture)).await
    }

    /// Leaves a group.
    pub async fn leave_group(&self, caller: &Principal, id: &SessionId, gid: &str) -> Result<()> {
        caller.require(Capability::Send)?;
        let (session, group) = self.group_of(caller, id, gid).await?;
        let sender = self.online(&session)?;
        sender.ask(PATIENCE, sender.leave_group(&group)).await?;
        let mut tx = self.0.db.begin().await?;
        tx.group_left(id, &group.to_string(), self.0.ambient.now()).await?;
        tx.commit().await
    }

    /// The link by which people join a group; with `anew` all earlier ones end.
    pub async fn group_invite(&self, caller: &Principal, id: &SessionId, gid: &str, anew: bool) -> Result<String> {
        caller.require(Capability::Send)?;
        let (session, group) = self.group_of(caller, id, gid).await?;
        let sender = self.online(&session)?;
        sender.ask(PATIENCE, sender.group_invite(&group, anew)).await
    }

    /// What an invitation leads to.
    pub async fn invite_info(&self, caller: &Principal, id: &SessionId, invite: &str) -> Result<GroupFacts> {
        caller.require(Capability::Read)?;
        let session = self.get_session(caller, id).await?;
        let sender = self.online(&session)?;
        sender.ask(PATIENCE, sender.invite_info(code(invite)?)).await
    }

    /// Joins by an invitation: the group, and whether an admin has to agree first.
    pub async fn join_group(&self, caller: &Principal, id: &SessionId, invite: &str) -> Result<(String, bool)> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let invite = code(invite)?;
        let sender = self.online(&session)?;
        let (jid, pending) = sender.ask(PATIENCE, sender.join_group(invite)).await?;
        if !pending {
            // The directory has it at once; the members come when somebody looks.
            let mut tx = self.0.db.begin().await?;
            tx.record_group(id, &GroupFacts { jid: jid.clone(), ..GroupFacts::default() }, self.0.ambient.now()).await?;
            tx.outdate_group(id, &jid).await?;
            tx.commit().await?;
        }
        Ok((jid, pending))
    }

    /// What is known of a group may be wrong from now on.
    pub(super) async fn outdate(&self, id: &SessionId, group: &Address) -> Result<()> {
        let mut tx = self.0.db.begin().await?;
        tx.outdate_group(id, &group.to_string()).await?;
        tx.commit().await
    }
}

/// A group's name that WhatsApp takes.
pub(super) fn subject<'t>(field: &str, text: &'t str) -> Result<&'t str> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(Error::field(field, "missing; a group has a name")),
        count if count > MAX_SUBJECT => Err(Error::field(field, format!("has more than {MAX_SUBJECT} characters"))),
        _ => Ok(text),
    }
}

/// The addresses of people that a caller wrote.
pub(super) fn people(field: &str, texts: &[String]) -> Result<Vec<Address>> {
    let mut found = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        let address = person_address(&format!("{field}[{at}]"), text)?;
        // Named twice is meant once.
        if !found.contains(&address) {
            found.push(address);
        }
    }
    Ok(found)
}

/// The code of an invitation, from the whole link too.
fn code(invite: &str) -> Result<&str> {
    let code = invite.trim().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let code = code.split('?').next().unwrap_or_default();
    if code.is_empty() || !code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err(Error::field("invite", "not an invitation; use the link, or its last part"));
    }
    Ok(code)
}
