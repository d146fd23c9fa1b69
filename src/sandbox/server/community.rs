//! Communities: groups that have groups.

use serde_json::{Value, json};
use wacore_binary::{Jid, Node};

use super::World;
use super::account::Place;
use super::group::{Group, Role};
use super::iq::{Answer, bad_request};
use crate::sandbox::wire::node::{attr, children, el, jid};

impl World {
    fn community(&mut self, id: &str, admin: &str) -> Result<(), (u16, &'static str)> {
        if self.group_as_admin(id, admin)?.parent { Ok(()) } else { Err((400, "bad-request")) }
    }

    fn sub_groups<'a>(&'a self, parent: &'a str) -> impl Iterator<Item = &'a Group> {
        self.groups.values().filter(move |group| group.linked_parent.as_deref() == Some(parent))
    }

    /// `<links>`: puts groups into a community.
    pub(super) fn link_groups(&mut self, place: &Place, parent: &str, wish: &Node) -> Answer {
        self.community(parent, &place.number)?;
        let link = wish.get_optional_child("link").ok_or_else(bad_request)?;
        let results = self.set_parent(place, parent, link, Some(parent));
        let link = el("link").attr("link_type", "sub_group").children(results).build();
        Ok(vec![el("links").children([link]).build()])
    }

    /// `<unlink>`: takes groups out of a community.
    pub(super) fn unlink_groups(&mut self, place: &Place, parent: &str, wish: &Node) -> Answer {
        self.community(parent, &place.number)?;
        let results = self.set_parent(place, parent, wish, None);
        Ok(vec![el("unlink").attr("unlink_type", "sub_group").children(results).build()])
    }

    /// Moves each named group in or out, and tells the members of both sides.
    fn set_parent(&mut self, place: &Place, parent: &str, list: &Node, to: Option<&str>) -> Vec<Node> {
        let mut results = Vec::new();
        for jid in children(list).iter().filter_map(|node| jid(node, "jid")) {
            let id = jid.user.to_string();
            let result = el("group").attr("jid", jid.clone());
            let group = self.group_as_admin(&id, &place.number);
            let fits = |group: &&mut Group| match to {
                Some(_) => group.linked_parent.is_none() && !group.parent,
                None => group.linked_parent.as_deref() == Some(parent) && !group.default_sub_group,
            };
            let Some(group) = group.ok().filter(fits) else {
                results.push(result.attr("error", "406").build());
                continue;
            };
            group.linked_parent = to.map(str::to_owned);
            let subject = group.subject.clone();
            self.touch_group(&id);
            results.push(result.build());
            let action = |kind: &'static str, id: &str, subject: String| {
                let node = el("group").attr("jid", Jid::group(id)).attr("subject", subject).build();
                match to {
                    Some(_) => el("link").attr("link_type", kind).children([node]).build(),
                    None => el("unlink").attr("unlink_type", kind).children([node]).build(),
                }
            };
            let parent_subject = self.groups.get(parent).map(|group| group.subject.clone()).unwrap_or_default();
            self.announce(parent, &place.number, &[], action("sub_group", &id, subject));
            self.announce(&id, &place.number, &[], action("parent_group", parent, parent_subject));
        }
        results
    }

    /// `<delete_parent/>`: ends a community; its groups go on by themselves.
    pub(super) fn dissolve_community(&mut self, place: &Place, parent: &str) -> Answer {
        self.community(parent, &place.number)?;
        let linked: Vec<(String, bool)> =
            self.sub_groups(parent).map(|group| (group.id.clone(), group.default_sub_group)).collect();
        for (id, default) in linked {
            if default {
                self.announce(&id, &place.number, &[], el("delete").build());
                self.groups.remove(&id);
            } else if let Some(group) = self.groups.get_mut(&id) {
                group.linked_parent = None;
            }
            self.touch_group(&id);
        }
        self.announce(parent, &place.number, &[], el("delete").attr("reason", "deactivated").build());
        self.groups.remove(parent);
        self.touch_group(parent);
        Ok(Vec::new())
    }

    /// Who is put out of a community is put out of all its groups.
    pub(super) fn remove_from_sub_groups(&mut self, parent: &str, actor: &str, numbers: &[String]) {
        let linked: Vec<String> = self.sub_groups(parent).map(|group| group.id.clone()).collect();
        for id in linked {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            let gone: Vec<String> = numbers.iter().filter(|number| group.members.remove(*number).is_some()).cloned().collect();
            if !gone.is_empty() {
                self.touch_group(&id);
                self.announce_members(&id, actor, "remove", None, &gone);
            }
        }
    }

    /// A member of the community looks at one of its groups, or joins it.
    pub(super) fn linked_group(&mut self, place: &Place, parent: &str, wish: &Node) -> Answer {
        let in_community = self.in_community(parent, &place.number);
        let id = jid(wish, "jid").ok_or_else(bad_request)?.user.to_string();
        let belongs = self.groups.get(&id).is_some_and(|group| group.linked_parent.as_deref() == Some(parent));
        if !in_community || !belongs {
            return Err((403, "forbidden"));
        }
        if wish.tag == "join_linked_group" {
            self.enter(&id, &place.number, "linked_group_join");
        }
        let group = self.groups.get(&id).ok_or((404, "item-not-found"))?;
        Ok(vec![el("linked_group").children([self.group_node(group)]).build()])
    }

    /// Everybody in any group of the community.
    pub(super) fn linked_participants(&mut self, place: &Place, parent: &str) -> Answer {
        if !self.in_community(parent, &place.number) {
            return Err((403, "forbidden"));
        }
        let mut numbers: Vec<&String> = self.sub_groups(parent).flat_map(|group| group.members.keys()).collect();
        numbers.sort();
        numbers.dedup();
        let nodes: Vec<Node> = numbers.into_iter().map(|number| self.member_node(number, Role::Member)).collect();
        Ok(vec![el("linked_groups_participants").children(nodes).build()])
    }

    fn in_community(&self, parent: &str, number: &str) -> bool {
        let parent_group = self.groups.get(parent).into_iter();
        parent_group.chain(self.sub_groups(parent)).any(|group| group.members.contains_key(number))
    }

    /// The groups of a community in the words of `w:mex`.
    pub(super) fn list_sub_groups(&self, number: &str, parent: &str) -> Option<Value> {
        let parent = parent.strip_suffix("@g.us").unwrap_or(parent);
        if !self.in_community(parent, number) {
            return None;
        }
        let node = |group: &Group| {
            json!({
                "id": group.jid().to_string(),
                "subject": {"value": group.subject, "creation_time": group.created},
                "properties": {"general_chat": group.general_chat.to_string(), "membership_approval_mode_enabled": group.approval},
                "total_participants_count": group.members.len(),
            })
        };
        let default = self.sub_groups(parent).find(|group| group.default_sub_group).map(node);
        let others: Vec<Value> =
            self.sub_groups(parent).filter(|group| !group.default_sub_group).map(|group| json!({"node": node(group)})).collect();
        let id = Jid::group(parent).to_string();
        Some(json!({"xwa2_group_query_by_id": {"id": id, "default_sub_group": default, "sub_groups": {"edges": others}}}))
    }
}

/// The group that a `w:mex` query about a community names, if it is one.
pub(super) fn community_of(query: &Node, variables: &Value) -> Option<String> {
    /// All groups of a community, and how many are in each.
    const QUERIES: [&str; 2] = ["9935467776504344", "24079399904996141"];
    let id = attr(query, "query_id");
    let named = variables.get("group_id").or_else(|| variables.get("input")?.get("group_jid"));
    QUERIES.contains(&id.as_str()).then(|| named?.as_str().map(str::to_owned)).flatten()
}
