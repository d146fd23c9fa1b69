//! Who is in a group; and communities, which are groups of groups.

use super::Service;
use super::contact::{PATIENCE, group_address, next_of, position};
use super::group::{people, subject};
use crate::domain::group::{GroupFacts, JoinRequest, Member, MemberChange, MemberWish, PersonResult};
use crate::domain::ids::SessionId;
use crate::domain::jid::Address;
use crate::domain::principal::{Capability, Principal};
use crate::error::{Code, Error, Result};
use crate::wa::groups::MAX_DESCRIPTION;

impl Service {
    /// The members of a group, and where the next page begins.
    pub async fn list_members(
        &self,
        caller: &Principal,
        id: &SessionId,
        gid: &str,
        gone: bool,
        after: Option<&str>,
        limit: i64,
    ) -> Result<(Vec<Member>, Option<String>)> {
        caller.require(Capability::Read)?;
        let (session, group) = self.group_of(caller, id, gid).await?;
        let after = position(after)?;
        let group = self.fresh_group(&session, &group).await?;
        let mut page = self.0.db.members(group.id, gone, after, limit.saturating_add(1)).await?;
        let next = next_of(&mut page, limit, |member| member.id);
        Ok((page, next))
    }

    /// What happened to a group's members, newest first, and where the next page begins.
    pub async fn group_history(
        &self,
        caller: &Principal,
        id: &SessionId,
        gid: &str,
        before: Option<&str>,
        limit: i64,
    ) -> Result<(Vec<MemberChange>, Option<String>)> {
        caller.require(Capability::Read)?;
        let (_, group) = self.group_of(caller, id, gid).await?;
        let before = before.map_or(Ok(i64::MAX), |cursor| position(Some(cursor)))?;
        let group = self.0.db.group(id, &group.to_string()).await?.ok_or_else(|| Error::not_found("group"))?;
        let mut page = self.0.db.group_history(group.id, before, limit.saturating_add(1)).await?;
        let next = next_of(&mut page, limit, |change| change.id);
        Ok((page, next))
    }

    /// Changes people of a group and tells for each what came of it.
    pub async fn change_members(
        &self,
        caller: &Principal,
        id: &SessionId,
        gid: &str,
        wish: MemberWish,
        who: &[String],
    ) -> Result<Vec<PersonResult>> {
        caller.require(Capability::Send)?;
        let (session, group) = self.group_of(caller, id, gid).await?;
        let who = people("participants", who)?;
        if who.is_empty() {
            return Err(Error::field("participants", "missing; name at least one person"));
        }
        let sender = self.online(&session)?;
        let results = sender.ask(PATIENCE, sender.change_members(&group, wish, &who)).await?;
        self.outdate(id, &group).await?;
        Ok(results)
    }

    /// The same for callers who get no answer but that all was done.
    ///
    /// # Errors
    /// `conflict` with reason `partly_refused` and, for each person that was refused, a detail with WhatsApp's code.
    pub async fn change_all_members(
        &self,
        caller: &Principal,
        id: &SessionId,
        gid: &str,
        wish: MemberWish,
        who: &[String],
    ) -> Result<()> {
        let results = self.change_members(caller, id, gid, wish, who).await?;
        let refused: Vec<&PersonResult> = results.iter().filter(|result| result.code.is_some()).collect();
        let Some(first) = refused.first() else { return Ok(()) };
        let code = first.code.as_deref().unwrap_or_default();
        if results.len() == 1 && code == "404" {
            return Err(Error::not_found("member"));
        }
        let text = format!("WhatsApp refused {} of {} people", refused.len(), results.len());
        let each: Vec<String> =
            refused.iter().map(|one| format!("{}: {}", one.jid, one.code.as_deref().unwrap_or_default())).collect();
        Err(Error::new(Code::Conflict, text).reason("partly_refused").detail("refused", each.join(", ")))
    }

    /// Those who want to join a group.
    pub async fn join_requests(&self, caller: &Principal, id: &SessionId, gid: &str) -> Result<Vec<JoinRequest>> {
        caller.require(Capability::Read)?;
        let (session, group) = self.group_of(caller, id, gid).await?;
        let sender = self.online(&session)?;
        let mut requests = sender.ask(PATIENCE, sender.join_requests(&group)).await?;
        for request in &mut requests {
            if let Some(person) = self.0.db.identity(id, &request.jid).await? {
                request.jid = person.address();
            }
        }
        Ok(requests)
    }

    /// Founds a community.
    pub async fn create_community(
        &self,
        caller: &Principal,
        id: &SessionId,
        name: &str,
        description: Option<&str>,
        closed: bool,
    ) -> Result<GroupFacts> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let name = subject("name", name)?;
        if description.is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
            return Err(Error::field("description", format!("has more than {MAX_DESCRIPTION} characters")));
        }
        let sender = self.online(&session)?;
        let facts = sender.ask(PATIENCE, sender.create_community(name, description, closed)).await?;
        let mut tx = self.0.db.begin().await?;
        tx.record_group(id, &facts, self.0.ambient.now()).await?;
        tx.commit().await?;
        Ok(facts)
    }

    /// The groups of a community.
    pub async fn subgroups(&self, caller: &Principal, id: &SessionId, cid: &str) -> Result<Vec<GroupFacts>> {
        caller.require(Capability::Read)?;
        let session = self.get_session(caller, id).await?;
        let community = group_address("cid", cid)?;
        let sender = self.online(&session)?;
        sender.ask(PATIENCE, sender.subgroups(&community)).await
    }

    /// Puts groups into a community, or takes them out of it.
    pub async fn link_groups(
        &self,
        caller: &Principal,
        id: &SessionId,
        cid: &str,
        groups: &[String],
        link: bool,
    ) -> Result<Vec<PersonResult>> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let community = group_address("cid", cid)?;
        let groups = groups.iter().enumerate().map(|(at, text)| group_address(&format!("groups[{at}]"), text));
        let groups = groups.collect::<Result<Vec<Address>>>()?;
        if groups.is_empty() {
            return Err(Error::field("groups", "missing; name at least one group"));
        }
        let sender = self.online(&session)?;
        let mut turn = sender.turn(PATIENCE).await?;
        let results = match link {
            true => turn.ask(sender.link_groups(&community, &groups)).await?,
            false => turn.ask(sender.unlink_groups(&community, &groups)).await?,
        };
        for group in &groups {
            self.outdate(id, group).await?;
        }
        Ok(results)
    }

    /// Dissolves a community.
    pub async fn dissolve_community(&self, caller: &Principal, id: &SessionId, cid: &str) -> Result<()> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let community = group_address("cid", cid)?;
        let sender = self.online(&session)?;
        sender.ask(PATIENCE, sender.dissolve_community(&community)).await?;
        let mut tx = self.0.db.begin().await?;
        tx.group_left(id, &community.to_string(), self.0.ambient.now()).await?;
        tx.commit().await
    }
}
