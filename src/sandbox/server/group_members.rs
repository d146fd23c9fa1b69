//! Who is in a group: creating, adding and removing, admins, invitations, requests to join, leaving.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use super::World;
use super::account::Place;
use super::group::{Description, Group, Role};
use super::iq::{Answer, bad_request};
use crate::sandbox::wire::node::{attr, children, el, jid, text};

/// A group has at most this many members.
const MAX_MEMBERS: usize = 1024;

impl World {
    /// `<create>`: a group, or a community with the group for its announcements.
    pub(super) fn create_group(&mut self, place: &Place, wish: &Node) -> Answer {
        let subject = attr(wish, "subject");
        if subject.is_empty() {
            return Err(bad_request());
        }
        let mut group = self.new_group(&place.number, subject);
        let flag = |name: &str| wish.get_optional_child(name).is_some();
        (group.announcement, group.locked, group.parent) = (flag("announcement"), flag("locked"), flag("parent"));
        group.ephemeral = wish.get_optional_child("ephemeral").and_then(|it| attr(it, "expiration").parse().ok()).unwrap_or(0);
        if let Some(mode) = wish.get_optional_child("member_add_mode") {
            group.member_add_mode = text(mode);
        }
        let approval = wish.get_optional_child("membership_approval_mode").and_then(|it| it.get_optional_child("group_join"));
        group.approval = approval.is_some_and(|join| attr(join, "state") == "on");
        if let Some(description) = wish.get_optional_child("description") {
            let body = description.get_optional_child("body").map(text).unwrap_or_default();
            let (id, author) = (attr(description, "id"), place.number.clone());
            group.description = Some(Description { id, text: body, author, at: group.created });
        }
        if let Some(parent) = wish.get_optional_child("linked_parent").and_then(|it| jid(it, "jid")) {
            self.group_as_admin(&parent.user, &place.number)?;
            group.linked_parent = Some(parent.user.to_string());
        }
        for (_, number) in self.named(wish) {
            if let Some(number) = number.filter(|number| self.may_be_added(number)) {
                group.members.entry(number).or_insert(Role::Member);
            }
        }
        let parent = group.parent.then(|| group.id.clone());
        let answer = self.found(group, &place.number);
        if let Some(parent) = parent {
            let mut news = self.new_group(&place.number, "Announcements".to_owned());
            (news.announcement, news.default_sub_group, news.linked_parent) = (true, true, Some(parent.clone()));
            self.found(news, &place.number);
            if flag("create_general_chat") {
                let mut general = self.new_group(&place.number, "General".to_owned());
                (general.general_chat, general.linked_parent) = (true, Some(parent));
                self.found(general, &place.number);
            }
        }
        Ok(vec![answer])
    }

    /// A group with its owner alone, not yet in place.
    pub(in crate::sandbox) fn new_group(&self, owner: &str, subject: String) -> Group {
        let now = self.now_secs();
        let digits = u64::from_be_bytes(self.ambient.random()) % 1_000_000_000_000_000;
        Group {
            id: format!("120{digits:015}"),
            subject,
            subject_by: (owner.to_owned(), now),
            creator: owner.to_owned(),
            created: now,
            description: None,
            members: BTreeMap::from([(owner.to_owned(), Role::Owner)]),
            announcement: false,
            locked: false,
            approval: false,
            ephemeral: 0,
            member_add_mode: "all_member_add".to_owned(),
            invite: self.invite_code(),
            requests: BTreeMap::new(),
            add_codes: BTreeMap::new(),
            picture: None,
            parent: false,
            linked_parent: None,
            default_sub_group: false,
            general_chat: false,
        }
    }

    fn invite_code(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.ambient.random::<16>())
    }

    /// Puts a new group in place and tells its members.
    pub(in crate::sandbox) fn found(&mut self, group: Group, actor: &str) -> Node {
        let (id, node) = (group.id.clone(), self.group_node(&group));
        self.insert_group(group);
        self.touch_group(&id);
        let create = el("create").attr("type", "new").children([node.clone()]).build();
        self.announce(&id, actor, &[], create);
        node
    }

    fn may_be_added(&self, number: &str) -> bool {
        let privacy = self.accounts.get(number).and_then(|account| account.privacy.get("groupadd"));
        privacy.is_none_or(|value| value == "all")
    }

    /// `<add>`, `<remove>`, `<promote>`, `<demote>`: each person by itself, with a code for whom it cannot be done.
    pub(super) fn change_members(&mut self, place: &Place, id: &str, change: &Node) -> Answer {
        let tag = change.tag.to_string();
        let actor = place.number.as_str();
        let group = self.group_of(id, actor)?;
        let open = tag == "add" && group.member_add_mode == "all_member_add";
        if !open && !group.is_admin(actor) {
            return Err((403, "forbidden"));
        }
        let (mut results, mut changed) = (Vec::new(), Vec::new());
        for (jid, number) in self.named(change) {
            let refused = match &number {
                None => Some(404),
                Some(number) => self.change_member(id, &tag, number),
            };
            let result = el("participant").attr("jid", jid);
            results.push(match (refused, number) {
                (None, Some(number)) => {
                    changed.push(number);
                    result.build()
                }
                (Some(403), Some(number)) => {
                    let code = self.invite_code();
                    if let Some(group) = self.groups.get_mut(id) {
                        group.add_codes.insert(code.clone(), number);
                    }
                    let expiration = (self.now_secs() + 3 * 24 * 3600).to_string();
                    let request = el("add_request").attr("code", code).attr("expiration", expiration).build();
                    result.attr("error", "403").children([request]).build()
                }
                (refused, _) => result.attr("error", refused.unwrap_or(404).to_string()).build(),
            });
        }
        self.touch_group(id);
        if !changed.is_empty() {
            self.announce_members(id, actor, &tag, None, &changed);
        }
        if tag == "remove" && attr(change, "linked_groups") == "true" {
            self.remove_from_sub_groups(id, actor, &changed);
        }
        Ok(vec![NodeBuilder::new_dynamic(tag).children(results).build()])
    }

    /// The code with which the change is refused for this person.
    fn change_member(&mut self, id: &str, tag: &str, number: &str) -> Option<u16> {
        let may_be_added = self.may_be_added(number);
        let group = self.groups.get_mut(id)?;
        let role = group.members.get(number).copied();
        match (tag, role) {
            ("add", Some(_)) => return Some(409),
            ("add", None) if !may_be_added => return Some(403),
            ("add", None) if group.members.len() >= MAX_MEMBERS => return Some(500),
            ("add", None) => drop(group.members.insert(number.to_owned(), Role::Member)),
            (_, None) => return Some(404),
            // Nobody puts out who founded the group.
            ("remove" | "demote", Some(Role::Owner)) => return Some(405),
            ("remove", Some(_)) => drop(group.members.remove(number)),
            ("promote", Some(role)) => drop(group.members.insert(number.to_owned(), role.max(Role::Admin))),
            _ => drop(group.members.insert(number.to_owned(), Role::Member)),
        }
        group.requests.remove(number);
        None
    }

    /// Tells who came, went, or changed their role.
    pub(super) fn announce_members(
        &mut self,
        id: &str,
        actor: &str,
        tag: &str,
        reason: Option<&'static str>,
        numbers: &[String],
    ) {
        let role = |number: &String| self.groups.get(id).and_then(|group| group.members.get(number)).copied();
        let nodes: Vec<Node> =
            numbers.iter().map(|number| self.member_node(number, role(number).unwrap_or(Role::Member))).collect();
        let action = NodeBuilder::new_dynamic(tag.to_owned());
        let action = match reason {
            Some(reason) => action.attr("reason", reason),
            None => action,
        };
        // Who was removed is told too.
        self.announce(id, actor, numbers, action.children(nodes).build());
    }

    /// `<leave>`. The last admin's place is taken by another member.
    pub(super) fn leave_groups(&mut self, place: &Place, wish: &Node) -> Answer {
        let mut left = Vec::new();
        for node in children(wish).iter().filter(|node| node.tag == "group") {
            let Some(id) = jid(node, "id").map(|jid| jid.user.to_string()) else { continue };
            self.leave_group(&id, &place.number)?;
            left.push(node.clone());
        }
        Ok(vec![el("leave").children(left).build()])
    }

    /// Somebody whose number changes goes out of all groups; gives them with the role there.
    pub(in crate::sandbox) fn leave_for_a_while(&mut self, number: &str) -> Vec<(String, Role)> {
        let own = self.groups.values().filter_map(|group| Some((group.id.clone(), *group.members.get(number)?)));
        let own: Vec<(String, Role)> = own.collect();
        for (id, _) in &own {
            if let Some(group) = self.groups.get_mut(id) {
                group.members.remove(number);
            }
            self.announce_members(id, number, "remove", None, &[number.to_owned()]);
        }
        own
    }

    /// And comes back under another number.
    pub(in crate::sandbox) fn return_as(&mut self, number: &str, groups: Vec<(String, Role)>) {
        for (id, role) in groups {
            if let Some(group) = self.groups.get_mut(&id) {
                group.members.insert(number.to_owned(), role);
            }
            self.touch_group(&id);
            self.announce_members(&id, number, "add", None, &[number.to_owned()]);
        }
    }

    /// One member leaves one group.
    pub(in crate::sandbox) fn leave_group(&mut self, id: &str, number: &str) -> Result<(), (u16, &'static str)> {
        let group = self.group_of(id, number)?;
        group.members.remove(number);
        let orphaned = !group.members.values().any(|role| *role >= Role::Admin);
        let heir = if orphaned { group.members.keys().next().cloned() } else { None };
        if let Some(heir) = &heir {
            group.members.insert(heir.clone(), Role::Admin);
        }
        self.touch_group(id);
        self.announce_members(id, number, "remove", None, &[number.to_owned()]);
        if let Some(heir) = heir {
            self.announce_members(id, number, "promote", None, &[heir]);
        }
        Ok(())
    }

    // -- invitations

    /// `<invite/>` to a group: its code, a fresh one for a `set`.
    pub(super) fn group_invite(&mut self, place: &Place, id: &str, reset: bool) -> Answer {
        let fresh = self.invite_code();
        let group = self.group_as_admin(id, &place.number)?;
        if reset {
            group.invite = fresh;
        }
        let invite = el("invite").attr("code", group.invite.clone()).build();
        if reset {
            self.touch_group(id);
            self.announce(id, &place.number, &[], invite.clone());
        }
        Ok(vec![invite])
    }

    /// `<invite code/>` to all groups: what it leads to, or joining for a `set`.
    pub(super) fn use_invite(&mut self, place: &Place, code: &str, join: bool) -> Answer {
        let group = self.groups.values().find(|group| group.invite == code).ok_or((406, "not-acceptable"))?;
        if !join {
            return Ok(vec![self.group_node(group)]);
        }
        let (id, waits) = (group.id.clone(), group.approval && !group.members.contains_key(&place.number));
        if waits {
            return self.ask_to_join(&id, &place.number);
        }
        self.enter(&id, &place.number, "invite");
        Ok(vec![el("group").attr("jid", Jid::group(id)).build()])
    }

    /// `<accept code admin/>`: who could not be added comes by an invitation of their own.
    pub(super) fn accept_add_request(&mut self, place: &Place, id: &str, code: &str) -> Answer {
        let group = self.groups.get_mut(id).ok_or((404, "item-not-found"))?;
        if group.add_codes.get(code) != Some(&place.number) {
            return Err((406, "not-acceptable"));
        }
        group.add_codes.remove(code);
        self.enter(id, &place.number, "invite");
        Ok(vec![el("group").attr("jid", Jid::group(id)).build()])
    }

    /// Makes somebody a member who is none.
    pub(super) fn enter(&mut self, id: &str, number: &str, reason: &'static str) {
        let Some(group) = self.groups.get_mut(id) else { return };
        group.requests.remove(number);
        if group.members.contains_key(number) {
            return;
        }
        group.members.insert(number.to_owned(), Role::Member);
        self.touch_group(id);
        self.announce_members(id, number, "add", Some(reason), &[number.to_owned()]);
    }

    fn ask_to_join(&mut self, id: &str, number: &str) -> Answer {
        let now = self.now_secs();
        if let Some(group) = self.groups.get_mut(id) {
            group.requests.entry(number.to_owned()).or_insert(now);
        }
        self.touch_group(id);
        let user = el("requested_user").attr("jid", self.member_jid(number)).build();
        let action = el("created_membership_requests").attr("request_method", "invite_link").children([user]).build();
        self.announce_to_admins(id, number, action);
        Ok(vec![el("membership_approval_request").attr("jid", Jid::group(id)).build()])
    }

    /// Who wants to join.
    pub(super) fn membership_requests(&mut self, place: &Place, id: &str) -> Answer {
        let requests = self.group_as_admin(id, &place.number)?.requests.clone();
        let nodes = requests.iter().map(|(number, since)| {
            let node = el("membership_approval_request").attr("jid", self.member_jid(number));
            node.attr("request_time", since.to_string()).build()
        });
        Ok(vec![el("membership_approval_requests").children(nodes).build()])
    }

    /// `<approve>` or `<reject>` of requests to join.
    pub(super) fn decide_requests(&mut self, place: &Place, id: &str, wish: &Node) -> Answer {
        self.group_as_admin(id, &place.number)?;
        let decision = children(wish).first().ok_or_else(bad_request)?;
        let approve = decision.tag == "approve";
        let (mut results, mut changed) = (Vec::new(), Vec::new());
        for (jid, number) in self.named(decision) {
            let group = self.groups.get_mut(id).ok_or((404, "item-not-found"))?;
            let result = el("participant").attr("jid", jid);
            match number.filter(|number| group.requests.remove(number).is_some()) {
                Some(number) => {
                    if approve {
                        group.members.insert(number.clone(), Role::Member);
                    }
                    changed.push(number);
                    results.push(result.build());
                }
                None => results.push(result.attr("error", "404").build()),
            }
        }
        self.touch_group(id);
        if approve && !changed.is_empty() {
            self.announce_members(id, &place.number, "add", None, &changed);
        } else if !changed.is_empty() {
            let nodes: Vec<Node> = changed.iter().map(|number| self.member_node(number, Role::Member)).collect();
            self.announce_to_admins(id, &place.number, el("revoked_membership_requests").children(nodes).build());
        }
        let inner = NodeBuilder::new_dynamic(decision.tag.to_string()).children(results).build();
        Ok(vec![el("membership_requests_action").children([inner]).build()])
    }
}
