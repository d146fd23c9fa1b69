//! App state: every collection that is asked for is answered. The first patch of `critical_block` brings the account's name.

use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use super::World;
use super::account::Place;
use super::iq::{Answer, bad_request};
use crate::sandbox::fault::FaultKind;
use crate::sandbox::phone::peer;
use crate::sandbox::wire::node::{attr, el};

/// Of a phone's settings only its name is kept here, so every collection stands at its first version.
const VERSION: &str = "1";

impl World {
    /// Answers `<sync>`.
    pub(super) fn sync_app_state(&mut self, place: &Place, request: &Node) -> Answer {
        let changes = request.get_children_by_tag("collection").any(|collection| collection.get_optional_child("patch").is_some());
        let conflict = changes && self.fault_strikes(FaultKind::AppStateConflict, place, "iq/w:sync:app:state/sync");
        let account = self.accounts.get(&place.number).ok_or_else(bad_request)?;
        let mut collections = Vec::new();
        for collection in request.get_children_by_tag("collection") {
            let name = attr(collection, "name");
            let version = attr(collection, "version");
            let mut answer = NodeBuilder::new("collection")
                .attr("name", name.clone())
                .attr("version", VERSION)
                .attr("has_more_patches", "false");
            if conflict {
                let error = el("error").attr("code", "409").attr("text", "conflict").build();
                collections.push(answer.attr("type", "error").children([error]).build());
                continue;
            }
            if name == "critical_block" && (version.is_empty() || version == "0") {
                let patch = peer::first_patch(account, &name).ok_or((500, "internal-server-error"))?;
                answer = answer.children([el("patches").children([el("patch").bytes(patch).build()]).build()]);
            }
            collections.push(answer.build());
        }
        Ok(vec![el("sync").children(collections).build()])
    }
}
