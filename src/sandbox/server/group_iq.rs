//! Questions about groups (`w:g2`): to one group, or to all (`g.us`).

use wacore_binary::{Node, NodeContent};

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
                "participating" => Ok(vec![self.participating(&place.number, child)]),
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

    /// The groups of an account; with their members and texts only if they are asked for.
    fn participating(&self, number: &str, wish: &Node) -> Node {
        let own = self.groups.values().filter(|group| group.members.contains_key(number));
        let wanted = |node: &Node| {
            let tag = match node.tag.as_ref() {
                "participant" => "participants",
                "description" => "description",
                _ => return true,
            };
            wish.get_optional_child(tag).is_some()
        };
        let nodes = own.map(|group| {
            let mut node = self.group_node(group);
            if let Some(NodeContent::Nodes(children)) = &mut node.content {
                children.retain(wanted);
            }
            node
        });
        el("groups").children(nodes.collect::<Vec<Node>>()).build()
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
