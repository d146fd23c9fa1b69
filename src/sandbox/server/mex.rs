//! Questions in GraphQL (`w:mex`): each has a number that changes with the client's release.

use serde_json::{Value, json};
use wacore_binary::Node;

use super::World;
use super::account::Place;
use super::community::community_of;
use super::iq::{Answer, bad_request};
use crate::sandbox::wire::node::{bytes, el};

impl World {
    /// Answers a query: `{"variables": …}` with `{"data": …}`.
    pub(super) fn mex(&self, place: &Place, query: &Node) -> Answer {
        let asked: Value = serde_json::from_slice(&bytes(query)).map_err(|_| bad_request())?;
        let variables = asked.get("variables").unwrap_or(&Value::Null);
        let data = match community_of(query, variables) {
            Some(group) => self.list_sub_groups(&place.number, &group).ok_or((404, "item-not-found"))?,
            None => return Err((501, "feature-not-implemented")),
        };
        let text = json!({"data": data}).to_string();
        Ok(vec![el("result").bytes(text.into_bytes()).build()])
    }
}
