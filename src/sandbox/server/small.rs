//! Questions whose answer needs no state, or hardly any.

use wacore::iq::abprops::AbProp;
use wacore::iq::abprops::web::{PRIVACY_TOKEN_SENDING_ON_ALL_1_ON_1_MESSAGES, WA_NCT_TOKEN_SEND_ENABLED};
use wacore_binary::Node;

use super::World;
use super::iq::Answer;
use crate::sandbox::wire::node::el;

impl World {
    /// The answer to a small question; `None` when it is not one.
    pub(super) fn small_answer(&self, namespace: &str, tag: &str, kind: &str) -> Option<Answer> {
        let answer = match (namespace, tag, kind) {
            ("abt" | "w", "props", "get") => vec![properties()],
            ("urn:xmpp:whatsapp:dirty", ..) => Vec::new(),
            ("w:stats" | "w:qr", ..) => Vec::new(),
            _ => return None,
        };
        Some(Ok(answer))
    }
}

/// What clients do beyond the basics: they show privacy tokens in direct messages, and make one of their own where they have none.
const PROPERTIES: [AbProp; 2] = [PRIVACY_TOKEN_SENDING_ON_ALL_1_ON_1_MESSAGES, WA_NCT_TOKEN_SEND_ENABLED];

fn properties() -> Node {
    let property =
        |property: &AbProp| el("prop").attr("config_code", property.code.to_string()).attr("config_value", "1").build();
    el("props")
        .attr("protocol", "1")
        .attr("hash", "sandbox")
        .attr("ab_key", "sandbox")
        .attr("refresh", "86400")
        .children(PROPERTIES.iter().map(property))
        .build()
}
