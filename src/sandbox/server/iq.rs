//! The router of questions and answers (`<iq>`).

use std::time::Duration;

use tracing::debug;
use wacore_binary::Node;

use super::World;
use super::faults::Struck;
use crate::sandbox::wire::node::{SERVER, attr, children, el};

/// The children of a result, or the code and text of an error.
pub(super) type Answer = Result<Vec<Node>, (u16, &'static str)>;

/// The error for a question that lacks what it needs.
pub(super) fn bad_request() -> (u16, &'static str) {
    (400, "bad-request")
}

impl World {
    /// Answers a question, or takes the answer to one of ours.
    pub(super) fn on_iq(&mut self, connection: u64, node: &Node) {
        let kind = attr(node, "type");
        if kind == "result" || kind == "error" {
            return self.on_pair_answer(connection, node);
        }
        match self.fault_at_question(connection, node) {
            Some(Struck::Ignored) => {}
            Some(Struck::Refused(answer)) => self.answer(connection, node, answer),
            Some(Struck::Late(late)) => {
                self.lateness = late;
                self.on_question(connection, node, &kind);
                self.lateness = Duration::ZERO;
            }
            None => self.on_question(connection, node, &kind),
        }
    }

    fn on_question(&mut self, connection: u64, node: &Node, kind: &str) {
        let namespace = attr(node, "xmlns");
        let child = children(node).first();
        let tag = child.map(|child| child.tag.to_string()).unwrap_or_default();
        if namespace == "w:p" || namespace == "urn:xmpp:ping" {
            return self.answer(connection, node, Ok(Vec::new()));
        }
        let place = self.place(connection);
        let answer = match (namespace.as_str(), tag.as_str(), child, place) {
            ("md", "link_code_companion_reg", Some(child), None) => self.on_link_code(connection, child),
            ("md", "ref" | "passkey_prologue" | "companion_nonce" | "encrypted_pairing_request", Some(step), None) => {
                return self.on_passkey(connection, node, step);
            }
            (_, _, _, None) => Err((401, "not-authorized")),
            ("md", "remove-companion-device", _, Some(place)) => {
                self.answer(connection, node, Ok(Vec::new()));
                return self.log_out(connection, &place);
            }
            ("passive", "active", _, Some(place)) => {
                self.answer(connection, node, Ok(Vec::new()));
                self.start_drain(connection, &place);
                return;
            }
            ("passive", _, _, Some(_)) => Ok(Vec::new()),
            ("encrypt", "count", _, Some(place)) => self.count_prekeys(&place),
            ("encrypt", "digest", _, Some(place)) => self.digest_prekeys(&place),
            ("encrypt", "key", Some(child), Some(place)) => self.hand_out_prekeys(&place, child),
            ("encrypt", "rotate", Some(child), Some(place)) => self.rotate_signed_prekey(&place, child),
            ("encrypt", "registration", _, Some(place)) => self.publish_prekeys(&place, node),
            ("usync", "usync", Some(child), Some(place)) => self.usync(&place, child),
            ("w:g2", _, Some(child), Some(place)) => self.group_question(&place, node, child, kind),
            ("w:m", "media_conn", _, Some(place)) => self.media_conn(connection, &place),
            ("w:mex", "query", Some(child), Some(place)) => self.mex(&place, child),
            ("w:sync:app:state", "sync", Some(child), Some(place)) => self.sync_app_state(&place, child),
            (namespace, tag, _, Some(place)) => {
                match self.contact_question(&place, node, namespace, kind).or_else(|| self.small_answer(namespace, tag, kind)) {
                    Some(answer) => answer,
                    None => self.unknown_question(namespace, tag),
                }
            }
        };
        self.answer(connection, node, answer);
    }

    fn unknown_question(&mut self, namespace: &str, tag: &str) -> Answer {
        /// Clients choose these names, so there is an end to counting them apart.
        const MAX_NAMES: usize = 256;
        debug!(namespace, tag, "an iq that the sandbox does not know");
        let name: String = format!("{namespace} {tag}").chars().take(100).collect();
        let known = self.unknown.contains_key(&name) || self.unknown.len() < MAX_NAMES;
        let name = if known { name } else { "others".to_owned() };
        *self.unknown.entry(name).or_default() += 1;
        Err((501, "feature-not-implemented"))
    }

    /// Sends a result or an error for `question`.
    pub(super) fn answer(&mut self, connection: u64, question: &Node, answer: Answer) {
        let to = attr(question, "to");
        let from = if to.is_empty() { SERVER.to_owned() } else { to };
        let reply = el("iq").attr("from", from).attr("id", attr(question, "id"));
        let reply = match answer {
            Ok(children) => reply.attr("type", "result").children(children),
            Err((code, text)) => {
                let error = el("error").attr("code", code.to_string()).attr("text", text).build();
                reply.attr("type", "error").children([error])
            }
        };
        self.send(connection, reply.build());
    }
}
