//! Questions whose answer needs no state, or hardly any.

use wacore_binary::Node;

use super::World;
use super::iq::Answer;
use crate::sandbox::wire::node::el;

/// What an account's privacy settings are about.
const PRIVACY: [&str; 8] = ["readreceipts", "last", "online", "profile", "status", "groupadd", "calladd", "messages"];

impl World {
    /// The answer to a small question; `None` when it is not one.
    pub(super) fn small_answer(&self, namespace: &str, tag: &str, kind: &str) -> Option<Answer> {
        let answer = match (namespace, tag, kind) {
            ("abt" | "w", "props", "get") => vec![properties()],
            ("blocklist", _, "get") => vec![el("list").attr("dhash", "1").build()],
            ("privacy", "privacy", "get") => vec![privacy()],
            // Tokens for trusted contacts: taken, of no consequence yet.
            ("privacy", "tokens", "set") => Vec::new(),
            ("w:profile:picture", _, "get") => return Some(Err((404, "item-not-found"))),
            ("urn:xmpp:whatsapp:dirty", ..) => Vec::new(),
            ("w:stats" | "w:qr", ..) => Vec::new(),
            _ => return None,
        };
        Some(Ok(answer))
    }
}

fn properties() -> Node {
    el("props").attr("protocol", "1").attr("hash", "sandbox").attr("ab_key", "sandbox").attr("refresh", "86400").build()
}

fn privacy() -> Node {
    let category = |name: &&'static str| el("category").attr("name", *name).attr("value", "all").build();
    el("privacy").children(PRIVACY.iter().map(category)).build()
}
