//! Questions about users: whether a number has WhatsApp, its LID, its devices, its about text.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, Server};

use super::World;
use super::account::{Account, Place};
use super::business::verified_name;
use super::iq::{Answer, bad_request};
use crate::sandbox::wire::node::{attr, children, el, jid, text};

impl World {
    /// Answers `<usync>`: for every user the protocols that were asked.
    pub(super) fn usync(&self, asker: &Place, request: &Node) -> Answer {
        let query = request.get_optional_child("query").ok_or_else(bad_request)?;
        let protocols: Vec<String> = children(query).iter().map(|child| child.tag.to_string()).collect();
        let list = request.get_optional_child("list").map(children).unwrap_or_default();
        let users = list.iter().map(|user| self.usync_user(asker, user, &protocols));
        let results = protocols.iter().map(|protocol| NodeBuilder::new_dynamic(protocol.clone()).build());
        let answer = el("usync")
            .attr("sid", attr(request, "sid"))
            .attr("mode", attr(request, "mode"))
            .attr("last", "true")
            .attr("index", "0")
            .attr("context", attr(request, "context"))
            .children([el("result").children(results).build(), el("list").children(users).build()]);
        Ok(vec![answer.build()])
    }

    fn usync_user(&self, asker: &Place, user: &Node, protocols: &[String]) -> Node {
        // A user is named by address, or by a number as people write it.
        let written = user.get_optional_child("contact").map(text).unwrap_or_default();
        let asked = jid(user, "jid").unwrap_or_else(|| Jid::pn(written.trim_start_matches('+')));
        let account = self.number_of(&asked).and_then(|number| self.accounts.get(&number));
        let mut found = Vec::new();
        for protocol in protocols {
            found.extend(self.usync_protocol(asker, protocol, &written, account));
        }
        let mut answer = el("user").attr("jid", asked.to_non_ad());
        if let Some(account) = account.filter(|_| asked.server == Server::Lid) {
            answer = answer.attr("pn_jid", account.jid(0, false));
        }
        answer.children(found).build()
    }

    fn usync_protocol(&self, asker: &Place, protocol: &str, written: &str, account: Option<&Account>) -> Option<Node> {
        match (protocol, account) {
            ("contact", found) => {
                let kind = if found.is_some() { "in" } else { "out" };
                Some(el("contact").attr("type", kind).string_content(written.to_owned()).build())
            }
            ("lid", Some(account)) => Some(el("lid").attr("val", account.jid(0, true)).build()),
            ("devices", Some(account)) => self.device_list(account),
            ("business", Some(account)) => Some(el("business").children([verified_name(account)?]).build()),
            ("status", Some(account)) if self.may_see(account, &asker.number, "status") => {
                let (about, since) = &account.about;
                Some(el("status").attr("t", since.to_string()).string_content(about.clone()).build())
            }
            ("status", Some(_)) => Some(el("status").attr("code", "401").build()),
            ("picture", Some(account)) if self.may_see(account, &asker.number, "profile") => {
                let picture = account.picture.as_ref()?;
                Some(el("picture").attr("id", picture.id.clone()).build())
            }
            _ => None,
        }
    }
}
