//! Groups and communities of a live session.

use wacore::iq::groups::{
    GroupDescription, GroupParticipantOptions, GroupSubject, JoinGroupResult, MembershipApprovalMode, ParticipantChangeResponse,
    ParticipantType,
};
use wacore::iq::spec::IqSpec;
use wacore::request::InfoQuery;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, NodeContent, NodeRef, Server};
use whatsapp_rust::features::{CreateCommunityOptions, GroupCreateOptions, GroupMetadata, PreviousDescription};

use super::connection::Sender;
use super::failure::Refused;
use super::outgoing;
use crate::domain::clock::Time;
use crate::domain::group::{GroupFacts, JoinRequest, MemberFacts, MemberWish, PersonResult, Role};
use crate::domain::identity::{Names, Seen, Source};
use crate::domain::jid::Address;

type Answer<T> = Result<T, Refused>;

/// A group's name is at most this many characters long.
pub const MAX_SUBJECT: usize = 100;

/// A group's text about itself is at most this many characters long.
pub const MAX_DESCRIPTION: usize = 2048;

/// The groups that the account is in, by address alone: their members are asked for group by group, so that what one answer can hold
/// does not grow with the account.
#[derive(Debug)]
struct Joined;

impl IqSpec for Joined {
    type Response = Vec<GroupFacts>;

    fn build_iq(&self) -> InfoQuery<'static> {
        let question = NodeBuilder::new("participating").build();
        InfoQuery::get("w:g2", Jid::new("", Server::Group), Some(NodeContent::Nodes(vec![question])))
    }

    fn parse_response(&self, response: &NodeRef<'_>) -> anyhow::Result<Self::Response> {
        let list = response.get_optional_child("groups").or_else(|| response.get_optional_child("communities"));
        let list = list.unwrap_or(response);
        let mut found = Vec::new();
        for tag in ["group", "community"] {
            found.extend(list.get_children_by_tag(tag).filter_map(short));
        }
        Ok(found)
    }
}

/// A group as it stands in the list of all.
fn short(node: &NodeRef<'_>) -> Option<GroupFacts> {
    let mut attrs = node.attrs();
    let id = attrs.optional_string("id")?.into_owned();
    let is = |name: &str| node.get_optional_child(name).is_some();
    let seconds = attrs.optional_string("creation").and_then(|text| text.parse::<i64>().ok());
    Some(GroupFacts {
        jid: if id.contains('@') { id } else { format!("{id}@g.us") },
        subject: attrs.optional_string("subject").map(std::borrow::Cow::into_owned),
        created_at_wa: seconds.map(|seconds| Time(seconds.saturating_mul(1000))),
        size: attrs.optional_string("size").and_then(|text| text.parse().ok()),
        is_announce: is("announcement"),
        is_locked: is("locked"),
        is_community: is("parent"),
        ..GroupFacts::default()
    })
}

impl Sender {
    /// The groups that the account is in, without their members.
    pub async fn joined_groups(&self) -> Answer<Vec<GroupFacts>> {
        Ok(self.client.execute(Joined).await?)
    }

    /// All of one group.
    pub async fn group(&self, group: &Address) -> Answer<GroupFacts> {
        Ok(facts(&self.client.groups().get_metadata(&outgoing::jid(group)).await?))
    }

    /// Founds a group, within a community if one is given.
    pub async fn create_group(&self, subject: &str, people: &[Address], community: Option<&Address>) -> Answer<GroupFacts> {
        let jids: Vec<Jid> = people.iter().map(outgoing::jid).collect();
        let metadata = match community {
            Some(community) => {
                Box::pin(self.client.community().create_subgroup(subject, &jids, outgoing::jid(community))).await?.metadata
            }
            None => {
                let mut options = GroupCreateOptions::new(subject);
                options.participants = jids.into_iter().map(GroupParticipantOptions::new).collect();
                Box::pin(self.client.groups().create_group(options)).await?.metadata
            }
        };
        Ok(facts(&metadata))
    }

    /// Changes a group's name.
    pub async fn set_group_subject(&self, group: &Address, subject: &str) -> Answer<()> {
        let subject = GroupSubject::new(subject).map_err(|e| Refused::Invalid(format!("subject: {e}")))?;
        Ok(self.client.groups().set_subject(outgoing::jid(group), subject).await?)
    }

    /// Changes a group's text about itself; `None` removes it.
    pub async fn set_group_description(&self, group: &Address, text: Option<&str>) -> Answer<()> {
        let text = text.map(GroupDescription::new).transpose().map_err(|e| Refused::Invalid(format!("description: {e}")))?;
        Ok(self.client.groups().set_description(outgoing::jid(group), text, PreviousDescription::Resolve).await?)
    }

    /// Lets only admins write, or everybody.
    pub async fn set_group_announce(&self, group: &Address, on: bool) -> Answer<()> {
        Ok(self.client.groups().set_announce(outgoing::jid(group), on).await?)
    }

    /// Lets only admins change what the group is, or everybody.
    pub async fn set_group_locked(&self, group: &Address, on: bool) -> Answer<()> {
        Ok(self.client.groups().set_locked(outgoing::jid(group), on).await?)
    }

    /// Lets messages disappear after so many seconds; 0 for never.
    pub async fn set_group_ephemeral(&self, group: &Address, seconds: u32) -> Answer<()> {
        Ok(self.client.groups().set_ephemeral(outgoing::jid(group), seconds).await?)
    }

    /// Has admins decide who may join, or not.
    pub async fn set_group_approval(&self, group: &Address, on: bool) -> Answer<()> {
        let mode = if on { MembershipApprovalMode::On } else { MembershipApprovalMode::Off };
        Ok(self.client.groups().set_membership_approval(outgoing::jid(group), mode).await?)
    }

    /// Changes a group's picture (a JPEG) and gives its id; `None` removes it.
    pub async fn set_group_picture(&self, group: &Address, picture: Option<Vec<u8>>) -> Answer<Option<String>> {
        let (groups, jid) = (self.client.groups(), outgoing::jid(group));
        Ok(match picture {
            Some(picture) => Some(groups.set_profile_picture(jid, picture).await?.id),
            None => groups.remove_profile_picture(jid).await.map(|_| None)?,
        })
    }

    /// Changes who is in a group, or as what, and tells for each person what came of it.
    pub async fn change_members(&self, group: &Address, wish: MemberWish, people: &[Address]) -> Answer<Vec<PersonResult>> {
        let (groups, jid) = (self.client.groups(), outgoing::jid(group));
        let people: Vec<Jid> = people.iter().map(outgoing::jid).collect();
        let results = match wish {
            MemberWish::Add => groups.add_participants(jid, &people).await?,
            MemberWish::Remove => groups.remove_participants(jid, &people).await?,
            MemberWish::Promote => groups.promote_participants(jid, &people).await?,
            MemberWish::Demote => groups.demote_participants(jid, &people).await?,
            MemberWish::Approve => groups.approve_membership_requests(jid, &people).await?,
            MemberWish::Reject => groups.reject_membership_requests(jid, &people).await?,
        };
        Ok(results.into_iter().map(result).collect())
    }

    /// Those who want to join.
    pub async fn join_requests(&self, group: &Address) -> Answer<Vec<JoinRequest>> {
        let requests = self.client.groups().get_membership_requests(outgoing::jid(group)).await?;
        let request = |it: wacore::iq::groups::MembershipRequest| JoinRequest {
            jid: it.jid.to_non_ad().to_string(),
            requested_at: it.request_time.and_then(seconds),
        };
        Ok(requests.into_iter().map(request).collect())
    }

    /// The link by which people join; with `anew` all earlier ones end.
    pub async fn group_invite(&self, group: &Address, anew: bool) -> Answer<String> {
        Ok(self.client.groups().get_invite_link(outgoing::jid(group), anew).await?)
    }

    /// What a link leads to, without joining. Its members are not told.
    pub async fn invite_info(&self, invite: &str) -> Answer<GroupFacts> {
        let found = facts(&self.client.groups().get_invite_info(invite).await?);
        Ok(GroupFacts { members: None, ..found })
    }

    /// Joins by a link: the group, and whether an admin has to agree first.
    pub async fn join_group(&self, invite: &str) -> Answer<(String, bool)> {
        let joined = self.client.groups().join_with_invite_code(invite).await?;
        Ok((joined.group_jid().to_string(), matches!(joined, JoinGroupResult::PendingApproval(_))))
    }

    /// Leaves a group.
    pub async fn leave_group(&self, group: &Address) -> Answer<()> {
        Ok(self.client.groups().leave(outgoing::jid(group)).await?)
    }

    /// Founds a community with its group for announcements.
    pub async fn create_community(&self, name: &str, description: Option<&str>, closed: bool) -> Answer<GroupFacts> {
        let mut options = CreateCommunityOptions::new(name);
        options.description = description.map(str::to_owned);
        options.closed = closed;
        Ok(facts(&Box::pin(self.client.community().create(options)).await?.metadata))
    }

    /// The groups of a community.
    pub async fn subgroups(&self, community: &Address) -> Answer<Vec<GroupFacts>> {
        let found = self.client.community().get_subgroups(&outgoing::jid(community)).await?;
        let group = |it: whatsapp_rust::features::CommunitySubgroup| GroupFacts {
            jid: it.id.to_string(),
            subject: Some(it.subject),
            created_at_wa: it.creation.and_then(seconds),
            owner_jid: it.owner.map(|owner| owner.to_non_ad().to_string()),
            is_announce: it.is_default_sub_group,
            parent_jid: Some(community.to_string()),
            size: it.participant_count.map(i64::from),
            ..GroupFacts::default()
        };
        Ok(found.into_iter().map(group).collect())
    }

    /// Puts groups into a community, and tells which could not be.
    pub async fn link_groups(&self, community: &Address, groups: &[Address]) -> Answer<Vec<PersonResult>> {
        let jids: Vec<Jid> = groups.iter().map(outgoing::jid).collect();
        let done = self.client.community().link_subgroups(outgoing::jid(community), &jids).await?;
        Ok(linked(done.linked_jids, done.failed_groups))
    }

    /// Takes groups out of a community, and tells which could not be.
    pub async fn unlink_groups(&self, community: &Address, groups: &[Address]) -> Answer<Vec<PersonResult>> {
        let jids: Vec<Jid> = groups.iter().map(outgoing::jid).collect();
        let done = self.client.community().unlink_subgroups(outgoing::jid(community), &jids, false).await?;
        Ok(linked(done.unlinked_jids, done.failed_groups))
    }

    /// Dissolves a community; its groups stay.
    pub async fn dissolve_community(&self, community: &Address) -> Answer<()> {
        Ok(self.client.community().deactivate(outgoing::jid(community)).await?)
    }
}

fn linked(done: Vec<Jid>, failed: Vec<(Jid, u32)>) -> Vec<PersonResult> {
    let done = done.into_iter().map(|jid| PersonResult { jid: jid.to_string(), code: None, invite: None });
    let failed =
        failed.into_iter().map(|(jid, code)| PersonResult { jid: jid.to_string(), code: Some(code.to_string()), invite: None });
    done.chain(failed).collect()
}

fn result(it: ParticipantChangeResponse) -> PersonResult {
    // The number is what callers know a person by.
    let jid = it.phone_number.unwrap_or(it.jid).to_non_ad().to_string();
    let invite = it.add_request.and_then(|invite| Some((invite.code, seconds(invite.expiration)?)));
    PersonResult { jid, code: it.error, invite }
}

fn seconds(at: u64) -> Option<Time> {
    Some(Time(i64::try_from(at).ok()?.saturating_mul(1000)))
}

/// A group as the library has it, as ours.
fn facts(it: &GroupMetadata) -> GroupFacts {
    let owner = it.creator_pn.as_ref().or(it.creator.as_ref());
    let members = it.participants.iter().filter_map(|who| {
        let addresses = [Some(&who.jid), who.phone_number.as_ref(), who.lid.as_ref()];
        let addresses: Vec<String> = addresses.into_iter().flatten().map(|jid| jid.to_non_ad().to_string()).collect();
        let label = who.details.as_ref().and_then(|details| details.participant_label.as_ref());
        Some(MemberFacts {
            seen: Seen::new(addresses.iter().map(String::as_str), Names::default(), Some(Source::Group))?,
            role: match who.participant_type {
                ParticipantType::SuperAdmin => Role::Superadmin,
                ParticipantType::Admin => Role::Admin,
                _ => Role::Member,
            },
            tag: label.map(ToString::to_string).filter(|label| !label.is_empty()),
        })
    });
    GroupFacts {
        jid: it.id.to_string(),
        subject: Some(it.subject.clone()).filter(|subject| !subject.is_empty()),
        description: it.description.clone().filter(|text| !text.is_empty()),
        owner_jid: owner.map(|owner| owner.to_non_ad().to_string()),
        created_at_wa: it.creation_time.and_then(seconds),
        is_announce: it.is_announcement,
        is_locked: it.is_locked,
        approval: it.membership_approval,
        ephemeral: it.ephemeral.as_ref().and_then(|it| it.expiration).map_or(0, i64::from),
        is_community: it.is_parent_group,
        parent_jid: it.parent_group_jid.as_ref().map(ToString::to_string),
        size: it.size.map(i64::from),
        members: Some(members.collect()),
    }
}
