//! Questions about groups (`w:g2`): to one group, or to all (`g.us`).

use wacore_binary::Node;

use super::World;
use super::account::Place;
use super::iq::Answer;
use crate::sandbox::wire::node::{attr, children, el, jid};

impl World {
    /// Answers a question about groups.
    pub(super) fn group_question(&mut self, place: &Place, question: &Node, child: &Node, kind: &str) -> Answer {
        let to = attr(question, "to");
        let id = to.strip_suffix("@g.us").unwrap_or_default();
        let tag = child.tag.to_string();
        let set = kind == "set";
        if id.is_empty() {
            return match tag.as_str() {
                "participating" => Ok(vec![self.participating(&place.number)]),
                "create" => self.create_group(place, child),
                "invite" => self.use_invite(place, &attr(child, "code"), set),
                "leave" => self.leave_groups(place, child),
                "query" => Ok(vec![self.many_groups(&place.number, child)]),
                _ => Err((501, "feature-not-implemented")),
            };
        }
        match tag.as_str() {
            "query" => {
                let group = self.group_of(id, &place.number)?.clone();
                Ok(vec![self.group_node(&group)])
            }
            "add" | "remove" | "promote" | "demote" => self.change_members(place, id, child),
            "invite" => self.group_invite(place, id, set),
            "accept" => self.accept_add_request(place, id, &attr(child, "code")),
            "membership_approval_requests" => self.membership_requests(place, id),
            "membership_requests_action" => self.decide_requests(place, id, child),
            "links" => self.link_groups(place, id, child),
            "unlink" => self.unlink_groups(place, id, child),
            "delete_parent" => self.dissolve_community(place, id),
            "query_linked" | "join_linked_group" => self.linked_group(place, id, child),
            "linked_groups_participants" => self.linked_participants(place, id),
            _ => self.change_group(place, id, child),
        }
    }

    fn participating(&self, number: &str) -> Node {
        let own = self.groups.values().filter(|group| group.members.contains_key(number));
        let nodes: Vec<Node> = own.map(|group| self.group_node(group)).collect();
        el("groups").children(nodes).build()
    }

    /// Several groups at a time, each by itself with an error where it cannot be told.
    fn many_groups(&self, number: &str, query: &Node) -> Node {
        let asked = children(query).iter().filter_map(|node| jid(node, "jid"));
        let nodes: Vec<Node> = asked
            .map(|jid| {
                let refuse = |code: &'static str| el("group").attr("id", jid.user.to_string()).attr("error", code).build();
                match self.groups.get(jid.user.as_str()) {
                    Some(group) if group.members.contains_key(number) => self.group_node(group),
                    Some(_) => refuse("403"),
                    None => refuse("404"),
                }
            })
            .collect();
        el("groups").children(nodes).build()
    }
}
