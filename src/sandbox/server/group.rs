//! Groups: what the server knows of each, how members see it, and news to its members.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wacore_binary::{Jid, Node};

use super::World;
use super::account::{Picture, Place};
use super::iq::Answer;
use crate::sandbox::journal::Key;
use crate::sandbox::wire::node::{attr, el, jid, text};

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Role {
    Member,
    Admin,
    /// The creator.
    Owner,
}

/// A group's text about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Description {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) author: String,
    pub(super) at: u64,
}

/// A group, a community, or a group within one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Group {
    /// The address without its server.
    pub(super) id: String,
    pub(super) subject: String,
    /// The number of who chose the subject, and when.
    pub(super) subject_by: (String, u64),
    pub(super) creator: String,
    pub(super) created: u64,
    pub(super) description: Option<Description>,
    /// By number.
    pub(in crate::sandbox) members: BTreeMap<String, Role>,
    /// Only admins write.
    pub(super) announcement: bool,
    /// Only admins change subject and description.
    pub(super) locked: bool,
    /// Who comes by link waits for an admin.
    pub(super) approval: bool,
    /// Seconds until messages disappear; 0 for never.
    pub(super) ephemeral: u32,
    pub(super) member_add_mode: String,
    pub(super) invite: String,
    /// Who wants to join, and since when.
    pub(super) requests: BTreeMap<String, u64>,
    /// Codes for those who cannot be added, with their number.
    pub(super) add_codes: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) picture: Option<Picture>,
    /// Whether it is a community.
    pub(super) parent: bool,
    /// The community that it belongs to.
    pub(super) linked_parent: Option<String>,
    /// Whether it is its community's group for announcements.
    pub(super) default_sub_group: bool,
    /// Whether it is its community's general chat.
    pub(super) general_chat: bool,
}

impl Group {
    pub(in crate::sandbox) fn jid(&self) -> Jid {
        Jid::group(self.id.as_str())
    }

    pub(in crate::sandbox) fn is_admin(&self, number: &str) -> bool {
        self.members.get(number).is_some_and(|role| *role >= Role::Admin)
    }
}

impl World {
    /// Puts a group in place, new or from the journal.
    pub(in crate::sandbox) fn insert_group(&mut self, group: Group) {
        self.groups.insert(group.id.clone(), group);
    }

    pub(super) fn touch_group(&mut self, id: &str) {
        self.touch(Key::Group(id.to_owned()));
    }

    /// A group that this account is a member of, for a change to it.
    pub(super) fn group_of(&mut self, id: &str, number: &str) -> Result<&mut Group, (u16, &'static str)> {
        let group = self.groups.get_mut(id).ok_or((404, "item-not-found"))?;
        if group.members.contains_key(number) { Ok(group) } else { Err((403, "forbidden")) }
    }

    /// The same for somebody who must be an admin.
    pub(super) fn group_as_admin(&mut self, id: &str, number: &str) -> Result<&mut Group, (u16, &'static str)> {
        let group = self.group_of(id, number)?;
        if group.is_admin(number) { Ok(group) } else { Err((403, "forbidden")) }
    }

    /// How groups address their members.
    pub(super) fn addressing_mode(&self) -> &'static str {
        if self.lid_addressing { "lid" } else { "pn" }
    }

    /// A member's address in groups.
    pub(in crate::sandbox) fn member_jid(&self, number: &str) -> Jid {
        self.accounts.get(number).map_or_else(|| Jid::pn(number), |account| account.jid(0, self.lid_addressing))
    }

    /// `<participant>` with both addresses.
    pub(super) fn member_node(&self, number: &str, role: Role) -> Node {
        let node = el("participant").attr("jid", self.member_jid(number));
        let other = self.accounts.get(number).map(|account| account.jid(0, !self.lid_addressing));
        let node = match other {
            Some(other) if self.lid_addressing => node.attr("phone_number", other),
            Some(other) => node.attr("lid", other),
            None => node,
        };
        match role {
            Role::Member => node.build(),
            Role::Admin => node.attr("type", "admin").build(),
            Role::Owner => node.attr("type", "superadmin").build(),
        }
    }

    /// `<group>` as its members see it.
    pub(super) fn group_node(&self, group: &Group) -> Node {
        let mut children: Vec<Node> = group.members.iter().map(|(number, role)| self.member_node(number, *role)).collect();
        if let Some(description) = &group.description {
            let body = el("body").string_content(description.text.clone()).build();
            let node = el("description")
                .attr("id", description.id.clone())
                .attr("participant", self.member_jid(&description.author))
                .attr("t", description.at.to_string());
            children.push(node.children([body]).build());
        }
        let flags = [
            ("announcement", group.announcement),
            ("locked", group.locked),
            ("parent", group.parent),
            ("default_sub_group", group.default_sub_group),
            ("general_chat", group.general_chat),
        ];
        children.extend(flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| el(name).build()));
        if group.ephemeral > 0 {
            children.push(el("ephemeral").attr("expiration", group.ephemeral.to_string()).build());
        }
        if group.approval {
            let join = el("group_join").attr("state", "on").build();
            children.push(el("membership_approval_mode").children([join]).build());
        }
        children.push(el("member_add_mode").string_content(group.member_add_mode.clone()).build());
        if let Some(parent) = &group.linked_parent {
            children.push(el("linked_parent").attr("jid", Jid::group(parent.as_str())).build());
        }
        el("group")
            .attr("id", group.id.clone())
            .attr("subject", group.subject.clone())
            .attr("s_t", group.subject_by.1.to_string())
            .attr("s_o", self.member_jid(&group.subject_by.0))
            .attr("creator", self.member_jid(&group.creator))
            .attr("creation", group.created.to_string())
            .attr("size", group.members.len().to_string())
            .attr("addressing_mode", self.addressing_mode())
            .children(children)
            .build()
    }

    /// Tells all linked devices of all members, and those of `also`, what `actor` did. Whoever is not there gets it later, in order.
    pub(super) fn announce(&mut self, group: &str, actor: &str, also: &[String], action: Node) {
        let Some(members) = self.groups.get(group).map(|group| &group.members) else { return };
        let mut told: Vec<String> = members.keys().cloned().collect();
        told.extend(also.iter().filter(|number| !members.contains_key(*number)).cloned());
        self.tell(group, actor, &told, action);
    }

    /// The same for the admins alone.
    pub(super) fn announce_to_admins(&mut self, group: &str, actor: &str, action: Node) {
        let Some(members) = self.groups.get(group).map(|group| &group.members) else { return };
        let admins = members.iter().filter(|(_, role)| **role >= Role::Admin).map(|(number, _)| number.clone());
        let admins: Vec<String> = admins.collect();
        self.tell(group, actor, &admins, action);
    }

    fn tell(&mut self, group: &str, actor: &str, told: &[String], action: Node) {
        let notify = self.accounts.get(actor).map(|account| account.notify.clone()).unwrap_or_default();
        let mut notification = el("notification")
            .attr("from", Jid::group(group))
            .attr("type", "w:gp2")
            .attr("id", self.stanza_id())
            .attr("t", self.now_secs().to_string())
            .attr("participant", self.member_jid(actor))
            .attr("addressing_mode", self.addressing_mode())
            .attr("notify", notify);
        if self.lid_addressing {
            notification = notification.attr("participant_pn", Jid::pn(actor));
        }
        let notification = notification.children([action]).build();
        for number in told {
            for place in self.all_devices(number).into_iter().filter(|place| place.device != 0) {
                self.deliver(&place, notification.clone());
            }
        }
    }

    // -- changes of what a group is

    /// Subject, description and settings.
    pub(super) fn change_group(&mut self, place: &Place, id: &str, change: &Node) -> Answer {
        let now = self.now_secs();
        let number = place.number.clone();
        let tag = change.tag.to_string();
        let group = self.group_of(id, &number)?;
        let about_itself = matches!(tag.as_str(), "subject" | "description" | "ephemeral" | "not_ephemeral");
        if !group.is_admin(&number) && (!about_itself || group.locked) {
            return Err((403, "forbidden"));
        }
        let mut action = change.clone();
        match tag.as_str() {
            "subject" => {
                let subject = text(change);
                if subject.is_empty() || subject.chars().count() > 100 {
                    return Err((406, "not-acceptable"));
                }
                group.subject = subject.clone();
                group.subject_by = (number.clone(), now);
                let by = self.member_jid(&number);
                action = el("subject").attr("subject", subject).attr("s_t", now.to_string()).attr("s_o", by).build();
            }
            "description" => {
                // Who changes it names what is replaced, so that two changes at a time do not overwrite each other.
                let (previous, current) = (attr(change, "prev"), group.description.as_ref().map(|it| it.id.clone()));
                if !previous.is_empty() && current.is_some_and(|current| current != previous) {
                    return Err((409, "conflict"));
                }
                let body = change.get_optional_child("body").map(text);
                let (id, author) = (attr(change, "id"), number.clone());
                group.description = body.clone().map(|text| Description { id: id.clone(), text, author, at: now });
                let inner = match body {
                    Some(body) => el("body").string_content(body).build(),
                    None => el("delete").build(),
                };
                action = el("description").attr("id", id).children([inner]).build();
            }
            "locked" => group.locked = true,
            "unlocked" => group.locked = false,
            "announcement" => group.announcement = true,
            "not_announcement" => group.announcement = false,
            "ephemeral" => group.ephemeral = attr(change, "expiration").parse().unwrap_or(0),
            "not_ephemeral" => group.ephemeral = 0,
            "membership_approval_mode" => {
                let state = change.get_optional_child("group_join").map(|join| attr(join, "state"));
                group.approval = state.as_deref() == Some("on");
            }
            "member_add_mode" => group.member_add_mode = text(change),
            _ => return Err((501, "feature-not-implemented")),
        }
        self.touch_group(id);
        self.announce(id, &number, &[], action);
        Ok(Vec::new())
    }

    /// The numbers that a change names, with the address under which each was named; none for who has no account.
    pub(super) fn named(&self, change: &Node) -> Vec<(Jid, Option<String>)> {
        let participants = change.get_children_by_tag("participant");
        participants.filter_map(|node| jid(node, "jid")).map(|jid| (jid.to_non_ad(), self.number_of(&jid))).collect()
    }
}
